"""The files of a log as they are read: whole lines, from a file as it is or from a packed one.

Only whole lines are given: who writes may be in the middle of one.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.log.segments import Segment

BLOCK_BYTES = 64 << 10
_MORE_BYTES = 256 << 10
_DAMAGED = b"damaged\n"  # in place of what cannot be unpacked: a line that is no entry


class Source:
    """A file as it is."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._place = 0

    def skip(self, place: int) -> None:
        """Go on at *place*, where a line begins."""
        self._place = place

    def read(self) -> bytes:
        """Whole lines; empty at the end."""
        size = _MORE_BYTES
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


class Packed(Source):
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
            packed = self._inflate.unconsumed_tail or os.read(self.segment.descriptor, BLOCK_BYTES)
            try:
                data = self._inflate.decompress(packed, _MORE_BYTES)
            except self._error:
                # nothing behind the damage can be unpacked
                os.lseek(self.segment.descriptor, 0, os.SEEK_END)
                self._rest, self._inflate = b"", type(self)(self.segment)._inflate
                return _DAMAGED
            if not packed and not data:
                return b""
            self._rest += data


def of(segment: Segment) -> Source:
    """The file as it is to be read."""
    return Packed(segment) if segment.packed else Source(segment)
