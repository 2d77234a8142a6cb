r"""The numbers that tar headers and pax records hold, as text and otherwise.

"0000755\0", "     755 "   octal, ended by NUL or blank, led by either
80 00 00 00 7f ff ff ff    base-256 of GNU tar: the first bit set, then a number in two's complement
"1700000000", "-1.5"       decimal, in pax records
"""

from __future__ import annotations

import os

NUMBER_MAX = 0x7FFFFFFFFFFFFFFF
_DIGITS = 20  # of 64 bits
_SECONDS_MAX = 1 << 62
_CALLED_BYTES = 200  # of a name that may have 4,096


class Malformed(Exception):
    """What was read is not a layer: half a sentence about what is wrong, to stand after an entry's name."""


def called(name: bytes) -> str:
    """What a refusal calls an entry: its name in quotes, but no more of it than a line has room for."""
    text = repr(os.fsdecode(name[:_CALLED_BYTES]))
    return text if len(name) <= _CALLED_BYTES else f"{text}…"


def octal(field: bytes) -> int:
    """Read a numeric field of a header; blank is 0.

    Raises:
        Malformed: it is no number, or beyond 64 bits.
    """
    if field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        if field[0] & 0x40:
            value -= 1 << bits
        if not -NUMBER_MAX <= value <= NUMBER_MAX:
            raise Malformed("a number beyond 64 bits")
        return value
    text = field.strip(b" \0").partition(b"\0")[0]
    if not text:
        return 0
    if text.isdigit():  # int() alone takes signs and underscores
        try:
            return int(text, 8)
        except ValueError:
            pass
    raise Malformed(f"{field!r} where an octal number should be")


def decimal(text: bytes) -> int:
    """Read a decimal number without a sign.

    Raises:
        Malformed: it is none, or beyond 64 bits.
    """
    if not text.isdigit() or len(text) > _DIGITS:
        raise Malformed(f"{text[:40]!r} where a decimal number should be")
    return int(text)


def nanoseconds(text: bytes) -> int:
    """Read a time of pax, in seconds; digits beyond nanoseconds are cut off."""
    unsigned = text.removeprefix(b"-")
    whole, _dot, fraction = unsigned.partition(b".")
    if not (whole + fraction).isdigit() or decimal(whole or b"0") > _SECONDS_MAX:
        raise Malformed(f"{text[:40]!r} where a time should be")
    time_ns = int(whole or b"0") * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))
    return time_ns if unsigned == text else -time_ns
