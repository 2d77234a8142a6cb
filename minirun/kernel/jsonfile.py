"""JSON in files, read and written by the C accelerators of the standard library alone.

``import json`` takes 6 ms, mostly for regular expressions that only its pure Python twin needs; the scanner and the
encoder behind it take 0.2 ms. Everything that `minirun run` reads or writes goes through here.
"""

from __future__ import annotations

import os
from _json import encode_basestring_ascii, make_encoder, make_scanner

from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_BLANK = " \t\r\n"
_USUAL_BYTES = 64 << 10  # a buffer of megabytes takes 15 µs to map and unmap, longer than the reading


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not in JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:  # 1e999
        raise ValueError(f"{text[:40]} is no number that can be written again")
    return value


class _Context:
    """What the C scanner asks its decoder for; see Modules/_json.c, scanner_new."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = _refuse_constant
    memo: dict[str, str] = {}


_scan = make_scanner(_Context)  # type: ignore[arg-type]  # any object with these attributes does


def _refuse(value: object) -> Any:
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _encoder(indent: str | None) -> Any:
    # markers=None: our records hold no cycles, so none are looked for; keys stay in the order they were given
    return make_encoder(None, _refuse, encode_basestring_ascii, indent, ": ", ", ", False, False, False)


_encode = _encoder(None)


def loads(text: str) -> Any:
    """Parse one JSON document.

    Raises:
        ValueError: *text* is not exactly one document.
    """
    start = len(text) - len(text.lstrip(_BLANK))
    try:
        value, end = _scan(text, start)
    except (StopIteration, SystemError, ValueError):
        # Malformed: the scanner can only say where with the help of the module that was not imported.
        return _slow_loads(text)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    if text[end:].strip(_BLANK):
        return _slow_loads(text)
    return value


def _slow_loads(text: str) -> Any:
    import json

    return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)


def dumps(value: object) -> str:
    """Write *value* as one line of JSON in ASCII."""
    return "".join(_encode(value, 0))


def read(path: str, limit_bytes: int = 16 << 20) -> Any:
    """Read and parse the JSON file at *path*.

    Raises:
        OSError: it could not be read.
        ValueError: it is longer than *limit_bytes* or not JSON in UTF-8.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _USUAL_BYTES)
        if len(data) == _USUAL_BYTES <= limit_bytes:
            data += os.read(descriptor, limit_bytes + 1 - len(data))
    finally:
        os.close(descriptor)
    if len(data) > limit_bytes:
        raise ValueError(f"{path} is longer than {limit_bytes} bytes")
    return loads(data.decode())


def write(path: str, value: object, *, durable: bool = True) -> None:
    """Replace the file at *path* by *value*; see files.replace for what *durable* means."""
    files.replace(path, dumps(value).encode() + b"\n", durable=durable)
