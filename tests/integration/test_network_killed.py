"""kill -9 of what connects containers, and of what makes and removes networks, at each call that changes the host."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import inject
from tests.command import Minirun
from tests.outside import site
from tests.scene import Case, Scene, Stage, copy

CASES = [
    Case("run", ["run", "--name", "fresh", "--network", "web", "small", "true"], 12, ground="networks"),
    Case("run-rm", ["run", "--rm", "--network", "web", "small", "true"], 12, ground="networks"),
    Case("start", ["start", "-a", "waits"], 10, ground="networks"),
]


@pytest.fixture(scope="module")
def stage(root: None, busybox_layers: Path) -> Iterator[Stage]:
    """The stores that are copied, on a host of their own; one has networks."""
    with tempfile.TemporaryDirectory(prefix="minirun-killed-", dir="/dev/shm") as place, site("minirun-killed"):
        made = Stage(Path(place), busybox_layers)
        copy(made.place / "grounds/full", made.minirun.root)
        made.minirun("network", "create", "--ipv6", "web", check=True)
        made.minirun("network", "create", "old", check=True)
        made.minirun("create", "--name", "waits", "--network", "web", "small", "true", check=True)
        copy(made.minirun.root, made.place / "grounds/networks")
        yield made


def leases(minirun: Minirun) -> list[str]:
    """Every link of every lease."""
    return sorted(path.name for path in minirun.runtime.glob("networks/*/*") if path.is_symlink())


def links(beginning: str) -> list[str]:
    """The interfaces of the host whose names begin so."""
    return sorted(name for _, name in socket.if_nameindex() if name.startswith(beginning))


def bridges(minirun: Minirun) -> list[str]:
    """The bridges that the store's networks should have."""
    names = minirun("network", "ls", "-q", check=True).stdout.split()
    form = '{{index .Options "com.docker.network.bridge.name"}}'
    return sorted(minirun("network", "inspect", "-f", form, *names, check=True).stdout.split())


def rules() -> str:
    """The rules of our table."""
    return subprocess.run(
        ["nft", "list", "table", "inet", "minirun"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_container_that_was_cut_short_gives_its_lease_back(case: Case, stage: Stage) -> None:
    scene = Scene(case, stage)
    found = scene.dry_pass()
    wrong, leased = [], 0
    for point in inject.sample(found, case.few):
        scene.reset()
        try:
            struck = scene.strike(point, inject.KILL)
            leased += bool(leases(scene.minirun))
            faults = scene.faults(struck.cgroups)
            faults += [f"{lease} is leased" for lease in leases(scene.minirun)]
            end = time.monotonic() + 5
            while links("mr") and time.monotonic() < end:
                time.sleep(0.02)  # the kernel takes namespaces apart in its own time
            faults += [f"{name} is there" for name in links("mr")]
            if faults:
                wrong.append("\n    ".join([f"killed at {point}", *faults]))
        finally:
            scene.calm()
    assert not wrong, "\n".join(wrong)
    assert leased, "it was never killed while it had a lease"


def test_a_network_is_made_whole_or_not_at_all(stage: Stage) -> None:
    case = Case("create", ["network", "create", "--ipv6", "fresh"], 14, ground="networks")
    scene = Scene(case, stage)
    scene.reset()
    before, there = rules(), bridges(scene.minirun)
    found = inject.points(scene.look(scene.command))
    scene.minirun("network", "rm", "fresh", check=True)
    assert (rules(), links("br-")) == (before, there)
    seen = set()
    for point in inject.sample(found, case.few):
        scene.reset()
        scene.strike(point, inject.KILL)
        scene.minirun("ps", check=True)
        made = "fresh" in scene.minirun("network", "ls", "--format", "{{.Name}}", check=True).stdout.split()
        assert links("br-") == bridges(scene.minirun), point
        if made:
            scene.minirun("run", "--rm", "--network", "fresh", "small", "true", check=True)
            scene.minirun("network", "rm", "fresh", check=True)
        assert (rules(), links("br-")) == (before, there), point
        seen.add(made)
    assert False in seen


def test_a_network_is_removed_whole_or_not_at_all(stage: Stage) -> None:
    case = Case("rm", ["network", "rm", "old"], 10, ground="networks")
    scene = Scene(case, stage)
    scene.reset()
    found = inject.points(scene.look(scene.command))
    gone = rules()
    seen = set()
    for point in inject.sample(found, case.few):
        scene.reset()
        # its record is back: what is on the host is made anew with the next container
        scene.minirun("run", "--rm", "--network", "old", "small", "true", check=True)
        whole = rules()
        assert whole != gone
        scene.strike(point, inject.KILL)
        scene.minirun("ps", check=True)
        there = "old" in scene.minirun("network", "ls", "--format", "{{.Name}}", check=True).stdout.split()
        assert links("br-") == bridges(scene.minirun), point
        assert rules() == (whole if there else gone), point
        seen.add(there)
    assert False in seen
    # as it was: the next test has a host with both
    scene.reset()
    scene.minirun("run", "--rm", "--network", "old", "small", "true", check=True)
