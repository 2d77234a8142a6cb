"""What an image archive has in it, and where: the index of a tar, made without keeping or believing much.

    archive   header data… header data… header data…   end
    index     name ─▶ kind, where its data begin, their length, where a link leads

Of two members with one name the last counts, as when an archive is unpacked. What no path inside could name (absolute,
or with "..") is left out. There are bounds on how many members there are and on their names: a root file system has
more, and an image archive, which has a few for each layer, far less.
"""

from __future__ import annotations

import os
import stat

from minirun.layer import tar
from minirun.layer.field import Malformed
from minirun.layer.stream import BLOCK_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MEMBERS = 100_000
NAMES_BYTES = 8 << 20  # of all names and of where links lead
_READ_BYTES = 1 << 14  # headers of small members lie close together, those of layers far apart
_KINDS = {
    tar.FILE: stat.S_IFREG,
    tar.HARDLINK: stat.S_IFREG,
    tar.SYMLINK: stat.S_IFLNK,
    tar.DIRECTORY: stat.S_IFDIR,
    tar.CHARACTER: stat.S_IFCHR,
    tar.BLOCK: stat.S_IFBLK,
    tar.FIFO: stat.S_IFIFO,
}


class Member:
    """One member of an archive.

    Attributes:
        kind: its type bits (stat.S_IFMT); a hardlink is a regular file.
        offset: where its data begin; -1 for a file that is stored in pieces, with holes between them.
        size: of its data, in bytes.
        mtime_ns: may be negative.
        link: where a symlink or a hardlink leads, as it is written; empty for anything else.
    """

    __slots__ = ("kind", "link", "mtime_ns", "offset", "size")

    def __init__(self, kind: int, offset: int, size: int, mtime_ns: int, link: str) -> None:
        self.kind = kind
        self.offset = offset
        self.size = size
        self.mtime_ns = mtime_ns
        self.link = link


class Stream(tar.Reader):
    """The entries of a tar, and where the data of each begin, counted from its first byte."""

    __slots__ = ("_given",)

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._given = 0
        super().__init__(self._counted(chunks))

    def _counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._given += len(chunk)
            yield chunk

    @property
    def offset(self) -> int:
        """Where the data begin of the entry that was read last."""
        return self._given - (self._end - self._position)

    @property
    def length(self) -> int:
        """How much there is of the tar, once nothing more comes."""
        return self._given


class File(Stream):
    """The same of a tar that is a regular file: data are passed over, not read.

    Args:
        descriptor: of the file; where it stands does not matter, and it stands there afterwards.
        start: where in the file the tar begins; offsets are counted from the file's first byte.
    """

    __slots__ = ("_length",)

    def __init__(self, descriptor: int, start: int = 0) -> None:
        self._length = os.fstat(descriptor).st_size
        super().__init__(self._blocks(descriptor))
        self._given = start

    @property
    def length(self) -> int:
        """How much there is of the file."""
        return self._length

    def _blocks(self, descriptor: int) -> Iterator[bytes]:
        while block := os.pread(descriptor, _READ_BYTES, self._given):
            yield block

    def _skip_unread(self) -> bool:
        beyond = self._unread - (self._end - self._position)
        if beyond <= 0:
            return super()._skip_unread()
        missing = self._given + beyond - self._length
        if missing >= BLOCK_BYTES:
            raise Malformed("it ends in the middle of an entry's data")
        self._position, self._unread = self._end, 0
        self._given += beyond
        return missing <= 0  # else only padding is missing


def index(stream: Stream) -> tuple[dict[str, Member], bool]:
    """The members of an archive by their names: relative, without ``./`` and the slash behind a directory's.

    Returns:
        The members, and whether the archive's end is marked as such; of one that is cut off between two it is not.

    Raises:
        Malformed: the archive is damaged or cut off, or has more in it than an image archive.
        OSError: it could not be read.
    """
    members: dict[str, Member] = {}
    count = names_bytes = end = 0
    while (entry := stream.next()) is not None:
        count += 1
        names_bytes += len(entry.name) + len(entry.link)
        if count > MEMBERS or names_bytes > NAMES_BYTES:
            raise Malformed(f"more than {MEMBERS} members, or than {NAMES_BYTES >> 20} MiB of names")
        end = stream.offset + entry.size if entry.regions is None else 0
        name = inside(os.fsdecode(entry.name))
        if name:
            linked = entry.kind in (tar.HARDLINK, tar.SYMLINK)
            members[name] = Member(
                _KINDS[entry.kind], stream.offset if entry.regions is None else -1, entry.size, entry.mtime_ns,
                (os.fsdecode(entry.link) or "/") if linked else "",  # an empty one leads nowhere inside
            )  # fmt: skip
    if end > stream.length:
        # that padding is missing at the very end is forgiven, and what is shorter than padding looks the same
        raise Malformed("it ends in the middle of an entry's data")
    return members, stream.offset >= end + (-end & 511) + BLOCK_BYTES


def inside(name: str) -> str:
    """*name* as the index has it; empty where it names the whole, or nothing inside."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return "" if name.startswith("/") or ".." in parts else "/".join(parts)
