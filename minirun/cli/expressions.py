"""What stands in an action of a format, and has a value: ``.State.Status``, ``join .Args " "``, ``.Image | upper``.

    words ─▶ commands, joined by | ─▶ operands ─▶ a Value: a function from a Scope to anything that JSON has

Some names differ between Docker's JSON and Go's structures, which Docker's formats speak of: ``Id`` is ``ID`` there. So
a name is found also in other letters. Of objects whose keys are data, labels for one, a key that is not there has no
value; of all others that is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from minirun.cli.functions import FUNCTIONS
from minirun.cli.gotext import text_of
from minirun.cli.pieces import refuse

_NUMBER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|\d+(\.\d+)?([eE][-+]?\d+)?)")
_CONSTANTS = {"true": True, "false": False, "nil": None}
_SHORT_CIRCUITS = {"and": False, "or": True}  # → what ends it
_MAPS = {
    "Annotations", "Attributes", "CgroupConf", "DriverOpts", "ExposedPorts", "Labels", "Networks", "Options", "Ports",
    "Sysctls", "Tmpfs", "Volumes",
}  # fmt: skip
# what Docker's structures have, and JSON only where there is something
_OPTIONAL = {
    "Cmd", "ConfigDigest", "Entrypoint", "Env", "ExposedPorts", "Health", "Healthcheck", "Labels", "OnBuild", "Shell",
    "SizeRootFs", "SizeRw", "StopSignal", "User", "Variant", "Volumes", "WorkingDir",
}  # fmt: skip

Value = Callable[..., Any]  # of a Scope, and of the arguments where it is a function's


class Scope(NamedTuple):
    """Where an action is rendered.

    Attributes:
        dot: what ``.`` is.
        variables: by name, each in a list of one: a block has those around it, and can give them other values.
        functions: by name.
    """

    dot: Any
    variables: dict[str, list[Any]]
    functions: Mapping[str, Callable[..., Any]]

    def inside(self, dot: Any, variables: Mapping[str, Any] | None = None) -> Scope:
        """The scope of a block: another dot, and variables that end with it."""
        cells = {name: [value] for name, value in (variables or {}).items()}
        return Scope(dot, {**self.variables, **cells}, self.functions)


class Reader:
    """Reads what has a value.

    Args:
        source: the whole format, for refusals.

    Attributes:
        fields: names of fields that are taken of what the format is rendered with.
        depth: of blocks in which dot is something else.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.fields: set[str] = set()
        self.depth = 0

    def refuse(self, reason: str, remedy: str = "") -> NoReturn:
        """Raise the BadInput for this format."""
        refuse(self.source, reason, remedy)

    def pipeline(self, words: list[str]) -> Value:
        """Read all of *words*."""
        value, left = self._commands(words)
        if left:
            self.refuse(f"{left[0]!r} is without its beginning")
        return value

    def _commands(self, words: list[str]) -> tuple[Value, list[str]]:
        """Read commands up to a closing parenthesis; what is before a ``|`` is the last argument of what follows."""
        value: Value | None = None
        while True:
            operands: list[Value] = []
            name = words[0] if words else ""
            while words and words[0] != "|" and not words[0].startswith(")"):
                operand, words = self._operand(words)
                operands.append(operand)
            if not operands:
                self.refuse("a value is missing in it")
            if value is not None and not _is_function(name):
                self.refuse(f"{name!r} takes nothing from a pipe", "after | comes a function: {{.Name | upper}}")
            value = _call(name, operands, value)
            if not words or words[0] != "|":
                return value, words
            words = words[1:]

    def _operand(self, words: list[str]) -> tuple[Value, list[str]]:
        word, words = words[0], words[1:]
        if word == "(":
            inner, words = self._commands(words)
            if not words:
                self.refuse("a parenthesis is not closed")
            path = words[0][1:]
            return (lambda scope, *arguments: self._take(inner(scope), path, arguments)), words[1:]
        if word[0] in "\"`'":
            return self._constant(word, self._string(word)), words
        if _NUMBER.fullmatch(word):
            return self._constant(word, _number(word)), words
        if word in _CONSTANTS:
            return self._constant(word, _CONSTANTS[word]), words
        if word[0] in "$.":
            return self._path(word), words
        if word in _SHORT_CIRCUITS:
            return (lambda scope, *operands: self._short(word, scope, operands)), words
        if word not in FUNCTIONS:
            known = ", ".join(sorted((*FUNCTIONS, *_SHORT_CIRCUITS)))
            self.refuse(f"there is no function {word!r}", f"these are: {known}")
        return (lambda scope, *arguments: self._apply(word, scope.functions[word], arguments)), words

    def _constant(self, word: str, value: Any) -> Value:
        def constant(_scope: Scope, *arguments: Any) -> Any:
            if arguments:
                self.refuse(f"{word} is not a function")
            return value

        return constant

    def _short(self, word: str, scope: Scope, operands: tuple[Value, ...]) -> Any:
        if not operands:
            self.refuse(f"{word} cannot be used so: a value is missing")
        value = None
        for operand in operands:
            value = operand(scope)
            if bool(value) is _SHORT_CIRCUITS[word]:
                break
        return value

    def _path(self, word: str) -> Value:
        name, dot, path = word.partition(".")
        path = dot + path if path else ""
        if path and (name == "$" or (not name and not self.depth)):
            self.fields.add(path.split(".")[1])
        if not name:
            return lambda scope, *arguments: self._take(scope.dot, path, arguments)

        def variable(scope: Scope, *arguments: Any) -> Any:
            if name not in scope.variables:
                self.refuse(f"the variable {name} was never set")
            return self._take(scope.variables[name][0], path, arguments)

        return variable

    def _take(self, value: Any, path: str, arguments: tuple[Any, ...] = ()) -> Any:
        """Go down *path*, ``.A.B``, from *value*."""
        above = ""
        for key in path.split(".")[1:]:
            value = self._field(value, key, above)
            above = key
        if callable(value):
            return self._apply(path, value, arguments)
        if arguments:
            self.refuse(f"{path or '.'} is not a function")
        return value

    def _field(self, value: Any, key: str, above: str) -> Any:
        known = value if isinstance(value, dict) else {}
        if key in known:
            return known[key]
        if isinstance(value, dict) and (above in _MAPS or key in _OPTIONAL):
            return None
        if other := next((name for name in known if name.lower() == key.lower()), ""):
            return known[other]
        return self.refuse(f"there is no field {key!r}", f"the fields there: {', '.join(known) or 'none'}")

    def _apply(self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        try:
            return function(*arguments)
        except (TypeError, ValueError, LookupError, AttributeError, OverflowError) as error:
            self.refuse(f"{name.lstrip('.')} cannot be used so: {error}")

    def _string(self, word: str) -> str | int:
        if word[0] == "`":
            return word[1:-1]
        inner = word[1:-1]
        if word[0] == "'":
            inner = inner.replace('"', '\\"').replace("\\'", "'")
        try:
            text = str(json.loads(f'"{inner}"', strict=False))
        except ValueError:
            self.refuse(f"{word} is not a string")
        return ord(text) if word[0] == "'" else text


def _number(word: str) -> int | float:
    digits = word.lstrip("+-")
    if digits.isdigit():
        return int(word)
    return int(word, 16) if digits[:2] in ("0x", "0X") else float(word)


def _is_function(word: str) -> bool:
    """Whether a command can be given a value: it begins with a function, or with a field that may be one."""
    return word in FUNCTIONS or word in _SHORT_CIRCUITS or word[:1] in ("$", ".", "(")


def _call(name: str, operands: list[Value], piped: Value | None) -> Value:
    first, *rest = operands
    if piped is not None:
        rest.append(piped)
    if name in _SHORT_CIRCUITS:
        return lambda scope: first(scope, *rest)  # which looks at them one by one
    return lambda scope: first(scope, *(operand(scope) for operand in rest)) if rest else first(scope)


def elements(value: Any) -> list[tuple[Any, Any]] | None:
    """What a range goes over, with its keys or numbers; None for what has no elements."""
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted(value) if not callable(value[key])]
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if type(value) is int:
        return [(number, number) for number in range(value)]
    return None


def told(value: Any) -> str:
    """A value for a refusal."""
    return repr(text_of(value)[:40])
