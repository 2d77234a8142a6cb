"""The functions of a format: those of Go's text/template, and those that Docker adds to them.

``and`` and ``or`` are not here: they do not look at what they need not, see expressions.py.
"""

from __future__ import annotations

import html
import operator
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

from minirun.cli.gotext import print_of, printf, text_of, to_json

_WORD_BEGINS = re.compile(r"(?<!\w)\w")
_ENTITIES = {"'": "&#39;", '"': "&#34;"}
_NUMBERS = int | float


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, list | str) and type(key) is int and 0 <= key < len(value):
            value = value[key]
        else:
            raise LookupError(f"there is no {key!r} in {text_of(value)}")
    return value


def _slice(value: Any, *ends: int) -> Any:
    first, last = (*ends, len(value))[:2] if ends else (0, len(value))
    if not 0 <= first <= last <= len(value):
        raise LookupError(f"there is no {first} to {last} in {text_of(value)}")
    return value[first:last]


def _pad(text: str, before: int, after: int) -> str:
    return f"{' ' * before}{text}{' ' * after}" if text else text


def _comparable(first: Any, second: Any) -> None:
    """Raise TypeError for what Go does not compare: a number with a text, a list with anything."""
    kinds = [
        "bool" if isinstance(one, bool) else "number" if isinstance(one, _NUMBERS) else type(one).__name__
        for one in (first, second)
    ]
    if None in (first, second) and not isinstance(first, dict | list) and not isinstance(second, dict | list):
        return
    if kinds[0] != kinds[1] or kinds[0] not in ("bool", "number", "str"):
        raise TypeError(f"{text_of(first)} and {text_of(second)} are not of kinds that can be compared")


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TypeError("it compares two values")
    for other in others:
        _comparable(first, other)
    return first in others


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def function(first: Any, second: Any) -> bool:
        _comparable(first, second)
        if isinstance(first, bool) or first is None or second is None:
            raise TypeError(f"{text_of(first)} has no order")
        return compare(first, second)

    return function


def _join(words: Any, separator: str) -> str:
    if isinstance(words, str):
        raise TypeError("it joins lists")
    return separator.join(map(text_of, words or ()))


def _html(*values: Any) -> str:
    text = html.escape(print_of(*values), quote=False)
    return "".join(_ENTITIES.get(sign, sign) for sign in text)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _equal,
    "ge": _ordered(operator.ge),
    "gt": _ordered(operator.gt),
    "html": _html,
    "index": _index,
    "join": _join,
    "json": to_json,
    "le": _ordered(operator.le),
    "len": lambda value: len(value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value),
    "lower": lambda text: text_of(text).lower(),
    "lt": _ordered(operator.lt),
    "ne": lambda first, second: not _equal(first, second),
    "not": operator.not_,
    "pad": _pad,
    "print": print_of,
    "printf": printf,
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "slice": _slice,
    "split": lambda text, separator: text.split(separator) if separator else list(text),
    # the beginnings of words; what follows them stays as it is
    "title": lambda text: _WORD_BEGINS.sub(lambda found: found[0].upper(), text_of(text)),
    "truncate": lambda text, length: text_of(text)[:length],
    "upper": lambda text: text_of(text).upper(),
    "urlquery": lambda *values: quote_plus(print_of(*values)),
}


def _first(value: Any, *_arguments: Any) -> Any:
    return value


# Over the titles of a table, what would change a value leaves the title as it is.
HEADER_FUNCTIONS = dict.fromkeys(
    ("index", "join", "json", "lower", "pad", "slice", "split", "title", "truncate", "upper"), _first
)
