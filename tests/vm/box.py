"""A container that runs in the background, seen from outside: its group, with the kernel's own counters."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests.command import Minirun

TREE = Path("/sys/fs/cgroup")
READY = "echo ready; "  # a shell script begins so, or does so when it has prepared itself


@dataclass(frozen=True, slots=True)
class Box:
    """A running container."""

    id: str
    group: Path
    process: subprocess.Popen[bytes]  # minirun, with the container's output

    def read(self, name: str) -> str:
        """What the control file *name* says, without the end of the line."""
        return (self.group / name).read_text().rstrip("\n")

    def count(self, name: str, key: str) -> int:
        """One number of ``memory.events``, ``cpu.stat``: ``key 1``; or of ``io.stat``: ``254:0 key=1``, added up."""
        words = self.read(name).replace("=", " ").split()
        return sum(int(number) for word, number in pairwise(words) if word == key)

    def line(self) -> str:
        """The next line that the container prints."""
        assert self.process.stdout
        return self.process.stdout.readline().decode().rstrip("\n")

    def ask(self, words: str) -> str:
        """Give it a line, and return the next one that it prints."""
        assert self.process.stdin
        self.process.stdin.write(f"{words}\n".encode())
        self.process.stdin.flush()
        return self.line()

    def cpu_share(self, seconds: float) -> float:
        """How much of a processor it uses during the next *seconds*."""
        return self.rate("cpu.stat", "usage_usec", seconds) / 1e6

    def rate(self, name: str, key: str, seconds: float) -> float:
        """How much a number grows a second, during the next *seconds*."""
        began, before = time.monotonic(), self.count(name, key)
        time.sleep(seconds)
        return (self.count(name, key) - before) / (time.monotonic() - began)


@contextmanager
def running(store: Minirun, place: Path, *arguments: str | Path) -> Iterator[Box]:
    """Start `run *arguments*`, wait until it prints `ready`, and at the end kill what is left of it.

    Args:
        store: what to start it with.
        place: a directory for its id.
        arguments: flags, an image and a command.
    """
    cidfile = place / f"cid-{time.monotonic_ns()}"
    with store.start("run", "--rm", "--cidfile", cidfile, *arguments, stdin=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        if process.stdout.readline() != b"ready\n":
            raise AssertionError(process.stderr.read().decode())
        (group,) = TREE.glob(f"**/{cidfile.read_text()}")  # below systemd, it is in a scope
        try:
            yield Box(group.name, group, process)
        finally:
            if group.exists():
                (group / "cgroup.kill").write_text("1")


def within(least: float, most: float, measure: Callable[[], float]) -> None:
    """Fail unless *measure* gives what is between *least* and *most*, in one of three attempts.

    The guest's processors are threads of the host, and whoever else works there takes them away without a trace in
    the guest. A limit that is not kept is missed all three times.
    """
    found = []
    for _ in range(3):
        found.append(measure())
        if least <= found[-1] <= most:
            return
    pytest.fail(f"not from {least} to {most}: {found}")
