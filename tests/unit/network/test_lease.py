"""Addresses are given to one container each, in turn, and come back exactly."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from minirun.errors import BadInput, Conflict, NotFound
from minirun.home import Home
from minirun.network import lease, store
from minirun.network.record import Network


def network(**fields: object) -> Network:
    """A network that is on no host."""
    usual = {
        "name": "net", "id": "ab" * 32, "created": 1.0, "driver": "bridge", "interface": "br-x", "gateway": "10.1.0.1",
        "subnet": "10.1.0.0/29", "ip_range": "", "subnet6": "", "gateway6": "", "internal": False, "icc": True,
        "mtu": 1500, "options": {}, "labels": {},
    }  # fmt: skip
    return Network(**{**usual, **fields})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A store with that network."""
    made = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    made.create()
    store.put(made, network())
    return made


def box(number: int) -> str:
    """The id of some container."""
    return f"{number:064x}"


def left(home: Home) -> list[str]:
    """What is in the directory of the leases but for the lock."""
    return sorted(set(os.listdir(lease.folder(home, network().id))) - {"lock"})


def test_addresses_are_given_in_turn_and_none_twice(home: Home) -> None:
    taken = [lease.take(home, network(), box(number)).address for number in range(5)]
    assert taken == ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]
    with pytest.raises(Conflict, match=r"all 8 of 10\.1\.0\.0/29 are in use"):
        lease.take(home, network(), box(5))
    assert lease.release(home, network().id, box(1))
    assert lease.release(home, network().id, box(0))
    assert not lease.release(home, network().id, box(0))
    # one that came back rests as long as the others last
    assert lease.take(home, network(), box(6)).address == "10.1.0.2"
    assert lease.take(home, network(), box(7)).address == "10.1.0.3"
    assert lease.holders(home, network().id) == [box(number) for number in (2, 3, 4, 6, 7)]


def test_what_was_given_is_found_and_nothing_of_it_is_left_when_it_comes_back(home: Home) -> None:
    both = network(subnet6="fd00:1::/64", gateway6="fd00:1::1")
    taken = lease.take(home, both, box(1), interface="eth1", aliases=["db", "x.y"])
    assert (taken.address, taken.address6, taken.mac) == ("10.1.0.2", "fd00:1::2", "02:42:0a:01:00:02")
    assert (taken.interface, taken.aliases) == ("eth1", ("db", "x.y"))
    found = lease.find(home, both.id, box(1))
    assert found
    assert [getattr(found, name) for name in lease.Lease.__slots__] == [
        getattr(taken, name) for name in lease.Lease.__slots__
    ]
    assert lease.find(home, both.id, box(2)) is None
    lease.release(home, both.id, box(1))
    assert left(home) == []


def test_an_address_can_be_chosen_and_only_one_has_it(home: Home) -> None:
    both = network(subnet6="fd00:1::/64", gateway6="fd00:1::1")
    taken = lease.take(home, both, box(1), own="10.1.0.5", own6="fd00:1:0::77", mac="02:00:00:00:00:01")
    assert (taken.address, taken.address6, taken.mac) == ("10.1.0.5", "fd00:1::77", "02:00:00:00:00:01")
    before = left(home)
    with pytest.raises(Conflict, match="container 000000000000 has it"):
        lease.take(home, both, box(2), own="10.1.0.5")
    with pytest.raises(Conflict, match="container 000000000000 has it"):
        lease.take(home, both, box(2), own="10.1.0.4", own6="fd00:1::77")
    assert left(home) == before


def test_an_ipv6_address_that_was_chosen_is_not_given_with_an_ipv4_address(home: Home) -> None:
    both = network(subnet6="fd00:1::/64", gateway6="fd00:1::1")
    lease.take(home, both, box(1), own="10.1.0.6", own6="fd00:1::2")
    assert lease.take(home, both, box(2)).address6 == "fd00:1::a"


@pytest.mark.parametrize(
    ("own", "own6", "why"),
    [
        ("10.2.0.2", "", "not in 10.1.0.0/29"),
        ("10.1.0.1", "", "the gateway"),
        ("10.1.0.0", "", "stands for the network"),
        ("10.1.0.7", "", "stands for all"),
        ("", "fd00:1::2", "has no IPv6"),
    ],
)
def test_an_address_that_is_not_the_networks_is_refused(home: Home, own: str, own6: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        lease.take(home, network(), box(1), own=own, own6=own6)


def test_a_range_holds_what_is_given_without_being_chosen(home: Home) -> None:
    narrow = network(subnet="10.1.0.0/24", ip_range="10.1.0.128/30")
    taken = [lease.take(home, narrow, box(number)).address for number in range(4)]
    assert taken == ["10.1.0.128", "10.1.0.129", "10.1.0.130", "10.1.0.131"]
    with pytest.raises(Conflict):
        lease.take(home, narrow, box(4))
    assert lease.take(home, narrow, box(4), own="10.1.0.9").address == "10.1.0.9"


def test_what_somebody_else_has_is_not_given(home: Home) -> None:
    kept = {
        "auxiliary": {"printer": "10.1.0.2", "router": "fd00:1::3"},
        "subnet6": "fd00:1::/64",
        "gateway6": "fd00:1::4",
    }
    shared = network(**kept)
    taken = [lease.take(home, shared, box(number)) for number in range(2)]
    assert [(one.address, one.address6) for one in taken] == [("10.1.0.3", "fd00:1::b"), ("10.1.0.4", "fd00:1::c")]
    with pytest.raises(BadInput, match="it is that of printer, by --aux-address, of network net"):
        lease.take(home, shared, box(2), own="10.1.0.2")
    with pytest.raises(BadInput, match="it is that of router"):
        lease.take(home, shared, box(2), own6="fd00:1::0003")


def test_when_there_are_fewer_ipv6_addresses_than_ipv4_addresses_they_run_out(home: Home) -> None:
    narrow = network(subnet="10.1.0.0/24", subnet6="fd00:1::/125", gateway6="fd00:1::1")
    taken = {lease.take(home, narrow, box(number)).address6 for number in range(6)}
    assert taken == {f"fd00:1::{number}" for number in range(2, 8)}
    with pytest.raises(Conflict, match="all of fd00:1::/125 are in use"):
        lease.take(home, narrow, box(6))


def test_a_network_without_a_gateway_gives_that_address_to_a_container(home: Home) -> None:
    assert lease.take(home, network(gateway=""), box(1)).address == "10.1.0.1"


def test_what_was_cut_short_comes_back_too(home: Home) -> None:
    lease.take(home, network(), box(1))
    folder = Path(lease.folder(home, network().id))
    (folder / box(1)).unlink()
    (folder / "fd00:1::2").symlink_to(box(1))
    assert lease.holders(home, network().id) == [box(1)]
    assert lease.release(home, network().id, box(1))
    assert left(home) == []


def test_nobody_gets_onto_a_network_that_was_removed(home: Home) -> None:
    store.take_away(home, network())
    with pytest.raises(NotFound, match="removed meanwhile"):
        lease.take(home, network(), box(1))


def test_many_at_once_get_different_addresses(home: Home) -> None:
    wide = network(subnet="10.1.0.0/16", subnet6="fd00:1::/64", gateway6="fd00:1::1")
    taken: list[lease.Lease] = []
    threads = [
        threading.Thread(target=lambda n=number: taken.append(lease.take(home, wide, box(n)))) for number in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one.address for one in taken}) == len({one.address6 for one in taken}) == 100
