"""What a command shows on a terminal."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import struct
import subprocess
import termios

from tests.command import Minirun


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
