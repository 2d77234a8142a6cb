"""The terminal of whoever called: raw while it is joined to a container's, and afterwards as it was before.

we, raw ── pipe ── guardian: when the pipe ends without us (kill -9), it gives the terminal its settings back
"""

from __future__ import annotations

import _signal
import fcntl
import os
import termios

from minirun.kernel.call import Call, Vector
from minirun.kernel.names import AT_EMPTY_PATH, AT_FDCWD, CLOSE_RANGE_CLOEXEC, O_CLOEXEC, O_PATH
from minirun.launch import ending, machine
from minirun.rootfs.attach import STUB

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Any

    from minirun.launch.machine import Process

_SIGKILL, _SIGCONT, _SIGWINCH = 9, 18, 28
_TERMIOS_BYTES = 36  # struct termios of the kernel: asm-generic/termbits.h
_CHUNK_BYTES = 64 << 10


class RawTerminal:
    """``with RawTerminal(stdin=True):`` descriptor 0 is raw, if it is a terminal and *stdin* says that it is read."""

    __slots__ = ("_guardian", "_pipe", "_saved", "_stdin")

    def __init__(self, *, stdin: bool) -> None:
        self._stdin = stdin
        self._saved: list[Any] | None = None
        self._guardian: Process | None = None
        self._pipe = -1

    def __enter__(self) -> None:
        """Make it raw; also again, when we go on after a stop: the shell has set it as it likes meanwhile."""
        if not self._stdin or not os.isatty(0):
            return
        self._saved = termios.tcgetattr(0)
        self._post_guardian()
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
        self._dismiss_guardian()

    def _post_guardian(self) -> None:
        """Have somebody restore the terminal should we be killed; without a stub, or a free process, nobody does."""
        if not (stub := ending.stub()):
            return
        reading, self._pipe = os.pipe2(os.O_CLOEXEC)
        try:
            # as the kernel has them, for a program that knows no more than that
            os.write(self._pipe, fcntl.ioctl(0, termios.TCGETS, bytes(_TERMIOS_BYTES)))
            self._guardian = machine.spawn(list(_guard(reading, stub)), 0, -1)
        except OSError:
            pass
        finally:
            os.close(reading)

    def _dismiss_guardian(self) -> None:
        if self._guardian:
            os.kill(self._guardian.pid, _SIGKILL)  # or it would restore once more, when somebody else has the terminal
            os.waitpid(self._guardian.pid, 0)
            os.close(self._guardian.pidfd)
            self._guardian = None
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def _guard(pipe: int, stub: str) -> Iterator[Call]:
    yield Call("setsid", why="no signal that means us means it, nor is it stopped for writing from the background")
    yield Call("chdir", "/")
    yield Call("openat", AT_FDCWD, stub, O_PATH | O_CLOEXEC, 0, save=STUB)
    yield Call("dup3", pipe, 1, 0)
    yield Call("dup3", pipe, 2, 0)
    yield Call("close_range", 3, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)
    yield Call("execveat", STUB, "", Vector(["restore", "1"]), Vector([]), AT_EMPTY_PATH)


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
