"""A tar archive as it is written: ustar headers, and a pax header before those that a ustar header cannot express.

in a pax header                              because ustar
-------------------------------------------  -----------------------------------------------
path, linkpath                               has 100 bytes (255 where a "/" is well placed)
mtime                                        has seconds since 1970
uid, gid, size                               ends at 2097151, 2097151, 8 GiB - 1
SCHILY.xattr.<name>                          has no room for them
hdrcharset=BINARY                            (the names above it are not UTF-8)
"""

from __future__ import annotations

import errno
import os
from stat import S_ISBLK, S_ISCHR, S_ISFIFO, S_ISLNK, S_ISREG

from minirun.kernel import descent
from minirun.layer import stack, tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 20
_PAD = [bytes(count) for count in range(512)]
_ZEROS = bytes(CHUNK_BYTES)
_ID_MAX, _SIZE_MAX, _SECONDS_MAX = 0o7777777, 0o77777777777, 0o77777777777
# labels that the host's security modules give, and what would speak to an overlay mount
_HOST_XATTRS = ("trusted.overlay.", "user.overlay.", "security.selinux", "security.ima", "security.evm")
_OPAQUE_MARK = b".wh..wh..opq"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Archive:
    """The tar of one tree.

    Args:
        literal: names that begin with ``.wh.`` are archived like others.

    Attributes:
        entries: how many were written.
        warnings: sentences about what was left out.
    """

    def __init__(self, *, literal: bool) -> None:
        self.literal = literal
        self.entries = 0
        self.warnings: list[str] = []
        self._links: dict[tuple[int, int], bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0

    def chunks(self, root: int) -> Iterator[bytes]:
        """Yield the archive of the directory *root*, a descriptor, in chunks of CHUNK_BYTES.

        Raises:
            OSError: something could not be read. ENAMETOOLONG: a path beyond 4,096 bytes.
        """
        self._directory(root, b"./", os.fstat(root))
        above = b""
        for event, directory, name, stat in descent.walk(root):
            if event == descent.LEAVE:
                above = above[: -len(name) - 1]
                continue
            path = above + name
            if len(path) >= tar.NAME_MAX_BYTES:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)
            hidden = not self.literal and name.startswith(b".wh.")
            if hidden:
                self.warnings.append(f"{os.fsdecode(path)!r} was left out: its name would be taken for a whiteout")
            if event == descent.ENTER:
                above = path + b"/"
                if not hidden:
                    self._directory(directory, above, stat)
            elif not hidden:
                file = self._entry(directory, above, name, stat)
                if file >= 0:
                    try:
                        yield from self._contents(file, stat)
                    finally:
                        os.close(file)
            if self._size >= CHUNK_BYTES:
                yield self._take()
        self._write(bytes(1024))
        while self._size:
            yield self._take()

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
        self._header(path, stat, tar.DIRECTORY, xattrs=_xattrs(directory))
        if stack.is_opaque(directory):
            self._header(path.removeprefix(b"./") + _OPAQUE_MARK, None, tar.FILE)

    def _entry(self, directory: int, above: bytes, name: bytes, stat: os.stat_result) -> int:
        """Write the header of what is not a directory; returns a descriptor of the file whose data follow, or -1."""
        path = above + name
        if stack.is_whiteout(stat):
            self._header(above + b".wh." + name, None, tar.FILE)
            return -1
        if stat.st_nlink > 1:
            first = self._links.setdefault((stat.st_dev, stat.st_ino), path)
            if first != path:
                self._header(path, stat, tar.HARDLINK, link=first)
                return -1
        if S_ISREG(stat.st_mode):
            try:
                file = _open(directory, name)
            except FileNotFoundError:
                self._links.pop((stat.st_dev, stat.st_ino), None)
                return -1
            self._header(path, stat, tar.FILE, size=stat.st_size, xattrs=_xattrs(file))
            return file
        xattrs = _xattrs(b"/proc/self/fd/%d/%b" % (directory, name))
        if S_ISLNK(stat.st_mode):
            self._header(path, stat, tar.SYMLINK, link=os.readlink(name, dir_fd=directory), xattrs=xattrs)
        elif S_ISCHR(stat.st_mode) or S_ISBLK(stat.st_mode):
            self._header(path, stat, tar.CHARACTER if S_ISCHR(stat.st_mode) else tar.BLOCK, xattrs=xattrs)
        elif S_ISFIFO(stat.st_mode):
            self._header(path, stat, tar.FIFO, xattrs=xattrs)
        return -1  # and a socket means nothing without the process that listens on it

    def _contents(self, file: int, stat: os.stat_result) -> Iterator[bytes]:
        """The data, of the announced length whatever happens to the file meanwhile."""
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
        self._write(_PAD[-size & 511])

    def _header(
        self,
        path: bytes,
        stat: os.stat_result | None,
        kind: bytes,
        *,
        size: int = 0,
        link: bytes = b"",
        xattrs: list[tuple[str, bytes]] | None = None,
    ) -> None:
        self.entries += 1
        mode, uid, gid, mtime_ns, device = (0, 0, 0, 0, 0)
        if stat is not None:
            mode, uid, gid, mtime_ns = stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, stat.st_mtime_ns
            device = stat.st_rdev if kind in (tar.CHARACTER, tar.BLOCK) else 0
        records = []
        prefix, name = _split(path)
        if not name:
            records.append((b"path", path))
            name = path[:100]
        if len(link) > 100:
            records.append((b"linkpath", link))
        if any(b"\0" in value or not _is_utf8(value) for _key, value in records):
            records.insert(0, (b"hdrcharset", b"BINARY"))
        for key, value, most in ((b"uid", uid, _ID_MAX), (b"gid", gid, _ID_MAX), (b"size", size, _SIZE_MAX)):
            if value > most:
                records.append((key, b"%d" % value))
        seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
        if nanoseconds or not 0 <= seconds <= _SECONDS_MAX:
            records.append((b"mtime", _time(mtime_ns)))
        records.extend((b"SCHILY.xattr." + os.fsencode(key), value) for key, value in xattrs or ())
        if records:
            data = b"".join(_record(key, value) for key, value in records)
            extension = b"PaxHeaders/" + path.rstrip(b"/").rpartition(b"/")[2][:80]
            self._write(_block(extension, 0o644, 0, 0, len(data), 0, b"x", b"", 0, b""))
            self._write(data + _PAD[-len(data) & 511])
        self._write(
            _block(
                name,
                mode,
                uid if uid <= _ID_MAX else 0,
                gid if gid <= _ID_MAX else 0,
                size if size <= _SIZE_MAX else 0,
                min(max(seconds, 0), _SECONDS_MAX),
                kind,
                link[:100],
                device,
                prefix,
            )
        )


def _block(
    name: bytes, mode: int, uid: int, gid: int, size: int, seconds: int, kind: bytes, link: bytes, device: int,
    prefix: bytes,
) -> bytes:  # fmt: skip
    first = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, uid, gid, size, seconds)
    devices = b"%07o\0%07o\0" % (os.major(device), os.minor(device))
    last = b"%b%bustar\00000%b%b%b" % (kind, link.ljust(100, b"\0"), _PAD[64], devices, prefix.ljust(167, b"\0"))
    return b"%b%06o\0 %b" % (first, sum(first) + sum(last) + 8 * 32, last)


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Divide *path* into ustar's prefix and name; an empty name: it does not fit."""
    if len(path) <= 100:
        return b"", path
    at = path.find(b"/", len(path) - 101, min(156, len(path) - 1))
    return (path[:at], path[at + 1 :]) if at > 0 else (b"", b"")


def _record(key: bytes, value: bytes) -> bytes:
    rest = len(key) + len(value) + 3
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


def _xattrs(where: int | bytes) -> list[tuple[str, bytes]]:
    follow = isinstance(where, int)
    try:
        names = os.listxattr(where, follow_symlinks=follow)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return []
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
