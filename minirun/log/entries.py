r"""The lines of a log, Docker's json-file format: written and read by the C parts of the standard library alone.

    {"log":"a line\n","stream":"stdout","attrs":{"tier":"web"},"time":"2026-11-03T14:05:09.123456789Z"}
            │                           └ of --log-opt labels and env, if there are any
            └ ends in \n, or is a part of a line that goes on in the stream's next entry

What is no UTF-8 is written as lone surrogates, a byte as \udc80 to \udcff (PEP 383), so that every byte comes back.
"""

from __future__ import annotations

from _json import encode_basestring_ascii
from io import StringIO
from time import gmtime

from minirun.kernel import jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # stream, time as it is in the log, bytes, attributes
    Entry: TypeAlias = tuple[str, str, bytes, dict[str, str]]

_BEGIN = '{"log":'


def stamp(time_ns: int) -> str:
    """Write a time since 1970 in nanoseconds as RFC 3339 in UTC, of a fixed width: sorted as text is sorted by time."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    now = gmtime(seconds)
    return f"{now[0]:04}-{now[1]:02}-{now[2]:02}T{now[3]:02}:{now[4]:02}:{now[5]:02}.{rest:09}Z"


def ending(stream: str, time_ns: int, attributes: str = "") -> str:
    """What comes behind the text of an entry.

    Args:
        stream: ``stdout`` or ``stderr``.
        time_ns: since 1970.
        attributes: a JSON object, or empty.
    """
    attrs = f',"attrs":{attributes}' if attributes else ""
    return f',"stream":"{stream}"{attrs},"time":"{stamp(time_ns)}"}}\n'


def write(data: bytes, end: str) -> bytes:
    """Make an entry of each line of *data*; of what is behind the last newline one, too.

    Args:
        data: what a container printed; not empty.
        end: see `ending`.
    """
    # newline="\n": other things that Python takes for ends of lines are text here
    lines = StringIO(data.decode("utf-8", "surrogateescape"), newline="\n").readlines()
    return f"{_BEGIN}{f'{end}{_BEGIN}'.join(map(encode_basestring_ascii, lines))}{end}".encode("ascii")


def read(block: bytes) -> tuple[list[Entry], int]:
    """Read the lines of a log.

    Args:
        block: whole lines.

    Returns:
        The entries, and how many lines were none: a power cut can leave such.
    """
    try:
        found = jsonfile.loads(f"[{','.join(block.decode('ascii').splitlines())}]")
        return [_entry(one) for one in found], 0
    except (ValueError, KeyError, TypeError, AttributeError):
        return _read_each(block)


def _read_each(block: bytes) -> tuple[list[Entry], int]:
    entries, damaged = [], 0
    for line in block.split(b"\n"):
        if line:
            try:
                entries.append(_entry(jsonfile.loads(line.decode())))
            except (ValueError, KeyError, TypeError, AttributeError):
                damaged += 1
    return entries, damaged


def _entry(one: dict[str, str | dict[str, str]]) -> Entry:
    text, attributes = one["log"], one.get("attrs") or {}
    try:
        data = text.encode("utf-8", "surrogateescape")  # type: ignore[union-attr]  # AttributeError is refused above
    except UnicodeEncodeError:
        data = text.encode("utf-8", "surrogatepass")  # type: ignore[union-attr]  # surrogates that others wrote
    return str(one["stream"]), str(one["time"]), data, dict(attributes)  # type: ignore[arg-type]
