"""The terminal of whoever called: raw while it is joined to a container's, and afterwards as it was before."""

from __future__ import annotations

import _signal
import fcntl
import os
import termios

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_SIGCONT, _SIGWINCH = 18, 28
_CHUNK_BYTES = 64 << 10


class RawTerminal:
    """``with RawTerminal(stdin=True):`` descriptor 0 is raw, if it is a terminal and *stdin* says that it is read."""

    __slots__ = ("_saved", "_stdin")

    def __init__(self, *, stdin: bool) -> None:
        self._stdin = stdin
        self._saved: list[Any] | None = None

    def __enter__(self) -> None:
        """Make it raw; also again, when we go on after a stop: the shell has set it as it likes meanwhile."""
        if not self._stdin or not os.isatty(0):
            return
        self._saved = termios.tcgetattr(0)
        _make_raw()
        before = _signal.getsignal(_SIGCONT)

        def go_on(number: int, frame: object) -> None:
            _make_raw()
            if callable(before):
                before(number, frame)

        _signal.signal(_SIGCONT, go_on)

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        """Have it as it was."""
        if self._saved is None:
            return
        _signal.signal(_SIGCONT, _signal.SIG_IGN)  # it stays as it will be now
        try:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
        except termios.error:
            pass  # EIO: it is gone


def typed() -> bytes:
    """What was typed, from descriptor 0; nothing: a terminal that was hung up, or the end of a file."""
    try:
        return os.read(0, _CHUNK_BYTES)
    except OSError:
        return b""  # EIO


def follow_size(master: int) -> None:
    """Give the pty of *master* the size of the caller's terminal, now and whenever that changes."""
    _signal.signal(_SIGWINCH, lambda _number, _frame: copy_size(master))
    copy_size(master)


def copy_size(master: int) -> None:
    """Give the pty of *master* the size of the caller's terminal, where the caller has one."""
    try:
        size = fcntl.ioctl(1, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return
    fcntl.ioctl(master, termios.TIOCSWINSZ, size)


def _make_raw() -> None:
    import tty

    try:
        # out of the background this stops us again, until the shell brings us back
        tty.setraw(0, termios.TCSADRAIN)
    except termios.error:
        pass  # EIO: the caller's terminal is gone
