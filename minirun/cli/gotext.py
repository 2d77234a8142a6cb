"""Values as Go prints them: fmt's %v and printf, and the JSON of encoding/json."""

from __future__ import annotations

import json
import re
from typing import Any

from minirun.cli.screen import quote

# %[1]-5.2f: flags, width and precision stand before a letter; a number in brackets says which value is meant
_VERB = re.compile(r"%(?:%|([-+ 0#]*)(\d*)(\.\d*)?(?:\[(\d+)\])?([a-zA-Z]))")
_EXPONENT_FROM = 1e21  # where %v begins to write floats with an exponent
_OF_NUMBERS = "bcdoxXeEfFgGU"


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
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXPONENT_FROM:
        return str(int(value))
    return str(value)


def to_json(value: Any) -> str:
    """A value as one line of JSON; bytes that are no UTF-8 as Go writes them, U+FFFD."""
    if isinstance(value, dict):
        value = {key: inner for key, inner in value.items() if not callable(inner)}
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def print_of(*values: Any) -> str:
    """Values one after the other, as fmt.Sprint has them: with a blank between two that are no strings."""
    text = ""
    for place, value in enumerate(values):
        between = place and not isinstance(value, str) and not isinstance(values[place - 1], str)
        text += f"{' ' * bool(between)}{text_of(value)}"
    return text


def printf(form: str, *values: Any) -> str:
    """Values in a format of fmt's.

    Raises:
        ValueError: the format is none, or is not for these values.
    """
    used: set[int] = set()
    following = 0

    def fill(found: re.Match[str]) -> str:
        nonlocal following
        flags, width, precision, number, verb = found.groups(default="")
        if not verb:
            return "%"
        place = int(number) - 1 if number else following
        following = place + 1
        used.add(place)
        if not 0 <= place < len(values):
            raise ValueError(f"there is no value for {found[0]}")
        return _pad(_format(verb, flags, precision, values[place], found[0]), flags, width)

    text = _VERB.sub(fill, form)
    if len(used) < len(values):
        raise ValueError(f"it has {len(used)} verbs for {len(values)} values")
    return text


def _format(verb: str, flags: str, precision: str, value: Any, whole: str) -> str:
    if verb in "vs":
        return _cut(text_of(value), precision)
    if verb == "q":
        return quote(text_of(value))
    if verb == "t" and isinstance(value, bool):
        return text_of(value)
    if verb in "xX" and isinstance(value, str):
        digits = value.encode("utf-8", "surrogateescape").hex()
        return digits.upper() if verb == "X" else digits
    if verb not in _OF_NUMBERS or isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{whole} is not for {text_of(value)}")
    if verb == "c":
        return chr(int(value))
    if verb == "U":
        return f"U+{int(value):04X}"
    sign = "+" if "+" in flags else " " if " " in flags else ""
    if verb in "bdoxX":
        return f"{value:{sign}{'#' if '#' in flags else ''}{verb}}"
    return f"{value:{sign}{precision}{verb}}"


def _cut(text: str, precision: str) -> str:
    return text[: int(precision[1:] or 0)] if precision else text


def _pad(text: str, flags: str, width: str) -> str:
    if not width:
        return text
    if "-" in flags:
        return text.ljust(int(width))
    return text.zfill(int(width)) if "0" in flags else text.rjust(int(width))
