"""Interfaces with a parent that only whole kernels have, by real packets: ipvlan, VLANs, dummies.

A network is made by what `network create` calls: in the guest each command takes seconds.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from minirun.engine import networks
from minirun.errors import Conflict
from tests import kept
from tests.command import Minirun
from tests.echo import ask
from tests.outside import OUTSIDE, Site, inside, link, serving, site
from tests.parents import container, links, serving_outside

BEYOND = "198.51.100.1"  # what is outside, in VLAN 50


@pytest.fixture(scope="module")
def place(store: Minirun) -> Iterator[Site]:
    """A host of these tests' own, whose neighbour is in VLAN 50 as well, and knows that it has the way to 10.50.0.0."""
    with site("minirun-behind") as found:
        for words in (
            "link add link eth0 name eth0.50 type vlan id 50", f"address add {BEYOND}/24 dev eth0.50",
            "link set eth0.50 up", "route add 10.50.0.0/24 via 192.0.2.1",
        ):  # fmt: skip
            link(f"-n minirun-behind {words}")
        with serving_outside(found, "tcp:90"):
            yield found
        kept.unsupervised(store)


@pytest.fixture
def ours(store: Minirun, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process does, it does in the store."""
    monkeypatch.setenv("MINIRUN_ROOT", str(store.root))
    monkeypatch.setenv("MINIRUN_RUNTIME", str(store.runtime))


@contextmanager
def network(store: Minirun, name: str, driver: str, subnet: str, **options: str) -> Iterator[None]:
    """A network."""
    networks.create(name, driver=driver, subnets=[subnet], options=options)
    try:
        yield
    finally:
        networks.remove_one(kept.home(store), name)


def test_an_ipvlan_has_the_hardware_address_of_its_parent(place: Site, store: Minirun, ours: None) -> None:
    with (
        network(store, "lan", "ipvlan", "192.0.2.0/24", parent="outside", ipvlan_flag="private"),
        container(store, "one", "lan", "--ip", "192.0.2.77") as one,
    ):
        with inside(one.pid):
            assert ask("tcp", OUTSIDE, 90) == "90 from 192.0.2.77"
            (own,) = json.loads(subprocess.check_output(["ip", "-j", "-d", "link", "show", "eth0"]))
        (parent,) = json.loads(subprocess.check_output(["ip", "-j", "link", "show", "outside"]))
        assert (own["address"], one.mac) == (parent["address"], "")
        data = own["linkinfo"]["info_data"]
        assert (data["mode"], data.get("private")) == ("l2", True), own


def test_in_mode_l3_the_host_routes_for_containers_that_know_no_gateway(
    place: Site, store: Minirun, ours: None
) -> None:
    with (
        network(store, "routed", "ipvlan", "10.50.0.0/24", parent="outside", ipvlan_mode="l3"),
        container(store, "one", "routed") as one,
        serving("tcp:80", pid=one.pid),
    ):
        assert one.own == "10.50.0.1"  # there is no gateway to be kept
        with inside(one.pid):
            assert ask("tcp", OUTSIDE, 90) == "90 from 10.50.0.1"
        assert place.ask("tcp", "10.50.0.1", 80) == f"80 from {OUTSIDE}"
        assert networks.inspect("routed")["IPAM"]["Config"] == [{"Subnet": "10.50.0.0/24"}]
        with pytest.raises(Conflict, match="network routed has it in another mode"):
            networks.create("bad", driver="ipvlan", options={"parent": "outside"})


def test_a_vlan_is_made_with_the_first_network_and_goes_with_the_last(place: Site, store: Minirun, ours: None) -> None:
    before = links()
    with network(store, "first", "macvlan", "198.51.100.0/24", parent="outside.50"):
        with container(store, "one", "first", "--ip", "198.51.100.7") as one, inside(one.pid):
            assert ask("tcp", BEYOND, 90) == "90 from 198.51.100.7"
        said = subprocess.check_output(["ip", "-d", "link", "show", "outside.50"], text=True)
        assert "vlan protocol 802.1Q id 50" in said
        networks.create("next", driver="macvlan", options={"parent": "outside.50"})
    assert links() == sorted([*before, "outside.50"])  # the second has it still
    link("link delete outside.50")
    assert store("run", "--rm", "--network", "next", "busybox", "true").returncode == 0  # and makes it again
    networks.remove_one(kept.home(store), "next")
    assert links() == before


def test_a_vlan_that_was_there_stays(place: Site, store: Minirun, ours: None) -> None:
    link("link add link outside name outside.50 type vlan id 50")
    link("link set outside.50 up")
    try:
        with network(store, "lan", "macvlan", "198.51.100.0/24", parent="outside.50"):
            pass
        assert "outside.50" in links()
        for words in ("down", "name fifty up"):  # Linux renames what is up since 6.2
            link(f"link set outside.50 {words}")
        with pytest.raises(Conflict, match="outside has its VLAN 50 already, under another name"):
            networks.create("bad", driver="macvlan", options={"parent": "outside.50"})
        assert "bad" not in [one.name for one in networks.listed()]
    finally:
        link("link delete dev fifty")


def test_without_a_parent_there_are_neighbours_and_no_way_out(place: Site, store: Minirun, ours: None) -> None:
    before = links()
    with network(store, "shut", "ipvlan", "10.51.0.0/24"):
        (made,) = set(links()) - set(before)
        assert made.startswith("dm-")
        assert networks.inspect("shut")["Internal"]
        with container(store, "one", "shut") as one, container(store, "two", "shut") as two, inside(one.pid):
            assert ask("tcp", two.own, 80) == "refused"
            assert ask("tcp", OUTSIDE, 90) == "unreachable"
    assert links() == before
