"""Values of D-Bus as bytes, and back.

    y byte   b u t numbers of 4, 4 and 8 bytes   s o string, path: length (4), bytes, NUL   g signature: length (1) …
    v        a signature and a value of that type: here a pair
    (…)      one after the other: here a tuple
    a…       length in bytes, padding to the first element, the elements: here a list

Every value lies at a multiple of its alignment, counted from the start of the message or body. See the D-Bus
specification, "Marshaling". The types that systemd's calls do not use are left out.
"""

from __future__ import annotations

from errno import EPROTO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_NUMBERS = {"b": 4, "u": 4, "t": 8}
_ALIGNMENTS = {"y": 1, "g": 1, "v": 1, "t": 8, "(": 8}  # every other: 4


def types(signature: str) -> Iterator[str]:
    """The complete types of which *signature* is made: ``ssa(sv)`` is ``s``, ``s``, ``a(sv)``."""
    start = depth = 0
    for place, sign in enumerate(signature):
        depth += (sign == "(") - (sign == ")")
        if depth == 0 and sign != "a":
            yield signature[start : place + 1]
            start = place + 1


def aligned(place: int, to: int) -> int:
    """The first multiple of *to* from *place* on."""
    return -(-place // to) * to


def pad(out: bytearray, to: int) -> None:
    """Put zeros to the next multiple of *to*."""
    out += bytes(-len(out) % to)


def put(out: bytearray, kind: str, value: Any) -> None:
    """Add *value*, of the one complete type *kind*, to *out*."""
    pad(out, _ALIGNMENTS.get(kind[0], 4))
    sign = kind[0]
    if sign == "y":
        out.append(value)
    elif sign in _NUMBERS:
        out += int(value).to_bytes(_NUMBERS[sign], "little")
    elif sign in "sog":
        text = value.encode()
        out += len(text).to_bytes(1 if sign == "g" else 4, "little") + text + b"\0"
    elif sign == "v":
        put(out, "g", value[0])
        put(out, *value)
    elif sign == "(":
        for part, one in zip(types(kind[1:-1]), value, strict=True):
            put(out, part, one)
    else:
        place = len(out)
        out += bytes(4)
        pad(out, _ALIGNMENTS.get(kind[1], 4))
        start = len(out)
        for one in value:
            put(out, kind[1:], one)
        out[place : place + 4] = (len(out) - start).to_bytes(4, "little")


def values(data: bytes, signature: str) -> Iterator[Any]:
    """The values in *data*, which *signature* describes."""
    place = 0
    for kind in types(signature):
        value, place = get(data, place, kind)
        yield value


def get(data: bytes, place: int, kind: str) -> tuple[Any, int]:
    """Read the value of the one complete type *kind* that is at *place*, or after the padding there.

    Returns:
        The value, and the place behind it.

    Raises:
        OSError: EPROTO: a type that is not known here.
    """
    place = aligned(place, _ALIGNMENTS.get(kind[0], 4))
    sign = kind[0]
    if sign == "y":
        return data[place], place + 1
    if sign in _NUMBERS:
        end = place + _NUMBERS[sign]
        return int.from_bytes(data[place:end], "little"), end
    if sign in "sog":
        start = place + (1 if sign == "g" else 4)
        end = start + int.from_bytes(data[place:start], "little")
        return data[start:end].decode(), end + 1
    if sign == "v":
        inner, place = get(data, place, "g")
        value, place = get(data, place, inner)
        return (inner, value), place
    if sign == "(":
        parts = []
        for part in types(kind[1:-1]):
            value, place = get(data, place, part)
            parts.append(value)
        return tuple(parts), place
    if sign != "a":
        raise OSError(EPROTO, f"a value of the unknown type {kind} came from the bus")
    start = aligned(place + 4, _ALIGNMENTS.get(kind[1], 4))
    end, found = start + int.from_bytes(data[place : place + 4], "little"), []
    place = start
    while place < end:
        value, place = get(data, place, kind[1:])
        found.append(value)
    return found, place
