"""kill -9 while a container with a user namespace is made or runs: no range stays taken, and no process holds one."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import inject
from tests.scene import Case, Scene, Stage

AUTO = ("--userns", "auto", "--network", "none")
CASES = [
    Case("run-rm", ["run", "--rm", *AUTO, "--name", "fresh", "small", "true"], 8),
    Case("create", ["create", *AUTO, "--name", "fresh", "small", "true"], 5),
    Case("run-back-made", ["run", "-d", *AUTO, "--name", "fresh", "small", "true"], 5, child=True),
]


@pytest.fixture(scope="module")
def stage(busybox_layers: Path) -> Iterator[Stage]:
    """The stores that are copied."""
    with tempfile.TemporaryDirectory(prefix="minirun-userns-", dir="/dev/shm") as place:
        yield Stage(Path(place), busybox_layers)


def holders() -> list[str]:
    """Processes that hold a user namespace: see launch/userns.py."""
    done = subprocess.run(["pgrep", "-fx", "drain 0"], capture_output=True, text=True, check=False)
    return done.stdout.split()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_is_killed_leaves_no_range_taken_but_its_containers(case: Case, stage: Stage) -> None:
    scene = Scene(case, stage)
    found = scene.dry_pass()
    assert any("/ranges/" in point.text for point in found) or case.child
    before = holders()
    wrong = []
    for point in inject.sample(found, case.few):
        scene.reset()
        try:
            struck = scene.strike(point, inject.KILL)
            if faults := scene.faults(struck.cgroups):
                wrong.append("\n    ".join([f"killed at {point}", *faults]))
            folder = stage.minirun.root / "ranges"
            links = [one for one in folder.iterdir() if one.is_symlink()] if folder.exists() else []
            has = "userns" in stage.minirun("inspect", "-f", "{{.HostConfig.UsernsMode}} userns", "fresh").stdout
            if len(links) != has or any(not link.exists() for link in links):
                wrong.append(f"killed at {point}\n    {links}, and there is {'one' if has else 'no'} container")
            if left := set(holders()) - set(before):
                wrong.append(f"killed at {point}\n    holders of a namespace: {left}")
        finally:
            scene.calm()
    assert not wrong, "\n".join(wrong)
