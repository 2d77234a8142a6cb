"""Containers on several networks, which come and go while they run: by real packets, and in all that tells of it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minirun.container import record as records
from minirun.container import state
from minirun.engine import networkdescription
from tests import kept
from tests.command import Minirun
from tests.echo import ask
from tests.outside import HOST, Site, ask_in, run_in, serving, site

NETWORKS = {"a": ["--subnet", "10.71.0.0/24"], "b": ["--subnet", "10.72.0.0/24", "--ipv6"], "shut": ["--internal"]}


@pytest.fixture(scope="module")
def place(root: None, store: Minirun) -> Iterator[Site]:
    """A host of these tests' own, with three networks beside the default one."""
    with site("minirun-several") as found:
        for name, flags in NETWORKS.items():
            store("network", "create", *flags, name, check=True)
        for name in ("bridge", "a", "b"):  # what the first of them makes on the host stays as long as the network
            store("run", "--rm", "--network", name, "-p", "8080:80", "busybox", "true", check=True)
        yield found
        store("network", "rm", *NETWORKS, check=True)
        kept.unsupervised(store)


class Box:
    """A container that runs.

    Attributes:
        name: of it.
        id: of it.
        pid: of its first process.
    """

    def __init__(self, minirun: Minirun, name: str) -> None:
        self._home = kept.home(minirun)
        self.name = name
        self.id = records.find(self._home, name).id
        self.pid = 0
        self.find()

    def find(self) -> None:
        """Find it, after another start."""
        self.pid = state.read(self._home, records.read(self._home, self.id)).pid

    @property
    def networks(self) -> dict[str, dict[str, Any]]:
        """Its networks, as `inspect` tells them."""
        told = networkdescription.settings(self._home, records.read(self._home, self.id))
        return dict(told["Networks"])

    def own(self, network: str) -> str:
        """Its IPv4 address on a network."""
        return str(self.networks[network]["IPAddress"])

    def own6(self, network: str) -> str:
        """Its IPv6 address on a network."""
        return str(self.networks[network]["GlobalIPv6Address"])

    @property
    def interfaces(self) -> dict[str, list[str]]:
        """What the kernel says of its interfaces but for loopback: name → global addresses, IPv4 first."""
        told = json.loads(run_in(self.pid, "ip", "-json", "address"))
        return {
            one["ifname"]: [address["local"] for address in one["addr_info"] if address["scope"] == "global"]
            for one in told
            if one["ifname"] != "lo"
        }

    def routes(self, kind: str = "-4") -> list[str]:
        """Its default routes: interfaces."""
        return [one["dev"] for one in json.loads(run_in(self.pid, "ip", "-json", kind, "route", "show", "default"))]

    def reaches(self, address: str, port: int = 80) -> str:
        """Ask from inside; see echo.ask."""
        return ask_in(self.pid, "tcp", address, port)

    def file(self, name: str) -> Path:
        """A file of its /etc, as it sees it."""
        return Path(f"/proc/{self.pid}/root/etc/{name}")

    def text(self, name: str) -> str:
        """What is in it."""
        return self.file(name).read_text()


@contextmanager
def container(minirun: Minirun, name: str, *flags: str) -> Iterator[Box]:
    """A container in the background that does nothing."""
    minirun("run", "-d", "--name", name, *flags, "busybox", "sleep", "1000", check=True)
    try:
        yield Box(minirun, name)
    finally:
        minirun("rm", "-f", name, check=True)


@pytest.fixture(autouse=True)
def nothing_left(place: Site, store: Minirun) -> Iterator[None]:
    """See that each test leaves as many leases and interfaces as there were."""
    before = left(store)
    yield
    kept.until(lambda: left(store) == before, f"{left(store)}, and before {before}")


def left(minirun: Minirun) -> list[str]:
    """Leases, interfaces and marks of operations; what the kernel takes apart in its own time is not there at once."""
    leases = [path.name for path in minirun.runtime.glob("networks/*/*") if path.is_symlink()]
    links = [name for _, name in socket.if_nameindex() if name.startswith("mr")]
    return sorted([*leases, *links, *os.listdir(minirun.root / "marks")])


