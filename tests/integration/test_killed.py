"""kill -9 of minirun at each system call by which it changes the host: the next command leaves nothing half-done.

Each command is run once to see its calls, and then, on a fresh copy of the same store, killed at one of them after the
other. `MINIRUN_TEST_THOROUGH=1` does so at all of them; else a sample is taken.
"""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from minirun.engine.system import gc
from tests import inject, stored
from tests.command import Minirun
from tests.inject import Point, Struck
from tests.small import ground, litter, small_layers

BUSY = "busy"  # the name of the container that runs while a command is killed


@dataclass(frozen=True, slots=True)
class Case:
    """A command that is killed.

    Attributes:
        arguments: of minirun; LAYERS is the directory of layers.
        few: how many points are enough for every day.
        ground: the store that it starts from.
        busy: whether a container named BUSY runs meanwhile.
    """

    name: str
    arguments: Sequence[str]
    few: int
    ground: str = "full"
    busy: bool = False


CASES = [
    Case("run", ["run", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 24),
    Case("run-rm", ["run", "--rm", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 24),
    Case("run-directory", ["run", "--rm", "--name", "fresh", "LAYERS", "true"], 30, ground="empty"),
    Case("create", ["create", "--name", "fresh", "small", "true"], 14),
    Case("start-created", ["start", "-a", "made"], 14),
    Case("start-ended", ["start", "-a", "ended"], 14),
    Case("commit-stopped", ["commit", "ended", "fresh:1"], 24),
    Case("commit-twice", ["commit", "committed", "fresh:1"], 14),
    Case("commit-running", ["commit", BUSY, "fresh:1"], 16, busy=True),
    Case("rm", ["rm", "ended"], 14),
    Case("rm-running", ["rm", "-f", BUSY], 10, busy=True),
    Case("import", ["import", "LAYERS", "fresh:1"], 24, ground="empty"),
    Case("rmi", ["rmi", "unused:1"], 18),
    Case("untag", ["rmi", "small:other"], 4),
    Case("tag", ["tag", "small", "fresh:1"], 8),
    Case("retag", ["tag", "small", "unused:1"], 8),
    Case("gc", ["gc"], 14, ground="littered"),
]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory in memory, where hundreds of stores are copied in ten milliseconds each."""
    with tempfile.TemporaryDirectory(prefix="minirun-killed-", dir="/dev/shm") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def layers(place: Path, busybox_layers: Path) -> Path:
    """A directory of small layers, or of all of busybox's in a thorough test."""
    return busybox_layers if inject.THOROUGH else small_layers(place / "layers", busybox_layers)


@pytest.fixture(scope="module")
def grounds(place: Path, layers: Path) -> Path:
    """The directory of the stores that commands start from: full, empty and littered."""
    minirun = Minirun(place / "root", place / "runtime")
    grounds = place / "grounds"
    grounds.mkdir()
    minirun("ps", check=True)
    shutil.copytree(minirun.root, grounds / "empty")
    # made at the place at which its copies are used: a store remembers absolute paths
    ground(minirun, layers)
    subprocess.run(["cp", "--archive", minirun.root, grounds / "full"], check=True)
    litter(minirun.root)
    minirun.root.rename(grounds / "littered")
    return grounds


class Scene:
    """One store, put back before each strike, and what may have become of it after."""

    def __init__(self, case: Case, grounds: Path, layers: Path, place: Path) -> None:
        self.case = case
        self.source = grounds / case.ground
        self.minirun = Minirun(place / "root", place / "runtime")
        self.log = place / "strace.log"
        words = [str(layers) if word == "LAYERS" else word for word in case.arguments]
        self.command = self.minirun.command(words)
        self.began = time.time() - 0.05
        self.known = stored.ids(self.source)
        self.busy: subprocess.Popen[bytes] | None = None
        self.before = self.after = stored.Picture()

    def reset(self) -> None:
        """Put the store back."""
        subprocess.run(["rm", "-rf", self.minirun.root], check=True)
        subprocess.run(["cp", "--archive", self.source, self.minirun.root], check=True)
        if self.case.busy:
            self.busy = self.minirun.start(
                "run", "--name", BUSY, "small", "sh", "-c", "echo x >/made; echo ready; sleep 30"
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
            struck = inject.dry_pass(self.command, self.minirun.environment(), self.log)
            assert struck.status == 0, struck.stderr
            self.after = self.picture()
        finally:
            self.calm()
        return inject.points(struck.lines)

    def strike(self, how: Callable[..., Struck], point: Point, *more: str) -> Struck:
        """Do it to the command at *point*, and wait for the end of a container that goes on."""
        struck: Struck = how(self.command, self.minirun.environment(), self.log, point, *more)
        for cgroup in struck.cgroups:
            end = time.monotonic() + 10
            while populated(cgroup):
                assert time.monotonic() < end, f"{cgroup} goes on and on"
                time.sleep(0.005)
        return struck

    def faults(self, struck: Struck) -> list[str]:
        """Say what is wrong with the store and the host, one command later."""
        wrong = []
        mended = self.minirun("ps", "-a")
        if mended.returncode or mended.stderr:
            wrong.append(f"ps -a: status {mended.returncode} {mended.stderr}")
        root = self.minirun.root
        wrong += [f"{mark} is left:\n{mark.read_text()}" for mark in (root / "marks").iterdir() if not held(mark)]
        wrong += [f"{cgroup} is left" for cgroup in struck.cgroups if cgroup.exists()]
        found = self.picture()
        if self.case.name != "gc" and not any(matches(expected, found) for expected in (self.before, self.after)):
            near = min((stored.differences(one, found) for one in (self.before, self.after)), key=len)
            wrong += ["the store is neither as before nor as after:", *near]
        gc()
        # what gc itself left undone, the next gc does; in any other case there is nothing left for it
        expected = self.after if self.case.name == "gc" else found
        return wrong + [f"gc: {line}" for line in stored.differences(expected, self.picture())]


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


def matches(expected: stored.Picture, found: stored.Picture) -> bool:
    """Whether *found* is *expected*, but for what is not the store's contents.

    What a killed command may leave undone for good: the exit status of a container whose end nobody saw is 255; that
    a directory was this image is not remembered. What it may leave done: files that are written anew by each start.
    """

    def essence(picture: stored.Picture) -> stored.Picture:
        return {
            path: words.replace('"exit_code": 255', '"exit_code": 0')
            for path, words in picture.items()
            if not path.startswith("sources/") and not path.endswith(("/hosts", "/hostname", "/resolv.conf"))
        }

    return essence(expected) == essence(found)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_killed_command_is_undone_or_finished_by_the_next_one(
    case: Case, grounds: Path, layers: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIRUN_ROOT", str(place / "root"))
    monkeypatch.setenv("MINIRUN_RUNTIME", str(place / "runtime"))
    scene = Scene(case, grounds, layers, place)
    found = scene.dry_pass()
    assert len(found) > 2
    wrong = []
    for point in inject.sample(found, case.few):
        scene.reset()
        try:
            struck = scene.strike(inject.kill, point)
            if struck.status not in (-9, 0):
                wrong.append(f"{point}\n    status {struck.status}: {struck.stderr}")
            if faults := scene.faults(struck):
                wrong.append("\n    ".join([f"killed at {point}", *faults]))
        finally:
            scene.calm()
    if wrong:
        pytest.fail(f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong), pytrace=False)
