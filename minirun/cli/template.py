"""Go's text/template, as far as `--format` is written in it.

    {{.Names}}   {{.State.Pid}}   {{json .}}   {{join .Args " "}}   {{(index .Mounts 0).Source}}   {{.Image | upper}}
    {{if eq .State.Status "exited"}}…{{else if .State.Paused}}…{{else}}…{{end}}      {{with .Config}}…{{end}}
    {{range .Mounts}}{{.Source}}{{println}}{{end}}   {{range $key, $value := .Config.Labels}}…{{else}}none{{end}}

    template ─▶ pieces: text, or the words of one {{action}} ─▶ nodes ─▶ rendered with a dict, as often as is needed

A node is a function from a Scope to text, a value one from a Scope to anything that JSON has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from minirun.cli.functions import FUNCTIONS, HEADER_FUNCTIONS, text_of
from minirun.cli.pieces import pieces, refuse

_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_CONSTANTS = {"true": True, "false": False, "nil": None}


class Scope(NamedTuple):
    """Where an action is rendered."""

    dot: Any
    variables: dict[str, Any]
    functions: Mapping[str, Callable[..., Any]]

    def inside(self, dot: Any, variables: Mapping[str, Any]) -> Scope:
        """The scope of a block: another dot, and variables that end with it."""
        return Scope(dot, {**self.variables, **variables}, self.functions)


Node = Callable[[Scope], str]
Value = Callable[..., Any]  # of a Scope, and of the arguments where it is a function's


class Template:
    r"""A format, taken apart once; ``\t`` and ``\n`` outside of actions are a tab and a new line, as in Docker.

    Attributes:
        source: as the user wrote it.
        fields: names of fields that it takes of what it is rendered with.

    Raises:
        BadInput: it is none.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.fields: set[str] = set()
        self._pieces = pieces(source)
        self._depth = 0  # of blocks in which dot is something else
        self._node, end = self._block()
        if end:
            self._refuse(f"{{{{{end[0]}}}}} is without its beginning")

    def render(self, data: Any, *, header: bool = False) -> str:
        """Fill it in.

        Args:
            data: what ``.`` is.
            header: whether *data* has the titles of columns: they are not changed by what would change values.

        Raises:
            BadInput: *data* does not have what it takes.
        """
        functions = {**FUNCTIONS, **HEADER_FUNCTIONS} if header else FUNCTIONS
        return self._node(Scope(data, {"$": data}, functions))

    def _refuse(self, reason: str, remedy: str = "") -> NoReturn:
        refuse(self.source, reason, remedy)

    def _block(self) -> tuple[Node, list[str]]:
        """Read nodes up to ``end``, ``else`` or the end; the second of the pair is that action's words."""
        nodes: list[Node] = []
        while self._pieces:
            piece = self._pieces.pop(0)
            if isinstance(piece, str):
                nodes.append(lambda _scope, text=piece: text)  # type: ignore[misc]  # no type for a default of a lambda
                continue
            words = list(piece)
            if words[0] in ("end", "else"):
                return lambda scope: "".join(node(scope) for node in nodes), words
            if words[0] in ("if", "range", "with"):
                nodes.append(self._control(words))
            else:
                nodes.append(self._statement(words))
        return lambda scope: "".join(node(scope) for node in nodes), []

    def _control(self, words: list[str]) -> Node:
        """Read one of the blocks that have an end."""
        keyword, names = words[0], []
        rest = words[1:]
        if ":=" in rest:
            names = [word for word in rest[: rest.index(":=")] if word != ","]
            rest = rest[rest.index(":=") + 1 :]
        value = self._pipeline(rest)
        self._depth += keyword != "if"
        body, end = self._block()
        self._depth -= keyword != "if"
        otherwise: Node = lambda _scope: ""  # noqa: E731 - a node like the others
        if end[:1] == ["else"]:
            if end[1:2] in (["if"], ["with"]):
                return self._choose(keyword, names, value, body, self._control(end[1:]))
            otherwise, end = self._block()
        if end != ["end"]:
            self._refuse(f"{{{{{keyword}}}}} is without its {{{{end}}}}")
        return self._choose(keyword, names, value, body, otherwise)

    def _choose(self, keyword: str, names: list[str], value: Value, body: Node, otherwise: Node) -> Node:
        """The node of a block; a range with one name gives it the value, with two the first gets the key or index."""

        def render(scope: Scope) -> str:
            dot = value(scope)
            if not dot:
                return otherwise(scope)
            if keyword == "if":
                return body(scope.inside(scope.dot, dict.fromkeys(names, dot)))
            if keyword == "with":
                return body(scope.inside(dot, dict.fromkeys(names, dot)))
            if not isinstance(dot, dict | list):
                self._refuse(f"{text_of(dot)!r} has no elements to range over")
            pairs = sorted(dot.items()) if isinstance(dot, dict) else enumerate(dot)
            variables = ((item, dict(zip(names[::-1], (item, key), strict=False))) for key, item in pairs)
            return "".join(body(scope.inside(*one)) for one in variables)

        return render

    def _statement(self, words: list[str]) -> Node:
        if words[1:2] == [":="]:
            name, value = words[0], self._pipeline(words[2:])

            def assign(scope: Scope) -> str:
                scope.variables[name] = value(scope)
                return ""

            return assign
        value = self._pipeline(words)
        return lambda scope: text_of(value(scope))

    def _pipeline(self, words: list[str]) -> Value:
        value, left = self._commands(words)
        if left:
            self._refuse(f"{left[0]!r} is without its beginning")
        return value

    def _commands(self, words: list[str]) -> tuple[Value, list[str]]:
        """Read commands up to a closing parenthesis; what is before a ``|`` is the last argument of what follows."""
        value: Value | None = None
        while True:
            operands: list[Value] = []
            while words and words[0] != "|" and not words[0].startswith(")"):
                operand, words = self._operand(words)
                operands.append(operand)
            if not operands:
                self._refuse("a value is missing in it")
            value = _call(operands, value)
            if not words or words[0] != "|":
                return value, words
            words = words[1:]

    def _operand(self, words: list[str]) -> tuple[Value, list[str]]:
        word, words = words[0], words[1:]
        if word == "(":
            inner, words = self._commands(words)
            if not words:
                self._refuse("a parenthesis is not closed")
            path = words[0][1:]
            return (lambda scope: self._take(inner(scope), path)), words[1:]
        if word[0] in '"`':
            text = self._string(word)
            return (lambda _scope: text), words
        if _NUMBER.fullmatch(word):
            number = float(word) if "." in word else int(word)
            return (lambda _scope: number), words
        if word in _CONSTANTS:
            return (lambda _scope: _CONSTANTS[word]), words
        if word[0] in "$.":
            return self._path(word), words
        if word not in FUNCTIONS:
            self._refuse(f"there is no function {word!r}", f"these are: {', '.join(sorted(FUNCTIONS))}")
        return (lambda scope, *arguments: self._apply(word, scope.functions[word], arguments)), words

    def _path(self, word: str) -> Value:
        name, dot, path = word.partition(".")
        path = dot + path if path else ""
        if path and (name == "$" or (not name and not self._depth)):
            self.fields.add(path.split(".")[1])
        if not name:
            return lambda scope, *arguments: self._take(scope.dot, path, arguments)

        def variable(scope: Scope, *arguments: Any) -> Any:
            if name not in scope.variables:
                self._refuse(f"the variable {name} was never set")
            return self._take(scope.variables[name], path, arguments)

        return variable

    def _take(self, value: Any, path: str, arguments: tuple[Any, ...] = ()) -> Any:
        """Go down *path*, ``.A.B``, from *value*."""
        for key in path.split(".")[1:]:
            if not isinstance(value, dict) or key not in value:
                there = ", ".join(value) if isinstance(value, dict) and value else "none"
                self._refuse(f"there is no field {key!r}", f"the fields there: {there}")
            value = value[key]
        if callable(value):
            return self._apply(path, value, arguments)
        if arguments:
            self._refuse(f"{path or '.'} is not a function")
        return value

    def _apply(self, name: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        try:
            return function(*arguments)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            self._refuse(f"{name.lstrip('.')} cannot be used so: {error}")

    def _string(self, word: str) -> str:
        if word[0] == "`":
            return word[1:-1]
        try:
            return str(json.loads(word, strict=False))
        except ValueError:
            self._refuse(f"{word} is not a string")


def _call(operands: list[Value], piped: Value | None) -> Value:
    first, *rest = operands
    if piped is not None:
        rest.append(piped)
    return lambda scope: first(scope, *(operand(scope) for operand in rest)) if rest else first(scope)
