"""Tar archives written byte by byte, valid or not, for tests of those who read them."""

from __future__ import annotations

END = bytes(1024)


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    mode: int = 0o644,
    uid: int | bytes = 0,
    gid: int | bytes = 0,
    size: int | bytes = 0,
    mtime: int | bytes = 1_000_000_000,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    device: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
    checksum: bytes | None = None,
) -> bytes:
    """One header block; numbers given as bytes go in as they are."""

    def number(value: int | bytes, width: int) -> bytes:
        text = value if isinstance(value, bytes) else b"%0*o" % (width - 1, value)
        return text.ljust(width, b"\0")

    assert len(name) <= 100
    assert len(link) <= 100
    before = name.ljust(100, b"\0") + number(mode, 8) + number(uid, 8) + number(gid, 8)
    before += number(size, 12) + number(mtime, 12)
    after = kind + link.ljust(100, b"\0") + magic.ljust(8, b"\0") + bytes(64)
    after += number(device[0], 8) + number(device[1], 8) + prefix.ljust(167, b"\0")
    total = sum(before) + sum(after) + 8 * 32
    return before + (checksum if checksum is not None else b"%06o\0 " % total) + after


def padded(data: bytes) -> bytes:
    """*data* with zeros up to a whole block."""
    return data + bytes(-len(data) % 512)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    """A pax header with *records*."""
    return raw_pax(b"".join(map(record, records)))


def raw_pax(data: bytes, kind: bytes = b"x") -> bytes:
    """A pax header with any data."""
    return header(b"PaxHeaders/x", kind, size=len(data)) + padded(data)


def record(pair: tuple[bytes, bytes]) -> bytes:
    """One pax record."""
    rest = b" %b=%b\n" % pair
    length = len(rest) + 1
    while len(b"%d" % length + rest) != length:
        length += 1
    return b"%d" % length + rest


def xattr(name: bytes, value: bytes) -> bytes:
    """A pax header that gives the next entry an xattr."""
    return pax((b"SCHILY.xattr." + name, value))


def long(data: bytes, kind: bytes = b"L") -> bytes:
    """A GNU long name (L) or link name (K)."""
    return header(b"././@LongLink", kind, size=len(data) + 1, magic=b"ustar  \0") + padded(data + b"\0")


def entry(
    name: bytes,
    kind: bytes,
    link: bytes = b"",
    *,
    mode: int,
    uid: int = 0,
    gid: int = 0,
    mtime: int = 10**9,
    size: int = 0,
) -> bytes:
    """A header of any names, led by GNU's long ones where it has no room for them."""
    before = long(name) if len(name) > 100 else b""
    before += long(link, b"K") if len(link) > 100 else b""
    return before + header(name[:100], kind, link=link[:100], mode=mode, uid=uid, gid=gid, mtime=mtime, size=size)


def file(
    name: bytes, content: bytes = b"", mode: int = 0o644, *, uid: int = 0, gid: int = 0, mtime: int = 10**9
) -> bytes:
    """A regular file."""
    return entry(name, b"0", mode=mode, uid=uid, gid=gid, mtime=mtime, size=len(content)) + padded(content)


def directory(name: bytes, mode: int = 0o755, *, uid: int = 0, gid: int = 0, mtime: int = 10**9) -> bytes:
    """A directory."""
    return entry(name, b"5", mode=mode, uid=uid, gid=gid, mtime=mtime)


def symlink(name: bytes, target: bytes) -> bytes:
    """A symlink."""
    return entry(name, b"2", mode=0o777, link=target)


def hardlink(name: bytes, target: bytes, *, mode: int = 0o644, uid: int = 0) -> bytes:
    """A hardlink."""
    return entry(name, b"1", mode=mode, uid=uid, link=target)


def device(name: bytes, major: int, minor: int, kind: bytes = b"3", mode: int = 0o666) -> bytes:
    """A character or block (4) device."""
    return header(name, kind, mode=mode, device=(major, minor))


def tar(*entries: bytes) -> bytes:
    """A whole archive."""
    return b"".join(entries) + END
