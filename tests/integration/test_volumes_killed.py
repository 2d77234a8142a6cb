"""kill -9 of what makes, fills, removes and copies volumes, at each system call by which it changes the host."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import inject
from tests.scene import Case, Scene, Stage, copy

CASES = [
    Case("create-named", ["create", "--name", "fresh", "-v", "new:/etc", "small", "true"], 14, ground="volumes"),
    Case("create-anonymous", ["create", "--name", "fresh", "-v", "/etc", "small", "true"], 12, ground="volumes"),
    Case("create-folders", ["create", "--name", "fresh", "-v", "MADE/a/b:/x", "small", "true"], 8, ground="volumes"),
    Case("run-rm", ["run", "--rm", "-v", "/etc", "-v", "/x", "small", "true"], 14, ground="volumes"),
    Case("rm-v", ["rm", "-v", "holder"], 10, ground="volumes"),
    Case("volume-create", ["volume", "create", "new"], 8, ground="volumes"),
    Case("volume-rm", ["volume", "rm", "other"], 8, ground="volumes"),
    Case("volume-prune", ["volume", "prune", "-f"], 8, ground="volumes"),
    Case("volume-clone", ["volume", "clone", "kept", "new"], 12, ground="volumes"),
]


@pytest.fixture(scope="module")
def stage(busybox_layers: Path) -> Iterator[Stage]:
    """The stores that are copied, one of them with volumes."""
    with tempfile.TemporaryDirectory(prefix="minirun-killed-", dir="/dev/shm") as place:
        made = Stage(Path(place), busybox_layers)
        copy(made.place / "grounds/full", made.minirun.root)
        minirun = made.minirun
        minirun("volume", "create", "bare", check=True)
        minirun("volume", "create", check=True)
        minirun("run", "--rm", "-v", "kept:/etc", "small", "true", check=True)
        minirun("create", "--name", "holder", "-v", "/anonymous", "-v", "kept:/etc", "small", "true", check=True)
        minirun("create", "--name", "second", "-v", "other:/etc", "small", "true", check=True)
        minirun("rm", "second", check=True)
        copy(minirun.root, made.place / "grounds/volumes")
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_killed_command_is_undone_or_finished_by_the_next_one(case: Case, stage: Stage) -> None:
    arguments = [word.replace("MADE", f"{stage.place}/made") for word in case.arguments]
    scene = Scene(Case(case.name, arguments, case.few, case.ground), stage)
    found = scene.dry_pass()
    inner = stage.place / "made"
    wrong = []
    for point in inject.sample(found, case.few):
        scene.reset()
        for folder in (inner / "a/b", inner / "a", inner):
            if folder.exists():
                folder.rmdir()
        struck = scene.strike(point, inject.KILL)
        if struck.status not in (-9, 0):
            wrong.append(f"{point}\n    status {struck.status}: {struck.stderr}")
        if faults := scene.faults(struck.cgroups):
            wrong.append("\n    ".join([f"killed at {point}", *faults]))
        made = scene.minirun("ps", "-aq", "--filter", "name=fresh").stdout != ""
        if inner.exists() != (made and case.name == "create-folders"):
            wrong.append(f"killed at {point}\n    {inner} is left, or lost")
    assert not wrong, "\n".join(wrong)


def test_an_empty_volume_is_filled_whole_or_not_at_all(stage: Stage) -> None:
    case = Case("create-fill", ["create", "--name", "fresh", "-v", "bare:/etc", "small", "true"], 12, ground="volumes")
    scene = Scene(case, stage)
    found = scene.dry_pass()
    volume = scene.minirun.root / "volumes/bare"
    whole = sorted(entry.name for entry in (volume / "_data").iterdir())
    assert whole
    seen = set()
    for point in inject.sample(found, case.few):
        scene.reset()
        scene.strike(point, inject.KILL)
        scene.minirun("ps", check=True)
        there = sorted(entry.name for entry in (volume / "_data").iterdir())
        assert there in ([], whole), point
        assert sorted(entry.name for entry in volume.iterdir()) == ["_data", "volume.json"], point
        seen.add(bool(there))
    assert seen == {False, True}
