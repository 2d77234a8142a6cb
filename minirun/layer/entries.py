"""The plain entries of a tar, each in one call of _entries.c; where no compiler made that, no entry is plain.

    plain   header ─▶ its fields                      None:  tar.py reads it
    make    fields, data in memory ─▶ a file          False: extraction.py makes it
    read    a small file ─▶ header, data, padding     None:  archive.py reads it

So there is one way for everything, in Python, and a short one that ends where it does for what nearly all entries are.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Header = tuple[int, bytes, bytes, int, int, int, int, int, bytes]

try:
    from minirun.layer import _entries  # type: ignore[attr-defined]
except ImportError:
    _entries = None


def _plain(_buffer: bytes | memoryview, _position: int) -> Header | None:
    """Read the header at *position*.

    Returns:
        where it ends, name, kind, mode, uid, gid, size of its data, mtime_ns, link; see tar.Entry.
    """
    return None


def _make(
    _directory: int, _name: bytes, _buffer: bytes | memoryview, _position: int, _size: int, _uid: int, _gid: int,
    _mode: int, _mtime_ns: int,
) -> bool:  # fmt: skip
    """Make the file *name*, which is no path, in *directory*, a descriptor.

    Args:
        buffer: has its data, *size* bytes from *position*.
        uid, gid: of its owner; a uid of -1 leaves both as they are.

    Returns:
        Whether it was made; if not, nothing was done: the name is taken, or there can be no such file.

    Raises:
        OSError: it could not be written, and is there in part.
    """
    return False


def _read(
    _directory: int, _name: bytes, _path: bytes, _mode: int, _uid: int, _gid: int, _size: int, _mtime_ns: int
) -> bytes | None:
    """Read the file *name* in *directory*, a descriptor, as the entry *path*: what header.entry makes, and the data.

    Returns:
        The entry; None if the file has xattrs, or not *size* bytes, or is not to be read.
    """
    return None


plain = _entries.plain if _entries else _plain
make = _entries.make if _entries else _make
read = _entries.read if _entries else _read
