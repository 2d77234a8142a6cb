"""A bar for each layer that is being unpacked, for a person who would wait longer than a second.

    01-base.tar.zst           [=================>            ]  31.2MB/52.4MB
    -                         18.3MB      where nobody knows how much will come

Nothing imports this module before there is a layer to unpack.
"""

from __future__ import annotations

import os
import sys
import time

from minirun.cli import quantity, screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_S = 1.0
_EVERY_S = 0.1
_BAR_WIDTH = 30
_NAME_WIDTH = 24


class Bars:
    """Bars on standard error, one at a time; nothing at all where that is no terminal.

    Attributes:
        begun: when the first layer was begun, on the monotonic clock.
        shown: when something was shown last.
        text: what was shown last.
        is_open: whether a bar is on the line that the cursor is on.
    """

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.shown = 0.0
        self.text = ""
        self.is_open = False

    def layer(self, name: str, total_bytes: int) -> Callable[[int], None]:
        """Begin the bar of one layer; an empty name ends the last.

        Args:
            name: the layer's.
            total_bytes: of its blob; 0: unknown.

        Returns:
            What is to be told how many bytes of the blob have been read so far.
        """
        if self.is_open:
            self._write("\n")
            self.is_open = False
        if not name or not os.isatty(2):
            return lambda _read: None

        def read(read_bytes: int) -> None:
            now = time.monotonic()
            # a bar that is there is shown full, however soon after the last time
            full = self.is_open and 0 < total_bytes <= read_bytes
            if now - self.begun < _PATIENCE_S or not (full or now - self.shown >= _EVERY_S):
                return
            text = line(name, read_bytes, total_bytes)
            if text != self.text:
                self.shown, self.text, self.is_open = now, text, True
                self._write(f"\r{text}\x1b[K")

        return read

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


def line(name: str, read_bytes: int, total_bytes: int) -> str:
    """One bar as it stands."""
    name = screen.clean(name)
    if len(name) > _NAME_WIDTH:
        name = name[: _NAME_WIDTH - 1] + "…"
    if not total_bytes:
        return f"{name:<{_NAME_WIDTH}}  {quantity.size(read_bytes)}"
    filled = min(_BAR_WIDTH, _BAR_WIDTH * read_bytes // total_bytes)
    bar = ("=" * (filled - 1) + ("=" if filled == _BAR_WIDTH else ">") if filled else "").ljust(_BAR_WIDTH)
    return f"{name:<{_NAME_WIDTH}}  [{bar}]  {quantity.size(read_bytes)}/{quantity.size(total_bytes)}"


BARS = Bars()
