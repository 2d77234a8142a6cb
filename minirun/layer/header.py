"""The header of a tar entry as it is written: ustar's, and a pax header before it for what ustar cannot express.

in a pax header                              because ustar
-------------------------------------------  -----------------------------------------------
path, linkpath                               has 100 bytes (255 where a "/" is well placed)
mtime                                        has seconds since 1970
uid, gid, size                               ends at 2097151, 2097151, 8 GiB - 1
SCHILY.xattr.<name>                          has no room for them
hdrcharset=BINARY                            (the names above it are not UTF-8)

name 100 │ mode 8 │ uid 8 │ gid 8 │ size 12 │ mtime 12 │ checksum 8 │ kind 1 │ link 100 │ ustar, NUL, "00": 8 │
names of owner and group 64, empty │ device 16 │ prefix 155 │ 12 unused: 512 bytes, numbers in octal

See POSIX pax(1), "ustar Interchange Format" and "pax Extended Header".
"""

from __future__ import annotations

import os
from functools import lru_cache
from zlib import adler32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Records = list[tuple[bytes, bytes]]

PAD = [bytes(count) for count in range(512)]
END = bytes(1024)
_ID_MAX, _SIZE_MAX, _SECONDS_MAX = 0o7777777, 0o77777777777, 0o77777777777
_NO_DEVICE = b"0000000\x000000000\0"
_BLANKS = 8 * 32  # the checksum counts its own field as blanks
# No header whose names are so short can sum up to adler32's modulus, 65521: 200 times 255, and a kilobyte of digits
# has not room for more.
_SHORT = 200


def entry(
    path: bytes,
    kind: bytes,
    *,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime_ns: int = 0,
    link: bytes = b"",
    device: int = 0,
    xattrs: Sequence[tuple[str, bytes]] = (),
) -> bytes:
    """The header of one entry, after which *size* bytes of data and padding follow.

    Args:
        path: its name, a directory's with a slash at the end.
        kind: one of layer/tar.py's type flags.
        mode: permission bits.
        uid: of its owner.
        gid: of its group.
        size: bytes of data.
        mtime_ns: since 1970.
        link: what a symlink or a hard link leads to.
        device: number of a device node.
        xattrs: names and values, in the order in which they are to be written.
    """
    records: Records = []
    if len(path) <= 100:
        prefix, name = b"", path
    else:
        prefix, name = _split(path)
        if not name:
            records.append((b"path", path))
            name = path[:100]
    if len(link) > 100:
        records.append((b"linkpath", link))
    if records and any(b"\0" in value or not _is_utf8(value) for _key, value in records):
        records.insert(0, (b"hdrcharset", b"BINARY"))
    if uid > _ID_MAX:
        records.append((b"uid", b"%d" % uid))
        uid = 0
    if gid > _ID_MAX:
        records.append((b"gid", b"%d" % gid))
        gid = 0
    if size > _SIZE_MAX:
        records.append((b"size", b"%d" % size))
        size = 0
    seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
    if nanoseconds or not 0 <= seconds <= _SECONDS_MAX:
        records.append((b"mtime", _time(mtime_ns)))
        seconds = min(max(seconds, 0), _SECONDS_MAX)
    if xattrs:
        records.extend((b"SCHILY.xattr." + os.fsencode(key), value) for key, value in xattrs)
    block = _block(name, _owner(mode, uid, gid), size, seconds, kind, link[:100], device, prefix)
    return _extension(path, records) + block if records else block


def _extension(path: bytes, records: Records) -> bytes:
    data = b"".join([_record(key, value) for key, value in records])
    name = b"PaxHeaders/" + path.rstrip(b"/").rpartition(b"/")[2][:80]
    return _block(name, _owner(0o644, 0, 0), len(data), 0, b"x", b"", 0, b"") + data + PAD[-len(data) & 511]


def _block(
    name: bytes, owner: bytes, size: int, seconds: int, kind: bytes, link: bytes, device: int, prefix: bytes
) -> bytes:
    first = b"%b%b%011o\0%b" % (name.ljust(100, b"\0"), owner, size, _octal(seconds))
    if link or device or prefix:
        devices = b"%07o\0%07o\0" % (os.major(device), os.minor(device)) if device else _NO_DEVICE
        last = b"%b%bustar\00000%b%b%b" % (kind, link.ljust(100, b"\0"), PAD[64], devices, prefix.ljust(167, b"\0"))
    else:
        last = _plain(kind)
    if len(name) + len(link) + len(prefix) < _SHORT:
        # one more than the sum of the bytes, for which Python's sum takes twenty times as long
        checksum = (adler32(first) & 0xFFFF) + (adler32(last) & 0xFFFF) - 2 + _BLANKS
    else:
        checksum = sum(first) + sum(last) + _BLANKS
    return b"%b%06o\0 %b" % (first, checksum, last)


# of these a tree has few different ones
@lru_cache(64)
def _owner(mode: int, uid: int, gid: int) -> bytes:
    return b"%07o\0%07o\0%07o\0" % (mode, uid, gid)


@lru_cache(64)
def _octal(seconds: int) -> bytes:
    return b"%011o\0" % seconds


@lru_cache(16)
def _plain(kind: bytes) -> bytes:
    return b"%b%bustar\00000%b%b%b" % (kind, PAD[100], PAD[64], _NO_DEVICE, PAD[167])


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Divide *path*, longer than 100 bytes, into ustar's prefix and name; an empty name: it does not fit."""
    at = path.find(b"/", len(path) - 101, min(156, len(path) - 1))
    return (path[:at], path[at + 1 :]) if at > 0 else (b"", b"")


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
    if rest < 98:
        return b"%d %b=%b\n" % (rest + (1 if rest < 9 else 2), key, value)
    length = rest + len(b"%d" % rest)
    length = rest + len(b"%d" % length)  # its own digits may have made it a digit longer
    return b"%d %b=%b\n" % (length, key, value)


def _time(mtime_ns: int) -> bytes:
    seconds, nanoseconds = divmod(abs(mtime_ns), 1_000_000_000)
    text = b"%d.%09d" % (seconds, nanoseconds) if nanoseconds else b"%d" % seconds
    return (b"-" if mtime_ns < 0 else b"") + (text.rstrip(b"0") if nanoseconds else text)


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True
