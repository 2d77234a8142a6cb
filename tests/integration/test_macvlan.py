"""Containers on a macvlan, by real packets: to each other, and to who is behind the parent, without bridge or rule."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.home import Home
from minirun.network import store as networks
from tests import kept
from tests.command import Minirun
from tests.echo import ask
from tests.outside import HOST, HOST6, OUTSIDE, OUTSIDE6, Site, link, serving, site
from tests.parents import SUBNETS, Box, container, links, network, serving_outside

# a router that says: take me as the way to everywhere (for 1800 s), and addresses of 2001:db8:77::/64
PROMISE = """
import socket, struct, sys
speaker = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
speaker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
prefix = socket.inet_pton(socket.AF_INET6, "2001:db8:77::")
option = struct.pack(">BBBBIII", 3, 4, 64, 0xC0, 1800, 1800, 0) + prefix
speaker.sendto(struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option,
               ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))
"""


@pytest.fixture(scope="module")
def place(root: None, store: Minirun) -> Iterator[Site]:
    """A host of these tests' own, whose interface `outside` is the parent of a network `lan`."""
    with site("minirun-behind") as found, network(
        store, "lan", "macvlan", "-o", "parent=outside", *SUBNETS, "--aux-address", f"host={HOST}",
        "--aux-address", f"host6={HOST6}",
    ):  # fmt: skip
        store("run", "--rm", "--network", "bridge", "busybox", "true", check=True)
        kept.until(lambda: not any(name.startswith("mr") for name in links()), "its cable stays")
        yield found
        kept.unsupervised(store)


@pytest.fixture(scope="module")
def unfit(place: Site) -> Iterator[None]:
    """Interfaces that cannot be parents: port, still, tunnel."""
    for words in (
        "link add crossing type bridge", "link add port type veth peer name still", "link set port master crossing",
        "link set port up", "tuntap add tunnel mode tun", "link set tunnel up",
    ):  # fmt: skip
        link(words)
    yield
    for name in ("crossing", "port", "tunnel"):
        link(f"link delete {name}")


def test_containers_and_who_is_behind_the_parent_reach_each_other_by_their_own_addresses(
    place: Site, store: Minirun
) -> None:
    before = (links(), subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True).stdout)
    with (
        container(store, "one", "lan") as one,
        container(store, "two", "lan") as two,
        serving("tcp:80", "udp:80", pid=two.pid),
        serving_outside(place, "tcp:90"),
    ):
        assert one.ask(two.own) == f"80 from {one.own}"
        assert one.ask(two.own, protocol="udp") == f"80 from {one.own}"
        assert one.ask(two.own6) == f"80 from {one.own6}"
        assert one.ask(OUTSIDE, 90) == f"90 from {one.own}"
        assert one.ask(OUTSIDE6, 90) == f"90 from {one.own6}"
        assert place.ask("tcp", two.own, 80) == f"80 from {OUTSIDE}"
        assert place.ask("tcp", two.own6, 80) == f"80 from {OUTSIDE6}"
        assert f"default via {OUTSIDE} dev eth0" in one.run("ip", "route")
        assert one.mac in one.run("ip", "link", "show", "eth0")
        # the kernel keeps parents and who have them apart
        assert ask("tcp", two.own, 80) in ("timed out", "unreachable")
        assert (links(), subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True).stdout) == before


def test_what_a_container_has_is_what_its_lease_says_whatever_a_router_promises(place: Site, store: Minirun) -> None:
    create = ("-o", "parent=outside", "--subnet", "198.51.100.0/24")
    with (
        network(store, "four", "macvlan", *create),
        container(store, "one", "lan") as one,
        container(store, "two", "four") as two,
    ):
        place.run(sys.executable, "-c", PROMISE)
        assert place.ask("tcp", one.own6, 80) == "refused"  # what was sent before has arrived
        assert "2001:db8:77:" not in one.run("ip", "-6", "address")
        assert one.run("ip", "-6", "route", "show", "default").count("default") == 1
        assert two.run("ip", "-6", "address", "show", "dev", "eth0") == ""


