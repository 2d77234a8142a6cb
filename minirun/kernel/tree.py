"""Whole trees of files, removed, counted and (see copying.py) copied, whatever is in them and however deep they are.

remove:   top/1/2/3/4/a/b/c      files are unlinked on the way down; a directory below the fourth level is moved up to
          top/~0 (was …/4/a)     the top first, so that a few descriptors are enough for any depth
"""

from __future__ import annotations

import errno
import os
from stat import S_ISREG

from minirun.kernel import descent

LEVELS = 4  # as deep as what a container leaves: work/work/incompat/volatile


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
        while not _emptied(directory, name):
            _empty(top, top, LEVELS)
    finally:
        os.close(top)


def _empty(directory: int, top: int, levels: int) -> None:
    """Take everything out of *directory*; what lies deeper than *levels* goes up to *top*, for another time."""
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries):
            if not entry.is_dir(follow_symlinks=False):
                _unlinked(directory, entry.name)
            elif not _emptied(directory, entry.name):
                if levels == 0:
                    _raise(directory, entry.name, top, number)
                else:
                    _enter(directory, entry.name, top, levels - 1)


def _enter(directory: int, name: str, top: int, levels: int) -> None:
    try:
        child = _opened(directory, name)
    except FileNotFoundError:
        return
    try:
        _empty(child, top, levels)
    finally:
        os.close(child)
    _emptied(directory, name)


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
    """Count *path* and what is below it; a symlink is not followed.

    Returns:
        ``(bytes, entries)``: the lengths of its regular files and the number of its inodes, each inode once.
    """
    size = entries = 0
    several: set[tuple[int, int]] = set()
    try:
        root = os.open(path, descent.DIRECTORY)
    except NotADirectoryError:
        there = os.lstat(path)
        return there.st_size if S_ISREG(there.st_mode) else 0, 1
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
    """Copy the directory *source* to *target*, which must not exist; see `copying.copy`."""
    from minirun.kernel import copying  # of those who remove, nobody copies

    copying.copy(source, target)
