"""A container that runs in the background, seen from outside: its group, with the kernel's own counters."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minirun.cgroup import hierarchy
from tests.command import Minirun

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
        """One number of a file that has a key and a number a line: ``memory.events``, ``cpu.stat``."""
        return int(dict(line.split() for line in self.read(name).splitlines())[key])

    def line(self) -> str:
        """The next line that the container prints."""
        assert self.process.stdout
        return self.process.stdout.readline().decode().rstrip("\n")

    def cpu_share(self, seconds: float) -> float:
        """How much of a processor it uses during the next *seconds*."""
        began, used = time.monotonic(), self.count("cpu.stat", "usage_usec")
        time.sleep(seconds)
        used_s = (self.count("cpu.stat", "usage_usec") - used) / 1e6
        return used_s / (time.monotonic() - began)


@contextmanager
def running(store: Minirun, place: Path, *arguments: str | Path) -> Iterator[Box]:
    """Start `run *arguments*`, wait until it prints `ready`, and at the end kill what is left of it.

    Args:
        store: what to start it with.
        place: a directory for its id.
        arguments: flags, an image and a command.
    """
    cidfile = place / f"cid-{time.monotonic_ns()}"
    with store.start("run", "--rm", "--cidfile", cidfile, *arguments) as process:
        assert process.stdout
        assert process.stderr
        if process.stdout.readline() != b"ready\n":
            raise AssertionError(process.stderr.read().decode())
        group = Path(hierarchy.path(cidfile.read_text()))
        try:
            yield Box(group.name, group, process)
        finally:
            if group.exists():
                (group / "cgroup.kill").write_text("1")
