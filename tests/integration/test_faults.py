"""Calls that fail, descriptors that run out, disks that fill up: a sentence with the errno, and nothing half-done."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.container.state import LOST
from tests import inject
from tests.command import Minirun
from tests.inject import Point
from tests.kept import await_status
from tests.scene import BUSY, Case, Scene, Stage, essence
from tests.small import small_layers

CASES = [
    Case("run-rm", ["run", "--rm", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 8),
    Case("run-directory", ["run", "--rm", "--name", "fresh", "LAYERS", "true"], 8, ground="empty"),
    Case("run", ["run", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 6),
    Case("run-made", ["run", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 4, child=True),
    Case("run-back", ["run", "-d", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 6),
    Case("run-back-made", ["run", "-d", "--name", "fresh", "small", "sh", "-c", "echo x >/made"], 6, child=True),
    Case("start-back", ["start", "ended"], 5),
    Case("start-back-made", ["start", "ended"], 4, child=True),
    Case("stop", ["stop", "-t", "0", BUSY], 4, busy="back"),
    Case("exec", ["exec", BUSY, "mkdir", "/fresh"], 4, busy="back"),
    Case("rename", ["rename", "ended", "fresh"], 4),
    Case("cp", ["cp", "FILE", "ended:/fresh"], 4),
    Case("create", ["create", "--name", "fresh", "small", "true"], 5),
    Case("commit-stopped", ["commit", "ended", "fresh:1"], 8),
    Case("commit-running", ["commit", BUSY, "fresh:1"], 6, busy="front"),
    Case("rm", ["rm", "ended"], 4),
    Case("rmi", ["rmi", "unused:1"], 4),
    Case("tag", ["tag", "small", "unused:1"], 3),
    Case("squash", ["image", "squash", "small", "fresh:1"], 6),
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_call_that_fails_is_named_and_changes_nothing(case: Case, stage: Stage) -> None:
    scene = Scene(case, stage)
    found = scene.dry_pass()
    wrong = []
    for error, calls in ERRORS.items():
        if error == "EINTR" and case.child:
            continue  # a keeper lets no signal through
        few = case.few if error in ("ENOSPC", "EIO") else 2
        for point in inject.sample([point for point in found if point.call in calls], few):
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
        # before the refusal: a tmpfs before Linux 6.6 takes no attribute of users', and that is told
        told = [line for line in struck.stderr.splitlines() if not line.startswith("minirun: warning: ")]
        if not (told and told[0].startswith("minirun: cannot ") and error in struck.stderr):
            wrong.append("no sentence that names the error")
    elif struck.status not in ((0, LOST) if scene.case.child else (0,)):
        # 0: it was tried again, or a courtesy, or it is told as a warning; LOST: a keeper could not write what it saw
        wrong.append(f"status {struck.status}")
    if "Traceback" in struck.stderr or "MINIRUN_DEBUG" in struck.stderr:
        wrong.append("a fault of minirun's own")
    if wrong:
        wrong.append(struck.stderr)
    wrong += scene.faults(struck.cgroups)
    if struck.status == 0 and essence(scene.picture()) != essence(scene.after):
        wrong.append("status 0, and the store is not as after")
    return wrong


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB and 400 inodes."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=400", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture
def small(tmp_path: Path, busybox_layers: Path) -> Path:
    """A directory of small layers; their contents take 2 MB."""
    return small_layers(tmp_path / "layers", busybox_layers)


def fill(disk: Path, free_bytes: int) -> None:
    """Let *disk* have room for *free_bytes* more."""
    ballast = disk / "ballast"
    ballast.unlink(missing_ok=True)
    with ballast.open("wb", 0) as file:
        if (room := free(disk) - free_bytes) > 0:
            os.posix_fallocate(file.fileno(), 0, room)


def fill_inodes(disk: Path, free_inodes: int) -> None:
    """Let *disk* have room for *free_inodes* more files."""
    folder = disk / "files"
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    for number in range(os.statvfs(disk).f_ffree - free_inodes):
        (folder / str(number)).touch()


def free(disk: Path) -> int:
    """How many bytes *disk* has room for."""
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def used(minirun: Minirun) -> list[str]:
    """Everything in the store but its lock, and what overlayfs keeps for itself."""
    paths = (str(path.relative_to(minirun.root)) for path in minirun.root.rglob("*") if path.name != "lock")
    return sorted(path for path in paths if "/work/" not in path)


def test_an_image_that_does_not_fit_leaves_all_its_room(disk: Path, small: Path) -> None:
    minirun = Minirun(disk / "root", disk / "runtime")
    minirun("ps", check=True)
    before = used(minirun)
    for room in (0, 1 << 20, 1900 << 10):
        fill(disk, room)
        for command in (["run", "--rm", str(small), "true"], ["import", str(small), "small"]):
            result = minirun(*command)
            assert result.returncode == 125
            assert result.stderr.startswith("minirun: cannot ")
            assert "ENOSPC" in result.stderr
            assert "minirun gc" in result.stderr
            assert used(minirun) == before
            assert free(disk) == room
    fill(disk, 4 << 20)
    minirun("run", "--rm", small, "true", check=True)


def test_a_commit_that_does_not_fit_leaves_all_its_room(disk: Path, small: Path) -> None:
    minirun = Minirun(disk / "root", disk / "runtime")
    minirun("import", small, "small", check=True)
    write = "dd if=/dev/zero of=/zero bs=1000000 count=2 2>/dev/null; echo ready; cat"
    with minirun.start("run", "-i", "--name", "box", "small", "sh", "-c", write, stdin=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"ready\n"
        await_status(minirun, "box", "running")  # it may speak before that is written down
        before = used(minirun)
        for room in (64 << 10, 1 << 20):
            fill(disk, room)
            result = minirun("commit", "box", "made")
            assert result.returncode == 125
            assert "ENOSPC" in result.stderr
            assert used(minirun) == before
            assert free(disk) == room
        # it was not left frozen
        process.stdin.write(b"and on\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"and on\n"
        fill(disk, 3 << 20)
        minirun("commit", "box", "made", check=True)
        process.stdin.close()
        assert process.wait(10) == 0
    minirun("run", "--rm", "made", "cat", "/zero", check=True)


@pytest.mark.parametrize("what", ["pages", "inodes"])
@pytest.mark.parametrize(
    "command",
    [["run", "--rm", "small", "true"], ["create", "--name", "fresh", "small"], ["commit", "ended", "fresh"]],
    ids=lambda command: command[0],
)
def test_a_full_disk_changes_nothing_wherever_it_becomes_full(
    command: list[str], what: str, disk: Path, small: Path
) -> None:
    minirun = Minirun(disk / "root", disk / "runtime")
    minirun("import", small, "small", "-c", "CMD true", check=True)
    minirun("run", "--name", "ended", "small", "sh", "-c", "echo x >/made", check=True)
    before = used(minirun)
    refused = 0
    for room in range(40):
        if what == "pages":
            fill(disk, room * os.sysconf("SC_PAGE_SIZE"))
        else:
            fill_inodes(disk, room)
        result = minirun(*command)
        if result.returncode == 0:
            break
        assert result.returncode == 125, result.stderr
        assert "ENOSPC" in result.stderr
        assert "MINIRUN_DEBUG" not in result.stderr
        # what one store lock kept from being undone at once
        minirun("ps", check=True)
        assert used(minirun) == before, f"room for {room} {what}"
        refused += 1
    else:
        pytest.fail(f"it takes more than 40 {what}")
    assert refused


@pytest.mark.parametrize(
    "command", [["run", "--rm", "LAYERS", "true"], ["commit", "ended", "fresh"]], ids=lambda c: c[0]
)
def test_whatever_few_descriptors_there_are_nothing_is_half_done(
    command: list[str], tmp_path: Path, small: Path
) -> None:
    minirun = Minirun(tmp_path / "root", tmp_path / "runtime")
    minirun("import", small, "small", check=True)
    minirun("run", "--name", "ended", "small", "sh", "-c", "echo x >/made", check=True)
    if command[0] == "run":
        minirun("rm", "ended", check=True)
        minirun("rmi", "small", check=True)
    before = used(minirun)
    words = minirun.command([str(small) if word == "LAYERS" else word for word in command])
    for limit in range(6, 64):
        result = subprocess.run(
            ["prlimit", f"--nofile={limit}", *words],
            env=minirun.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if result.returncode == 0:
            assert limit > 6
            break
        assert result.returncode == 125, f"{limit}: {result.returncode} {result.stderr}"
        assert "EMFILE" in result.stderr, f"{limit}: {result.stderr}"
        # to undo something takes descriptors as well
        minirun("ps", check=True)
        if used(minirun) != before:
            # it came too late to be undone, and was finished
            minirun("run", "--rm", "fresh", "cat", "/made", check=True)
            break
    else:
        pytest.fail("it takes more than 64 descriptors")
