"""Where the last lines of a log begin, found from its end, without a look at what is before them."""

from __future__ import annotations

import os
from collections import deque

from minirun.log import entries
from minirun.log.segments import whole_lines
from minirun.log.source import BLOCK_BYTES, Packed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.log.segments import Segment


class Tail:
    r"""Looks for the beginning of the last lines, from the end on, file by file.

    Lines of both streams can be in the log piece by piece, each with pieces of the other in between:

        out "a\n"  out "b"  err "c\n"  out "d\n"       the last line is "bd", and begins before one that is not wanted
                                   ╰ place
                  ╰ begun

    Attributes:
        begun: what belongs to the first lines and stands before the place that was found; looked for in one block.
    """

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._streams: set[str] = set()  # of which entries are behind the place
        self.begun: list[entries.Entry] = []

    def look(self, segment: Segment) -> int | None:
        """Where in a file they begin; None: in an older one, or there are not as many."""
        return self._look_through(segment) if segment.packed else self._look_back(segment)

    def _look_back(self, segment: Segment) -> int | None:
        end = whole_lines(segment.descriptor)
        rest = b""
        while end > 0:
            begin = max(0, end - BLOCK_BYTES)
            data = os.pread(segment.descriptor, end - begin, begin) + rest
            # what is before the first newline begins in a block before
            head = (data.find(b"\n") + 1 or len(data)) if begin else 0
            rest = data[:head]
            place = begin + len(data)
            lines = data[head:].splitlines(keepends=True)
            while lines:
                if self._is_enough(lines[-1]):
                    self._find_begun(lines)
                    return place
                place -= len(lines.pop())
            end = begin
        return None

    def _is_enough(self, line: bytes) -> bool:
        """Whether an entry is the last one that is not wanted; else it is, and is counted where a line ends with it."""
        for stream, _, data, _ in entries.read(line)[0]:
            if data.endswith(b"\n") or stream not in self._streams:
                if not self._lines:
                    return True
                self._lines -= 1
                self._streams.add(stream)
        return False

    def _find_begun(self, lines: list[bytes]) -> None:
        left = set(self._streams)
        while lines and left:
            for entry in entries.read(lines.pop())[0]:
                if entry[2].endswith(b"\n"):
                    left.discard(entry[0])
                elif entry[0] in left:
                    self.begun.insert(0, entry)

    def _look_through(self, segment: Segment) -> int | None:
        source = Packed(segment)
        # where each line ends, and what of others is begun there
        ends: deque[tuple[int, tuple[entries.Entry, ...]]] = deque(maxlen=self._lines + 1)
        place = count = 0
        begun: tuple[entries.Entry, ...] = ()
        while block := source.read():
            for line in block.splitlines(keepends=True):
                place += len(line)
                for entry in entries.read(line)[0]:
                    if entry[2].endswith(b"\n"):
                        begun = tuple(one for one in begun if one[0] != entry[0])
                        ends.append((place, begun))
                        count += 1
                    else:
                        begun += (entry,)
        os.lseek(segment.descriptor, 0, os.SEEK_SET)
        if count > self._lines:
            self.begun = list(ends[0][1])
            return ends[0][0]
        self._lines -= count
        return None
