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

_ACTION = re.compile(r"\{\{(?:-(?=\s))?(?P<words>.*?)(?:(?<=\s)-)?\}\}", re.DOTALL)
_WORD = re.compile(
    r"""\s*(?P<word>
          "(?:\\.|[^"\\])*" | `[^`]*`           # strings
        | -?\d+(?:\.\d+)?                       # numbers
        | \$?(?:\.\w+)+ | \$\w*(?:\.\w+)* | \.  # .A.B, $, $name.A, .
        | \)(?:\.\w+)*                          # the end of a parenthesis, and what is taken of its value
        | \w+ | := | [|(,]
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
    for action in _ACTION.finditer(text):
        before = text[position : action.start()]
        # {{- and -}} take the white space beside them along
        found.append(before.rstrip() if action[0].startswith("{{- ") else before)
        if words := _words(source, action["words"].strip()):
            found.append(words)
        position = action.end()
        if action[0].endswith(" -}}"):
            position = len(text) - len(text[position:].lstrip())
    if "{{" in text[position:]:
        refuse(source, "{{ is not closed by }}", "write fields as {{.Name}}")
    return [*found, text[position:]]


def _words(source: str, action: str) -> tuple[str, ...]:
    if action.startswith("/*") and action.endswith("*/"):
        return ()
    words: list[str] = []
    position = 0
    while position < len(action):
        word = _WORD.match(action, position)
        if not word:
            refuse(source, f"{{{{{action}}}}} cannot be read from {action[position:].strip()[:20]!r} on")
        words.append(word["word"])
        position = word.end()
    if not words:
        refuse(source, "{{}} says nothing")
    return tuple(words)
