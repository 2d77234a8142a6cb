"""One container's log, as whoever takes its output writes it: chunks from the spool become entries in files.

    FIFO ─▶ spool ─▶ entries ─▶ file, rotated ─▶ and, with --log-driver journald, ─▶ the journal

A log that cannot be written (the disk is full or fails, its directory was removed) does not stop a container: what
cannot be written is dropped and counted, and an entry says so as soon as there is room for it.

Sinks are opened when there is something to write. A few stay open, whatever the number of containers.
"""

from __future__ import annotations

import os
from time import time_ns

from minirun.log.spool import CHUNK_BYTES, NOTE_BYTES, Note
from minirun.log.writer import NO_DESCRIPTORS, STDERR, Writer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.log.file import LogFile
    from minirun.log.journald import Journal
    from minirun.log.spool import Spool

_MOST_OPEN = 16  # each has a descriptor of its spool and one of its log
_open: dict[Sink, None] = {}  # those, the one that was written longest ago first


class Sink:
    """The log of one container. One process at a time has one: who makes it holds a lock.

    Attributes:
        file: what is written.
    """

    __slots__ = ("_spool", "_spooled", "_unwritten", "_writer", "file")

    def __init__(
        self, file: LogFile, spool: Spool, *, attributes: str = "", journal: Journal | None = None,
        told: Callable[[OSError], object] | None = None,
    ) -> None:  # fmt: skip
        """Open a log; what a killed process left in its spool is in the log then.

        Args:
            file: what is written.
            spool: what goes there.
            attributes: of every entry, as JSON; may be empty.
            journal: gets every line, too.
            told: called with the reason when something is dropped, once until an entry has told of it.
        """
        self.file = file
        self._spool = spool
        self._writer = Writer(file, attributes, journal, told, self._opening, self._write_note)
        self._spooled = False  # whether the spool has what is on its way into the log
        self._unwritten = False  # whether there may be something in the spool that is not in the log
        self._resume()

    @property
    def dropped(self) -> int:
        """Bytes that could not be written, and that no entry tells of yet."""
        return self._writer.dropped

    @property
    def dropped_in_all(self) -> int:
        """Bytes that this object could not write."""
        return self._writer.dropped_in_all

    def take(self, source: int, stream: int, also: Callable[[bytes], object] | None = None) -> int:
        """Move what waits in a FIFO into the log, CHUNK_BYTES at most.

        Args:
            source: descriptor of the FIFO; non-blocking.
            stream: 1: standard output, 2: standard error.
            also: called with the same bytes when they are in the log; what it raises is raised.

        Returns:
            How many bytes; 0 when nobody has the FIFO open for writing any more.

        Raises:
            BlockingIOError: nothing waits there.
            OSError: EMFILE, ENFILE: what waits there waits still.
        """
        if self._unwritten:
            self._resume()
        note = Note(stream, time_ns(), dropped=self._writer.dropped)
        self._wake()
        self._writer.locate(note)
        chunk = self._spool_chunk(source, note)
        self._writer.put(note, chunk)
        self._unwritten = False
        if chunk and also:
            also(chunk)
        return len(chunk)

    def rest(self) -> None:
        """Close descriptors; the next `take` opens them again. The spool's room is given back."""
        _open.pop(self, None)
        if not self._unwritten:
            self._spool.empty()
        self._spool.close()
        self.file.close()

    def close(self) -> None:
        """Close it; what was dropped is told of, if there is room now. Idempotent."""
        if self._writer.dropped and not self._unwritten:
            self.rest()
            note = Note(STDERR, time_ns(), dropped=self._writer.dropped)
            self._writer.locate(note)
            self._open_spool()
            self._writer.put_piece(note, b"", rotate=False)
        self.rest()

    def _resume(self) -> None:
        self._wake()
        self._unwritten = True
        try:
            self._opening(self._spool.open)
            note = self._spool.note()
            chunk = self._spool.read(NOTE_BYTES, max(0, self._spool.size() - NOTE_BYTES))
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                raise
            note, chunk = Note(), b""
        self._writer.dropped = note.dropped
        end = NOTE_BYTES + len(chunk)
        if note.begin < end or (self._writer.journal and note.sent < end):
            self._repeat(note, chunk)
        else:
            try:
                self._opening(self.file.mend)
            except OSError:
                pass  # who writes will see that, too
        self._unwritten = False
        self.rest()

    def _repeat(self, note: Note, chunk: bytes) -> None:
        """Write what a killed process wrote in part, or not at all."""
        self._spooled = True
        inode, place = note.inode, note.place
        self._writer.locate(note)
        if inode == note.inode:
            note.place = min(place, note.place)
        elif inode:
            note.place = 0  # it was rotated since, and in the new file is nothing that is not in the spool
        self._write_note(note)
        self._writer.put(note, chunk, rotate=False)
        if note.inode:
            os.ftruncate(self.file.descriptor, note.place)  # behind it there is something if a version wrote otherwise

    def _wake(self) -> None:
        _open.pop(self, None)
        while len(_open) >= _MOST_OPEN:
            next(iter(_open)).rest()
        _open[self] = None

    def _opening(self, opening: Callable[[], Any]) -> Any:
        """Open something; the other sinks rest where there are no descriptors for it."""
        try:
            return opening()
        except OSError as error:
            if error.errno not in NO_DESCRIPTORS:
                raise
            for other in [other for other in _open if other is not self]:
                other.rest()
            return opening()

    def _spool_chunk(self, source: int, note: Note) -> bytes:
        if not self._open_spool():
            return os.read(source, CHUNK_BYTES)
        try:
            self._spool.empty()
            self._spool.write_note(note)
            self._unwritten = True
            moved = self._spool.take(source)
        except BlockingIOError:
            self._unwritten = False
            raise
        except OSError:
            # /run is full: what is on its way into the log now would be lost with this process, and with it alone
            self._spooled = self._unwritten = False
            return os.read(source, CHUNK_BYTES)
        return self._spool.read(NOTE_BYTES, moved)

    def _open_spool(self) -> bool:
        try:
            self._opening(self._spool.open)
            self._spooled = True
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                raise
            self._spooled = False
        return self._spooled

    def _write_note(self, note: Note) -> None:
        if self._spooled:
            self._spool.write_note(note)
