"""One store, put back before each blow, and what may have become of it after: for tests that kill and break minirun."""

from __future__ import annotations

import fcntl
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from minirun.engine.system import gc
from tests import inject, stored
from tests.command import Minirun
from tests.inject import Point, Struck
from tests.small import ground, litter, small_layers

BUSY = "busy"  # the name of the container that runs while a command is struck


@dataclass(frozen=True, slots=True)
class Case:
    """A command that is struck.

    Attributes:
        name: of the case.
        arguments: of minirun; LAYERS is the directory of layers.
        few: how many points are enough for every day.
        ground: the store that it starts from: full, empty or littered.
        busy: whether a container named BUSY runs meanwhile.
    """

    name: str
    arguments: Sequence[str]
    few: int
    ground: str = "full"
    busy: bool = False


class Stage:
    """The stores that commands start from, made once at the place at which their copies are used.

    A store remembers absolute paths, so there is one such place. It should be in memory: hundreds of copies are made.
    """

    def __init__(self, place: Path, busybox_layers: Path) -> None:
        self.place = place
        self.minirun = Minirun(place / "root", place / "runtime")
        self.layers = busybox_layers if inject.THOROUGH else small_layers(place / "layers", busybox_layers)
        grounds = place / "grounds"
        grounds.mkdir()
        self.minirun("ps", check=True)
        copy(self.minirun.root, grounds / "empty")
        ground(self.minirun, self.layers)
        copy(self.minirun.root, grounds / "full")
        litter(self.minirun.root)
        copy(self.minirun.root, grounds / "littered")


def copy(source: Path, target: Path) -> None:
    """Make *target* a copy of the store *source*."""
    subprocess.run(["rm", "-rf", target], check=True)
    subprocess.run(["cp", "--archive", source, target], check=True)


class Scene:
    """The store in which one case is played again and again."""

    def __init__(self, case: Case, stage: Stage) -> None:
        self.case = case
        self.stage = stage
        self.minirun = stage.minirun
        self.source = stage.place / "grounds" / case.ground
        self.command = self.words(*(str(stage.layers) if word == "LAYERS" else word for word in case.arguments))
        self.began = time.time() - 0.05  # the kernel's clock for files is a tick behind
        self.known = stored.ids(self.source)
        self.busy: subprocess.Popen[bytes] | None = None
        self.before = self.after = stored.Picture()

    def words(self, *arguments: str) -> list[str]:
        """A command line of minirun's."""
        return self.minirun.command(arguments)

    def reset(self, source: Path | None = None) -> None:
        """Put the store back."""
        copy(source or self.source, self.minirun.root)
        if self.case.busy:
            self.busy = self.minirun.start(
                "run", "--name", BUSY, "small", "sh", "-c", "echo x >/made; echo ready; exec sleep 30"
            )
            assert self.busy.stdout
            assert self.busy.stdout.readline() == b"ready\n"
            while "Up" not in self.minirun("ps", "--filter", f"name={BUSY}").stdout:
                time.sleep(0.01)

    def calm(self) -> None:
        """End the container that runs."""
        if self.busy:
            self.minirun("rm", "-f", BUSY)
            self.busy.communicate()
            self.busy = None

    def picture(self) -> stored.Picture:
        """What is in the store."""
        return stored.picture(self.minirun.root, self.known, self.began)

    def dry_pass(self) -> list[Point]:
        """Let the command come to its end, and see what it did."""
        self.reset()
        self.before = self.picture()
        try:
            lines = self.look(self.command)
            self.after = self.picture()
        finally:
            self.calm()
        return inject.points(lines)

    def look(self, command: Sequence[str]) -> list[str]:
        """Run a command and return its system calls."""
        struck = inject.dry_pass(command, self.minirun.environment(), self.stage.place / "strace.log")
        assert struck.status == 0, struck.stderr
        return struck.lines

    def strike(self, point: Point, what: str, command: Sequence[str] | None = None) -> Struck:
        """Let *what* happen to the command at *point*, and wait for the end of a container that goes on."""
        log = self.stage.place / "strace.log"
        struck = inject.strike(command or self.command, self.minirun.environment(), log, point, what)
        for cgroup in struck.cgroups:
            end = time.monotonic() + 10
            while populated(cgroup):
                assert time.monotonic() < end, f"{cgroup} goes on and on"
                time.sleep(0.005)
        return struck

    def faults(self, cgroups: Sequence[Path]) -> list[str]:
        """Say what is wrong with the store and the host, one command later; *cgroups* were made by the one before."""
        wrong = []
        mended = self.minirun("ps", "-a")
        if mended.returncode or mended.stderr:
            wrong.append(f"ps -a: status {mended.returncode} {mended.stderr}")
        marks = self.minirun.root / "marks"
        wrong += [f"{mark} is left:\n{mark.read_text()}" for mark in marks.iterdir() if not held(mark)]
        wrong += [f"{cgroup} is left" for cgroup in cgroups if cgroup.exists()]
        found = self.picture()
        if self.case.name != "gc":
            wrong += self.foreign(found)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MINIRUN_ROOT", str(self.minirun.root))
            patch.setenv("MINIRUN_RUNTIME", str(self.minirun.runtime))
            gc()
        # what gc itself was kept from, the next gc does; in any other case there is nothing left for it
        expected = self.after if self.case.name == "gc" else found
        return wrong + [f"gc: {line}" for line in stored.differences(expected, self.picture())]

    def foreign(self, found: stored.Picture) -> list[str]:
        """Say in what the store *found* is neither as before the command nor as after it."""
        pictures = [essence(self.before), essence(self.after)]
        if essence(found) in pictures:
            return []
        near = min((stored.differences(one, essence(found)) for one in pictures), key=len)
        return ["the store is neither as before nor as after:", *near]


def essence(picture: stored.Picture) -> stored.Picture:
    """Leave out of a picture what is no part of the store's contents.

    What a killed command may leave undone for good: the exit status of a container whose end nobody saw is 255; that
    a directory was this image is not remembered. What it may leave done: files that each start writes anew.
    """
    return {
        path: words.replace('"exit_code": 255', '"exit_code": 0')
        for path, words in picture.items()
        if not path.startswith("sources/") and not path.endswith(("/hosts", "/hostname", "/resolv.conf"))
    }


def populated(cgroup: Path) -> bool:
    """Whether the group has processes."""
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def held(mark: Path) -> bool:
    """Whether the owner of *mark* is alive."""
    with mark.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
