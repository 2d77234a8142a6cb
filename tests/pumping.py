"""A log with its FIFOs, for tests that write, pump, kill and read."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable
from pathlib import Path

from minirun.log import entries, packing, segments
from minirun.log.file import LogFile
from minirun.log.pump import Pump
from minirun.log.sink import Sink
from minirun.log.spool import Spool

_FIFO_BYTES = 60_000  # what it takes without somebody who reads it


class Logged:
    """A container's log without the container.

    Attributes:
        writers: the ends that a container would have, of standard output and standard error.
        path: of the youngest file.
    """

    def __init__(self, folder: Path, **limits: int) -> None:
        """Make FIFOs below *folder*; *limits* are max_bytes, max_files, compress and max_kept of a LogFile."""
        self.folder = folder
        self.limits = {"max_bytes": 0, "max_files": 1_000_000, **limits}
        self.log = folder / "log"
        self.path = self.log / "0123-json.log"
        self.spool = folder / "output.spool"
        self.writers = []
        for name in ("stdout", "stderr"):
            os.mkfifo(folder / name)
            self.writers.append(os.open(folder / name, os.O_RDWR))

    def file(self) -> LogFile:
        """Its files, for writing."""
        return LogFile(str(self.path), **self.limits)  # type: ignore[arg-type]  # compress is a bool, and 1 is one

    def sink(self, **options: object) -> Sink:
        """A sink, as a process that takes over makes it."""
        return Sink(self.file(), Spool(str(self.spool)), **options)  # type: ignore[arg-type]  # whatever a test gives

    def source(self, stream: int) -> int:
        """The reading end of a FIFO, opened anew."""
        return os.open(self.folder / ("", "stdout", "stderr")[stream], os.O_RDONLY | os.O_NONBLOCK)

    def pumps(self, **options: object) -> tuple[Pump, Pump]:
        """A pump a stream, on one sink."""
        sink = self.sink(**options)
        return Pump(self.source(1), 1, sink), Pump(self.source(2), 2, sink)

    def pump_for_ever(self) -> None:
        """What a supervisor does, for one container."""
        poll = select.epoll()
        by_source = {pump.source: pump for pump in self.pumps()}
        for source in by_source:
            poll.register(source, select.EPOLLIN)
        while True:
            for source, _ in poll.poll():
                by_source[source].ready()

    def drain(self) -> None:
        """Move all that waits."""
        pumps = self.pumps()
        for pump in pumps:
            pump.drain()
            pump.close()
        pumps[0].sink.close()
        packing.finish()

    def write(self, stream: int, data: bytes) -> None:
        """Print *data*, and move it into the log."""
        for begin in range(0, len(data), _FIFO_BYTES):
            os.write(self.writers[stream - 1], data[begin : begin + _FIFO_BYTES])
            self.drain()

    def files(self) -> list[Path]:
        """Every file of it, the oldest first."""
        return [*map(Path, reversed(segments.rotated(str(self.path)).values())), self.path]

    def entries(self) -> list[entries.Entry]:
        """Every entry, the oldest first; a damaged one fails the test."""
        import gzip

        found = []
        for file in self.files():
            data = file.read_bytes()
            read, damaged = entries.read(gzip.decompress(data) if file.suffix == segments.PACKED else data)
            assert not damaged, file
            found += read
        return found

    def printed(self, stream: str) -> bytes:
        """All that was printed to a stream."""
        return b"".join(data for name, _, data, _ in self.entries() if name == stream)

    def pack(self) -> None:
        """Pack what was rotated, here and now."""
        for path in segments.rotated(str(self.path)).values():
            if not path.endswith(segments.PACKED):
                packing.pack(str(self.path), path)

    def close(self) -> None:
        """Close the writers."""
        for writer in self.writers:
            os.close(writer)


def child(work: Callable[[], object]) -> int:
    """Have *work* done by a process of its own; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        work()
        os._exit(0)
    finally:
        os._exit(1)
