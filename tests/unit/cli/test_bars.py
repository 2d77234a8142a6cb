"""A line for each layer, drawn again where it is, on a terminal of any size."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from io import TextIOWrapper

import pytest

from minirun.cli import bars
from minirun.cli.bars import Bars

_CODE = re.compile(r"\x1b\[(\d*)([A-Z])|\r|\n|[^\x1b\r\n]+")


class Terminal:
    """What a person sees: lines, all that scrolled away among them."""

    def __init__(self, lines: int, columns: int) -> None:
        self.lines = lines
        self.columns = columns
        self.rows = [""]
        self.row = self.column = 0

    def show(self, text: str) -> list[str]:
        """Take what was written; the rows that there are now."""
        for code in _CODE.finditer(text):
            count, letter = code[1], code[2]
            if letter == "A":
                # no cursor goes up to what has scrolled away
                self.row = max(self.row - int(count or 1), len(self.rows) - self.lines, 0)
            elif letter == "K":
                self.rows[self.row] = self.rows[self.row][: self.column]
            elif letter == "J":
                self.rows[self.row :] = [self.rows[self.row][: self.column]]
            elif code[0] == "\r":
                self.column = 0
            elif code[0] == "\n":
                self.row, self.column = self.row + 1, 0
                if self.row == len(self.rows):
                    self.rows.append("")
            else:
                assert len(code[0]) < self.columns, "a line that is too long would be two"
                line = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = line[: self.column] + code[0] + line[self.column + len(code[0]) :]
                self.column += len(code[0])
        return self.rows


class Screen:
    """A terminal device, and what it shows."""

    def __init__(self, lines: int, columns: int) -> None:
        self.master, slave = pty.openpty()
        settings = termios.tcgetattr(slave)
        settings[1] &= ~termios.OPOST
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        self.stream: TextIOWrapper = os.fdopen(slave, "w", encoding="utf-8")
        self.resize(lines, columns)
        self.terminal = Terminal(lines, columns)

    def resize(self, lines: int, columns: int) -> None:
        """Make it so large."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def rows(self) -> list[str]:
        """What it shows now."""
        os.set_blocking(self.master, False)
        data = b""
        try:
            while more := os.read(self.master, 65536):
                data += more
        except BlockingIOError:
            pass
        return self.terminal.show(data.decode())

    def close(self) -> None:
        """End it."""
        self.stream.close()
        os.close(self.master)


@pytest.fixture
def screen() -> Iterator[Screen]:
    """A small terminal."""
    made = Screen(8, 70)
    yield made
    made.close()


def test_each_layer_has_a_line_that_changes(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_EVERY_S", 0.0)
    shown = Bars(screen.stream)
    shown.say("1: Pulling from app")
    for name in ("aaa", "bbb"):
        shown.layer(name, "Pulling fs layer")
    shown.far("bbb", "Downloading", 500_000, 1_000_000)
    assert screen.rows()[:3] == [
        "1: Pulling from app",
        "aaa: Pulling fs layer",
        f"bbb: Downloading  [{'=' * 14}>{' ' * 15}]  500kB/1MB",
    ]
    shown.layer("aaa", "Download complete")
    shown.layer("bbb", "Pull complete")
    shown.layer("aaa", "Pull complete")
    shown.say("Digest: x")
    assert screen.rows() == ["1: Pulling from app", "aaa: Pull complete", "bbb: Pull complete", "Digest: x", ""]


def test_more_layers_than_lines_make_room_for_each_other(screen: Screen) -> None:
    shown = Bars(screen.stream)
    names = [f"layer{number:02}" for number in range(30)]
    for name in names:
        shown.layer(name, "Pulling fs layer")
    for name in names[:10]:
        shown.layer(name, "Pull complete")
    rows = screen.rows()
    assert rows == [*(f"{name}: Pulling fs layer" for name in names[10:16]), "… 24 more, 10 of them done", ""]
    for name in names[10:]:
        shown.layer(name, "Pull complete")
    shown.close()
    assert screen.rows() == [*(f"{name}: Pull complete" for name in names), ""]


def test_a_narrow_terminal_has_no_bar_and_no_line_of_two(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "_EVERY_S", 0.0)
    screen.resize(8, 30)
    screen.terminal.columns = 30
    shown = Bars(screen.stream)
    shown.far("5f70bf18a086", "Downloading", 5_000_000, 10_000_000)
    assert screen.rows()[0] == "5f70bf18a086: Downloading  5M"


def test_what_a_registry_says_commands_no_terminal(screen: Screen) -> None:
    shown = Bars(screen.stream)
    shown.layer("a\x1b[2Jb", "Pushed \x07")
    shown.say("c\x1b]0;title\x07\nd")
    assert screen.rows() == ["a\\x1b[2Jb: Pushed \\x07", "c\\x1b]0;title\\x07\\nd", ""]


def test_a_warning_is_above_the_lines(screen: Screen, capfd: pytest.CaptureFixture[str]) -> None:
    shown = Bars(screen.stream)
    shown.layer("aaa", "Pulling fs layer")
    shown.warn("a file was left out")
    assert capfd.readouterr().err == "minirun: warning: a file was left out\n"
    assert screen.rows() == ["aaa: Pulling fs layer", ""]
