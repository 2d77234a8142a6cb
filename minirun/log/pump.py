"""From what a container prints into its log: one pump a stream, for a loop that waits for many of them.

    sink = driver.open(…)                        what a killed process had taken and not yet written is in the log then
    out = Pump(fifo, 1, sink)                    a FIFO that the container writes to; the pump owns the descriptor
    err = Pump(fifo, 2, sink)                    both streams share the sink
    out = Pump(master, 1, sink, fifo=fifo)       a terminal: through a FIFO, open for reading and writing
    out = Pump(…, also=write)                    the same bytes for somebody else, when they are in the log; may block

    epoll.register(out.source, EPOLLIN)
    out.ready()  ─▶ whether there may be more    moves 64 kB at most; false: wait for the next EPOLLIN
    out.ended    ─▶ nobody can write any more    EPOLLHUP says so for ever: take the descriptor out of the epoll
    out.drain()                                  after the container's end: all that is left
    out.close(), err.close(), sink.close()

Who pumps holds a lock that keeps others from it: `lock` in the container's runtime directory. It can be killed at any
moment; who comes next makes a sink and pumps of the same paths, and nothing is lost or written twice.

Descriptors: a pump holds what it was given, a sink none, except for the sixteen that were written last, which hold two
each. OSError from a pump is EMFILE or ENFILE, or what *also* raised; nothing is lost by either.
"""

from __future__ import annotations

import os

from minirun.log.spool import CHUNK_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.log.sink import Sink

_PAGES = 16  # of a FIFO; each holds what one read of the terminal gave


class Pump:
    """Takes one stream of a container.

    Args:
        source: the reading end of a FIFO, or the master of a pty. It is made non-blocking: with a master that holds
            for everybody who has it.
        stream: 1: standard output, 2: standard error; of a terminal 1.
        sink: where it goes.
        fifo: with a master, the FIFO that its output goes through, open for reading and writing.
        also: called with what is in the log now.

    Attributes:
        source: as given; -1 when it is closed.
        ended: whether nobody has the other end open any more.
    """

    __slots__ = ("also", "ended", "fifo", "sink", "source", "stream")

    def __init__(
        self, source: int, stream: int, sink: Sink, *, fifo: int = -1, also: Callable[[bytes], object] | None = None
    ) -> None:
        self.source = source
        self.stream = stream
        self.sink = sink
        self.fifo = fifo
        self.also = also
        self.ended = False
        os.set_blocking(source, False)
        if fifo >= 0:
            os.set_blocking(fifo, False)

    def ready(self) -> bool:
        """Move what waits, CHUNK_BYTES at most; whether more may wait.

        Raises:
            OSError: EMFILE, ENFILE; or what `also` raised.
        """
        if self.fifo < 0:
            try:
                moved = self.sink.take(self.source, self.stream, self.also)
            except BlockingIOError:
                return False
            self.ended = moved == 0
            return moved >= CHUNK_BYTES
        more = self._fetch()
        try:
            self.sink.take(self.fifo, self.stream, self.also)
        except BlockingIOError:
            return False  # nothing came, and nothing was left there by somebody who was killed
        return more

    def _fetch(self) -> bool:
        """Move what the terminal shows into the FIFO, as much as that holds; whether more may come."""
        for _ in range(_PAGES):
            try:
                if not os.splice(self.source, self.fifo, CHUNK_BYTES, flags=os.SPLICE_F_NONBLOCK):
                    self.ended = True
                    return True
            except BlockingIOError:
                return False  # nothing is shown; or the FIFO is full, and EPOLLIN comes again
            except OSError:
                self.ended = True  # EIO: nobody has the terminal open
                return True
        return True

    def drain(self) -> None:
        """Move all that is left, after the container's end.

        Raises:
            OSError: EMFILE, ENFILE; or what `also` raised.
        """
        try:
            if self.fifo < 0:
                while self.sink.take(self.source, self.stream, self.also):
                    pass
                return
            while True:
                self._fetch()
                self.sink.take(self.fifo, self.stream, self.also)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close what it was given. Idempotent."""
        for descriptor in (self.source, self.fifo):
            if descriptor >= 0:
                os.close(descriptor)
        self.source = self.fifo = -1
