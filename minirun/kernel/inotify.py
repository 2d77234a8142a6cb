"""Waiting for files to change, without looking again and again: inotify(7), which the standard library has not got.

A watch of a directory tells of the files in it, by their names; not of what is in directories in it.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

IN_MODIFY, IN_MOVED_FROM, IN_MOVED_TO, IN_CREATE, IN_DELETE = 0x2, 0x40, 0x80, 0x100, 0x200
IN_Q_OVERFLOW, IN_IGNORED, IN_ONLYDIR = 0x4000, 0x8000, 0x1000000
_HEADER = struct.Struct("iIII")  # struct inotify_event: wd, mask, cookie, len; then len bytes of name
_ENOUGH_BYTES = 64 << 10


class Watch:
    """Watches files and directories; a context manager.

    Args:
        path: of the first; empty for none.
        mask: of which changes.

    Raises:
        OSError: it is not there; ENOSPC, EMFILE: /proc/sys/fs/inotify/ has the limits.
    """

    __slots__ = ("descriptor",)

    def __init__(self, path: str = "", mask: int = 0) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.descriptor < 0:
            raise _failure(path)
        try:
            if path:
                self.add(path, mask)
        except OSError:
            os.close(self.descriptor)
            raise

    def add(self, path: str, mask: int) -> int:
        """Watch *path*, too.

        Returns:
            The number by which `events` tells of it.

        Raises:
            OSError: as the constructor.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        number: int = libc.inotify_add_watch(self.descriptor, os.fsencode(path), ctypes.c_uint32(mask))
        if number < 0:
            raise _failure(path)
        return number

    def names(self) -> list[str]:
        """What changed since the last call, each name once; of a file that is watched itself, an empty one."""
        return list(dict.fromkeys(name for _, _, name in self.events()))

    def events(self) -> list[tuple[int, int, str]]:
        """What happened since the last call: where, as `add` numbered it, what, and to which name in there.

        IN_Q_OVERFLOW of -1: there was more than the kernel keeps, and that is forgotten.
        """
        found: list[tuple[int, int, str]] = []
        while True:
            try:
                data = os.read(self.descriptor, _ENOUGH_BYTES)
            except BlockingIOError:
                return found
            place = 0
            while place < len(data):
                number, mask, _, length = _HEADER.unpack_from(data, place)
                place += _HEADER.size + length
                found.append((number, mask, os.fsdecode(data[place - length : place].rstrip(b"\0"))))

    def wait(self, until: float = float("inf"), listeners: Sequence[int] = ()) -> bool:
        """Wait for a change.

        Args:
            until: the monotonic clock's time after which there is nothing to wait for.
            listeners: descriptors of pipes and the like that somebody reads what we write to.

        Returns:
            Whether something changed.

        Raises:
            BrokenPipeError: who read has gone.
        """
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        for listener in listeners:
            poll.register(listener, 0)  # of POLLERR one is told always
        left_s = until - time.monotonic()
        ready = poll.poll(None if left_s == float("inf") else max(0.0, left_s * 1000))
        if any(descriptor != self.descriptor and happened & select.POLLERR for descriptor, happened in ready):
            raise BrokenPipeError
        return any(descriptor == self.descriptor for descriptor, _ in ready)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        os.close(self.descriptor)


def _failure(path: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), path)