def test_who_is_private_reaches_who_is_outside_and_not_its_neighbours(place: Site, store: Minirun) -> None:
    create = ("-o", "parent=outside", "-o", "macvlan_mode=private", "-o", "mtu=1300", "--subnet", "198.51.100.0/24")
    link("-n minirun-behind address add 198.51.100.1/24 dev eth0")
    with (
        network(store, "shy", "macvlan", *create),
        container(store, "one", "shy", "--mac-address", "02:00:00:00:00:51") as one,
        container(store, "two", "shy") as two,
        serving("tcp:80", pid=two.pid),
        serving_outside(place, "tcp:90"),
    ):
        assert one.ask(two.own) in ("timed out", "unreachable")
        assert one.ask("198.51.100.1", 90) == f"90 from {one.own}"
        said = one.run("ip", "-d", "link", "show", "eth0")
        assert "mtu 1300" in said
        assert "02:00:00:00:00:51" in said
        assert "macvlan mode private" in said


def test_in_mode_passthru_there_is_one_container_with_the_address_of_the_parent(place: Site, store: Minirun) -> None:
    link("link add spare type veth peer name eth1 netns minirun-behind")
    try:
        link("link set spare up")
        create = ("-o", "parent=spare", "-o", "macvlan_mode=passthru", "--subnet", "198.51.100.0/24")
        with network(store, "alone", "macvlan", *create):
            refused = store(
                "run", "--rm", "--network", "alone", "--mac-address", "02:00:00:00:00:51", "busybox", "true"
            )
            assert "every interface has that of spare" in refused.stderr
            with container(store, "one", "alone") as one:
                assert one.mac == ""
                (spare,) = json.loads(subprocess.check_output(["ip", "-j", "link", "show", "spare"]))
                assert spare["address"] in one.run("ip", "link", "show", "eth0")
                refused = store("run", "--rm", "--network", "alone", "busybox", "true")
                assert refused.returncode == 125
                assert "spare is for a single container: stop the one that has it" in refused.stderr
    finally:
        link("link delete spare")


def test_a_parent_that_has_gone_or_is_down_is_told_and_its_network_can_be_removed(place: Site, store: Minirun) -> None:
    link("link add spare type veth peer name eth1 netns minirun-behind")
    link("link set spare up")
    with network(store, "brief", "macvlan", "-o", "parent=spare", "--subnet", "198.51.100.0/24"):
        with container(store, "one", "brief") as one:
            link("link set spare down")
            refused = store("run", "--rm", "--network", "brief", "busybox", "true")
            assert "spare is down" in refused.stderr
            assert "`ip link set spare up`" in refused.stderr
            assert "in use by container one" in store("network", "rm", "brief").stderr
            link("link delete spare")
            assert "eth0" not in one.run("ip", "link")
        refused = store("run", "--rm", "--network", "brief", "busybox", "true")
        assert refused.returncode == 125
        assert "the host has no interface spare any more" in refused.stderr
        assert json.loads(store("network", "inspect", "-f", "{{json .Containers}}", "brief").stdout) == {}


def test_a_container_that_runs_is_connected_to_it_and_taken_off_it(place: Site, store: Minirun) -> None:
    with container(store, "one", "bridge") as one, serving_outside(place, "tcp:90"):
        assert one.ask(OUTSIDE, 90) == f"90 from {HOST}"
        store("network", "connect", "--ip", "192.0.2.77", "lan", "one", check=True)
        assert Box(store, "one", "lan").ask(OUTSIDE, 90) == "90 from 192.0.2.77"
        store("network", "disconnect", "lan", "one", check=True)
        assert one.ask(OUTSIDE, 90) == f"90 from {HOST}"


