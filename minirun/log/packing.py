"""Rotated files of a log are packed by gzip, in a thread, which takes its time.

    <log>.1 ──▶ <log>.<inode>.packing ──▶ <log>.1.gz     by then it is .2 perhaps: what stays is the inode
                                          <log>.1 goes

One that somebody reads is left for the next rotation. A process that ends waits for what it has begun; what a killed
process left half-packed is begun anew when the log is opened again.
"""

from __future__ import annotations

import _thread
import atexit
import os
from time import sleep

from minirun.kernel import files
from minirun.log import segments

_CHUNK_BYTES = 256 << 10
_LEVEL = 1  # a tenth of the size; level 6 takes three times as long for a fifteenth
_SUFFIX = ".packing"
_TRIES, _PAUSE_S = 100, 0.01

# one at a time in this process, however many logs there are: it is the containers' processor, too
_turn = _thread.allocate_lock()
# held while names change, so that whoever rotates in this process need not put it off because of our own thread
naming = _thread.allocate_lock()
_working: list[_thread.LockType] = []


def begin(path: str) -> None:
    """Have a thread pack the rotated files of the log at *path*."""
    working = _thread.allocate_lock()
    working.acquire()
    _working.append(working)
    try:
        _thread.start_new_thread(_pack_all, (path, working))
    except RuntimeError:
        _working.remove(working)  # no more threads: the next rotation tries again


def finish() -> None:
    """Wait until all is packed that was begun."""
    while _working:
        _working.pop().acquire()


def _forked() -> None:
    """Begin as a child that has none of the threads."""
    for lock in (_turn, naming):
        if lock.locked():
            lock.release()
    _working.clear()


atexit.register(finish)
os.register_at_fork(after_in_child=_forked)


def _pack_all(path: str, working: _thread.LockType) -> None:
    try:
        with _turn:
            _clear(path)
            for plain in segments.rotated(path).values():
                if not plain.endswith(segments.PACKED):
                    pack(path, plain)
    except OSError:
        pass  # the disk is full, or the container was removed; what is not packed can be read all the same
    finally:
        working.release()
        try:
            _working.remove(working)
        except ValueError:
            pass  # `finish` has it


def _clear(path: str) -> None:
    folder, name = os.path.split(path)
    for other in os.listdir(folder):
        if other.startswith(f"{name}.") and other.endswith(_SUFFIX):
            files.remove(f"{folder}/{other}")


def pack(path: str, plain: str) -> None:
    """Pack *plain*, a rotated file of the log at *path*.

    Raises:
        OSError: it could not be; it is there as it was.
    """
    source = os.open(plain, os.O_RDONLY | os.O_CLOEXEC)
    status = os.fstat(source)
    temporary = f"{path}.{status.st_ino}{_SUFFIX}"
    try:
        _write(source, temporary)
        # what is left out by --since is told from when a file was last written
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))
        if not _put(path, status, temporary):
            os.unlink(temporary)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    finally:
        os.close(source)


def _write(source: int, temporary: str) -> None:
    from zlib import compressobj

    packer = compressobj(_LEVEL, wbits=31)  # 15 + 16: with a header and an end of gzip
    target = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while data := os.read(source, _CHUNK_BYTES):
            files.write_all(target, packer.compress(data))
        files.write_all(target, packer.flush())
    finally:
        os.close(target)


def _put(path: str, status: os.stat_result, temporary: str) -> bool:
    """Put what was packed in the place of what it was made of, wherever that is by now; whether it did."""
    for _ in range(_TRIES):
        with naming:
            try:
                held = segments.lock(os.path.dirname(path), exclusive=True, wait=False)
            except BlockingIOError:
                pass
            else:
                try:
                    return _rename(path, status, temporary)
                finally:
                    os.close(held)
        sleep(_PAUSE_S)  # somebody looks for a name, which takes microseconds
    return False


def _rename(path: str, status: os.stat_result, temporary: str) -> bool:
    for name in segments.rotated(path).values():
        if os.path.samestat(os.stat(name), status):
            if segments.is_read(name):
                return False
            os.rename(temporary, f"{name}{segments.PACKED}")
            os.unlink(name)
            return True
    return False
