"""The frames of a zstd file, followed from outside, because the library does not say when the last one is cut off.

    28 b5 2f fd  descriptor  window, dictionary, size (1-14 bytes)  block  block …  [checksum, 4 bytes]
                 ╰ 1 byte: bits 7-6 size, 5 single segment, 2 checksum, 1-0 dictionary
    window: 1 byte, bits 7-3 exponent, 2-0 mantissa; a single segment has none, it is all in the window
    block:  3 bytes, little endian: bit 0 last, bits 2-1 type (0 raw, 1 run, 2 compressed), then its size
    5? 2a 4d 18  length (4 bytes)  anything of that length

See RFC 8878, section 3.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_MAGIC, _DESCRIPTOR, _HEADER, _BLOCK, _LENGTH = range(5)
_WANTED = {_MAGIC: 4, _DESCRIPTOR: 1, _BLOCK: 3, _LENGTH: 4}
_RUN = 1


class Frames:
    """A reader of zstd data that knows whether they could end here.

    Args:
        read: returns the next piece of the file, and nothing at its end.
        begins: called with the bytes that a frame's window takes, before its beginning is given away.
    """

    def __init__(self, read: Callable[[], bytes], begins: Callable[[int], None] | None = None) -> None:
        self._read = read
        self._begins = begins or (lambda _window: None)
        self._rest = b""
        self._state = _MAGIC
        self._wanted = _WANTED[_MAGIC]
        self._descriptor = 0
        self._head = b""
        self._skip = 0
        self._has_checksum = False

    @property
    def whole(self) -> bool:
        """Every frame that has begun has also ended."""
        return self._state == _MAGIC and not self._head and not self._skip

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes of the file, nothing at its end."""
        if not self._rest:
            self._rest = self._read()
        data, self._rest = self._rest[:size], self._rest[size:]
        self._follow(data)
        return data

    def _follow(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            if self._skip:
                step = min(self._skip, len(data) - position)
                self._skip -= step
                position += step
                continue
            missing = self._wanted - len(self._head)
            self._head += data[position : position + missing]
            position += missing
            if len(self._head) == self._wanted:
                head, self._head = self._head, b""
                self._step(head, int.from_bytes(head, "little"))
                if self._state != _HEADER:
                    self._wanted = _WANTED[self._state]

    def _step(self, head: bytes, number: int) -> None:
        if self._state == _MAGIC:
            # any other magic is the library's to refuse
            self._state = _LENGTH if number & 0xFFFFFFF0 == 0x184D2A50 else _DESCRIPTOR
        elif self._state == _LENGTH:
            self._skip = number
            self._state = _MAGIC
        elif self._state == _DESCRIPTOR:
            single = number >> 5 & 1
            self._descriptor = number
            self._has_checksum = bool(number >> 2 & 1)
            self._wanted = (1 - single) + (0, 1, 2, 4)[number & 3] + (single, 2, 4, 8)[number >> 6]
            self._state = _HEADER
        elif self._state == _HEADER:
            self._begins(_window(self._descriptor, head))
            self._state = _BLOCK
        else:
            last, kind, size = number & 1, number >> 1 & 3, number >> 3
            self._skip = 1 if kind == _RUN else size
            if last:
                self._skip += 4 * self._has_checksum
                self._state = _MAGIC


def _window(descriptor: int, header: bytes) -> int:
    if not descriptor >> 5 & 1:
        base = 1 << 10 + (header[0] >> 3)
        return base + base // 8 * (header[0] & 7)
    size = header[(0, 1, 2, 4)[descriptor & 3] :]
    return int.from_bytes(size, "little") + (256 if len(size) == 2 else 0)