UNFIT = [
    (("-o", "parent=nosuch"), "the host has no interface nosuch"),
    (("-o", "parent=lo"), "it is the loopback"),
    (("-o", "parent=lo.5"), "it is the loopback"),
    (("-o", "parent=outside.5000"), "outside has no VLAN 5000: they are 1 to 4094"),
    (("-o", "parent=outside-and-more.5"), "the host has no interface outside-and-more.5"),
    (("-o", "parent=port"), "it is a port of a bridge, a bond or a VRF"),
    (("-o", "parent=still"), "still is down"),
    (("-o", "parent=tunnel"), "it is no Ethernet"),
    (("-o", "parent=outside", "-o", "macvlan_mode=other"), "is none of bridge, private, vepa, passthru"),
    (("-o", "parent=outside", "-o", "ipvlan_mode=l2"), "there is no option ipvlan_mode"),
    (("-o", "parent=outside", "-o", "mtu=9000"), "no number of bytes from 68 to 1500"),
    (("-o", "parent=outside", "--internal"), "whoever is behind outside would be on it"),
    (("-o", "parent=outside", "-o", "macvlan_mode=passthru"), "network lan has it, too"),
    (("-d", "ipvlan", "-o", "parent=outside"), "network lan has it as the parent of macvlans"),
    (("-d", "ipvlan", "-o", "ipvlan_mode=l3", "--gateway", "198.51.100.1"), "nobody is asked for the way"),
    (("-o", "parent=outside", "--subnet", "192.0.2.128/25"), "network lan"),
]  # fmt: skip


def test_a_parent_that_will_not_do_is_a_sentence_and_leaves_no_trace(place: Site, store: Minirun, unfit: None) -> None:
    before = (links(), sorted(os.listdir(store.root / "networks")))
    for words, why in UNFIT:
        subnet = () if "--subnet" in words else ("--subnet", "198.51.100.0/24")
        refused = store("network", "create", "-d", "macvlan", *subnet, *words, "bad")
        assert (refused.returncode, refused.stdout) == (125, ""), words
        assert refused.stderr.startswith("minirun: cannot create network bad: "), words
        assert why in refused.stderr, words
        assert (links(), sorted(os.listdir(store.root / "networks"))) == before, words


REFUSED = [
    (("-p", "8080:80"), "of the driver macvlan"),
    (("-P", "--expose", "80"), "of the driver macvlan"),
    (("--add-host", "up:host-gateway"), "the host is not on network lan"),
    (("--ip", HOST), "it is that of host, by --aux-address, of network lan"),
    (("--ip", OUTSIDE), "it is the gateway of network lan"),
]


def test_what_a_container_cannot_have_there_is_a_sentence_and_leaves_no_trace(place: Site, store: Minirun) -> None:
    for flags, why in REFUSED:
        refused = store("run", "--network", "lan", *flags, "busybox", "true")
        assert (refused.returncode, refused.stdout) == (125, ""), flags
        assert why in refused.stderr, flags
        assert "Traceback" not in refused.stderr, flags
    assert os.listdir(store.root / "containers") == []
    assert [path for path in store.runtime.glob("networks/*/*") if path.is_symlink()] == []


def test_it_is_listed_described_and_pruned_like_every_network(place: Site, store: Minirun) -> None:
    (told,) = json.loads(store("network", "inspect", "lan", check=True).stdout)
    assert (told["Driver"], told["Internal"], told["Options"]) == ("macvlan", False, {"parent": "outside"})
    assert told["IPAM"]["Config"] == [
        {"Subnet": "192.0.2.0/24", "Gateway": OUTSIDE, "AuxiliaryAddresses": {"host": HOST}},
        {"Subnet": "2001:db8::/64", "Gateway": OUTSIDE6, "AuxiliaryAddresses": {"host6": HOST6}},
    ]
    listed = store("network", "ls", "--filter", "driver=macvlan", "--format", "{{.Name}} {{.Driver}}", check=True)
    assert listed.stdout == "lan macvlan\n"
    store(
        "network", "create", "-d", "macvlan", "-o", "parent=outside", "--subnet", "198.51.100.0/24", "idle", check=True
    )
    assert "idle\n" in store("network", "prune", "-f", "--filter", "label!=x", check=True).stdout
    # pruned with it, as no container named it
    store("network", "create", "-d", "macvlan", "-o", "parent=outside", *SUBNETS, "lan", check=True)


def test_a_network_of_a_version_without_other_addresses_is_read(place: Site, store: Minirun) -> None:
    path = Path(store.root / "networks/lan.json")
    fields = json.loads(path.read_text())
    del fields["auxiliary"]
    path.write_text(json.dumps(fields))
    assert networks.get(Home(str(store.root), str(store.runtime)), "lan").auxiliary == {}
