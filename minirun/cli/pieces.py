r"""A format taken apart: text, and the words of actions.

    {{- if eq .State.Status "exited"}} done{{end}}\n
    └──▶ ("if", "eq", ".State.Status", "\"exited\"")    " done"    ("end",)    "\n"

What stands for a value keeps its first character, which says what it is: a quote, a digit, ``.``, ``$``.
"""

from __future__ import annotations

import re
from typing import NoReturn

from minirun.errors import BadInput

Piece = str | tuple[str, ...]

_BEGIN = re.compile(r"\{\{(?P<trim>-(?=\s))?\s*")
_END = re.compile(r"(?:\s+(?P<trim>-)|\s*)\}\}")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_WORD = re.compile(
    r"""\s*(?P<word>
          "(?:\\.|[^"\\\n])*" | `[^`]*` | '(?:\\.[^']*|[^'\\])'     # strings, and one character
        | [-+]?0[xX][0-9a-fA-F]+                                    # numbers
        | [-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?
        | \$?(?:\.\w+)+ | \$\w*(?:\.\w+)* | \.                      # .A.B, $, $name.A, .
        | \)(?:\.\w+)*                                              # the end of a parenthesis, and what is taken of it
        | \w+ | := | [=|(,]
    )""",
    re.VERBOSE,
)


def refuse(source: str, reason: str, remedy: str = "") -> NoReturn:
    """Raise the BadInput for the format *source*."""
    remedy = remedy or "write it in Go's template language: '{{.Name}}', or take `--format json`"
    raise BadInput(f"use the format {source!r}", reason, remedy)


def pieces(source: str) -> list[Piece]:
    r"""Take *source* apart; ``\t`` and ``\n`` in it are a tab and a new line, and comments are left out.

    Raises:
        BadInput: an action is not closed, says nothing or has a character that means nothing.
    """
    text = source.replace("\\t", "\t").replace("\\n", "\n")
    found: list[Piece] = []
    position = 0
    while begin := _BEGIN.search(text, position):
        before = text[position : begin.start()]
        # {{- and -}} take the white space beside them along
        found.append(before.rstrip() if begin["trim"] else before)
        words, end = _action(source, text, begin)
        if words:
            found.append(words)
        position = end.end()
        if end["trim"]:
            position = len(text) - len(text[position:].lstrip())
    return [*found, text[position:]]


def _action(source: str, text: str, begin: re.Match[str]) -> tuple[tuple[str, ...], re.Match[str]]:
    """The words of the action that begins at *begin*, and its end; no words for a comment."""
    words: list[str] = []
    position = begin.end()
    if comment := _COMMENT.match(text, position):
        end = _END.match(text, comment.end())
        if not end:
            refuse(source, "a comment is not alone in its {{ }}", "write {{/* … */}}")
        return (), end
    while True:
        if end := _END.match(text, position):
            break
        word = _WORD.match(text, position)
        if not word:
            closing = text.find("}}", position)
            if closing < 0:
                refuse(source, "{{ is not closed by }}", "write fields as {{.Name}}")
            action, rest = text[begin.start() : closing], text[position:closing].strip()
            refuse(source, f"{action}}}}} cannot be read from {rest[:20]!r} on")
        words.append(word["word"])
        position = word.end()
    if not words:
        refuse(source, "{{}} says nothing")
    return tuple(words), end
