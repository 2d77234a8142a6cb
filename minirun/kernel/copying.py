"""Faithful copies of trees: what any file can have is kept, and data are shared where the file system can."""

from __future__ import annotations

import errno
import fcntl
import os
from stat import S_IFMT, S_ISBLK, S_ISCHR, S_ISLNK, S_ISREG

from minirun.kernel import descent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FICLONE = 0x40049409  # linux/fs.h: share the extents of another file
_NO_COPY_RANGE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS}
_COPY_BYTES = 1 << 30
_READ_BYTES = 1 << 20


def copy(source: str, target: str) -> None:
    """Copy the directory *source* to *target*, which must not exist.

    Hard links, owners, modes, nanosecond times, every xattr (``trusted.overlay.*`` too), device nodes (so whiteouts),
    FIFOs, sockets and holes are kept. File data is shared where the file system can (FICLONE).

    Raises:
        OSError: *target* may be there in part.
    """
    origin = os.open(source, descent.DIRECTORY)
    try:
        os.mkdir(target, 0o700)
        copied = os.open(target, descent.DIRECTORY)
        try:
            _Copy(origin, copied).run()
            _copy_metadata(os.fstat(origin), origin, copied)
        finally:
            os.close(copied)
    finally:
        os.close(origin)


class _Copy:
    __slots__ = ("links", "origin", "path", "root")

    def __init__(self, origin: int, root: int) -> None:
        self.origin, self.root = origin, root
        self.path: list[bytes] = []
        self.links: dict[tuple[int, int], list[bytes]] = {}

    def run(self) -> None:
        with descent.Descent(self.root) as target:
            for event, directory, name, stat in descent.walk(self.origin):
                if event == descent.ENTER:
                    os.mkdir(name, 0o700, dir_fd=target.current)
                    target.down(name)
                    self.path.append(name)
                elif event == descent.LEAVE:
                    # after what is in it: each entry made there changed its mtime
                    _copy_metadata(stat, directory, target.current)
                    target.up()
                    self.path.pop()
                elif not self.linked(stat, name, target.current):
                    copy_entry(stat, directory, name, target.current, name)

    def linked(self, stat: os.stat_result, name: bytes, target: int) -> bool:
        if stat.st_nlink == 1:
            return False
        own = [*self.path, name]
        first = self.links.setdefault((stat.st_dev, stat.st_ino), own)
        if first is own:
            return False
        link(self.root, first, target, name)
        return True


def link(root: int, first: Sequence[bytes], target: int, name: bytes) -> None:
    """Give an inode one more name.

    Args:
        root: descriptor of a directory.
        first: the names that lead from there to it, through no symlink.
        target: descriptor of the directory that gets the name.
        name: which nothing has there yet.
    """
    with descent.Descent(root) as where:
        for component in first[:-1]:
            where.down(component)
        os.link(first[-1], name, src_dir_fd=where.current, dst_dir_fd=target, follow_symlinks=False)


def copy_entry(stat: os.stat_result, directory: int, name: bytes, target: int, new_name: bytes) -> None:
    """Copy what is not a directory, as `copy` does.

    Args:
        stat: of the entry.
        directory: descriptor of the directory that it is in.
        name: its name there.
        target: descriptor of the directory that gets the copy.
        new_name: its name there; nothing may have it yet.
    """
    if S_ISREG(stat.st_mode):
        reading = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            writing = os.open(new_name, flags, 0o600, dir_fd=target)
            try:
                copy_data(reading, writing)
                _copy_metadata(stat, reading, writing)
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        return
    if S_ISLNK(stat.st_mode):
        os.symlink(os.readlink(name, dir_fd=directory), new_name, dir_fd=target)
    else:
        device = stat.st_rdev if S_ISCHR(stat.st_mode) or S_ISBLK(stat.st_mode) else 0
        os.mknod(new_name, S_IFMT(stat.st_mode) | 0o600, device, dir_fd=target)
    _copy_metadata(stat, b"/proc/self/fd/%d/%b" % (directory, name), b"/proc/self/fd/%d/%b" % (target, new_name))


def copy_data(reading: int, writing: int, told: Callable[[int], object] | None = None) -> None:
    """Copy what is in a file into an empty one, holes as holes.

    Args:
        reading: descriptor of the one.
        writing: of the other.
        told: called now and then with how many bytes have been copied since the last time.
    """
    try:
        fcntl.ioctl(writing, FICLONE, reading)
    except OSError:
        pass  # most file systems cannot; whatever else is wrong, the copy below meets it too
    else:
        return
    size = os.fstat(reading).st_size
    end = 0
    while end < size:
        try:
            start = os.lseek(reading, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # nothing but a hole up to the end
        end = min(os.lseek(reading, start, os.SEEK_HOLE), size)
        _copy_range(reading, writing, start, end, told)
    os.ftruncate(writing, size)


def _copy_range(reading: int, writing: int, start: int, end: int, told: Callable[[int], object] | None) -> None:
    while start < end:
        try:
            count = os.copy_file_range(reading, writing, min(end - start, _COPY_BYTES), start, start)
        except OSError as error:
            if error.errno not in _NO_COPY_RANGE:
                raise
            count = os.pwrite(writing, os.pread(reading, min(end - start, _READ_BYTES), start), start)
        if not count:
            return  # the file became shorter meanwhile
        start += count
        if told:
            told(count)


def _copy_metadata(stat: os.stat_result, source: int | bytes, target: int | bytes) -> None:
    follow = isinstance(target, int)
    os.chown(target, stat.st_uid, stat.st_gid, follow_symlinks=follow)
    if not S_ISLNK(stat.st_mode):
        os.chmod(target, stat.st_mode & 0o7777)  # after chown, which takes setuid away
    for name in os.listxattr(source, follow_symlinks=follow):
        os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=follow), follow_symlinks=follow)
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns), follow_symlinks=follow)
