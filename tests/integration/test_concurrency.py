"""Many commands at once on one store, and many one after the other: nothing is lost, nothing is left."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from minirun.cgroup.hierarchy import OWN, mount_point
from tests import crowd, inject
from tests.command import PATIENCE, Minirun
from tests.small import small_layers

WORKERS = 32
SECONDS = 60 if inject.THOROUGH else 5 * PATIENCE
NAMES = ["one", "two", "three", "four"]
TAGS = ["a:1", "a:2", "b:1", "small"]
# What may happen to somebody who is not alone; anything else is a fault.
LEGITIMATE = re.compile(
    r"minirun: cannot "
    r"(find container \w+: no such container"
    r"|inspect \w+: there is no container, image, volume or network of that name or id"
    r"|find image \S+: no image of that name or id is stored"
    r"|name a container '\w+': the name is in use by container \w+"
    r"|start container \w+: it is running"
    r"|remove container \w+: it is (running|created)"
    r"|remove image \S+: container \w+ \(\w+\) uses it"
    r"|remove image \S+: it has \d names)"
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory."""
    with tempfile.TemporaryDirectory(prefix="minirun-concurrency-", dir="/dev/shm") as path:
        yield Path(path)


class Worker(crowd.Worker):
    """Somebody who makes, starts, commits and removes containers."""

    legitimate = LEGITIMATE
    killed_within_s = 0.3

    def __init__(self, minirun: Minirun, layers: Path, seed: int, end: float, killing: int) -> None:
        super().__init__(minirun, seed, end, killing)
        self.layers = layers

    def statuses(self, verb: str) -> Sequence[int]:
        """137: somebody else's `rm -f` ended the container."""
        return (0, 125, 137) if verb in ("run", "start") else (0, 125)

    def command(self) -> Sequence[str]:
        """Choose one."""
        pick = self.random.choice
        name, tag, image = pick(NAMES), pick(TAGS), pick([*TAGS, str(self.layers)])
        return pick([
            ["run", "--pull=never", "--rm", image, "true"],
            ["run", "--pull=never", "--name", name, image, "sh", "-c", "echo x >>/made"],
            ["create", "--pull=never", "--name", name, image, "touch", "/made"],
            ["start", "-a", name],
            ["commit", name, tag],
            ["rm", name],
            ["rm", "-f", name],
            ["rmi", tag],
            ["tag", pick(TAGS), tag],
            ["import", str(self.layers), tag],
            ["gc"],
            ["ps", "-a"],
            ["images"],
            ["diff", name],
            ["inspect", name],
        ])  # fmt: skip


@pytest.mark.parametrize("killing", [0, 6], ids=["all-live", "some-are-killed"])
def test_any_commands_may_run_at_once(killing: int, place: Path, busybox_layers: Path) -> None:
    layers = small_layers(place / "layers", busybox_layers)
    minirun = Minirun(place / "root", place / "runtime")
    minirun("import", layers, "small", check=True)
    thorough = ("run", "create", "start", "commit", "rm", "rmi", "tag", "import", "gc")
    wanted = thorough if inject.THOROUGH else ("run", "gc")
    crowd.work(WORKERS, SECONDS, lambda seed, end: Worker(minirun, layers, seed, end, killing), wanted)
    inspect(minirun)
    empty(minirun)


def inspect(minirun: Minirun) -> None:
    """Read everything that remained, and start every container."""
    minirun("gc", check=True)
    root = minirun.root
    assert not os.listdir(root / "marks")
    assert not os.listdir(root / "tmp")
    boxes = minirun("ps", "-a", "-q", "--no-trunc", check=True).stdout.split()
    assert sorted(boxes) == sorted(os.listdir(root / "containers"))
    owners = [name.readlink().name for name in (root / "names").iterdir()]
    assert sorted(owners) == sorted(boxes)
    for box in boxes:
        minirun("inspect", box, check=True)
        minirun("diff", box, check=True)
        assert minirun("start", "-a", box).returncode == 0
    images = minirun("images", "-q", "--no-trunc", check=True).stdout.split()
    for image in images:
        minirun("inspect", image, check=True)
        minirun("history", image, check=True)
        minirun("run", "--rm", image, "cat", "/data/one", check=True)


def empty(minirun: Minirun) -> None:
    """Remove everything by its commands; then nothing may be left."""
    if boxes := minirun("ps", "-a", "-q", check=True).stdout.split():
        minirun("rm", *boxes, check=True)
    if images := set(minirun("images", "-q", "--no-trunc", check=True).stdout.split()):
        minirun("rmi", "-f", *images, check=True)
    minirun("gc", check=True)
    for folder in ("diffs", "layers", "images", "tags", "containers", "names", "marks", "tmp"):
        assert os.listdir(minirun.root / folder) == [], folder


def test_hundreds_of_runs_leave_the_kernel_as_it_was(place: Path, busybox_layers: Path) -> None:
    layers = small_layers(place / "layers", busybox_layers)
    minirun = Minirun(place / "root", place / "runtime")
    minirun("import", layers, "small", check=True)
    command = minirun.command(["run", "--rm", "small", "sh", "-c", "echo x >/made; sleep 0 & exit 3"])

    def run(count: int) -> None:
        for _ in range(count):
            result = subprocess.run(command, env=minirun.environment(), capture_output=True, check=False)
            assert result.returncode == 3, result.stderr

    run(20)  # caches of the kernel's and ours come into being
    before = holdings(minirun.root)
    run(1000 if inject.THOROUGH else 300)
    end = time.monotonic() + 10
    while (more := holdings(minirun.root) - before) and time.monotonic() < end:
        time.sleep(0.1)  # the kernel takes namespaces and groups down behind our back
    assert not more


def holdings(root: Path) -> set[str]:
    """What runs of the store *root* may leave: files, mounts that name it, processes, empty groups, descriptors."""
    found = {str(path) for path in root.rglob("*")}
    found.update(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(root) in line)
    for about in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(root) in (about / "environ").read_bytes() and about.name != str(os.getpid()):
                found.add(f"process {about.name}")
        except OSError:
            continue  # it ended
    for group in Path(mount_point(), OWN).glob("*/"):
        try:
            if "populated 0" in (group / "cgroup.events").read_text():
                found.add(str(group))
        except OSError:
            continue  # removed meanwhile
    return found | {f"descriptor {number}" for number in os.listdir("/proc/self/fd")}
