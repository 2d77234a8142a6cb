"""Files and terminals of the host as standard input or output: a container gets a pipe, and we copy.

    minirun run -i IMAGE cmd < in.txt > out.txt

    in.txt ──▶ thread ──▶ pipe ── 0 ┐
    out.txt ◀── thread ◀── pipe ── 1 ┘ container

Whoever holds a descriptor of a file can open /proc/self/fd/N again, for writing what was open for reading, or to
shorten what was open for appending; with a directory he can walk the host. Of whatever has a name on the host root in
the container could change the mode: of a FIFO, of a terminal, whose settings are the caller's too. Sockets and pipes
without a name give nothing but what they are, and go in as they are. Of the null device the container gets its own.
"""

from __future__ import annotations

import _thread
import fcntl
import os
from errno import EINVAL
from stat import S_ISCHR, S_ISFIFO, S_ISSOCK

from minirun.kernel import files
from minirun.launch.spec import NULL_DEVICE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_CHUNK_BYTES = 1 << 18
_PIPE_BYTES = 1 << 20  # what everybody may have, unless fs.pipe-max-size says less
_F_SETPIPE_SZ = 1031  # linux/fcntl.h
_NULL = os.makedev(1, 3)


class Relay:
    """The pipes in place of files among descriptors 0, 1 and 2.

    Attributes:
        redirects: (descriptor, place): what the container is to find at 0, 1 or 2; see Spec.
    """

    __slots__ = ("_copies", "_running", "redirects")

    def __init__(self) -> None:
        self.redirects: list[tuple[int, int]] = []
        self._copies: list[tuple[int, int, bool]] = []  # (from, to, whether it is the container's output)
        self._running: list[_thread.LockType] = []

    @classmethod
    def open(cls, *, stdin: bool) -> Relay | None:
        """Make a pipe for each descriptor that is a file; None where there is none, which is how most are started.

        Two descriptors of one file, ``> log 2>&1``, share a pipe: what is written to both keeps its order.

        Raises:
            OSError: EMFILE, ENFILE.
        """
        relay: Relay | None = None
        pipes: dict[tuple[int, int], int] = {}
        for place in (0, 1, 2) if stdin else (1, 2):
            status = os.fstat(place)
            if status.st_rdev == _NULL and S_ISCHR(status.st_mode):
                relay = relay or cls()
                relay.redirects.append((NULL_DEVICE, place))
                continue
            if S_ISSOCK(status.st_mode) or (S_ISFIFO(status.st_mode) and _is_nameless(place)):
                continue
            relay = relay or cls()
            file = (status.st_dev, status.st_ino)
            if place and file in pipes:
                relay.redirects.append((pipes[file], place))
                continue
            reading, writing = os.pipe2(os.O_CLOEXEC)
            try:
                fcntl.fcntl(writing, _F_SETPIPE_SZ, _PIPE_BYTES)
            except OSError:
                pass  # it is as large as it is
            if place:
                pipes[file] = writing
            relay.redirects.append((writing if place else reading, place))
            relay._copies.append((reading, place, True) if place else (place, writing, False))
        return relay

    def start(self) -> None:
        """Copy from now on, in threads; the container's ends are the container's alone."""
        self.close()
        for source, target, output in self._copies:
            ended = _thread.allocate_lock()
            ended.acquire()
            _thread.start_new_thread(_copy, (source, target, output, ended))
            if output:
                self._running.append(ended)

    def close(self) -> None:
        """Close our copies of the container's ends. Idempotent."""
        for descriptor in {descriptor for descriptor, _ in self.redirects} - {NULL_DEVICE}:
            os.close(descriptor)
        self.redirects = []

    def finish(self) -> None:
        """Wait until all that the container wrote has arrived."""
        for ended in self._running:
            ended.acquire()


def give(redirects: Sequence[tuple[int, int]], owner: int, *, stdin: bool) -> None:
    """Let a user, by his uid on the host, open again what he is to have as 0, 1 and 2, as /dev/stdout leads to it.

    Pipes without a name alone: who owns one of those may do no more with it, and root still may.
    """
    replaced = {place: descriptor for descriptor, place in redirects}
    for place in (0, 1, 2) if stdin else (1, 2):
        descriptor = replaced.get(place, place)
        if descriptor >= 0 and _is_nameless(descriptor):
            os.fchown(descriptor, owner, -1)


def _is_nameless(place: int) -> bool:
    return os.readlink(f"/proc/self/fd/{place}").startswith("pipe:")


def _copy(source: int, target: int, output: bool, ended: _thread.LockType) -> None:
    try:
        if output:
            _move(source, target)
        # what is read is not spliced: a pipe in the container would hold pages of the host's file
        buffer = memoryview(bytearray(_CHUNK_BYTES))
        while count := os.readv(source, [buffer]):
            files.write_all(target, buffer[:count])
    except OSError:
        pass  # nobody reads any more, or the disk is full: the writer learns of it by EPIPE
    finally:
        os.close(source if output else target)
        ended.release()


def _move(pipe: int, file: int) -> None:
    """Move what comes out of *pipe* to *file* by splice(2), until its end, or until the file does not take that."""
    try:
        while os.splice(pipe, file, _PIPE_BYTES):
            pass
    except OSError as error:
        if error.errno != EINVAL:  # open for appending, or of a file system without splice
            raise
