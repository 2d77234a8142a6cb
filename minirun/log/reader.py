"""A log read in the order in which it was written, from any place of it, file by file.

    <log>.2.gz ─▶ <log>.1 ─▶ <log>      one file is open, and is kept for that: see segments.py
                                        its end is the end of the log, unless a younger one is there

Only whole lines are given: who writes may be in the middle of one.
"""

from __future__ import annotations

import os
from collections import deque

from minirun.log import entries
from minirun.log.segments import Segments, whole_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from minirun.log.segments import Segment

_BLOCK_BYTES = 256 << 10
_BACK_BYTES = 64 << 10
_DAMAGED = b"damaged\n"  # in place of what cannot be unpacked: a line that is no entry


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
        self._source: _Source | None = None
        self._next: Segment | None = None

    def read(self) -> list[entries.Entry]:
        """Some entries more; none when there are none for now."""
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
                self._source = _source(segment)
            if data := self._source.read():
                return data
            if self._next is None:
                self._next, lost = self._segments.after(self._source.segment)
                self.lost += lost
                if self._next is None:
                    return b""
                continue  # it may have been written to before it was rotated, and after it was read
            self._source.close()
            self._source, self._next = _source(self._next), None

    def skip_until(self, seconds: float) -> None:
        """Go past files that were written last before a time since 1970."""
        while True:
            segment = self._source.segment if self._source else self._segments.oldest()
            if segment is None:
                return
            if self._source is None:
                self._source = _source(segment)
            # files are written in order: an entry is no younger than its file
            following = self._segments.after(segment)[0] if os.fstat(segment.descriptor).st_mtime < seconds else None
            if following is None:
                return
            self._source.close()
            self._source = _source(following)

    def skip_to_end(self) -> None:
        """Go to the end: what is read then is what is written from now on."""
        self._move(self._segments.youngest(), None)

    def skip_to_tail(self, lines: int) -> None:
        """Go to where the last *lines* begin, without a look at what is before them.

        A line is what ends with a newline, or what a stream ends with; a long one can be of many entries.
        """
        tail = _Tail(lines)
        segment = self._segments.youngest()
        while segment is not None:
            place = tail.look(segment)
            older = self._segments.before(segment) if place is None else None
            if older is None:
                self._move(segment, place or 0)
                return
            segment.close()
            segment = older

    def _move(self, segment: Segment | None, place: int | None) -> None:
        self.close()
        if segment is not None:
            self._source = _source(segment)
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


class _Source:
    """A file as it is."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._place = 0

    def skip(self, place: int) -> None:
        """Go on at *place*, where a line begins."""
        self._place = place

    def read(self) -> bytes:
        """Whole lines; empty at the end."""
        size = _BLOCK_BYTES
        while True:
            data = os.pread(self.segment.descriptor, size, self._place)
            if end := data.rfind(b"\n") + 1:
                self._place += end
                return data[:end]
            if len(data) < size:
                return b""
            size *= 2  # a line of somebody else's: ours are shorter

    def close(self) -> None:
        """Let the file go."""
        self.segment.close()


class _Packed(_Source):
    """A file that was compressed."""

    def __init__(self, segment: Segment) -> None:
        super().__init__(segment)
        import zlib

        self._inflate = zlib.decompressobj(wbits=31)
        self._error = zlib.error
        self._rest = b""

    def skip(self, place: int) -> None:
        """Read up to *place* of what it is unpacked."""
        while place > 0 and (data := self.read()):
            self._rest = data[place:] + self._rest
            place -= len(data)

    def read(self) -> bytes:
        """Whole lines; empty at the end."""
        while True:
            if end := self._rest.rfind(b"\n") + 1:
                data, self._rest = self._rest[:end], self._rest[end:]
                return data
            packed = self._inflate.unconsumed_tail or os.read(self.segment.descriptor, _BACK_BYTES)
            try:
                data = self._inflate.decompress(packed, _BLOCK_BYTES)
            except self._error:
                # nothing behind the damage can be unpacked
                os.lseek(self.segment.descriptor, 0, os.SEEK_END)
                self._rest, self._inflate = b"", type(self)(self.segment)._inflate
                return _DAMAGED
            if not packed and not data:
                return b""
            self._rest += data


def _source(segment: Segment) -> _Source:
    return _Packed(segment) if segment.packed else _Source(segment)


class _Tail:
    """Looks for the beginning of the last lines, from the end on, file by file."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._streams: set[str] = set()  # those of which the last entry was seen

    def look(self, segment: Segment) -> int | None:
        """Where in a file they begin; None: in an older one, or there are not as many."""
        return self._look_through(segment) if segment.packed else self._look_back(segment)

    def _look_back(self, segment: Segment) -> int | None:
        end = whole_lines(segment.descriptor)
        rest = b""
        while end > 0:
            begin = max(0, end - _BACK_BYTES)
            data = os.pread(segment.descriptor, end - begin, begin) + rest
            # what is before the first newline begins in a block before
            head = (data.find(b"\n") + 1 or len(data)) if begin else 0
            rest = data[:head]
            place = begin + len(data)
            for line in reversed(data[head:].splitlines(keepends=True)):
                if self._counts(line):
                    if not self._lines:
                        return place
                    self._lines -= 1
                place -= len(line)
            end = begin
        return None

    def _look_through(self, segment: Segment) -> int | None:
        source = _Packed(segment)
        wanted = self._lines + 1
        ends: deque[int] = deque(maxlen=wanted)
        place = count = 0
        last: dict[str, int] = {}
        while block := source.read():
            for line in block.splitlines(keepends=True):
                place += len(line)
                for stream, _, data, _ in entries.read(line)[0]:
                    last[stream] = place
                    if data.endswith(b"\n"):
                        ends.append(place)
                        count += 1
        os.lseek(segment.descriptor, 0, os.SEEK_SET)
        self._streams.update(last)
        if count >= wanted:
            return ends[0]
        self._lines -= count
        return None

    def _counts(self, line: bytes) -> bool:
        """Whether an entry is the end of a line."""
        for stream, _, data, _ in entries.read(line)[0]:
            if data.endswith(b"\n") or stream not in self._streams:
                self._streams.add(stream)
                return True
        return False
