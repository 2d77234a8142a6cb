"""kill -9 of minirun at each system call by which it changes the host: the next command leaves nothing half-done.

Each command is run once to see its calls, and then, on a fresh copy of the same store, killed at one of them after the
other. `MINIRUN_TEST_THOROUGH=1` does so at all of them; else a sample is taken.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from minirun.container.state import LOST
from tests import inject
from tests.scene import BUSY, Case, Scene, Stage

DEPTH = ["--cgroup-conf", "cgroup.max.depth=7"]  # a limit that no controller is needed for
CASES = [
    Case("run", ["run", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 10),
    Case("run-rm", ["run", "--rm", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 10),
    Case("run-directory", ["run", "--rm", "--name", "fresh", "LAYERS", "true"], 10, ground="empty"),
    Case("create", ["create", "--name", "fresh", "small", "true"], 6),
    Case("run-made", ["run", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 6, child=True),
    Case("run-back", ["run", "-d", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 6),
    Case("run-back-made", ["run", "-d", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 6, child=True),
    Case("run-back-rm", ["run", "-d", "--rm", "--name", "fresh", "small", "true"], 4),
    Case("run-terminal-made", ["run", "-t", "--name", "fresh", "small", "true"], 5, child=True),
    Case("start-created", ["start", "-a", "made"], 6),
    Case("start-ended", ["start", "-a", "ended"], 6),
    Case("start-back", ["start", "ended"], 4),
    Case("start-back-made", ["start", "ended"], 4, child=True),
    Case("stop", ["stop", "-t", "0", BUSY], 3, busy="back"),
    Case("stop-front", ["stop", "-t", "0", BUSY], 3, busy="front"),
    Case("restart", ["restart", "-t", "0", BUSY], 5, busy="back", between=[["stop", "-t", "0", BUSY]]),
    Case("pause", ["pause", BUSY], 3, busy="back"),
    Case("exec", ["exec", BUSY, "mkdir", "/fresh"], 4, busy="back"),
    Case("exec-back", ["exec", "-d", BUSY, "mkdir", "/fresh"], 3, busy="back"),
    Case("rename", ["rename", "ended", "fresh"], 6),
    Case("rename-running", ["rename", BUSY, "fresh"], 3, busy="back"),
    Case("cp", ["cp", "FILE", "ended:/fresh"], 5, partial="/upper/fresh"),
    Case("cp-running", ["cp", "FILE", f"{BUSY}:/fresh"], 3, busy="back", partial="/upper/fresh"),
    Case("commit-stopped", ["commit", "ended", "fresh:1"], 10),
    Case("commit-twice", ["commit", "committed", "fresh:1"], 5),
    Case("commit-running", ["commit", BUSY, "fresh:1"], 8, busy="front"),
    Case("rm", ["rm", "ended"], 6),
    Case("rm-running", ["rm", "-f", BUSY], 5, busy="front"),
    Case("import", ["import", "LAYERS", "fresh:1"], 8, ground="empty"),
    Case("rmi", ["rmi", "unused:1"], 7),
    Case("untag", ["rmi", "small:other"], 2),
    Case("tag", ["tag", "small", "fresh:1"], 4),
    Case("retag", ["tag", "small", "unused:1"], 3),
    Case("squash", ["image", "squash", "--from", "2", "small", "fresh:1"], 8),
    Case("update", ["update", *DEPTH, "ended"], 4),
    Case("update-running", ["update", *DEPTH, BUSY], 6, busy="front"),
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
            # 0: on another day it makes fewer calls; the others: it tells what became of its child
            if struck.status not in ((125, LOST, 0) if case.child else (-9, 0)):
                wrong.append(f"{point}\n    status {struck.status}: {struck.stderr}")
            if faults := scene.faults(struck.cgroups):
                wrong.append("\n    ".join([f"killed at {point}", *faults]))
        finally:
            scene.calm()
    assert not wrong, report(wrong, found)


def test_an_update_that_is_killed_leaves_the_container_with_the_limits_that_its_record_has(stage: Stage) -> None:
    scene = Scene(Case("update-running", ["update", *DEPTH, BUSY], 8, busy="front"), stage)
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


# Where each has done the most: so the next command has the most to undo. What it tells last is that it has started,
# and where it stays to the end, that it dies.
RECOVERIES = [
    (Case("run", ["run", "--name", "fresh", "small", "true"], 3), r"write\(.*/events>", -2),
    (Case("run-back", ["run", "-d", "--name", "fresh", "small", "sleep", "1"], 3), r"write\(.*/events>", -1),
    (Case("run-rm", ["run", "--rm", "--name", "fresh", "small", "true"], 3), "wait4", -1),
    (Case("start", ["start", "ended"], 3), r"write\(.*/events>", -1),
    (Case("rm", ["rm", "ended"], 3), "rename", -1),
    (Case("commit-stopped", ["commit", "ended", "fresh:1"], 3), "link", -1),
    (Case("import", ["import", "LAYERS", "fresh:1"], 3, ground="empty"), "link", -1),
    (Case("rmi", ["rmi", "unused:1"], 3), "unlink", -1),
]


@pytest.mark.parametrize(("case", "call", "place"), RECOVERIES, ids=[case.name for case, _, _ in RECOVERIES])
def test_a_killed_recovery_is_finished_by_the_next_one(case: Case, call: str, place: int, stage: Stage) -> None:
    scene = Scene(case, stage)
    first = [point for point in scene.dry_pass() if re.match(call, point.text)][place]
    command = scene.words("ps", "-a")

    def break_it() -> list[Path]:
        scene.reset()
        return scene.strike(first, inject.KILL, wait=False).cgroups

    break_it()
    found = inject.points(scene.look(command))
    assert len(found) > 2
    scene.calm()
    wrong = []
    for point in inject.sample(found, case.few):
        cgroups = break_it()
        scene.strike(point, inject.KILL, command)
        if faults := scene.faults(cgroups):
            wrong.append("\n    ".join([f"killed at {first}, then at {point}", *faults]))
        scene.calm()
    assert not wrong, report(wrong, found)


def report(wrong: list[str], found: list[inject.Point]) -> str:
    """What went wrong, at how many of the points."""
    return f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong)
