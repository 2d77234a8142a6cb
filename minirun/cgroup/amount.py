"""Amounts as Docker writes them: ``512m`` of memory, whole numbers within bounds."""

from __future__ import annotations

from minirun.errors import BadInput

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_MOST = (1 << 63) - 1  # what the kernel's counters hold


def parse_bytes(flag: str, text: str, least: int = 1) -> int:
    """Read a number of bytes: a number, with b, k, m, g, t or p behind it, in powers of 1024.

    Args:
        flag: whose value it is, for the refusal.
        text: the value.
        least: the smallest that has a meaning.

    Raises:
        BadInput: it is none, or below *least*.
    """
    number, unit = text.strip().lower().removesuffix("ib"), "b"
    if number.endswith("b") and len(number) > 1 and number[-2] in _UNITS:
        number = number[:-1]
    if number[-1:] in _UNITS:
        number, unit = number[:-1], number[-1]
    try:
        amount = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        amount = -1
    if not 0 <= amount <= _MOST or not (number[:1].isascii() and number[:1].isdigit()):
        raise BadInput(
            f"read {flag} {text}", "it is not a number of bytes", "write it as Docker does: 512m, 2g, 1073741824"
        )
    if amount < least:
        raise BadInput(
            f"read {flag} {text}", f"it is less than {show_bytes(least)}", f"give {show_bytes(least)} or more"
        )
    return amount


def show_bytes(amount: int) -> str:
    """Write a number of bytes in the largest unit that takes it without a rest: ``6m``."""
    for unit, size in reversed(_UNITS.items()):
        if amount >= size and not amount % size:
            return f"{amount // size}{unit}"
    return f"{amount}b"


def parse_whole(flag: str, text: str, least: int, most: int, what: str = "a whole number") -> int:
    """Read a whole number from *least* to *most*.

    Raises:
        BadInput: it is none, or outside.
    """
    digits = text.removeprefix("-")
    number = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None
    if number is None or not least <= number <= most:
        raise BadInput(f"read {flag} {text}", f"it is not {what} from {least} to {most}")
    return number
