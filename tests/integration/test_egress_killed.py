"""kill -9 of who starts containers with an allow-list, and of the attendant; and rules that somebody flushes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import inject, kept
from tests.command import PATIENCE, Minirun
from tests.egresslab import OTHER, Container, container, limited, names, nft, script, tables
from tests.outside import OUTSIDE, Site, link, serving, site
from tests.scene import Case, Scene, Stage, copy

CASES = [
    Case(
        "run", ["run", "--name", "fresh", "--network", "web", "--network-egress", "allow=a:1", "small", "true"], 20,
        ground="networks",
    ),
    Case(
        "run-rm", ["run", "--rm", "--network", "web", "--network-egress", "none", "small", "true"], 14,
        ground="networks",
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def stage(root: None, busybox_layers: Path) -> Iterator[Stage]:
    """The stores that are copied, on a host of their own; one has a network."""
    with tempfile.TemporaryDirectory(prefix="minirun-killed-", dir="/dev/shm") as place, site("minirun-egress-killed"):
        made = Stage(Path(place), busybox_layers)
        copy(made.place / "grounds/full", made.minirun.root)
        made.minirun("network", "create", "--ipv6", "web", check=True)
        copy(made.minirun.root, made.place / "grounds/networks")
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_container_that_was_cut_short_leaves_no_rules_and_no_claim(case: Case, stage: Stage) -> None:
    scene = Scene(case, stage)
    found = scene.dry_pass()
    wrong, claimed, ruled = [], 0, 0
    for point in inject.sample(found, case.few):
        scene.reset()
        try:
            struck = scene.strike(point, inject.KILL)
            claimed += any(scene.minirun.runtime.glob("egress/*/claim"))
            ruled += bool(tables())
            faults = scene.faults(struck.cgroups)
            faults += [f"{path} is there" for path in scene.minirun.runtime.glob("egress/*")]
            faults += [f"table netdev {name} is there" for name in tables()]
            if faults:
                wrong.append("\n    ".join([f"killed at {point}", *faults]))
        finally:
            scene.calm()
    assert not wrong, "\n".join(wrong)
    assert claimed, "it was never killed while it had a claim"
    # the few points of a day are elsewhere on each kernel
    assert ruled or not inject.THOROUGH, "it was never killed while it had rules"


@pytest.fixture
def place(root: None, store: Minirun) -> Iterator[Site]:
    """A host of each test's own, with two others outside; the network `web` is there while it lasts."""
    with site("minirun-egress-lost") as found:
        link(f"-n {found.outside} address add {OTHER}/24 dev eth0")
        store("network", "create", "web", check=True)
        try:
            with script(found, str(Path(__file__).parents[1] / "echo.py"), "serve", "tcp:80", "tcp:443"):
                yield found
        finally:
            kept.unsupervised(store)
            kept.until(lambda: not (store.runtime / "attendant").exists(), "the attendant does not end")
            store("network", "rm", "web", check=True)


def attendant(store: Minirun) -> int:
    """The pid of the attendant."""
    return int((store.runtime / "attendant").read_text().split()[0])


def test_an_attendant_that_is_killed_leaves_the_rules_and_the_next_one_goes_on(place: Site, store: Minirun) -> None:
    told = (f"good.example={OUTSIDE}", f"bad.example={OTHER}")
    with (
        names(place, *told),
        limited(store, f"allow=good.example:80,{OTHER}:80,peer", "--dns", OUTSIDE) as box,
        container(store, "peer") as peer,
        serving("tcp:80", pid=peer.pid),
    ):
        assert box.look_up("good.example") == [OUTSIDE]
        first = attendant(store)
        kept.kill(first)
        # whether there is one or not; but where it is who refuses, for the kernel cannot, nobody does meanwhile
        denied = {"refused", "nothing"} if (store.runtime / "egress.unrejected").exists() else {"refused"}
        for _ in range(3):
            assert box.ask("tcp", OTHER, 80) == box.ask("tcp", OUTSIDE, 80) == box.ask("tcp", peer.address, 80) == "80"
            assert box.ask("tcp", OUTSIDE, 443) in denied
        # the supervisor starts the next one, as does any container that starts
        kept.until(lambda: attendant(store) not in (0, first), "nobody starts another")
        assert box.look_up("bad.example") == ["NXDOMAIN"]
        assert box.look_up("good.example") == [OUTSIDE]
        assert box.ask("tcp", peer.address, 80) == "80"
        kept.until(lambda: {one["destination"] for one in box.events()} == {OUTSIDE, "bad.example"})
        assert box.denied().keys() == {f"tcp {OUTSIDE} 443", "dns bad.example 53"}


def test_rules_that_somebody_flushes_are_made_again_at_once(place: Site, store: Minirun) -> None:
    with names(place, f"good.example={OUTSIDE}"), limited(store, "allow=good.example:80", "--dns", OUTSIDE) as box:
        box.look_up("good.example")
        begun = time.monotonic()
        nft("flush", "ruleset")
        kept.until(tables, "they are not made again")
        assert time.monotonic() - begun < PATIENCE
        assert box.ask("tcp", OTHER, 80) == "refused"
        store("run", "--rm", "--network", "web", "busybox", "true", check=True)  # makes those of networks again
        kept.until(lambda: box.ask("tcp", OUTSIDE, 80) == "80")


def test_containers_that_all_start_at_once_are_each_held_to_their_own_list(place: Site, store: Minirun) -> None:
    count = 12
    ports = [80 if number % 2 else 443 for number in range(count)]
    starts = [
        store.start(
            "run", "-d", "--name", f"box{number}", "--network", "web", "--network-egress",
            f"allow={OUTSIDE}:{port}", "busybox", "sleep", "1000",
        )
        for number, port in enumerate(ports)
    ]  # fmt: skip
    try:
        assert [start.wait(60 * PATIENCE) for start in starts] == [0] * count
        for start in starts:
            start.communicate()
        told = json.loads(store("inspect", *(f"box{number}" for number in range(count)), check=True).stdout)
        boxes = [Container(store, "", one) for one in told]
        for box, port in zip(boxes, ports, strict=True):
            assert [box.ask("tcp", OUTSIDE, one) for one in (80, 443)] == [
                str(one) if one == port else "refused" for one in (80, 443)
            ]
        kept.until(lambda: all(len(box.events()) == 1 for box in boxes), "not all is told")
        assert len(tables()) == count
    finally:
        store("rm", "-f", *(f"box{number}" for number in range(count)))
    assert tables() == []
