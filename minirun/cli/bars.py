"""How far the layers of a pull or a push are: a line each, all at once on a terminal, one after the other elsewhere.

    terminal                                                        elsewhere
    --------------------------------------------------------------  ----------------------------------
    5f70bf18a086: Downloading  [=====>         ]  3.2MB/32.1MB      5f70bf18a086: Pulling fs layer
    a3ed95caeb02: Download complete                                 a3ed95caeb02: Pulling fs layer
    … 12 more, 9 of them done                                       a3ed95caeb02: Download complete

The lines of a terminal are drawn again where they are. More than fit on it cannot be: those that are done make room.
"""

from __future__ import annotations

import os
import sys
import time

from minirun.cli import fast, quantity, screen
from minirun.registry.listener import Listener

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

_EVERY_S = 0.1
_BAR_WIDTH = 30
_NARROW = 60  # columns; with fewer there is no bar
_DONE = ("Pull complete", "Already exists", "Pushed", "Layer already exists", "Mounted from")


class Lines(Listener):
    """Tells each change of state by a line.

    Args:
        stream: standard output, or standard error where the other is a container's.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """One line about the whole."""
        self._write(screen.clean(text) + "\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def layer(self, name: str, state: str) -> None:
        """A layer is in another state."""
        self.say(f"{name}: {state}")

    def warn(self, sentence: str) -> None:
        """Say what was left out of a layer."""
        fast.warn(sentence)

    def progress(self, name: str, size_bytes: int) -> Callable[[int], None]:
        """Begin a layer that is packed before it can be sent."""
        if name:
            self.layer(name, "Packing")
        return lambda far: self.far(name, "Packing", far, size_bytes)

    def close(self) -> None:
        """Nothing comes any more."""


class Bars(Lines):
    """Draws a line for each layer, and draws it again."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._rows: dict[str, str] = {}
        self._height = 0  # lines that are drawn, above the cursor
        self._drawn_at = 0.0

    def say(self, text: str) -> None:
        """One line about the whole, below what is there."""
        self.close()
        super().say(text)

    def layer(self, name: str, state: str) -> None:
        """A layer is in another state."""
        self._rows[name] = state
        self._draw()

    def far(self, name: str, state: str, far_bytes: int, size_bytes: int) -> None:
        """A layer is somewhat further."""
        if time.monotonic() - self._drawn_at >= _EVERY_S:
            self._rows[name] = f"{state}  {bar(far_bytes, size_bytes, self._columns())}"
            self._draw()

    def warn(self, sentence: str) -> None:
        """Say what was left out of a layer, above the lines."""
        self._erase()
        fast.warn(sentence)
        self._draw()

    def close(self) -> None:
        """Leave the lines as they are, all of them; what comes next is below."""
        if self._rows:
            self._draw(whole=True)
        self._rows, self._height = {}, 0

    def _draw(self, *, whole: bool = False) -> None:
        columns, lines = self._columns(), os.get_terminal_size(self._stream.fileno()).lines
        rows = [f"{name}: {state}" for name, state in self._rows.items()]
        if not whole and len(rows) > lines - 1:
            rows = self._shortened(max(lines - 2, 1))
        text = "".join(f"{screen.clean(row)[: max(columns - 1, 1)]}\x1b[K\n" for row in rows)
        up = f"\x1b[{self._height}A\r" if self._height else ""
        self._write(f"{up}{text}\x1b[J")
        self._height, self._drawn_at = len(rows), time.monotonic()

    def _columns(self) -> int:
        return os.get_terminal_size(self._stream.fileno()).columns

    def _shortened(self, room: int) -> list[str]:
        """So many lines about those that are not done yet, and one about the rest."""
        done = {name for name, state in self._rows.items() if state.startswith(_DONE)}
        shown = [name for name in self._rows if name not in done][:room]
        left = [name for name in self._rows if name not in shown]
        count = sum(name in done for name in left)
        return [*(f"{name}: {self._rows[name]}" for name in shown), f"… {len(left)} more, {count} of them done"]

    def _erase(self) -> None:
        if self._height:
            self._write(f"\x1b[{self._height}A\r\x1b[J")
        self._height = 0


def bar(far_bytes: int, size_bytes: int, columns: int) -> str:
    """How far a layer is, as Docker draws it."""
    if not size_bytes:
        return quantity.size(far_bytes)
    said = f"{quantity.size(far_bytes)}/{quantity.size(size_bytes)}"
    if columns < _NARROW:
        return said
    filled = min(_BAR_WIDTH, _BAR_WIDTH * far_bytes // size_bytes)
    drawn = "=" * max(filled - 1, 0) + ("=" if filled == _BAR_WIDTH else ">" if filled else "")
    return f"[{drawn:<{_BAR_WIDTH}}]  {said}"


def listener(stream: TextIO | None = None) -> Lines:
    """What suits *stream*, by default standard output."""
    stream = stream or sys.stdout
    return Bars(stream) if stream.isatty() and os.environ.get("TERM") != "dumb" else Lines(stream)


def fetch(name: str, missing: bool, platform: str = "") -> None:
    """Bring an image here that a container is wanted of, and tell how it goes where no output of the container's is.

    Args:
        name: of the image.
        missing: whether that is because it is not here.
        platform: for which it is to be; empty: this host's.
    """
    from minirun.engine import registry

    told = listener(sys.stderr)
    if missing:
        told.say(f"Unable to find image '{registry.familiar(name)}' locally")
    try:
        registry.pull(name, wanted=platform, told=told, warn=told.warn)
    finally:
        told.close()
