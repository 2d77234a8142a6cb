"""The functions of a format: those of Go's text/template, and those that Docker adds to them."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from typing import Any

from minirun.cli.screen import quote

_VERB = re.compile(r"%([-+ 0#]*\d*(?:\.\d+)?)([svdqxft%])")


def text_of(value: Any) -> str:
    """A value as Go prints it: ``true``, ``[a b]``, ``map[key:value]``."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{text_of(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(text_of, value))}]"
    return str(value)


def to_json(value: Any) -> str:
    """A value as one line of JSON; bytes that are no UTF-8 as Go writes them, U+FFFD."""
    if isinstance(value, dict):
        value = {key: inner for key, inner in value.items() if not callable(inner)}
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")
        elif isinstance(value, list | str) and isinstance(key, int) and 0 <= key < len(value):
            value = value[key]
        else:
            raise LookupError(f"there is no {key!r} in {text_of(value)}")
    return value


def _printf(form: str, *values: Any) -> str:
    left = list(values)

    def fill(found: re.Match[str]) -> str:
        flags, verb = found.groups()
        if verb == "%":
            return "%"
        value = left.pop(0)
        if verb in "svt":
            value, verb = text_of(value), "s"
        elif verb == "q":
            value, verb = quote(text_of(value)), "s"
        return str(f"%{flags}{verb}" % value)

    return _VERB.sub(fill, form)


def _pad(text: str, before: int, after: int) -> str:
    return f"{' ' * before}{text}{' ' * after}" if text else text


def _equal(first: Any, *others: Any) -> bool:
    return first in others


def _and(*values: Any) -> Any:
    return next((value for value in values if not value), values[-1])


def _or(*values: Any) -> Any:
    return next((value for value in values if value), values[-1])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": _and,
    "eq": _equal,
    "ge": operator.ge,
    "gt": operator.gt,
    "index": _index,
    "join": lambda words, separator: separator.join(map(text_of, words)),
    "json": to_json,
    "le": operator.le,
    "len": len,
    "lower": lambda text: text_of(text).lower(),
    "lt": operator.lt,
    "ne": operator.ne,
    "not": operator.not_,
    "or": _or,
    "pad": _pad,
    "print": lambda *values: "".join(map(text_of, values)),
    "printf": _printf,
    "println": lambda *values: " ".join(map(text_of, values)) + "\n",
    "slice": lambda value, *ends: value[slice(*(ends if len(ends) > 1 else (*ends, None)))] if ends else value,
    "split": lambda text, separator: text.split(separator),
    "title": lambda text: text_of(text).title(),
    "truncate": lambda text, length: text_of(text)[:length],
    "upper": lambda text: text_of(text).upper(),
}


def _first(value: Any, *_arguments: Any) -> Any:
    return value


# Over the titles of a table, what would change a value leaves the title as it is.
HEADER_FUNCTIONS = dict.fromkeys(
    ("index", "join", "json", "lower", "pad", "slice", "split", "title", "truncate", "upper"), _first
)
