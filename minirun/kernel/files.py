"""Files that are there whole or not at all, and locks that end with their holder."""

from __future__ import annotations

import fcntl
import os
from errno import EEXIST, ENOTEMPTY

_MOST_DESCRIPTORS = 1 << 20


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte of *data*; write(2) may take less than it is given."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def close_but(*kept: int) -> None:
    """Close every descriptor from 3 on but *kept*: in a fork, which has brought along what is not for it."""
    begin = 3
    for descriptor in sorted(kept):
        os.closerange(begin, descriptor)
        begin = descriptor + 1
    os.closerange(begin, _MOST_DESCRIPTORS)


def sync_folder(path: str) -> None:
    """Make the names in the directory *path* survive a power cut. See fsync(2)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: str, data: bytes, *, durable: bool = True, mode: int = 0o600) -> None:
    """Put *data* at *path* so that every reader sees the old file or the new one, never a part.

    Args:
        path: the file; its directory must be there.
        data: all of its new contents.
        durable: survive a power cut too (fsync of file and directory, milliseconds on a disk). Without it the file
            may be empty or absent after one, which suits what does not outlive its container.
        mode: permissions of the new file.

    Raises:
        OSError: nothing changed at *path*.
    """
    temporary = f"{path}.{os.getpid()}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
    except OSError:
        os.unlink(temporary)
        raise
    if durable:
        sync_folder(os.path.dirname(path))


def remove(path: str) -> None:
    """Unlink *path*; that it is not there is no error."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove_folder(path: str) -> None:
    """Remove the directory *path*; that it is not there, or that something is in it, is no error."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (ENOTEMPTY, EEXIST):
            raise


def lock(path: str, *, exclusive: bool, wait: bool = True) -> int:
    """Take the flock of the file *path*, made where it is missing; closing the descriptor gives it back.

    Returns:
        The descriptor that holds the lock, close-on-exec.

    Raises:
        BlockingIOError: *wait* is false and somebody holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def hold(path: str) -> int:
    """Make a file and hold its lock for as long as the descriptor is open, for `take_over` by whoever finds it then.

    Returns:
        The descriptor, close-on-exec.
    """
    while True:
        descriptor = lock(path, exclusive=True)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        # somebody found it between its making and its locking, took it for abandoned, and removed it
        os.close(descriptor)


def take_over(path: str) -> int:
    """Lock a file whose holder died; -1 if the holder is alive, or came to its end meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        # Opened while its holder lived, who then removed it and let go: it was done, or undone, or replaced.
    except BlockingIOError:
        pass
    os.close(descriptor)
    return -1
