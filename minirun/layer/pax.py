r"""The records of a pax header: what a tar header has no room for.

    27 mtime=1700000000.5000000\n     length in decimal, counting itself and the newline; a key; any bytes
    21 path=a/very/long/…\n

Keys that mean something here: path, linkpath, size, uid, gid, mtime, SCHILY.xattr.<name>, GNU.sparse.<…>.
See "pax Extended Header" in pax(1) of POSIX.
"""

from __future__ import annotations

from minirun.layer.field import Malformed, decimal, nanoseconds

XATTR = b"SCHILY.xattr."
SPARSE = b"GNU.sparse."
_NAMES = {b"path", b"linkpath", b"uname", b"gname"}
_LENGTH_DIGITS = 8  # of a record in a header of at most a mebibyte


class Records:
    """What one pax header says; None or empty where it says nothing.

    Attributes:
        count: of the records, whether they mean something or not.
        path, link: names, in bytes.
        size, uid, gid: numbers.
        mtime_ns: nanoseconds, may be negative.
        xattrs: name → value.
        sparse: the GNU.sparse records in their order, their common prefix taken away.
    """

    __slots__ = ("count", "gid", "link", "mtime_ns", "path", "size", "sparse", "uid", "xattrs")

    def __init__(self) -> None:
        self.count = 0
        self.path = self.link = b""
        self.size: int | None = None
        self.uid: int | None = None
        self.gid: int | None = None
        self.mtime_ns: int | None = None
        self.xattrs: dict[bytes, bytes] | None = None
        self.sparse: list[tuple[bytes, bytes]] = []


NONE = Records()


def parse(data: bytes) -> Records:
    """Parse the data of an ``x`` header.

    Raises:
        Malformed: a record has a wrong length, a NUL in a name, or no number where one should be.
    """
    records = Records()
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + _LENGTH_DIGITS)
        digits = data[position:blank]
        if blank < 0 or not digits.isdigit():
            raise Malformed("a pax record without a length")
        end = position + int(digits)
        if end > len(data) or end <= blank or data[end - 1] != 0x0A:
            raise Malformed("a pax record with a wrong length")
        key, equals, value = data[blank + 1 : end - 1].partition(b"=")
        if not key or not equals:
            raise Malformed("a pax record without a key")
        if b"\0" in (value if key in _NAMES else key):
            raise Malformed(f"NUL in the pax record {key[:40]!r}")
        _keep(records, key, value)
        records.count += 1
        position = end
    return records


def _keep(records: Records, key: bytes, value: bytes) -> None:
    if key.startswith(XATTR):
        if records.xattrs is None:
            records.xattrs = {}
        records.xattrs[key[len(XATTR) :]] = value
    elif key.startswith(SPARSE):
        records.sparse.append((key[len(SPARSE) :], value))
        if key == b"GNU.sparse.name":
            records.path = value
            if b"\0" in value:
                raise Malformed("NUL in the pax record 'GNU.sparse.name'")
    elif not value:
        pass  # an empty value takes a record of a global header back, and those are not heeded
    elif key == b"path":
        # the name of a sparse file stands in its own record; path is then a name for tools that know no holes
        if not any(key == b"name" for key, _value in records.sparse):
            records.path = value
    elif key == b"linkpath":
        records.link = value
    elif key == b"size":
        records.size = decimal(value)
    elif key == b"uid":
        records.uid = decimal(value)
    elif key == b"gid":
        records.gid = decimal(value)
    elif key == b"mtime":
        records.mtime_ns = nanoseconds(value)
