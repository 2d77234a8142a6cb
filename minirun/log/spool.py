"""Output on its way from a FIFO into the log, so that a kill -9 loses nothing of it and writes nothing twice.

    FIFO ──splice──▶ spool ──format──▶ log            one chunk at a time, of one stream
                     ┌──────┬─────────────────┐
                     │ note │ bytes of a chunk│
                     └──────┴─────────────────┘
                     0      64

    empty    the spool is cut off behind the note: the chunk before is in the log
    note     where the log ends, which stream comes now, what time it is
    splice   the kernel moves bytes out of the FIFO into the spool, and no kill comes in between
    write    each line of the chunk as an entry with the note's time, from the note's place in the log on

The entries follow from note and chunk alone. So who finds a chunk in the spool writes them (again) from the note's
place on: what is there already is there as it was, also for somebody who reads the log meanwhile. An empty spool says
nothing of the log: it is whole. See docs/decisions/0052-exactly-once.md.
"""

from __future__ import annotations

import os
from struct import Struct

CHUNK_BYTES = 64 << 10  # what a FIFO holds, unless it was made larger
_NOTE = Struct("<8sqqqqqqq")
_MAGIC = b"minirun\1"
NOTE_BYTES = _NOTE.size


class Note:
    """What is known of the chunk in a spool.

    Attributes:
        stream: 1: standard output, 2: standard error; 0: there never was a chunk.
        time_ns: of its entries, since 1970.
        inode: of the log's youngest file, 0 if there was none to write to.
        place: where in that file the entries of the rest begin.
        begin: where in the spool the rest begins.
        sent: where in the spool begins what the journal has not got.
        dropped: how many bytes before the rest could not be written, and are told of before it.
    """

    __slots__ = ("begin", "dropped", "inode", "place", "sent", "stream", "time_ns")

    def __init__(
        self, stream: int = 0, time_ns: int = 0, inode: int = 0, place: int = 0, begin: int = NOTE_BYTES,
        sent: int = NOTE_BYTES, dropped: int = 0,
    ) -> None:  # fmt: skip
        self.stream = stream
        self.time_ns = time_ns
        self.inode = inode
        self.place = place
        self.begin = begin
        self.sent = sent
        self.dropped = dropped


class Spool:
    """The spool of one container. It holds one descriptor, between `open` and `close`.

    Attributes:
        path: of it, on a file system that need not survive a reboot.
        descriptor: of it; -1 while it is closed.
    """

    __slots__ = ("descriptor", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.descriptor = -1

    def open(self) -> None:
        """Open it, unless it is; made where it is not there.

        Raises:
            OSError: it cannot be: its directory is gone, there is no room.
        """
        if self.descriptor < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self.descriptor = os.open(self.path, flags, 0o600)

    def close(self) -> None:
        """Close it. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def note(self) -> Note:
        """What was last noted; of a spool that is new, or that cannot be read, a note of nothing."""
        data = os.pread(self.descriptor, NOTE_BYTES, 0)
        if len(data) < NOTE_BYTES or not data.startswith(_MAGIC):
            return Note()
        _, stream, time_ns, inode, place, begin, sent, dropped = _NOTE.unpack(data)
        return Note(stream, time_ns, inode, place, begin, sent, dropped)

    def write_note(self, note: Note) -> None:
        """Note what holds from now on; less than a page from memory that was just written: whole or not at all.

        Raises:
            OSError: ENOSPC: /run is full.
        """
        data = _NOTE.pack(
            _MAGIC, note.stream, note.time_ns, note.inode, note.place, note.begin, note.sent, note.dropped
        )  # fmt: skip
        os.pwrite(self.descriptor, data, 0)

    def empty(self) -> None:
        """Forget the chunk: it is in the log."""
        if self.descriptor >= 0:
            os.ftruncate(self.descriptor, NOTE_BYTES)

    def take(self, source: int) -> int:
        """Move what waits in the FIFO *source* into the empty spool, CHUNK_BYTES at most.

        Returns:
            How many bytes; 0 when nobody has the FIFO open for writing any more.

        Raises:
            BlockingIOError: nothing waits there.
            OSError: there is no room: what could not be moved waits there still.
        """
        return os.splice(
            source, self.descriptor, CHUNK_BYTES, offset_dst=NOTE_BYTES, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE
        )

    def size(self) -> int:
        """Where the chunk ends."""
        return os.fstat(self.descriptor).st_size

    def read(self, begin: int, size: int) -> bytes:
        """Bytes of the chunk."""
        return os.pread(self.descriptor, size, begin)
