"""Chunks of output become entries in files, as a note says from where on; see spool.py.

note ── place in the log, begin in the chunk ──▶ piece by piece: entries, written; the note goes on
the file is full: note, rotate; it cannot be written: drop, note
"""

from __future__ import annotations

import os
from errno import EIO, EMFILE, ENFILE
from io import BytesIO

from minirun.log import entries
from minirun.log.spool import NOTE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.log.file import LogFile
    from minirun.log.journald import Journal
    from minirun.log.spool import Note

STDERR = 2
NO_DESCRIPTORS = (EMFILE, ENFILE)
_STREAMS = ("", "stdout", "stderr")
_PIECE_BYTES = 16 << 10  # made entries of at once
_SHORT_PIECE_BYTES = 4 << 10  # the same of short lines: those of two bytes become forty times as long
_MANY = 1000


class Writer:
    """Writes the entries of one log.

    Args:
        file: what is written.
        attributes: of every entry, as JSON; may be empty.
        journal: gets every line, too.
        told: called with the reason when something is dropped, once until an entry has told of it.
        opening: opens a file, where there are few descriptors by closing others.
        write_note: keeps a note, so that who is killed then has done what it says.

    Attributes:
        file: as given.
        journal: as given.
        dropped: bytes that could not be written, and that no entry tells of yet.
        dropped_in_all: bytes that this object could not write.
    """

    __slots__ = (
        "_attributes", "_error", "_opening", "_told", "_write_note", "dropped", "dropped_in_all", "file", "journal",
    )  # fmt: skip

    def __init__(
        self, file: LogFile, attributes: str, journal: Journal | None, told: Callable[[OSError], object] | None,
        opening: Callable[[Callable[[], Any]], Any], write_note: Callable[[Note], object],
    ) -> None:  # fmt: skip
        self.file = file
        self.journal = journal
        self._attributes = attributes
        self._told = told
        self._opening = opening
        self._write_note = write_note
        self._error: OSError | None = None
        self.dropped = self.dropped_in_all = 0

    def locate(self, note: Note) -> None:
        """Note where the log ends; nowhere, if it cannot be opened."""
        try:
            note.inode, note.place = self._opening(self.file.open)
        except OSError as error:
            if error.errno in NO_DESCRIPTORS:
                raise
            note.inode, note.place = 0, 0
            self._error = error

    def put(self, note: Note, chunk: bytes, *, rotate: bool = True) -> None:
        """Write what *note* says is not in the log yet of a chunk, in pieces that end with a line if they can."""
        while (begin := note.begin - NOTE_BYTES) < len(chunk):
            piece = chunk[begin : begin + _PIECE_BYTES]
            if piece.count(b"\n") > _MANY:
                piece = piece[:_SHORT_PIECE_BYTES]
            if begin + len(piece) < len(chunk):
                piece = piece[: piece.rfind(b"\n") + 1] or piece
            rotate = self.put_piece(note, piece, rotate=rotate) and rotate
        if self.journal:
            self._send(note, chunk)

    def put_piece(self, note: Note, piece: bytes, *, rotate: bool) -> bool:
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
            self.locate(note)
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
        return entries.write(text.encode(), self._ending(STDERR, note))

    def _ending(self, stream: int, note: Note) -> str:
        return entries.ending(_STREAMS[stream], note.time_ns, self._attributes)

    def _send(self, note: Note, chunk: bytes) -> None:
        """Send the journal what it has not got of a chunk, a line a message."""
        assert self.journal is not None
        for line in BytesIO(chunk[note.sent - NOTE_BYTES :]):
            self.journal.send(line, note.stream, note.time_ns)
            note.sent += len(line)
            self._write_note(note)
