"""Go's text/template, as far as `--format` is written in it.

    {{.Names}}   {{.State.Pid}}   {{json .}}   {{join .Args " "}}   {{(index .Mounts 0).Source}}   {{.Image | upper}}
    {{if eq .State.Status "exited"}}…{{else if .State.Paused}}…{{else}}…{{end}}      {{with .Config}}…{{end}}
    {{range .Mounts}}{{.Source}}{{println}}{{end}}   {{range $key, $value := .Config.Labels}}…{{else}}none{{end}}

    template ─▶ pieces: text, or the words of one {{action}} ─▶ nodes ─▶ rendered with a dict, as often as is needed
                see pieces.py                                   what has a value: see expressions.py

A node is a function that adds text to a list. See pkg.go.dev/text/template.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minirun.cli.expressions import Reader, Scope, Value, elements, told
from minirun.cli.functions import FUNCTIONS, HEADER_FUNCTIONS
from minirun.cli.gotext import text_of
from minirun.cli.pieces import pieces

Node = Callable[[Scope, list[str]], None]

_BLOCKS = ("if", "range", "with")
_ALONE = ("end", "else", "break", "continue")
_DEEP = "it is nested too deeply"
_ELSEWHERE = ("define", "template", "block")


class _Left(Exception):
    """A range, or one turn of it, is left."""


class _Break(_Left):
    pass


class _Continue(_Left):
    pass


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
        self._reader = Reader(source)
        self._refuse = self._reader.refuse
        self._pieces = pieces(source)
        self._ranges = 0  # around what is being read
        try:
            self._node, end = self._block()
        except RecursionError:
            self._refuse(_DEEP)
        if end:
            self._refuse(f"{{{{{end[0]}}}}} is without its beginning")

    @property
    def fields(self) -> set[str]:
        """Names of fields that it takes of what it is rendered with."""
        return self._reader.fields

    def render(self, data: Any, *, header: bool = False) -> str:
        """Fill it in.

        Args:
            data: what ``.`` is.
            header: whether *data* has the titles of columns: they are not changed by what would change values.

        Raises:
            BadInput: *data* does not have what it takes.
        """
        functions = {**FUNCTIONS, **HEADER_FUNCTIONS} if header else FUNCTIONS
        out: list[str] = []
        try:
            self._node(Scope(data, {"$": [data]}, functions), out)
        except RecursionError:
            self._refuse(_DEEP)
        return "".join(out)

    def _block(self) -> tuple[Node, list[str]]:
        """Read nodes up to ``end``, ``else`` or the end; the second of the pair is that action's words."""
        nodes: list[Node] = []
        end: list[str] = []
        while self._pieces:
            piece = self._pieces.pop(0)
            if isinstance(piece, str):
                if piece:
                    nodes.append(_text(piece))
                continue
            words = list(piece)
            if words[0] in _ALONE and (words[0] != "else" or words[1:2] not in (["if"], ["with"])) and words[1:]:
                self._refuse(f"{{{{{words[0]}}}}} stands alone")
            if words[0] in ("end", "else"):
                end = words
                break
            nodes.append(self._node_of(words))

        def render(scope: Scope, out: list[str]) -> None:
            for node in nodes:
                node(scope, out)

        return render, end

    def _node_of(self, words: list[str]) -> Node:
        if words[0] in _BLOCKS:
            return self._control(words)
        if words[0] in ("break", "continue"):
            if not self._ranges:
                self._refuse(f"{{{{{words[0]}}}}} is outside of a {{{{range}}}}")
            return _break if words[0] == "break" else _continue
        if words[0] in _ELSEWHERE:
            self._refuse(f"{{{{{words[0]}}}}} is not built in this version", "write it out where it is needed")
        return self._statement(words)

    def _control(self, words: list[str]) -> Node:
        """Read one of the blocks that have an end."""
        keyword, names = words[0], []
        rest = words[1:]
        if ":=" in rest:
            names = [word for word in rest[: rest.index(":=")] if word != ","]
            rest = rest[rest.index(":=") + 1 :]
            if not all(map(_is_variable, names)) or not 1 <= len(names) <= 1 + (keyword == "range"):
                remedy = "write {{range $key, $value := …}}"
                self._refuse(f"{{{{{' '.join(words)}}}}} names its variables otherwise", remedy)
        value = self._reader.pipeline(rest)
        self._reader.depth += keyword != "if"
        self._ranges += keyword == "range"
        body, end = self._block()
        self._reader.depth -= keyword != "if"
        self._ranges -= keyword == "range"
        otherwise = _text("")
        if end[:1] == ["else"]:
            if end[1:]:
                return _choose(keyword, names, value, body, self._control(end[1:]), self._reader)
            otherwise, end = self._block()
        if end != ["end"]:
            self._refuse(f"{{{{{keyword}}}}} is without its {{{{end}}}}")
        return _choose(keyword, names, value, body, otherwise, self._reader)

    def _statement(self, words: list[str]) -> Node:
        if words[1:2] not in ([":="], ["="]):
            value = self._reader.pipeline(words)
            return lambda scope, out: out.append(text_of(value(scope)))
        name, sign = words[:2]
        if not _is_variable(name):
            self._refuse(f"{name} is no variable", "their names begin with $")
        value = self._reader.pipeline(words[2:])

        def assign(scope: Scope, _out: list[str]) -> None:
            if sign == ":=":
                scope.variables[name] = [value(scope)]
            elif name in scope.variables:
                scope.variables[name][0] = value(scope)
            else:
                self._refuse(f"the variable {name} was never set")

        return assign


def _choose(keyword: str, names: list[str], value: Value, body: Node, otherwise: Node, reader: Reader) -> Node:
    """The node of a block; a range with one name gives it the value, with two the first gets the key or index."""

    def render(scope: Scope, out: list[str]) -> None:
        found = value(scope)
        if keyword == "range" and elements(found) is None and found is not None:
            reader.refuse(f"{told(found)} has no elements to range over")
        if not found:
            otherwise(scope.inside(scope.dot, dict.fromkeys(names, found)), out)
        elif keyword == "range":
            _repeat(scope, out, names, found, body)
        else:
            body(scope.inside(found if keyword == "with" else scope.dot, dict.fromkeys(names, found)), out)

    return render


def _repeat(scope: Scope, out: list[str], names: list[str], found: Any, body: Node) -> None:
    for key, item in elements(found) or ():
        try:
            body(scope.inside(item, dict(zip(names[::-1], (item, key), strict=False))), out)
        except _Continue:
            continue
        except _Break:
            break


def _text(text: str) -> Node:
    return lambda _scope, out: out.append(text)


def _break(_scope: Scope, _out: list[str]) -> None:
    raise _Break


def _continue(_scope: Scope, _out: list[str]) -> None:
    raise _Continue


def _is_variable(word: str) -> bool:
    return word[:1] == "$" and len(word) > 1 and "." not in word
