"""A log read in the order in which it was written, from any place of it, file by file.

    <log>.2.gz ─▶ <log>.1 ─▶ <log>      one file is open, and is kept for that: see segments.py
                                        its end is the end of the log, unless a younger one is there

What is given are whole entries: who writes may be in the middle of one.
"""

from __future__ import annotations

import os

from minirun.log import entries, source
from minirun.log.segments import Segments, whole_lines
from minirun.log.tail import Tail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from minirun.log.segments import Segment
    from minirun.log.source import Source


class Reader:
    """Reads the log at *path* from its first entry on; a context manager.

    Args:
        path: of its youngest file.

    Attributes:
        path: as given.
        lost: how often files were gone that should have come next; the disk was full, then.
        damaged: how many lines were no entries.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.lost = self.damaged = 0
        self._segments = Segments(path)
        self._source: Source | None = None
        self._next: Segment | None = None
        self._begun: list[entries.Entry] = []  # to be given first

    def read(self) -> list[entries.Entry]:
        """Some entries more; none when there are none for now."""
        if self._begun:
            found, self._begun = self._begun, []
            return found
        while block := self._read():
            found, damaged = entries.read(block)
            self.damaged += damaged
            if found:
                return found
        return []

    def _read(self) -> bytes:
        while True:
            if self._source is None:
                segment = self._segments.oldest()
                if segment is None:
                    return b""
                self._source = source.of(segment)
            if data := self._source.read():
                return data
            if self._next is None:
                self._next, lost = self._segments.after(self._source.segment)
                self.lost += lost
                if self._next is None:
                    return b""
                continue  # it may have been written to before it was rotated, and after it was read
            self._source.close()
            self._source, self._next = source.of(self._next), None

    def skip_until(self, seconds: float) -> None:
        """Go past files that were written last before a time since 1970."""
        while True:
            segment = self._source.segment if self._source else self._segments.oldest()
            if segment is None:
                return
            if self._source is None:
                self._source = source.of(segment)
            # files are written in order: an entry is no younger than its file
            following = self._segments.after(segment)[0] if os.fstat(segment.descriptor).st_mtime < seconds else None
            if following is None:
                return
            self._source.close()
            self._source = source.of(following)

    def skip_to_end(self) -> None:
        """Go to the end: what is read then is what is written from now on."""
        self._move(self._segments.youngest(), None)

    def skip_to_tail(self, lines: int) -> None:
        """Go to where the last *lines* begin, without a look at what is before them.

        A line is what ends with a newline, or what a stream ends with; a long one can be of many entries.
        """
        tail = Tail(lines)
        segment = self._segments.youngest()
        while segment is not None:
            place = tail.look(segment)
            older = self._segments.before(segment) if place is None else None
            if older is None:
                self._move(segment, place or 0)
                self._begun = tail.begun
                return
            segment.close()
            segment = older

    def _move(self, segment: Segment | None, place: int | None) -> None:
        self.close()
        if segment is not None:
            self._source = source.of(segment)
            self._source.skip(whole_lines(segment.descriptor) if place is None else place)

    def close(self) -> None:
        """Let files go. Idempotent."""
        for held in (self._source, self._next):
            if held is not None:
                held.close()
        self._source = self._next = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()
