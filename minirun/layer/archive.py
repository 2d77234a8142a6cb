"""A tree, or one file, as a tar archive, in the order of the names' bytes; what an entry is in it, layer/pack.py draws.

Of a file as many bytes are written as were announced, whatever happens to it meanwhile.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISBLK, S_ISCHR, S_ISFIFO, S_ISLNK, S_ISREG, S_ISSOCK

from minirun.kernel import descent
from minirun.layer import entries, header, stack, tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

CHUNK_BYTES = 1 << 20
_ZEROS = bytes(CHUNK_BYTES)
_SMALL_BYTES = 64 << 10
# labels that the host's security modules give, and what would speak to an overlay mount
_HOST_XATTRS = ("trusted.overlay.", "user.overlay.", "security.selinux", "security.ima", "security.evm")
_OPAQUE_MARK = b".wh..wh..opq"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Archive:
    """The tar of one tree.

    Args:
        literal: names that begin with ``.wh.`` are archived like others.
        overlay: what means something to overlayfs becomes what means that in a layer's tar, and is not archived like
            others; None: unless *literal*.
        latest_ns: what is younger gets this time, in nanoseconds since 1970; None leaves every time as it is.
        is_walked: see descent.walk.
        owner: says whose an entry is in the archive; None: whose it is.

    Attributes:
        entries: how many were written.
        warnings: sentences about what was left out.
    """

    def __init__(
        self, *, literal: bool = False, overlay: bool | None = None, latest_ns: int | None = None,
        is_walked: Callable[[int, os.stat_result], bool] | None = None,
        owner: Callable[[os.stat_result], tuple[int, int]] | None = None,
    ) -> None:  # fmt: skip
        self.literal = literal
        self.overlay = not literal if overlay is None else overlay
        self.is_walked = is_walked
        self.latest_ns = latest_ns
        self._owner = owner
        self.entries = 0
        self.warnings: list[str] = []
        self._links: dict[tuple[int, int], bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0

    def chunks(self, root: int, prefix: bytes = b"") -> Iterator[bytes]:
        """Yield the archive of the directory *root*, a descriptor, in chunks of CHUNK_BYTES.

        Args:
            root: the directory.
            prefix: what it is called in the archive, with a slash at the end; empty for ``./``, and names without it.

        Raises:
            OSError: something could not be read. ENAMETOOLONG: a path beyond 4,096 bytes.
        """
        self._directory(root, prefix or b"./", os.fstat(root))
        above = prefix
        hidden = b""
        for event, directory, name, stat in descent.walk(root, self.is_walked):
            if event == descent.LEAVE:
                if above == hidden:
                    hidden = b""
                above = above[: -len(name) - 1]
                continue
            path = above + name
            if len(path) >= tar.NAME_MAX_BYTES:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
            if not hidden and not self.literal and name.startswith(b".wh."):
                self.warnings.append(f"{os.fsdecode(path)!r} was left out: its name would be taken for a whiteout")
                if event == descent.ENTER:
                    above = hidden = path + b"/"
                continue
            if event == descent.ENTER:
                above = path + b"/"
                if not hidden:
                    self._directory(directory, above, stat)
            elif not hidden:
                yield from self._file(directory, above + name, name, stat)
            if self._size >= CHUNK_BYTES:
                yield self._take()
        yield from self._end()

    def one(self, directory: int, name: bytes, path: bytes) -> Iterator[bytes]:
        """Yield an archive of nothing but the entry *name*, no directory, of *directory*, as *path*; see `chunks`."""
        yield from self._file(directory, path, name, os.stat(name, dir_fd=directory, follow_symlinks=False))
        yield from self._end()

    def _end(self) -> Iterator[bytes]:
        self._write(header.END)
        while self._size:
            yield self._take()

    def _file(self, directory: int, path: bytes, name: bytes, stat: os.stat_result) -> Iterator[bytes]:
        file = self._entry(directory, path, name, stat)
        if file >= 0:
            try:
                if not self._small(file, stat):
                    yield from self._contents(file, stat)
            finally:
                os.close(file)

    def _write(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def _take(self) -> bytes:
        # always of the same length: what a compressor makes depends on how its input is cut
        data = b"".join(self._parts)
        self._parts = [data[CHUNK_BYTES:]]
        self._size = len(self._parts[0])
        return data[:CHUNK_BYTES]

    def _directory(self, directory: int, path: bytes, stat: os.stat_result) -> None:
        self._header(path, stat, tar.DIRECTORY, xattrs=xattrs(directory))
        if self.overlay and stack.is_opaque(directory):
            self._mark(path.removeprefix(b"./") + _OPAQUE_MARK)

    def _entry(self, directory: int, path: bytes, name: bytes, stat: os.stat_result) -> int:
        """Write the header of what is not a directory; returns a descriptor of the file whose data follow, or -1."""
        if self.overlay and stack.is_whiteout(stat):
            self._mark(path[: len(path) - len(name)] + b".wh." + name)
            return -1
        if S_ISSOCK(stat.st_mode):
            return -1  # it means nothing without the process that listens on it
        if stat.st_nlink > 1:
            first = self._links.setdefault((stat.st_dev, stat.st_ino), path)
            if first != path:
                self._header(path, stat, tar.HARDLINK, link=first)
                return -1
        if S_ISREG(stat.st_mode):
            if self._plain(directory, path, name, stat):
                return -1
            try:
                file = _open(directory, name)
            except FileNotFoundError:
                self._links.pop((stat.st_dev, stat.st_ino), None)
                return -1
            self._header(path, stat, tar.FILE, size=stat.st_size, xattrs=xattrs(file))
            return file
        named = xattrs(b"/proc/self/fd/%d/%b" % (directory, name))
        if S_ISLNK(stat.st_mode):
            self._header(path, stat, tar.SYMLINK, link=os.readlink(name, dir_fd=directory), xattrs=named)
        elif S_ISCHR(stat.st_mode) or S_ISBLK(stat.st_mode):
            kind = tar.CHARACTER if S_ISCHR(stat.st_mode) else tar.BLOCK
            self._header(path, stat, kind, device=stat.st_rdev, xattrs=named)
        elif S_ISFIFO(stat.st_mode):
            self._header(path, stat, tar.FIFO, xattrs=named)
        return -1

    def _plain(self, directory: int, path: bytes, name: bytes, stat: os.stat_result) -> bool:
        """Write header and data of a small file without holes and xattrs at once; whether that was it."""
        size = stat.st_size
        if size > _SMALL_BYTES or stat.st_blocks * 512 < size:
            return False
        uid, gid = self._owner(stat) if self._owner else (stat.st_uid, stat.st_gid)
        entry = entries.read(directory, name, path, stat.st_mode & 0o7777, uid, gid, size, self._time(stat))
        if entry is None:
            return False
        self.entries += 1
        self._write(entry)
        return True

    def _time(self, stat: os.stat_result) -> int:
        if self.latest_ns is not None and stat.st_mtime_ns > self.latest_ns:
            return self.latest_ns
        return stat.st_mtime_ns

    def _small(self, file: int, stat: os.stat_result) -> bool:
        """Write the data of a small file without holes by one read, as nearly all are; whether that was it."""
        size = stat.st_size
        if size > _SMALL_BYTES or stat.st_blocks * 512 < size:
            return False
        data = os.pread(file, size, 0)
        if len(data) != size:
            return False
        self._write(data + header.PAD[-size & 511])
        return True

    def _contents(self, file: int, stat: os.stat_result) -> Iterator[bytes]:
        size = stat.st_size
        position = 0
        for start, end in _regions(file, stat):
            while position < start:
                count = min(start - position, CHUNK_BYTES)
                self._write(_ZEROS[:count])
                position += count
                if self._size >= CHUNK_BYTES:
                    yield self._take()
            while position < end:
                data = os.pread(file, min(end - position, CHUNK_BYTES), position)
                if not data:
                    data = _ZEROS[: min(end - position, CHUNK_BYTES)]  # it became shorter
                self._write(data)
                position += len(data)
                if self._size >= CHUNK_BYTES:
                    yield self._take()
        self._write(header.PAD[-size & 511])

    def _mark(self, path: bytes) -> None:
        self.entries += 1
        self._write(header.entry(path, tar.FILE))

    def _header(
        self,
        path: bytes,
        stat: os.stat_result,
        kind: bytes,
        *,
        size: int = 0,
        link: bytes = b"",
        device: int = 0,
        xattrs: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        self.entries += 1
        uid, gid = self._owner(stat) if self._owner else (stat.st_uid, stat.st_gid)
        self._write(header.entry(
            path, kind, mode=stat.st_mode & 0o7777, uid=uid, gid=gid, size=size,
            mtime_ns=self._time(stat), link=link, device=device, xattrs=xattrs,
        ))  # fmt: skip


def xattrs(where: int | bytes) -> Sequence[tuple[str, bytes]]:
    """The xattrs of a descriptor, or of a path that may be a symlink, sorted, but for those that are the host's own."""
    follow = isinstance(where, int)
    try:
        names = os.listxattr(where, follow_symlinks=follow)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return ()
    if not names:
        return ()
    return [
        (name, os.getxattr(where, name, follow_symlinks=follow))
        for name in sorted(names)
        if not name.startswith(_HOST_XATTRS)
    ]


def _open(directory: int, name: bytes) -> int:
    try:
        return os.open(name, _READ | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        return os.open(name, _READ, dir_fd=directory)  # O_NOATIME is for owners
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise FileNotFoundError(errno.ENOENT, "a symlink took its place", name) from None


def _regions(file: int, stat: os.stat_result) -> Iterator[tuple[int, int]]:
    """Where *file* has data; the last region ends at its size, empty or not."""
    size = stat.st_size
    position = 0
    if stat.st_blocks * 512 < size:
        while position < size:
            try:
                start = os.lseek(file, position, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                yield size, size
                return
            position = min(os.lseek(file, start, os.SEEK_HOLE), size)
            yield min(start, size), position
    else:
        yield 0, size