def published() -> str:
    """The maps of published ports."""
    words = ["nft", "list", "map", "inet", "minirun"]
    maps = [subprocess.run([*words, name], capture_output=True, text=True, check=False).stdout for name in (
        "published4", "published4_any", "published6", "published6_any",
    )]  # fmt: skip
    return "".join(maps)


def test_a_container_reaches_its_neighbours_on_each_of_its_networks_and_they_not_each_other(
    place: Site, store: Minirun
) -> None:
    with (
        container(store, "web", "--network", "a", "--network", "name=b,alias=db,ip=10.72.0.77") as web,
        container(store, "one", "--network", "a") as one,
        container(store, "two", "--network", "b") as two,
        serving("tcp:80", pid=web.pid),
        serving("tcp:80", pid=two.pid),
    ):
        assert web.interfaces == {"eth0": [web.own("a")], "eth1": ["10.72.0.77", web.own6("b")]}
        assert one.reaches(web.own("a")) == f"80 from {one.own('a')}"
        assert two.reaches("10.72.0.77") == f"80 from {two.own('b')}"
        assert two.reaches(web.own6("b")) == f"80 from {two.own6('b')}"
        assert web.reaches(two.own("b")) == "80 from 10.72.0.77"
        assert one.reaches(two.own("b")) == "timed out"
        assert one.reaches("10.72.0.77") == "timed out"  # nor on a network that it is not on
        assert web.networks["b"]["Aliases"] == ["db"]
        assert web.networks["b"]["DNSNames"] == ["web", "db", web.id[:12]]
        assert web.networks["b"]["IPAMConfig"] == {"IPv4Address": "10.72.0.77"}
        both = store("network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "a", "b", check=True)
        assert [set(line.split()) for line in both.stdout.splitlines()] == [{"web", "one"}, {"web", "two"}]
        assert store("ps", "--format", "{{.Networks}}", "-f", "name=web", check=True).stdout == "a,b\n"
        assert set(store("ps", "--format", "{{.Names}}", "-f", "network=b").stdout.split()) == {"web", "two"}


def test_the_first_network_that_leads_out_does_for_each_kind_of_address(place: Site, store: Minirun) -> None:
    flags = ("--network", "shut", "--network", "a:interface_name=out", "--network", "b")
    with container(store, "web", *flags) as web, serving("tcp:90"):
        assert sorted(web.interfaces) == ["eth0", "eth1", "out"]
        assert (web.routes(), web.routes("-6")) == (["out"], ["eth1"])
        assert web.reaches(HOST, 90) == f"90 from {web.own('a')}"
        store("network", "disconnect", "a", "web", check=True)
        assert (web.routes(), web.routes("-6")) == (["eth1"], ["eth1"])
        assert web.reaches(HOST, 90) == f"90 from {web.own('b')}"
        store("network", "disconnect", "b", "web", check=True)
        assert (web.routes(), web.routes("-6")) == ([], [])
        assert web.reaches(HOST, 90) == "unreachable"
        store("network", "connect", "b", "web", check=True)
        assert (web.routes(), web.routes("-6")) == (["eth1"], ["eth1"])
        # the other way round: what leads out stays
        store("network", "connect", "a", "web", check=True)
        assert web.routes() == ["eth1"]


def test_a_route_of_its_own_stays(place: Site, store: Minirun) -> None:
    with container(store, "web", "--network", "a", "--network", "b") as web:
        run_in(web.pid, "ip", "route", "replace", "default", "via", "10.72.0.1")
        store("network", "disconnect", "a", "web", check=True)
        store("network", "connect", "a", "web", check=True)
        assert web.routes() == ["eth1"]
        run_in(web.pid, "ip", "link", "set", "eth1", "down")
        run_in(web.pid, "ip", "link", "set", "eth1", "name", "mine")
        store("network", "disconnect", "a", "web", check=True)
        store("network", "disconnect", "b", "web", check=True)
        assert web.interfaces == {}


def test_a_container_that_runs_is_connected_and_taken_off_also_while_it_stands_still(
    place: Site, store: Minirun
) -> None:
    with container(store, "web", "--network", "a") as web, container(store, "two", "--network", "b") as two:
        before = left(store)
        store("pause", "web", check=True)
        store("network", "connect", "--ip", "10.72.0.77", "--alias", "DB", "b", "web", check=True)
        with serving("tcp:80", pid=web.pid):
            assert two.reaches("10.72.0.77") == f"80 from {two.own('b')}"
            assert two.reaches(web.own6("b")) == f"80 from {two.own6('b')}"
        store("unpause", "web", check=True)
        assert (web.networks["b"]["Aliases"], sorted(web.interfaces)) == (["db"], ["eth0", "eth1"])
        # and so it is at its next start
        store("restart", "-t", "0", "web", check=True)
        web.find()
        assert sorted(web.interfaces.values()) == sorted([[web.own("a")], ["10.72.0.77", web.own6("b")]])
        with serving("tcp:80", pid=web.pid):
            assert two.reaches("10.72.0.77") == f"80 from {two.own('b')}"
            store("pause", "web", check=True)
            store("network", "disconnect", "b", "web", check=True)
            store("unpause", "web", check=True)
            assert two.reaches("10.72.0.77") in ("timed out", "unreachable")  # as the kernel gives up asking for it
            assert (list(web.networks), web.interfaces) == (["a"], {"eth0": [web.own("a")]})
            assert len(left(store)) == len(before)
        store("restart", "-t", "0", "web", check=True)
        web.find()
        assert web.interfaces == {"eth0": [web.own("a")]}


def test_a_container_that_does_not_run_is_on_them_at_its_next_start(place: Site, store: Minirun) -> None:
    store("create", "--name", "web", "--network", "a", "busybox", "sleep", "1000", check=True)
    try:
        store("network", "connect", "--ip", "10.72.0.77", "b", "web", check=True)
        store("network", "disconnect", "a", "web", check=True)
        store("network", "connect", "shut", "web", check=True)
        store("start", "web", check=True)
        web = Box(store, "web")
        assert list(web.networks) == ["b", "shut"]
        assert (web.interfaces["eth0"][0], web.routes()) == ("10.72.0.77", ["eth0"])
        store("stop", "-t", "0", "web", check=True)
        for name in ("b", "shut"):
            store("network", "disconnect", name, "web", check=True)
        # loopback is left, as in Docker
        store("start", "web", check=True)
        web = Box(store, "web")
        assert (web.networks, web.interfaces) == ({}, {})
        assert "LOOPBACK,UP" in run_in(web.pid, "ip", "link", "show", "lo")
        store("network", "connect", "a", "web", check=True)
        assert (web.interfaces, web.routes()) == ({"eth0": [web.own("a")]}, ["eth0"])
    finally:
        store("rm", "-f", "web", check=True)


def test_ports_lead_into_the_network_of_the_default_route(place: Site, store: Minirun) -> None:
    flags = ("--network", "a", "--network", "b", "-p", "8080:80", "-p", "5353:53/udp", "-p", "[2001:db8::1]:8081:80")
    with container(store, "web", *flags) as web, serving("tcp:80", "udp:53", pid=web.pid):

        def answers() -> list[str]:
            there = (("tcp", HOST, 8080), ("udp", HOST, 5353), ("tcp", "2001:db8::1", 8081))
            return [place.ask(*one).partition(" from")[0] for one in there]

        assert answers() == ["80", "53", "80"]
        held = [f"{own} . 80" in published() for own in (web.own("a"), web.own("b"), web.own6("b"))]
        assert held == [True, False, True]
        shown = store("port", "web", check=True).stdout
        store("network", "disconnect", "a", "web", check=True)
        assert answers() == ["80", "53", "80"]
        assert store("port", "web", check=True).stdout == shown
        assert "10.71.0." not in published()
        store("network", "disconnect", "b", "web", check=True)
        assert answers() == ["refused", "timed out", "refused"]
        assert store("port", "web", check=True).stdout == ""
        assert web.id[:12] not in published()
        # they are held all the same
        refused = store("run", "--rm", "--network", "a", "-p", "8080:80", "busybox", "true")
        assert "it is in use by container web" in refused.stderr
        store("network", "connect", "shut", "web", check=True)
        assert answers()[0] == "refused"
        store("network", "connect", "b", "web", check=True)
        assert answers() == ["80", "53", "80"]
        assert store("port", "web", check=True).stdout == shown
    assert published().count("elements") == 0


def test_a_container_without_networks_starts_with_its_ports_held(place: Site, store: Minirun) -> None:
    store("create", "--name", "web", "--network", "a", "-p", "8080:80", "busybox", "sleep", "1000", check=True)
    try:
        store("network", "disconnect", "a", "web", check=True)
        store("start", "web", check=True)
        web = Box(store, "web")
        assert (store("port", "web", check=True).stdout, ask("tcp", HOST, 8080)) == ("", "refused")
        store("network", "connect", "b", "web", check=True)
        with serving("tcp:80", pid=web.pid):
            assert place.ask("tcp", HOST, 8080).startswith("80 from")
            assert store("port", "web", check=True).stdout == "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"
    finally:
        store("rm", "-f", "web", check=True)
    assert published().count("elements") == 0


def test_the_files_of_etc_follow_and_what_else_is_in_them_stays(place: Site, store: Minirun) -> None:
    flags = ("-h", "me", "--network", "a", "--add-host", "up:host-gateway", "--add-host", "db:192.0.2.5")
    with (
        container(store, "web", *flags) as web,
        container(store, "guest", "--network", "container:web") as guest,
    ):
        written = web.text("hosts")
        assert f"192.0.2.5\tdb\n10.71.0.1\tup\n{web.own('a')}\tme\n" in written
        with web.file("hosts").open("a") as file:
            file.write("10.9.9.9\tmine\f")
        store("network", "connect", "b", "web", check=True)
        more = f"10.72.0.1\tup\n{web.networks['b']['IPv6Gateway']}\tup\n{web.own('b')}\tme\n{web.own6('b')}\tme\n"
        assert web.text("hosts") == f"{written}10.9.9.9\tmine\f\n{more}"
        assert guest.text("hosts") == f"{written}{more}"
        servers = web.text("resolv.conf")
        store("network", "disconnect", "a", "web", check=True)
        assert web.text("hosts").count("\tme\n") == 2
        assert "10.9.9.9\tmine\f\n" in web.text("hosts")
        assert "10.71.0." not in web.text("hosts") + guest.text("hosts") + web.text("resolv.conf")
        assert web.text("resolv.conf") == guest.text("resolv.conf") != servers
        # its own, from now on
        web.file("resolv.conf").write_text("nameserver 192.0.2.9\n")
        store("network", "connect", "a", "web", check=True)
        store("network", "disconnect", "b", "web", check=True)
        assert web.text("resolv.conf") == "nameserver 192.0.2.9\n"
        assert guest.text("resolv.conf") == servers
        # and a start writes them anew
        store("restart", "-t", "0", "web", check=True)
        web.find()
        assert (web.text("resolv.conf"), "mine" in web.text("hosts")) == (servers, False)


def test_a_container_of_the_default_network_gets_a_server_with_one_of_ones_own(place: Site, store: Minirun) -> None:
    with container(store, "web", "--network", "bridge") as web:
        before = web.text("resolv.conf")
        store("network", "connect", "a", "web", check=True)
        assert "nameserver 10.71.0.1\n" in web.text("resolv.conf")
        store("network", "disconnect", "a", "web", check=True)
        assert web.text("resolv.conf") == before


def test_its_end_gives_back_what_came_later(place: Site, store: Minirun) -> None:
    # one that nobody keeps, and whose undo was written at its start
    words = ("run", "-i", "--rm", "--name", "web", "--network", "a", "busybox", "sh", "-c", "echo here; read x")
    with store.start(*words, stdin=subprocess.PIPE) as run:
        assert run.stdout
        assert run.stdout.readline() == b"here\n"
        store("network", "connect", "b", "web", check=True)
        assert len([name for name in left(store) if name.startswith("10.")]) == 2
        assert run.communicate(b"\n") == (b"", b"")
    # and where everybody is killed
    store("run", "-d", "--name", "web", "--network", "a", "busybox", "sleep", "1000", check=True)
    try:
        store("network", "connect", "b", "web", check=True)
        keeper = kept.keeper(store, "web")
        kept.kill(*kept.supervisors(store), keeper.keeper, keeper.pid)
        store("ps", check=True)
        kept.until(lambda: not [name for name in left(store) if name.startswith("10.")], "its leases are kept")
    finally:
        store("rm", "-f", "web", check=True)


def test_who_changes_a_container_waits_for_whoever_is_starting_it(place: Site, store: Minirun) -> None:
    store("create", "--name", "web", "--network", "a", "busybox", "sleep", "1000", check=True)
    try:
        container_id = store("inspect", "-f", "{{.Id}}", "web", check=True).stdout.strip()
        lock = os.open(store.root / "containers" / container_id, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with store.start("network", "connect", "b", "web") as connecting:
            time.sleep(0.2)
            assert connecting.poll() is None
            os.close(lock)
            assert (connecting.communicate()[1], connecting.returncode) == (b"", 0)
        # whoever comes first, it is on both
        with store.start("start", "web") as start, store.start("network", "connect", "shut", "web") as connecting:
            assert [(one.communicate()[1], one.returncode) for one in (start, connecting)] == [(b"", 0)] * 2
        web = Box(store, "web")
        assert len(web.interfaces) == len(web.networks) == 3
        # and of many who want the same one does it
        with ThreadPoolExecutor(4) as many:
            done = many.map(lambda _: store("network", "disconnect", "b", "web").returncode, range(4))
        assert sorted(done) == [0, 125, 125, 125]
    finally:
        store("rm", "-f", "web", check=True)


REFUSED_STARTS = [
    (("--network", "a", "--network", "none"), "is on no network"),
    (("--network", "a", "--network", "nosuch"), "no such network"),
    (("--network", "a", "--network", "a"), "it is the same"),
    (("--network", "a", "--network", "ID"), "given twice"),
    (("--network", "a", "--network", "name=b,ip=10.71.0.9"), "it is not in 10.72.0.0/24"),
    (("--network", "a:interface_name=x", "--network", "b:interface_name=x"), "two are to have it"),
    (("--network", "shut", "-p", "8080:80"), "no port of the host leads into it"),
    (("--network", "a", "--link", "web"), "find each other by name"),
]


def test_networks_that_do_not_go_together_are_refused(place: Site, store: Minirun) -> None:
    network_id = store("network", "inspect", "-f", "{{.Id}}", "a", check=True).stdout.strip()
    before = sorted(os.listdir(store.root / "containers"))
    wrong = []
    for flags, why in REFUSED_STARTS:
        words = [network_id[:20] if word == "ID" else word for word in flags]
        refused = store("run", "-d", *words, "busybox", "true")
        if (refused.returncode, refused.stdout) != (125, "") or why not in refused.stderr:
            wrong.append(f"{' '.join(flags)}: {refused.returncode} {refused.stdout}{refused.stderr}")
        if sorted(os.listdir(store.root / "containers")) != before:
            wrong.append(f"{' '.join(flags)}: left a container")
    assert not wrong, "\n".join(wrong)


def test_what_comes_and_goes_is_told(place: Site, store: Minirun) -> None:
    with container(store, "web", "--network", "a"):
        store("network", "connect", "b", "web", check=True)
        store("network", "disconnect", "a", "web", check=True)
    form = "{{.Action}} {{.Actor.Attributes.name}}"
    told = store("events", "--since", "10m", "--until", "0s", "--filter", "type=network", "--format", form, check=True)
    assert told.stdout.splitlines()[-4:] == ["connect a", "connect b", "disconnect a", "disconnect b"]


def test_what_was_removed_by_hand_is_taken_off_by_force(place: Site, store: Minirun) -> None:
    with container(store, "web", "--network", "a") as web:
        network = next(store.runtime.glob("networks/*/10.71.0.*")).parent
        stray = "f" * 64
        (network / "10.71.0.200").symlink_to(stray)
        (network / stray).symlink_to("10.71.0.200 - 02:00:00:00:00:01 0 eth0 -")
        assert store("network", "disconnect", "a", stray).returncode == 125
        store("network", "disconnect", "-f", "a", stray, check=True)
        assert not (network / "10.71.0.200").is_symlink()
        assert web.interfaces == {"eth0": [web.own("a")]}


def test_networks_and_containers_are_offered_to_the_shell(place: Site, store: Minirun) -> None:
    with container(store, "web-a", "--network", "a"), container(store, "web-b", "--network", "b"):
        environment = store.environment() | {"COMP_CWORD": "4", "_MINIRUN_COMPLETE": "bash_complete"}

        def offered(line: str) -> set[str]:
            words = environment | {"COMP_WORDS": line}
            command = store.command([])
            done = subprocess.run(command, env=words, capture_output=True, text=True, check=False)
            return {one.partition(",")[2] for one in done.stdout.splitlines()}

        assert offered("minirun network connect a web") == {"web-b"}
        assert offered("minirun network disconnect a web") == {"web-a"}
        environment["COMP_CWORD"] = "3"
        assert set(NETWORKS) <= offered("minirun network connect ")


def test_each_host_end_has_a_name_of_its_own(place: Site, store: Minirun) -> None:
    with container(store, "web", "--network", "a", "--network", "b") as web:
        names = {f"mr{one['EndpointID'][:13]}" for one in web.networks.values()}
        assert len(names) == 2
        assert all(Path(f"/proc/sys/net/ipv4/conf/{name}").exists() for name in names)


REFUSED_CHANGES = [
    (("connect", "a", "plain"), "it is on it"),
    (("connect", "nosuch", "plain"), "no such network"),
    (("connect", "b", "nosuch"), "no such container"),
    (("connect", "b", "bare"), "it was made with --network none"),
    (("connect", "b", "hosts"), "it was made with --network host"),
    (("connect", "b", "guest"), "it shares the network of another container"),
    (("connect", "none", "plain"), "none is said when a container is made"),
    (("connect", "--ip", "10.71.0.9", "b", "plain"), "it is not in 10.72.0.0/24"),
    (("connect", "--ip", "10.72.0.1", "b", "plain"), "it is the gateway"),
    (("connect", "--ip", "10.72.0.99", "b", "plain"), "has it on network b"),
    (("connect", "--ip", "ten", "b", "plain"), "it is no IPv4 address"),
    (("connect", "--ip6", "fd00::9", "shut", "plain"), "has no IPv6"),
    (("connect", "--alias", "a b", "b", "plain"), "it is no name of a host"),
    (("connect", "--alias", "x", "bridge", "plain"), "nobody is found by name"),
    (("connect", "--link", "x:y", "b", "plain"), "find each other by name"),
    (("connect", "--mac-address", "01:00:00:00:00:01", "b", "plain"), "no address of an interface"),
    (("disconnect", "b", "plain"), "it is not on that one, but on a"),
    (("disconnect", "a", "created"), "it is on no network"),
    (("disconnect", "nosuch", "plain"), "no such network"),
    (("disconnect", "a", "bare"), "it was made with --network none"),
    (("disconnect", "none", "bare"), "and stays\n  make it anew: `minirun run --network NETWORK …`"),
    (("disconnect", "-f", "host", "hosts"), "host is said when a container is made, and stays"),
    (("disconnect", "-f", "nosuch", "plain"), "it is not on that one, but on a"),
]


@pytest.fixture
def several(place: Site, store: Minirun) -> Iterator[None]:
    """Containers of every kind: nothing becomes of them."""
    names = []
    for name, *flags in (
        ("plain", "--network", "a"), ("bare", "--network", "none"), ("hosts", "--network", "host"),
        ("guest", "--network", "container:plain"), ("else", "--network", "b", "--ip", "10.72.0.99"),
    ):  # fmt: skip
        store("run", "-d", "--name", name, *flags, "busybox", "sleep", "1000", check=True)
        names.append(name)
    store("create", "--name", "created", "--network", "a", "busybox", "true", check=True)
    store("network", "disconnect", "a", "created", check=True)
    yield
    store("rm", "-f", *names, "created", check=True)


def test_what_cannot_be_is_a_sentence_and_leaves_no_trace(place: Site, store: Minirun, several: None) -> None:
    def picture() -> list[str]:
        records_of = store.root.glob("containers/*/*")
        return left(store) + sorted(f"{path}: {path.read_bytes()!r}" for path in records_of if path.is_file())

    before = picture()
    wrong = []
    for words, why in REFUSED_CHANGES:
        refused = store("network", *words)
        is_sentence = refused.stderr.startswith("minirun: cannot ") and "Traceback" not in refused.stderr
        if (refused.returncode, refused.stdout) != (125, "") or not is_sentence or why not in refused.stderr:
            wrong.append(f"{' '.join(words)}: {refused.returncode} {refused.stdout}{refused.stderr}")
        if picture() != before:
            wrong.append(f"{' '.join(words)}: left a trace")
    assert not wrong, "\n".join(wrong)
