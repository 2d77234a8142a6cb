"""One store, put back before each blow, and what may have become of it after: for tests that kill and break minirun."""

from __future__ import annotations

import fcntl
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from minirun.cgroup import group, hierarchy
from minirun.container import kept as keepers
from minirun.engine.system import gc
from tests import inject, kept, stored
from tests.command import Minirun
from tests.inject import Point, Struck
from tests.small import ground, litter, small_layers

BUSY = "busy"  # the name of the container that runs while a command is struck


@dataclass(frozen=True, slots=True)
class Case:
    """A command that is struck.

    Attributes:
        name: of the case.
        arguments: of minirun; LAYERS is the directory of layers, FILE a file of the host.
        few: how many points are enough for every day.
        ground: the store that it starts from: full, empty or littered.
        busy: where a container named BUSY runs meanwhile: front, the foreground, or back; empty: there is none.
        child: whether the process that it forks is struck, which makes a container and is its keeper then.
        between: commands that come to what it may come to half-way, as well as to nothing or all.
        partial: the end of the path of what may be there half.
    """

    name: str
    arguments: Sequence[str]
    few: int
    ground: str = "full"
    busy: str = ""
    child: bool = False
    between: Sequence[Sequence[str]] = ()
    partial: str = "\0"


class Stage:
    """The stores that commands start from, made once at the place at which their copies are used.

    A store remembers absolute paths, so there is one such place. It should be in memory: hundreds of copies are made.
    """

    def __init__(self, place: Path, busybox_layers: Path) -> None:
        self.place = place
        self.minirun = Minirun(place / "root", place / "runtime")
        self.layers = busybox_layers if inject.THOROUGH else small_layers(place / "layers", busybox_layers)
        self.file = place / "file"
        self.file.write_bytes(bytes(range(256)) * 4096)
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
        places = {"LAYERS": str(stage.layers), "FILE": str(stage.file)}
        self.command = self.words(*(places.get(word, word) for word in case.arguments))
        self.began = time.time() - 0.05  # the kernel's clock for files is a tick behind
        self.known = stored.ids(self.source)
        self.busy = ""  # the id of the container that runs
        self.front: subprocess.Popen[bytes] | None = None
        self.before = self.after = stored.Picture()
        self.between: list[stored.Picture] = []

    def words(self, *arguments: str) -> list[str]:
        """A command line of minirun's."""
        return self.minirun.command(arguments)

    def reset(self, source: Path | None = None) -> None:
        """Put the store back."""
        copy(source or self.source, self.minirun.root)
        if not self.case.busy:
            return
        script = ["--name", BUSY, "small", "sh", "-c", "echo x >/made; echo ready; exec sleep 30"]
        if self.case.busy == "front":
            self.front = self.minirun.start("run", *script)
            assert self.front.stdout
            assert self.front.stdout.readline() == b"ready\n"
        else:
            self.minirun("run", "-d", *script, check=True)
            kept.await_log(self.minirun, BUSY, "ready\n")
        self.busy = kept.container_id(self.minirun, BUSY)
        kept.until(lambda: self.status() == "running")

    def status(self) -> str:
        """What the container that runs is."""
        return self.minirun("inspect", "-f", "{{.State.Status}}", self.busy).stdout.strip()

    def calm(self) -> None:
        """End the container that runs, and whatever was left behind."""
        if self.busy:
            self.minirun("rm", "-f", self.busy)
            self.busy = ""
        if self.front:
            self.front.communicate()
            self.front = None
        for left in kept.left(self.minirun):
            group.remove(hierarchy.path(left))
            keepers.forget(str(self.minirun.root), str(self.minirun.runtime), left)
        kept.unsupervised(self.minirun)

    def picture(self) -> stored.Picture:
        """What is in the store, and what became of the container that runs."""
        found = stored.picture(self.minirun.root, self.known, self.began)
        found.pop("spare", None)  # given up where there is no other room, and taken back when there is
        return found | {BUSY: self.status()} if self.busy else found

    def dry_pass(self) -> list[Point]:
        """Let the command come to its end, and see what it did."""
        self.reset()
        self.before = self.picture()
        try:
            lines = self.look(self.command, child=self.case.child)
            assert not (loud := self.settle()), loud
            self.after = self.picture()
        finally:
            self.calm()
        for command in self.case.between:
            self.reset()
            self.minirun(*command, check=True)
            assert not (loud := self.settle()), loud
            self.between += [self.picture(), lost(self.picture())]
            self.calm()
        return inject.points(lines)

    def look(self, command: Sequence[str], *, child: bool = False) -> list[str]:
        """Run a command and return its system calls, or those of its *child*."""
        log = self.stage.place / "strace.log"
        struck = inject.dry_pass(command, self.minirun.environment(), log, child=child)
        assert struck.status == 0, struck.stderr
        return struck.lines

    def settle(self) -> list[str]:
        """Wait until whoever looks after containers has done so; what is wrong with that."""
        alive = {self.busy} if self.busy and self.status() in ("running", "paused") else set()
        try:
            kept.until(lambda: kept.left(self.minirun) <= alive, "some are looked after for ever")
            for busy in alive:  # exec -d may still be at it
                kept.until(lambda busy=busy: len(group.processes(hierarchy.path(busy))) == 1)  # type: ignore[misc]
            if not alive:
                kept.unsupervised(self.minirun)
        except AssertionError as error:
            return [str(error), *kept.left(self.minirun)]
        said = kept.complaints(self.minirun)
        return [said] if said else []

    def strike(self, point: Point, what: str, command: Sequence[str] | None = None, *, wait: bool = True) -> Struck:
        """Let *what* happen to the command at *point*, and *wait* for the end of a container that goes on."""
        log = self.stage.place / "strace.log"
        struck = inject.strike(
            command or self.command, self.minirun.environment(), log, point, what,
            child=self.case.child and command is None,
        )  # fmt: skip
        if self.case.child:  # it was not that process that made a group
            there = (Path(hierarchy.path(name)) for name in stored.ids(self.minirun.root) | kept.left(self.minirun))
            struck.cgroups.extend(path for path in there if path.exists())
        if self.busy:  # it may have been started again
            struck.cgroups[:] = [path for path in struck.cgroups if path.name != self.busy]
        for cgroup in struck.cgroups if wait else ():
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
        wrong += self.settle()
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
        pictures = [essence(one, self.case.partial) for one in (self.before, self.after, *self.between)]
        now = essence(found, self.case.partial)
        if now in pictures:
            return []
        near = min((stored.differences(one, now) for one in pictures), key=len)
        return ["the store is neither as before nor as after:", *near]


