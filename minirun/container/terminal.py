"""A terminal for a container: a pty of the container's own devpts, joined to the terminal of whoever called.

    caller's terminal, raw          pty                          container
    stdin  ──────────────▶ master ═══════ slave ── 0, 1, 2, /dev/console, controlling terminal
    stdout ◀──────────────         devpts ──────── /dev/pts
    SIGWINCH ────────────▶ TIOCSWINSZ

The devpts is made here, detached, and handed over by descriptor: no path of the image is ever opened (CVE-2025-52565).
"""

from __future__ import annotations

import _signal
import fcntl
import os
import select
import termios
from struct import pack

from minirun.container.wait import exit_code, forward
from minirun.errors import MinirunError
from minirun.kernel import files
from minirun.kernel.names import MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, TIOCGPTPEER, TIOCSPTLCK
from minirun.launch import machine
from minirun.rootfs.attach import filesystem
from minirun.rootfs.special import DEVPTS_OPTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.launch.machine import Process

_SIGWINCH = 28
_CHUNK_BYTES = 64 << 10


class Terminal:
    """A pty whose slave becomes a container's terminal.

    Attributes:
        devpts: descriptor of the detached devpts that the container mounts at /dev/pts.
        slave: descriptor of the container's end.
        master: descriptor of ours.
    """

    __slots__ = ("devpts", "master", "slave")

    def __init__(self, devpts: int, master: int, slave: int) -> None:
        self.devpts = devpts
        self.master = master
        self.slave = slave

    @classmethod
    def open(cls) -> Terminal:
        """Make a devpts and one pty in it, as large as the caller's terminal.

        Raises:
            MinirunError: the kernel refused.
        """
        descriptors: list[int] = []
        try:
            plan = list(
                filesystem("devpts", DEVPTS_OPTIONS, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, why="terminals of its own")
            )
            descriptors.append(machine.run(plan))
            descriptors.append(os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=descriptors[0]))
            fcntl.ioctl(descriptors[1], TIOCSPTLCK, pack("i", 0))
            flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
            descriptors.append(fcntl.ioctl(descriptors[1], TIOCGPTPEER, flags))
        except OSError as error:
            for descriptor in descriptors:
                os.close(descriptor)
            raise MinirunError("make a terminal", error, "run without -t") from None
        terminal = cls(*descriptors)
        terminal.resize()
        return terminal

    def resize(self) -> None:
        """Give the container's terminal the size of the caller's, where the caller has one."""
        try:
            size = fcntl.ioctl(1, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, size)

    def relay(self, process: Process, *, stdin: bool) -> int:
        """Join both terminals until *process* ends.

        Args:
            process: the container's first one.
            stdin: whether what is typed goes in.

        Returns:
            Its exit code. The caller's terminal is as it was before.
        """
        os.close(self.slave)
        os.close(self.devpts)
        self.slave = self.devpts = -1
        forward(process)
        _signal.signal(_SIGWINCH, lambda _number, _frame: self.resize())
        self.resize()
        saved = termios.tcgetattr(0) if stdin and os.isatty(0) else None
        if saved:
            import tty

            tty.setraw(0, termios.TCSADRAIN)
        try:
            self._pump(process, stdin=stdin)
        finally:
            if saved:
                self._restore(saved)
        return exit_code(os.waitpid(process.pid, 0)[1])

    @staticmethod
    def _restore(saved: list[Any]) -> None:
        try:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
        except termios.error:
            pass  # EIO: the caller's terminal is gone

    def _pump(self, process: Process, *, stdin: bool) -> None:
        os.set_blocking(self.master, False)
        pending = b""  # typed, and not yet taken by the pty
        poll = select.poll()
        poll.register(process.pidfd, select.POLLIN)
        while True:
            poll.register(self.master, select.POLLIN | (select.POLLOUT if pending else 0))
            # what is typed waits in the caller's terminal while the container does not read
            if stdin:
                poll.register(0, 0 if pending else select.POLLIN)
            ready = dict(poll.poll())
            if ready.get(self.master, 0) & ~select.POLLOUT and not self._show():
                return
            if ready.get(0):
                pending += self._typed()
                if ready[0] & select.POLLHUP or not pending:
                    self._hang_up()
                    return
            if pending:
                try:
                    pending = pending[os.write(self.master, pending) :]
                except BlockingIOError:
                    pass
            if process.pidfd in ready and self.master not in ready:
                return

    @staticmethod
    def _typed() -> bytes:
        try:
            return os.read(0, _CHUNK_BYTES)
        except OSError:
            return b""  # EIO: a terminal that was hung up

    def _show(self) -> bool:
        """Pass on what the container wrote; false when nobody in it has the terminal open any more."""
        try:
            data = os.read(self.master, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            return False  # EIO: the last slave was closed
        try:
            files.write_all(1, data)
        except OSError:
            self._hang_up()  # EIO, EPIPE: nobody looks any more
            return False
        return bool(data)

    def _hang_up(self) -> None:
        """The caller's terminal is gone, and so is the container's: programs get SIGHUP, and read an end."""
        os.close(self.master)
        self.master = -1

    def close(self) -> None:
        """Close what is still open. Idempotent."""
        for name in self.__slots__:
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)
