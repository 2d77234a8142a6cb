"""What a command shows on a terminal, and somebody who types there."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from minirun.cgroup import group, hierarchy
from tests import busybox
from tests.command import Minirun

PATIENCE_S = 10.0
ROWS, COLUMNS = 37, 101


def on_terminal(minirun: Minirun, *arguments: str, columns: int, colours: bool) -> str:
    """Run minirun on a terminal of so many columns, and return what it wrote there, with lines as a file has them."""
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    environment = minirun.environment({"TERM": "xterm"} if colours else {"NO_COLOR": "1"})
    for name in ("COLUMNS", *(["NO_COLOR"] if colours else [])):
        environment.pop(name, None)
    with subprocess.Popen(minirun.command(arguments), env=environment, stdin=slave, stdout=slave, stderr=slave):
        os.close(slave)
        seen = until_closed(master)
    os.close(master)
    return seen.decode().replace("\r\n", "\n")


def until_closed(master: int) -> bytes:
    """All that is written to a terminal until nobody has it open any more."""
    seen = b""
    try:
        while data := os.read(master, 1 << 16):
            seen += data
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    return seen


class Screen:
    """A terminal, and somebody who looks at it and types."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.seen = b""
        self.resize(ROWS, COLUMNS)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    @contextmanager
    def run(self, store: Minirun, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start minirun with this as its controlling terminal; it ends with the block, whatever happens in it."""
        command = ["setsid", "--ctty", *store.command(arguments)]
        place = self.slave
        with subprocess.Popen(command, env=store.environment(), stdin=place, stdout=place, stderr=place) as process:
            try:
                yield process
            finally:
                try:
                    process.wait(0.2)  # one that was just killed may not have ended yet
                except subprocess.TimeoutExpired:
                    for box in busybox.containers(store.root):
                        group.kill(hierarchy.path(box))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_for(self, text: bytes) -> bytes:
        """Read until *text* has come; return what came before it."""
        end = time.monotonic() + PATIENCE_S
        while text not in self.seen:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"{text!r} does not come, but {self.seen!r}")
            self.seen += os.read(self.master, 65536)
        before, _, self.seen = self.seen.partition(text)
        return before

    def settings(self) -> list[object]:
        """The modes of the terminal, as tcgetattr(3) has them."""
        return list(termios.tcgetattr(self.slave))

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)
