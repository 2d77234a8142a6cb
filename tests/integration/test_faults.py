"""Calls that fail, descriptors that run out, disks that fill up: a sentence with the errno, and nothing half-done."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import inject
from tests.command import Minirun
from tests.inject import Point
from tests.scene import BUSY, Case, Scene, Stage, essence
from tests.small import small_layers

CASES = [
    Case("run-rm", ["run", "--rm", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 8),
    Case("run-directory", ["run", "--rm", "--name", "fresh", "LAYERS", "true"], 8, ground="empty"),
    Case("create", ["create", "--name", "fresh", "small", "true"], 5),
    Case("commit-stopped", ["commit", "ended", "fresh:1"], 8),
    Case("commit-running", ["commit", BUSY, "fresh:1"], 6, busy=True),
    Case("rm", ["rm", "ended"], 4),
    Case("rmi", ["rmi", "unused:1"], 4),
    Case("tag", ["tag", "small", "unused:1"], 3),
]
# What may fail in each way; see the ERRORS of the man pages. EINTR is always tried again.
ERRORS = {
    "ENOSPC": {*inject.MAKE, *inject.MOVE, *inject.FILL, *inject.SYNC, "setxattr", "lsetxattr", "fsetxattr"},
    "EIO": {*inject.MAKE, *inject.MOVE, *inject.FILL, *inject.SYNC, *inject.DESCRIBE},
    "EMFILE": {"openat"},
    "ENOMEM": {*inject.MAKE, *inject.MOVE, "clone3"},
    "EINTR": {"openat", "write", "fsync", "wait4"},
}


@pytest.fixture(scope="module")
def stage(busybox_layers: Path) -> Iterator[Stage]:
    """The stores that are copied."""
    with tempfile.TemporaryDirectory(prefix="minirun-faults-", dir="/dev/shm") as place:
        yield Stage(Path(place), busybox_layers)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_call_that_fails_is_named_and_changes_nothing(case: Case, error: str, stage: Stage) -> None:
    scene = Scene(case, stage)
    found = [point for point in scene.dry_pass() if point.call in ERRORS[error]]
    wrong = []
    for point in inject.sample(found, case.few if error in ("ENOSPC", "EIO") else 2):
        scene.reset()
        try:
            if faults := strike(scene, point, error):
                wrong.append("\n    ".join([f"{error} at {point}", *faults]))
        finally:
            scene.calm()
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong)


def strike(scene: Scene, point: Point, error: str) -> list[str]:
    """Let one call fail, and say what is wrong with what came of it."""
    struck = scene.strike(point, f"error={error}")
    wrong = []
    if struck.status == 125:
        if not (struck.stderr.startswith("minirun: cannot ") and error in struck.stderr):
            wrong.append("no sentence that names the error")
    elif struck.status != 0:  # it was tried again, or a courtesy, or it is told as a warning
        wrong.append(f"status {struck.status}")
    if "Traceback" in struck.stderr or "MINIRUN_DEBUG" in struck.stderr:
        wrong.append("a fault of minirun's own")
    if wrong:
        wrong.append(struck.stderr)
    wrong += scene.faults(struck.cgroups)
    if struck.status == 0 and essence(scene.picture()) != essence(scene.after):
        wrong.append("status 0, and the store is not as after")
    return wrong
