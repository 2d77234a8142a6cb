"""A terminal for a container: a pty of the container's own devpts, joined to the terminal of whoever called.

    caller's terminal, raw          pty                          container
    stdin  ──▶ keys ──────▶ master ═══════ slave ── 0, 1, 2, /dev/console, controlling terminal
    stdout ◀──────────────         devpts ──────── /dev/pts
    SIGWINCH ────────────▶ TIOCSWINSZ

For a new container the devpts is made here, detached, and handed over by descriptor: no path of the image is opened
(CVE-2025-52565). For a command in one that runs it is that container's own, and so `tty` names what is in there.

The detach keys (see detachkeys.py) leave both sides as they are. A container goes on, with its terminal, as long as
somebody holds the master: whoever leaves gives it to somebody else, or to `drain`.
"""

from __future__ import annotations

import fcntl
import os
import select
from struct import pack

from minirun.container import rawterminal
from minirun.container.wait import forward, wait
from minirun.errors import MinirunError
from minirun.kernel import files
from minirun.kernel.call import Call, Struct, Vector
from minirun.kernel.names import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    CLOSE_RANGE_CLOEXEC,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    O_CLOEXEC,
    O_PATH,
    SIG_SETMASK,
    TIOCGPTPEER,
    TIOCSPTLCK,
)
from minirun.launch import machine
from minirun.rootfs import special
from minirun.rootfs.attach import STUB, filesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.container.detachkeys import DetachKeys
    from minirun.launch.machine import Process

_CHUNK_BYTES = 64 << 10


class Terminal:
    """A pty whose slave becomes a container's terminal.

    Attributes:
        devpts: descriptor of the detached devpts that the container mounts at /dev/pts; -1 if that is there already.
        slave: descriptor of the container's end.
        master: descriptor of ours.
    """

    __slots__ = ("devpts", "master", "slave")

    def __init__(self, devpts: int, master: int, slave: int) -> None:
        self.devpts = devpts
        self.master = master
        self.slave = slave

    @classmethod
    def open(cls, options: Mapping[str, Any]) -> Terminal:
        """Make a devpts and one pty in it, as large as the caller's terminal.

        Args:
            options: of the record of the container that is to have it.

        Raises:
            MinirunError: the kernel refused.
        """
        tty = special.TTY
        if "userns" in options:
            from minirun.container import userns

            tty = userns.terminals(options, tty)
        plan = list(
            filesystem(
                "devpts", special.devpts_options(tty), MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, why="terminals of its own"
            )
        )
        devpts = -1
        try:
            devpts = machine.run(plan)
            master = os.open("ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=devpts)
        except OSError as error:
            if devpts >= 0:
                os.close(devpts)
            raise _unmade(error) from None
        return cls._of(devpts, master)

    @classmethod
    def within(cls, master: int, owner: int) -> Terminal:
        """Take a pty of a devpts that is mounted where it is to be used, as large as the caller's terminal.

        Args:
            master: descriptor of a ptmx that was opened there; it is the terminal's from now on.
            owner: see `give_to`.

        Raises:
            MinirunError: the kernel refused.
        """
        terminal = cls._of(-1, master)
        terminal.give_to(owner)
        return terminal

    @classmethod
    def _of(cls, devpts: int, master: int) -> Terminal:
        terminal = cls(devpts, master, -1)
        try:
            fcntl.ioctl(master, TIOCSPTLCK, pack("i", 0))
            terminal.slave = fcntl.ioctl(master, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            terminal.close()
            raise _unmade(error) from None
        terminal.resize()
        return terminal

    def give_to(self, owner: int) -> None:
        """Have the user *owner*, a uid, open it by its name, too: he is to use it."""
        os.fchown(self.slave, owner, -1)

    def resize(self) -> None:
        """Give the container's terminal the size of the caller's, where the caller has one."""
        rawterminal.copy_size(self.master)

    def relay(self, process: Process, *, stdin: bool, keys: DetachKeys | None = None) -> int:
        """Join both terminals until *process* ends.

        Args:
            process: the container's first one, or what else has the terminal.
            stdin: whether what is typed goes in.
            keys: looked for in what is typed.

        Returns:
            Its exit code; 0 if the keys were found, and it goes on. The caller's terminal is as it was before.
        """
        self.let_go()
        forward(process)
        rawterminal.follow_size(self.master)
        with rawterminal.RawTerminal(stdin=stdin):
            self._pump(process, stdin=stdin, keys=keys)
        if keys and keys.found:
            return 0
        return wait(process)

    def let_go(self) -> None:
        """Close our copies of what is the container's: that nobody has the terminal any more shows only then."""
        for name in ("slave", "devpts"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)

    def _pump(self, process: Process, *, stdin: bool, keys: DetachKeys | None) -> None:
        """Copy both ways until *process* or one of the terminals is gone, or the keys are found."""
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
                typed = rawterminal.typed()
                ended = ready[0] & select.POLLHUP or not typed
                if keys:
                    typed = keys.scan(typed) + (keys.rest() if ended else b"")
                pending += typed
                if ended:
                    self._hang_up()
                    return
            if pending:
                try:
                    pending = pending[os.write(self.master, pending) :]
                except BlockingIOError:
                    pass
            if keys and keys.found:
                return
            if process.pidfd in ready and self.master not in ready:
                return

    def drain(self, stub: str) -> None:
        """Give the master to a process that reads it as long as anybody has the terminal, for nobody to see.

        Args:
            stub: path of the program that can do it in some kilobytes; empty: it takes a copy of ourselves.

        Raises:
            OSError: no process could be made.
        """
        self.let_go()
        os.set_blocking(self.master, True)
        if stub:
            machine.spawn(list(_drain(self.master, stub)), 0, -1)
        elif not os.fork():
            os.setsid()
            for place in (0, 1, 2):
                os.dup2(self.master, place)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            try:
                while os.read(0, _CHUNK_BYTES):
                    pass
            finally:
                os._exit(0)
        self.close()

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


def _unmade(error: OSError) -> MinirunError:
    return MinirunError("make a terminal", error, "run without -t")


def _drain(master: int, stub: str) -> Iterator[Call]:
    yield Call("setsid", why="no signal that means us means it")
    yield Call("chdir", "/")
    yield Call("openat", AT_FDCWD, stub, O_PATH | O_CLOEXEC, 0, save=STUB)
    for place in (0, 1, 2):
        yield Call("dup3", master, place, 0)
    yield Call("close_range", 3, 0xFFFFFFFF, CLOSE_RANGE_CLOEXEC)
    yield Call("rt_sigprocmask", SIG_SETMASK, Struct("none", bytes(8)), 0, 8, why="they were blocked across the clone")
    yield Call("execveat", STUB, "", Vector(["drain", "0"]), Vector([]), AT_EMPTY_PATH)
