"""kill -9 of minirun at each system call by which it changes the host: the next command leaves nothing half-done.

Each command is run once to see its calls, and then, on a fresh copy of the same store, killed at one of them after the
other. `MINIRUN_TEST_THOROUGH=1` does so at all of them; else a sample is taken.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from tests import inject
from tests.scene import BUSY, Case, Scene, Stage, copy

DEPTH = ["--cgroup-conf", "cgroup.max.depth=7"]  # a limit that no controller is needed for
CASES = [
    Case("run", ["run", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 10),
    Case("run-rm", ["run", "--rm", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 10),
    Case("run-directory", ["run", "--rm", "--name", "fresh", "LAYERS", "true"], 10, ground="empty"),
    Case("create", ["create", "--name", "fresh", "small", "true"], 6),
    Case("start-created", ["start", "-a", "made"], 6),
    Case("start-ended", ["start", "-a", "ended"], 6),
    Case("commit-stopped", ["commit", "ended", "fresh:1"], 10),
    Case("commit-twice", ["commit", "committed", "fresh:1"], 5),
    Case("commit-running", ["commit", BUSY, "fresh:1"], 8, busy=True),
    Case("rm", ["rm", "ended"], 6),
    Case("rm-running", ["rm", "-f", BUSY], 5, busy=True),
    Case("import", ["import", "LAYERS", "fresh:1"], 8, ground="empty"),
    Case("rmi", ["rmi", "unused:1"], 7),
    Case("untag", ["rmi", "small:other"], 2),
    Case("tag", ["tag", "small", "fresh:1"], 4),
    Case("retag", ["tag", "small", "unused:1"], 3),
    Case("squash", ["image", "squash", "--from", "2", "small", "fresh:1"], 8),
    Case("update", ["update", *DEPTH, "ended"], 4),
    Case("update-running", ["update", *DEPTH, BUSY], 6, busy=True),
    Case("gc", ["gc"], 5, ground="littered"),
]


@pytest.fixture(scope="module")
def stage(busybox_layers: Path) -> Iterator[Stage]:
    """The stores that are copied."""
    with tempfile.TemporaryDirectory(prefix="minirun-killed-", dir="/dev/shm") as place:
        yield Stage(Path(place), busybox_layers)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_killed_command_is_undone_or_finished_by_the_next_one(case: Case, stage: Stage) -> None:
    scene = Scene(case, stage)
    found = scene.dry_pass()
    assert len(found) > 2
    wrong = []
    for point in inject.sample(found, case.few):
        scene.reset()
        try:
            struck = scene.strike(point, inject.KILL)
            # 0: on another day it makes fewer calls
            if struck.status not in (-9, 0):
                wrong.append(f"{point}\n    status {struck.status}: {struck.stderr}")
            if faults := scene.faults(struck.cgroups):
                wrong.append("\n    ".join([f"killed at {point}", *faults]))
        finally:
            scene.calm()
    assert not wrong, report(wrong, found)


def test_an_update_that_is_killed_leaves_the_container_with_the_limits_that_its_record_has(stage: Stage) -> None:
    scene = Scene(Case("update-running", ["update", *DEPTH, BUSY], 8, busy=True), stage)
    seen = set()
    for point in inject.sample(scene.dry_pass(), scene.case.few):
        scene.reset()
        try:
            scene.strike(point, inject.KILL)
            scene.minirun("ps", check=True)
            told = scene.minirun("inspect", "-f", "{{.Id}} {{json .HostConfig.CgroupConf}}", BUSY, check=True).stdout
            container, recorded = told.split()
            depth = Path(hierarchy.path(container), "cgroup.max.depth").read_text().strip()
            assert (depth, recorded) in (("max", "{}"), ("7", '{"cgroup.max.depth":"7"}')), point
            seen.add(depth)
        finally:
            scene.calm()
    assert seen == {"max", "7"}


# where each has done the most: so the next command has the most to undo
RECOVERIES = [
    (Case("run", ["run", "--name", "fresh", "small", "true"], 3), "wait4"),
    (Case("run-rm", ["run", "--rm", "--name", "fresh", "small", "true"], 3), "wait4"),
    (Case("rm", ["rm", "ended"], 3), "rename"),
    (Case("commit-stopped", ["commit", "ended", "fresh:1"], 3), "link"),
    (Case("import", ["import", "LAYERS", "fresh:1"], 3, ground="empty"), "link"),
    (Case("rmi", ["rmi", "unused:1"], 3), "unlink"),
]


@pytest.mark.parametrize(("case", "call"), RECOVERIES, ids=lambda value: getattr(value, "name", ""))
def test_a_killed_recovery_is_finished_by_the_next_one(case: Case, call: str, stage: Stage) -> None:
    scene = Scene(case, stage)
    first = [point for point in scene.dry_pass() if point.call == call][-1]
    scene.reset()
    cgroups = scene.strike(first, inject.KILL).cgroups
    broken = stage.place / "broken"
    copy(stage.minirun.root, broken)
    command = scene.words("ps", "-a")
    found = inject.points(scene.look(command))
    assert len(found) > 2
    wrong = []
    for point in inject.sample(found, case.few):
        scene.reset(broken)
        scene.strike(point, inject.KILL, command)
        if faults := scene.faults(cgroups):
            wrong.append("\n    ".join([f"killed at {first}, then at {point}", *faults]))
    assert not wrong, report(wrong, found)


def report(wrong: list[str], found: list[inject.Point]) -> str:
    """What went wrong, at how many of the points."""
    return f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong)
