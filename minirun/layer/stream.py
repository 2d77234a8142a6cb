"""Bytes that come in chunks of any length, taken in pieces of any other."""

from __future__ import annotations

from minirun.layer.field import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK_BYTES = 512


class Stream:
    """The chunk that is being read, and those that follow it.

    Args:
        chunks: may be empty ones.
    """

    __slots__ = ("_buffer", "_chunks", "_end", "_position")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._buffer = memoryview(b"")
        self._position = self._end = 0

    def _take(self, count: int) -> bytes:
        """Take *count* bytes, which are few."""
        parts = []
        while count:
            if self._position == self._end:
                self._refill()
            part = self._buffer[self._position : self._position + count]
            self._position += len(part)
            count -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _take_or_end(self) -> bytes | None:
        if self._position == self._end and not self._more():
            return None
        return self._take(BLOCK_BYTES)

    def _refill(self) -> None:
        if not self._more():
            raise Malformed("it ends in the middle of an entry")

    def _more(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._buffer = memoryview(chunk)
                self._position, self._end = 0, len(chunk)
                return True
        return False
