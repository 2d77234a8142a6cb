"""Whole trees of files, removed, copied and counted, whatever is in them and however deep they are.

remove:   top/a/b/c/…      files are unlinked; a directory below the second level is first moved up to the top,
          top/~0 (was a/b)     so that two descriptors are enough for any depth and no path gets long
"""

from __future__ import annotations

import errno
import fcntl
import os
from stat import S_IFMT, S_ISBLK, S_ISCHR, S_ISLNK, S_ISREG

from minirun.kernel import descent

FICLONE = 0x40049409  # linux/fs.h: share the extents of another file
_NO_COPY_RANGE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOSYS}
_COPY_BYTES = 1 << 30
_READ_BYTES = 1 << 20


def remove(path: str | bytes) -> None:
    """Remove *path* and everything below it. That it is not there is no error; no symlink is followed.

    Raises:
        OSError: something cannot be removed (EBUSY: a mount point; EPERM: immutable). What could be, is gone.
    """
    above, name = os.path.split(os.fsencode(path).rstrip(b"/"))
    try:
        directory = os.open(above or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_at(directory, name)
    finally:
        os.close(directory)


def remove_at(directory: int, name: str | bytes) -> None:
    """Remove the entry *name* of *directory*, a descriptor, as `remove` does."""
    if _unlinked(directory, name):
        return
    try:
        top = _opened(directory, name)
    except FileNotFoundError:
        return
    try:
        while _lower(top):
            pass
    finally:
        os.close(top)
    _emptied(directory, name)


def _lower(top: int) -> bool:
    """Take everything that is not a directory, and one level of directories, out of *top*; False when it was empty."""
    found = False
    with os.scandir(top) as entries:
        for entry in entries:
            found = True
            if not entry.is_dir(follow_symlinks=False):
                _unlinked(top, entry.name)
            elif not _emptied(top, entry.name):
                try:
                    child = _opened(top, entry.name)
                except FileNotFoundError:
                    continue
                try:
                    _raise_children(child, top)
                finally:
                    os.close(child)
                _emptied(top, entry.name)
    return found


def _raise_children(directory: int, top: int) -> None:
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries):
            if not entry.is_dir(follow_symlinks=False):
                _unlinked(directory, entry.name)
            elif not _emptied(directory, entry.name):
                _raise(directory, entry.name, top, number)


def _raise(directory: int, name: str, top: int, number: int) -> None:
    while True:
        try:
            os.rename(name, f"~{number:x}", src_dir_fd=directory, dst_dir_fd=top)
        except FileNotFoundError:
            return
        except PermissionError:
            if os.stat(name, dir_fd=directory).st_mode & 0o700 == 0o700:
                raise
            os.chmod(name, 0o700, dir_fd=directory)  # moving a directory writes its ".."
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            number += 0x10000  # the name is taken by something that is still to be removed
        else:
            return


def _unlinked(directory: int, name: str | bytes) -> bool:
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        return False
    return True


def _emptied(directory: int, name: str | bytes) -> bool:
    try:
        os.rmdir(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _opened(directory: int, name: str | bytes) -> int:
    try:
        return os.open(name, descent.DIRECTORY, dir_fd=directory)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=directory)  # an owner without CAP_DAC_OVERRIDE may still do that
        return os.open(name, descent.DIRECTORY, dir_fd=directory)


def usage(path: str) -> tuple[int, int]:
    """Count what is below the directory *path*.

    Returns:
        ``(bytes, entries)``: the lengths of its regular files and the number of its inodes, each inode once.
    """
    size = entries = 0
    several: set[tuple[int, int]] = set()
    root = os.open(path, descent.DIRECTORY)
    try:
        for event, _directory, _name, stat in descent.walk(root):
            if event == descent.LEAVE:
                continue
            if stat.st_nlink > 1 and event == descent.ENTRY:
                inode = stat.st_dev, stat.st_ino
                if inode in several:
                    continue
                several.add(inode)
            entries += 1
            if S_ISREG(stat.st_mode):
                size += stat.st_size
    finally:
        os.close(root)
    return size, entries


def sync(path: str) -> None:
    """Write everything that is cached of the file system that *path* is on to its disk. See syncfs(2).

    Raises:
        OSError: EIO, ENOSPC, EDQUOT: something could not be written.
    """
    import ctypes  # 2 ms, which nobody else here needs

    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(descriptor)


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
        with descent.Descent(self.root) as where:
            for component in first[:-1]:
                where.down(component)
            os.link(first[-1], name, src_dir_fd=where.current, dst_dir_fd=target, follow_symlinks=False)
        return True


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
                _copy_data(reading, writing)
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


def _copy_data(reading: int, writing: int) -> None:
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
        _copy_range(reading, writing, start, end)
    os.ftruncate(writing, size)


def _copy_range(reading: int, writing: int, start: int, end: int) -> None:
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


def _copy_metadata(stat: os.stat_result, source: int | bytes, target: int | bytes) -> None:
    follow = isinstance(target, int)
    os.chown(target, stat.st_uid, stat.st_gid, follow_symlinks=follow)
    if not S_ISLNK(stat.st_mode):
        os.chmod(target, stat.st_mode & 0o7777)  # after chown, which takes setuid away
    for name in os.listxattr(source, follow_symlinks=follow):
        os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=follow), follow_symlinks=follow)
    os.utime(target, ns=(stat.st_atime_ns, stat.st_mtime_ns), follow_symlinks=follow)
