"""kill -9 of what connects containers, and of what makes and removes networks, at each call that changes the host."""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import inject, kept
from tests.command import Minirun
from tests.inject import Point
from tests.outside import run_in, site
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
        # what the first published port makes on the host stays, in the order in which it was made
        made.minirun("run", "--rm", "--network", "web", "-p", "8080:80", "small", "true", check=True)
        made.minirun("network", "create", "old", check=True)
        made.minirun("create", "--name", "waits", "--network", "web", "small", "true", check=True)
        copy(made.minirun.root, made.place / "grounds/networks")
        yield made
        kept.until(lambda: not kept.attendants(made.minirun), "the attendant does not end")


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


@dataclass(frozen=True, slots=True)
class Connected:
    """Everything that tells to what a container that runs is connected, but for what is another each time."""

    recorded: list[str]
    told: dict[str, str]
    inside: dict[str, list[str]]
    routes: list[str]
    hosts: str
    servers: str
    leases: list[str]
    cables: int
    ports: str


def connected(minirun: Minirun, name: str, directory: Path) -> Connected:
    """What tells to what a container is connected."""
    (told,) = json.loads(minirun("inspect", name, check=True).stdout)
    pid = told["State"]["Pid"]
    addresses = json.loads(run_in(pid, "ip", "-json", "address"))
    nft = ["nft", "list", "map", "inet", "minirun", "published4_any"]
    return Connected(
        [one["name"] for one in json.loads((directory / "container.json").read_text())["options"]["networks"]],
        {name: one["IPAddress"] for name, one in told["NetworkSettings"]["Networks"].items()},
        {one["ifname"]: [a["local"] for a in one["addr_info"] if a["scope"] == "global"] for one in addresses},
        run_in(pid, "ip", "route", "show", "default").split("\n"),
        (directory / "hosts").read_text(),
        (directory / "resolv.conf").read_text(),
        [name for name in leases(minirun) if len(name) < 64],
        len(links("mr")),
        subprocess.run(nft, capture_output=True, text=True, check=True).stdout,
    )


def test_a_container_that_runs_is_on_a_network_or_not_and_nothing_between(stage: Stage) -> None:
    scene = Scene(Case("connect", [], 12, ground="networks"), stage)
    scene.reset()
    minirun = scene.minirun
    minirun("network", "create", "--internal", "shut", check=True)
    gateway = minirun("network", "inspect", "-f", "{{(index .IPAM.Config 0).Gateway}}", "web", check=True).stdout
    own = f"{gateway.strip().rpartition('.')[0]}.77"
    flags = ("--network", "shut", "--network", f"name=web,ip={own}", "-p", "8080:80")
    container_id = minirun("run", "-d", "--name", "box", *flags, "small", "sleep", "1000", check=True).stdout.strip()
    try:
        words = {"disconnect": ["network", "disconnect", "web", "box"]}
        words["connect"] = ["network", "connect", "--ip", own, "web", "box"]
        state, found = {}, {}
        log = stage.place / "strace.log"
        for verb, after in (("disconnect", "off"), ("connect", "on")):
            calls = ["-e", f"trace={','.join((*inject.CHANGING, 'sendto'))}"]
            struck = inject.trace(scene.words(*words[verb]), minirun.environment(), log, calls)
            assert struck.status == 0, struck.stderr
            messages = [line for line in struck.lines if line.startswith("sendto(")]
            sent = [Point("sendto", number + 1, line) for number, line in enumerate(messages)]
            found[verb] = inject.sample(inject.points(struck.lines), scene.case.few) + inject.sample(sent, 6)
            state[after] = connected(minirun, "box", minirun.root / "containers" / container_id)
        assert (state["on"].recorded, state["off"].recorded) == (["shut", "web"], ["shut"])
        assert (own in state["on"].ports, own in state["off"].ports) == (True, False)
        at, seen, wrong = "on", set(), []
        for verb, point in [(each, point) for each in ("disconnect", "connect") for point in found[each]]:
            if at == ("on" if verb == "connect" else "off"):
                back = "disconnect" if at == "on" else "connect"
                minirun(*words[back], check=True)
            scene.strike(point, inject.KILL, scene.words(*words[verb]), wait=False)
            minirun("ps", check=True)
            now = connected(minirun, "box", minirun.root / "containers" / container_id)
            if now not in state.values():
                near = state["on" if "web" in now.recorded else "off"]
                wrong.append(f"{verb} killed at {point}:\n    {now}\n    {near}")
            at = "on" if "web" in now.recorded else "off"
            seen.add((verb, at))
            wrong += [f"{verb} killed at {point}: {mark.name} is left" for mark in (minirun.root / "marks").iterdir()]
        assert not wrong, "\n".join(wrong)
        assert len(seen) == 4, "each is to be cut short before and after the moment that counts"
    finally:
        minirun("rm", "-f", "box", check=True)
        minirun("network", "rm", "shut", check=True)
        kept.unsupervised(minirun)


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