def essence(picture: stored.Picture, partial: str = "\0") -> stored.Picture:
    """Leave out of a picture what is no part of the store's contents, and what *partial* ends the path of.

    What a killed command may leave undone for good: the exit status of a container whose end nobody saw is 255; that
    a directory was this image is not remembered. What it may leave done: files that each start writes anew; the log of
    a container that the supervisor has looked after, and which has printed nothing.
    """
    return {
        path: words.replace('"exit_code": 255', '"exit_code": 0')
        for path, words in picture.items()
        if not path.startswith("sources/")
        and not path.endswith(("/hosts", "/hostname", "/resolv.conf", "/log", partial))
        and not (path.endswith("-json.log") and words.endswith(" links=1 "))
    }


def lost(picture: stored.Picture) -> stored.Picture:
    """The same where what was stopped by hand was started again, and nobody saw how it ended."""
    stopped, unseen = '"by_hand": true', '"by_hand": false'
    return {path: words.replace(stopped, unseen).replace(": 137", ": 0") for path, words in picture.items()}


def populated(cgroup: Path) -> bool:
    """Whether the group has processes."""
    try:
        return "populated 1" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def held(mark: Path) -> bool:
    """Whether the owner of *mark* is alive, or has just come to its end."""
    try:
        with mark.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileNotFoundError):
        return True
    return False
