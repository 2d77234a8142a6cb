"""One container's log, as whoever takes its output writes it: chunks from the spool become entries in files.

    FIFO ─▶ spool ─▶ entries ─▶ file, rotated ─▶ and, with --log-driver journald, ─▶ the journal

A log that cannot be written (the disk is full or fails, its directory was removed) does not stop a container: what
cannot be written is dropped and counted, and an entry says so as soon as there is room for it.

Sinks are opened when there is something to write. A few stay open, whatever the number of containers.
"""

from __future__ import annotations

import os
from errno import EIO, EMFILE, ENFILE
from io import BytesIO
from time import time_ns

from minirun.log import entries
from minirun.log.spool import CHUNK_BYTES, NOTE_BYTES, Note

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.log.file import LogFile
    from minirun.log.journald import Journal
    from minirun.log.spool import Spool

_STDERR = 2
STREAMS = ("", "stdout", "stderr")
_PIECE_BYTES = 16 << 10  # made entries of at once
_SHORT_PIECE_BYTES = 4 << 10  # the same of short lines: those of two bytes become forty times as long
_MANY = 1000
_MOST_OPEN = 16  # each has a descriptor of its spool and one of its log
_open: dict[Sink, None] = {}  # those, the one that was written longest ago first
_NO_DESCRIPTORS = (EMFILE, ENFILE)


class Sink:
    """The log of one container. One process at a time has one: who makes it holds a lock.

    Attributes:
        file: what is written.
        dropped: bytes that could not be written, and that no entry tells of yet.
        dropped_in_all: bytes that this object could not write.
    """

    __slots__ = (
        "_attributes", "_error", "_journal", "_spool", "_spooled", "_told", "_unwritten", "dropped",
        "dropped_in_all", "file",
    )  # fmt: skip

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
        self._attributes = attributes
        self._journal = journal
        self._told = told
        self._error: OSError | None = None
        self._spooled = False  # whether the spool has what is on its way into the log
        self._unwritten = False  # whether there may be something in the spool that is not in the log
        self.dropped = self.dropped_in_all = 0
        self._resume()

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
        note = Note(stream, time_ns(), dropped=self.dropped)
        self._wake()
        self._locate(note)
        chunk = self._spool_chunk(source, note)
        self._put(note, chunk)
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
        if self.dropped and not self._unwritten:
            self.rest()
            note = Note(_STDERR, time_ns(), dropped=self.dropped)
            self._locate(note)
            self._open_spool()
            self._put_piece(note, b"", rotate=False)
        self.rest()

    def _resume(self) -> None:
        self._wake()
        self._unwritten = True
        try:
            self._opening(self._spool.open)
            note = self._spool.note()
            chunk = self._spool.read(NOTE_BYTES, max(0, self._spool.size() - NOTE_BYTES))
        except OSError as error:
            if error.errno in _NO_DESCRIPTORS:
                raise
            note, chunk = Note(), b""
        self.dropped = note.dropped
        end = NOTE_BYTES + len(chunk)
        if note.begin < end or (self._journal and note.sent < end):
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
        self._locate(note)
        if inode == note.inode:
            note.place = min(place, note.place)
        elif inode:
            note.place = 0  # it was rotated since, and in the new file is nothing that is not in the spool
        self._write_note(note)
        self._put(note, chunk, rotate=False)
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
            if error.errno not in _NO_DESCRIPTORS:
                raise
            for other in [other for other in _open if other is not self]:
                other.rest()
            return opening()

    def _locate(self, note: Note) -> None:
        """Note where the log ends; nowhere, if it cannot be opened."""
        try:
            note.inode, note.place = self._opening(self.file.open)
        except OSError as error:
            if error.errno in _NO_DESCRIPTORS:
                raise
            note.inode, note.place = 0, 0
            self._error = error

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
            if error.errno in _NO_DESCRIPTORS:
                raise
            self._spooled = False
        return self._spooled

    def _write_note(self, note: Note) -> None:
        if self._spooled:
            self._spool.write_note(note)

    def _put(self, note: Note, chunk: bytes, *, rotate: bool = True) -> None:
        """Write what *note* says is not in the log yet of a chunk, in pieces that end with a line if they can."""
        while (begin := note.begin - NOTE_BYTES) < len(chunk):
            piece = chunk[begin : begin + _PIECE_BYTES]
            if piece.count(b"\n") > _MANY:
                piece = piece[:_SHORT_PIECE_BYTES]
            if begin + len(piece) < len(chunk):
                piece = piece[: piece.rfind(b"\n") + 1] or piece
            rotate = self._put_piece(note, piece, rotate=rotate) and rotate
        if self._journal:
            self._send(note, chunk)

    def _put_piece(self, note: Note, piece: bytes, *, rotate: bool) -> bool:
        """Write the entries of a piece, or as many as there is room for; what cannot be written is dropped.

        Returns:
            False when the file is full and cannot be rotated now.
        """
        loss = self._loss(note) if note.dropped else b""
        data = loss + (entries.write(piece, self._ending(note.stream, note)) if piece else b"")
        held, whole = -1, len(data)
        if rotate and self.file.is_full(note.place, data):
            held = self.file.begin_rotation()
            if held >= 0:
                data = data[: self.file.fitting(note.place, data)]
        try:
            done = self._write(note, data)
        except OSError as error:
            if held >= 0:
                os.close(held)
            self._drop(note, len(piece), error)
            return True
        note.place += done
        if loss and done:
            note.dropped = self.dropped = 0
        if done == whole:
            note.begin += len(piece)
        elif done > len(loss):
            lines = data.count(b"\n", len(loss), done)
            note.begin += len(piece) - len(piece.split(b"\n", lines)[lines])
        if loss or held >= 0:
            self._write_note(note)
        return held < 0 or self._rotate(note, held)

    def _write(self, note: Note, data: bytes) -> int:
        if not note.inode:
            raise self._error or OSError(EIO, "the log cannot be opened")
        return self.file.write(data, note.place) if data else 0

    def _rotate(self, note: Note, held: int) -> bool:
        try:
            self.file.rotate(held)
        except OSError as error:
            self._error = error
            return False
        finally:
            self._locate(note)
        return True

    def _drop(self, note: Note, size: int, error: OSError) -> None:
        if not self.dropped and self._told:
            self._told(error)
        self.dropped += size
        self.dropped_in_all += size
        note.dropped = self.dropped
        note.begin += size
        self._write_note(note)

    def _loss(self, note: Note) -> bytes:
        text = f"minirun: {note.dropped} bytes of output are missing here: they could not be written\n"
        return entries.write(text.encode(), self._ending(_STDERR, note))

    def _ending(self, stream: int, note: Note) -> str:
        return entries.ending(STREAMS[stream], note.time_ns, self._attributes)

    def _send(self, note: Note, chunk: bytes) -> None:
        """Send the journal what it has not got of a chunk, a line a message."""
        assert self._journal is not None
        for line in BytesIO(chunk[note.sent - NOTE_BYTES :]):
            self._journal.send(line, note.stream, note.time_ns)
            note.sent += len(line)
            self._write_note(note)
