"""A bar for each layer that is being unpacked or packed, for a person who would wait longer than a second.

    01-base.tar.zst           [=================>            ]  31.2MB/52.4MB       several at once: they are drawn
    02-python.tar.gz          [==============================]  16.6MB/16.6MB       again where they are
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
    """Bars on standard error, a line each; nothing at all where that is no terminal.

    Attributes:
        begun: when the first layer was begun, on the monotonic clock.
        shown: when something was shown last.
        rows: the lines that can be drawn again, by the names of their layers; the cursor is below the last.
    """

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.shown = 0.0
        self.rows: dict[str, str] = {}

    def layer(self, name: str, total_bytes: int) -> Callable[[int], None]:
        """Begin the bar of one layer; an empty name ends all.

        Args:
            name: the layer's.
            total_bytes: of its blob; 0: unknown.

        Returns:
            What is to be told how many bytes of the blob have been read so far.
        """
        if not name:
            self.rows = {}
        if not name or not os.isatty(2):
            return lambda _read: None

        def read(read_bytes: int) -> None:
            now = time.monotonic()
            # a bar that is there is shown full, however soon after the last time
            full = name in self.rows and 0 < total_bytes <= read_bytes
            if now - self.begun < _PATIENCE_S or not (full or now - self.shown >= _EVERY_S):
                return
            text = line(name, read_bytes, total_bytes)
            if text != self.rows.get(name):
                self.shown = now
                self._draw(name, text)

        return read

    def _draw(self, name: str, text: str) -> None:
        up = f"\x1b[{len(self.rows)}A" if self.rows else ""
        self.rows[name] = text
        sys.stderr.write(up + "".join(f"\r{row}\x1b[K\n" for row in self.rows.values()))
        sys.stderr.flush()
        # what scrolled out of the terminal cannot be drawn again; it stays as it is
        while len(self.rows) >= _lines():
            del self.rows[next(iter(self.rows))]


def _lines() -> int:
    try:
        return max(os.get_terminal_size(2).lines, 2)
    except OSError:
        return 24


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
