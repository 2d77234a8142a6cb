"""Containers on bridges, by real packets: to each other, to the host, out of it, and where they may not go."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from minirun.network import lease
from minirun.network import store as networks
from tests import echo, kept
from tests.command import Minirun
from tests.echo import ask
from tests.outside import HOST, HOST6, OUTSIDE, OUTSIDE6, Site, ask_in, run_in, serving, site


@pytest.fixture(scope="module")
def place(root: None, store: Minirun) -> Iterator[Site]:
    """A host of these tests' own, on which there are four networks."""
    with site("minirun-beyond") as found:
        store("run", "--rm", "--network", "bridge", "busybox", "true", check=True)
        store("network", "create", "--ipv6", "web", check=True)
        store("network", "create", "--internal", "--ipv6", "shut", check=True)
        store("network", "create", "--icc=false", "--ipv6", "apart", check=True)
        yield found
        kept.unsupervised(store)


class Box:
    """A container on a network.

    Attributes:
        pid: of its first process.
        own: its IPv4 address.
        own6: its IPv6 address.
        gateway: the bridge's.
    """

    def __init__(self, minirun: Minirun, name: str) -> None:
        described = described_of(minirun, name)
        (network,) = described["NetworkSettings"]["Networks"].values()
        self.pid = described["State"]["Pid"]
        self.own = network["IPAddress"]
        self.own6 = network["GlobalIPv6Address"]
        self.gateway = network["Gateway"]

    def ask(self, address: str, port: int = 80) -> str:
        """Ask from inside; see echo.ask."""
        return ask_in(self.pid, "tcp", address, port)


def described_of(minirun: Minirun, name: str) -> dict[str, Any]:
    """What `inspect` has of a container."""
    (found,) = json.loads(minirun("inspect", name, check=True).stdout)
    return dict(found)


@contextmanager
def container(minirun: Minirun, name: str, network: str, *flags: str) -> Iterator[Box]:
    """A container in the background that does nothing."""
    minirun("run", "-d", "--name", name, "--network", network, *flags, "busybox", "sleep", "1000", check=True)
    try:
        yield Box(minirun, name)
    finally:
        minirun("rm", "-f", name, check=True)


@contextmanager
def serving_outside(beyond: Site, port: int) -> Iterator[None]:
    """Serve (see echo.py) outside."""
    words = ["ip", "netns", "exec", beyond.outside, sys.executable, str(Path(echo.__file__).resolve()), "serve"]
    with subprocess.Popen([*words, f"tcp:{port}"], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


def leases(minirun: Minirun) -> list[str]:
    """Every link of every lease."""
    return sorted(path.name for path in minirun.runtime.glob("networks/*/*") if path.is_symlink())


def rules() -> str:
    """The rules of our table."""
    return subprocess.run(
        ["nft", "list", "table", "inet", "minirun"], capture_output=True, text=True, check=True
    ).stdout


def interface_of(minirun: Minirun, network: str) -> str:
    """The name of a bridge."""
    form = '{{index .Options "com.docker.network.bridge.name"}}'
    return minirun("network", "inspect", "-f", form, network, check=True).stdout.strip()


def test_neighbours_reach_each_other_and_know_who_asks(place: Site, store: Minirun) -> None:
    with (
        container(store, "one", "web") as one,
        container(store, "two", "web") as two,
        serving("tcp:80", pid=two.pid),
    ):
        assert one.ask(two.own) == f"80 from {one.own}"
        assert one.ask(two.own6) == f"80 from {one.own6}"
        assert one.ask(two.own, 81) == one.ask(two.own6, 81) == "refused"


def test_the_host_and_its_containers_reach_each_other(place: Site, store: Minirun) -> None:
    with container(store, "one", "bridge") as one:
        with serving("tcp:80", pid=one.pid):
            assert ask("tcp", one.own, 80) == f"80 from {one.gateway}"
            assert ask("tcp", one.own6, 80).startswith("80 from fd")
        with serving("tcp:81"):
            assert one.ask(one.gateway, 81) == one.ask(HOST, 81) == f"81 from {one.own}"
            assert one.ask(HOST6, 81) == f"81 from {one.own6}"


def test_the_first_packet_arrives(place: Site, store: Minirun) -> None:
    script = "ping -c 1 -W 1 $(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')"
    for _ in range(5):
        assert store("run", "--rm", "--network", "bridge", "busybox", "sh", "-c", script).returncode == 0


def test_what_goes_out_has_the_hosts_address_and_nothing_comes_in_unasked(place: Site, store: Minirun) -> None:
    with container(store, "one", "web") as one, serving("tcp:80", pid=one.pid), serving_outside(place, 90):
        assert one.ask(OUTSIDE, 90) == f"90 from {HOST}"
        assert one.ask(OUTSIDE6, 90) == f"90 from {HOST6}"
        # the world outside sends to us what it has no other way to
        assert place.ask("tcp", one.own, 80) == "timed out"
        assert place.ask("tcp", one.own6, 80) == "timed out"


def test_networks_do_not_reach_each_other(place: Site, store: Minirun) -> None:
    with (
        container(store, "one", "web") as one,
        container(store, "two", "bridge") as two,
        serving("tcp:80", pid=one.pid),
        serving("tcp:80", pid=two.pid),
    ):
        assert {one.ask(two.own), one.ask(two.own6), two.ask(one.own), two.ask(one.own6)} == {"timed out"}


def test_an_internal_network_has_no_way_out_and_none_in(place: Site, store: Minirun) -> None:
    with (
        container(store, "one", "shut") as one,
        container(store, "two", "shut") as two,
        container(store, "else", "web") as other,
        serving("tcp:80", pid=two.pid),
        serving_outside(place, 90),
    ):
        assert one.ask(two.own) == f"80 from {one.own}"
        assert one.ask(OUTSIDE, 90) == one.ask(OUTSIDE6, 90) == one.ask(other.own) == "unreachable"
        # not either for whoever gives himself a way
        run_in(one.pid, "ip", "route", "add", "default", "via", one.gateway)
        assert one.ask(OUTSIDE, 90) == one.ask(other.own) == "timed out"
        assert other.ask(two.own) == place.ask("tcp", two.own, 80) == "timed out"
        assert ask("tcp", two.own, 80).startswith("80 from")  # but for the host


def test_containers_can_be_kept_apart(place: Site, store: Minirun) -> None:
    with (
        container(store, "one", "apart") as one,
        container(store, "two", "apart") as two,
        serving("tcp:80", pid=two.pid),
        serving_outside(place, 90),
    ):
        assert one.ask(two.own) in ("timed out", "unreachable")
        assert one.ask(two.own6) in ("timed out", "unreachable")
        # nor by way of the host
        run_in(one.pid, "ip", "route", "add", f"{two.own}/32", "via", one.gateway)
        assert one.ask(two.own) == "timed out"
        assert one.ask(OUTSIDE, 90) == f"90 from {HOST}"
        assert ask("tcp", two.own, 80).startswith("80 from")


def test_a_container_that_ends_gives_its_address_back(place: Site, store: Minirun) -> None:
    with container(store, "one", "web", "--ip", own_of(store, "web", 77)) as one:
        assert one.own in leases(store)
        store("stop", "-t", "0", "one", check=True)
        assert leases(store) == []
        described = described_of(store, "one")["NetworkSettings"]["Networks"]["web"]
        assert (described["IPAddress"], described["IPAMConfig"]) == ("", {"IPv4Address": one.own})
        store("start", "one", check=True)
        assert Box(store, "one").own == one.own
        store("restart", "-t", "0", "one", check=True)
        again = Box(store, "one")
        assert again.own == one.own
        assert ask("tcp", again.own, 80) == "refused"
    assert leases(store) == []


def own_of(minirun: Minirun, network: str, number: int) -> str:
    """An address of a network."""
    subnet = minirun("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", network, check=True).stdout
    return f"{subnet.rpartition('.0/')[0]}.{number}"


def test_what_its_restart_policy_starts_again_is_on_its_network(place: Site, store: Minirun) -> None:
    script = "test -e /once && exec sleep 1000; touch /once; exit 1"
    flags = ("--name", "again", "--network", "web", "--restart", "on-failure")
    store("run", "-d", *flags, "busybox", "sh", "-c", script, check=True)
    try:
        kept.until(lambda: described_of(store, "again")["RestartCount"] == 1)
        kept.until(lambda: described_of(store, "again")["State"]["Status"] == "running")
        assert ask("tcp", Box(store, "again").own, 80) == "refused"
    finally:
        store("rm", "-f", "again", check=True)
    assert leases(store) == []


@pytest.mark.parametrize("flags", [(), ("--rm",)])
def test_a_command_that_cannot_begin_leaves_no_lease(place: Site, store: Minirun, flags: tuple[str, ...]) -> None:
    done = store("run", *flags, "--network", "web", "busybox", "nosuch")
    assert done.returncode == 127
    assert leases(store) == []


def test_an_address_in_use_is_refused_with_who_has_it(place: Site, store: Minirun) -> None:
    wanted = own_of(store, "web", 78)
    with container(store, "one", "web", "--ip", wanted, "--mac-address", "02:00:00:00:00:11") as one:
        described = described_of(store, "one")
        assert described["NetworkSettings"]["Networks"]["web"]["MacAddress"] == "02:00:00:00:00:11"
        assert "02:00:00:00:00:11" in run_in(one.pid, "ip", "link", "show", "eth0")
        before = leases(store)
        refused = store("run", "--rm", "--network", "web", "--ip", wanted, "busybox", "true")
        assert refused.returncode == 125
        assert f"cannot use --ip {wanted}: container {described['Id'][:12]} has it on network web" in refused.stderr
        assert leases(store) == before
        assert store("ps", "-aq").stdout.split() == [described["Id"][:12]]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("run", "--network", "nosuch"), "no such network"),
        (("run", "--network", "web", "--ip", "192.0.2.77"), "is not in"),
        (("run", "--network", "web", "--ip6", "2001:db8::77"), "is not in"),
        (("run", "--network", "web", "--ip", "GATEWAY"), "is the gateway"),
        (("run", "--network", "web", "--sysctl", "net.ipv4.nosuch=1"), "there is no such parameter"),
        (("run", "--network", "web", "--sysctl", "net.ipv4.ip_forward=x"), "it takes no such value"),
        (("run", "--network", "container:nosuch"), "no such container"),
        (("network", "create", "web"), "there is one of that name"),
        (("network", "create", "--subnet", "192.0.2.0/25", "bad"), "a route of the host, through outside"),
        (("network", "create", "--subnet", "WEB/24", "bad"), "network web"),
        (("network", "create", "--subnet", "10.1.2.3/16", "bad"), "bits set behind its prefix"),
        (("network", "create", "--subnet", "10.1.2.0/31", "bad"), "too narrow"),
        (("network", "create", "--subnet", "127.1.0.0/16", "bad"), "not for networks"),
        (("network", "create", "--subnet", "ten", "bad"), "is no address"),
        (("network", "create", "--subnet", "10.1.0.0/16", "--gateway", "10.2.0.1", "bad"), "no address of 10.1.0.0/16"),
        (("network", "create", "--subnet", "10.1.0.0/16", "--ip-range", "10.2.0.0/24", "bad"), "is no part of"),
        (("network", "create", "--opt", "com.docker.network.bridge.name=outside", "bad"), "has an interface outside"),
        (("network", "create", "--opt", "nosuch=1", "bad"), "there is no option nosuch"),
        (("network", "create", "--icc=perhaps", "bad"), "neither true nor false"),
        (("network", "create", "--icc=false", "--opt", "icc=true", "bad"), "both say the same"),
        (("network", "create", "--icc=false", "-d", "macvlan", "-o", "parent=outside", "bad"), "no option icc"),
        (("network", "create", "-d", "overlay", "bad"), "is not built in this version"),
        (("network", "create", "--aux-address", "x=10.2.0.9", "bad", "--subnet", "10.1.0.0/16"), "no address of 10.1"),
        (("network", "create", "--aux-address", "x=10.1.0.1", "--subnet", "10.1.0.0/16", "bad"), "is the gateway"),
        (("network", "create", "a/b"), "a name is"),
        (("network", "create", "host"), "means something else"),
        (("network", "rm", "bridge"), "it is the default network"),
        (("network", "rm", "nosuch"), "no such network"),
    ],
)
def test_what_cannot_be_is_a_sentence_and_leaves_no_trace(
    place: Site, store: Minirun, words: tuple[str, ...], why: str
) -> None:
    said = {"GATEWAY": own_of(store, "web", 1), "WEB/24": f"{own_of(store, 'web', 0)}/24"}
    words = tuple(said.get(word, word) for word in words)
    before = (sorted(os.listdir(store.root / "containers")), sorted(os.listdir(store.root / "networks")), rules())
    refused = store(*words, *(("busybox", "true") if words[0] == "run" else ()))
    assert (refused.returncode, refused.stdout) == (125, "")
    assert refused.stderr.startswith("minirun: cannot ")
    assert why in refused.stderr
    assert "Traceback" not in refused.stderr
    after = (sorted(os.listdir(store.root / "containers")), sorted(os.listdir(store.root / "networks")), rules())
    assert after == before
    assert leases(store) == []


def test_a_network_in_use_is_not_removed(place: Site, store: Minirun) -> None:
    store("network", "create", "brief", check=True)
    interface = interface_of(store, "brief")
    with container(store, "one", "brief") as one:
        refused = store("network", "rm", "brief")
        assert "it is in use by container one" in refused.stderr
        assert ask("tcp", one.own, 80) == "refused"
    assert store("network", "rm", "brief", check=True).stdout == "brief\n"
    assert not Path(f"/proc/sys/net/ipv4/conf/{interface}").exists()
    assert interface not in rules()


def test_networks_that_no_running_container_is_on_are_pruned(place: Site, store: Minirun) -> None:
    for name in ("unused", "named", "used"):
        store("network", "create", "--label", "brief", name, check=True)
    store("create", "--name", "one", "--network", "named", "busybox", "true", check=True)
    try:
        with container(store, "two", "used"):
            shown = store("network", "ls", "--filter", "dangling=true", "--format", "{{.Name}}", check=True).stdout
            assert {"unused", "named"} <= set(shown.split())
            assert not {"used", "bridge"} & set(shown.split())
            pruned = store("network", "prune", "-f", "--filter", "label=brief", check=True).stdout
            assert pruned == "Deleted Networks:\nnamed\nunused\n\nTotal reclaimed space: 0B\n"
        refused = store("start", "-a", "one")
        assert refused.returncode == 125
        assert "cannot use network named: it was removed" in refused.stderr
        # what the refusal says helps
        store("network", "disconnect", "-f", "named", "one", check=True)
        assert store("start", "-a", "one").returncode == 0
    finally:
        store("rm", "one", check=True)
        store("network", "rm", "used", check=True)


def test_a_container_can_share_anothers_network(place: Site, store: Minirun) -> None:
    with container(store, "one", "web") as one, serving("tcp:80", pid=one.pid):
        script = "cat /etc/hosts; hostname; ls -l /proc/self/ns/net; wget -qO- -T 2 http://127.0.0.1:80/ || true"
        told = store("run", "--rm", "--network", "container:one", "busybox", "sh", "-c", script, check=True).stdout
        assert f"{one.own}\t" in told
        assert str(Path(f"/proc/{one.pid}/ns/net").readlink()) in told
        assert store("exec", "one", "hostname", check=True).stdout in told
        store("create", "--name", "late", "--network", "container:one", "busybox", "true", check=True)
        assert len(leases(store)) == 3
        store("stop", "-t", "0", "one", check=True)
        refused = store("start", "late")
        assert "cannot join the network of container" in refused.stderr
        assert "it is exited" in refused.stderr
        store("rm", "late", check=True)


def test_names_and_servers_are_as_they_were_asked_for(place: Site, store: Minirun) -> None:
    flags = [
        "--add-host",
        "db:192.0.2.5",
        "--add-host",
        "up=host-gateway",
        "--dns",
        "192.0.2.53",
        "--dns-search",
        "x.y",
    ]
    flags += ["--dns-option", "ndots:2", "--sysctl", "net.ipv4.ip_unprivileged_port_start=7", "-h", "me"]
    with container(store, "one", "web", *flags) as one:
        hosts = store("exec", "one", "cat", "/etc/hosts", check=True).stdout
        for line in (f"{one.own}\tme", f"{one.own6}\tme", "192.0.2.5\tdb", f"{one.gateway}\tup"):
            assert f"{line}\n" in hosts
        servers = store("exec", "one", "cat", "/etc/resolv.conf", check=True).stdout
        # there it asks for names, and is answered by whom --dns names
        assert servers == f"nameserver {one.gateway}\nsearch x.y\noptions ndots:2\n"
        path = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
        assert store("exec", "one", "cat", path, check=True).stdout == "7\n"
        assert Path(path).read_text() != "7\n"
        host = described_of(store, "one")["HostConfig"]
        assert host["NetworkMode"] == "web"
        assert (host["Dns"], host["DnsSearch"], host["DnsOptions"]) == (["192.0.2.53"], ["x.y"], ["ndots:2"])
        assert host["ExtraHosts"] == ["db:192.0.2.5", "up:host-gateway"]
        assert host["Sysctls"] == {"net.ipv4.ip_unprivileged_port_start": "7"}


def test_a_container_is_described_as_docker_describes_it(place: Site, store: Minirun) -> None:
    with container(store, "one", "bridge") as one:
        settings = described_of(store, "one")["NetworkSettings"]
        on = settings["Networks"]["bridge"]
        assert set(on) == {
            "IPAMConfig", "Links", "Aliases", "DriverOpts", "Gateway", "GlobalIPv6Address", "GlobalIPv6PrefixLen",
            "IPAddress", "IPPrefixLen", "IPv6Gateway", "MacAddress", "NetworkID", "EndpointID", "DNSNames",
        }  # fmt: skip
        assert (settings["IPAddress"], settings["IPPrefixLen"], settings["Gateway"]) == (one.own, 16, one.gateway)
        network = json.loads(store("network", "inspect", "bridge", check=True).stdout)[0]
        assert on["NetworkID"] == network["Id"]
        assert [member["Name"] for member in network["Containers"].values()] == ["one"]
        assert run_in(one.pid, "ip", "-o", "link", "show", "eth0").split("link/ether ")[1].startswith(on["MacAddress"])


def test_a_start_is_shown_and_not_done(place: Site, store: Minirun) -> None:
    shown = store("run", "--dry-run", "--network", "web", "busybox", "true", check=True).stdout
    for text in ("lease an address of network web", "RTM_NEWLINK, on network web: eth0", "setns(netns, CLONE_NEWNET)"):
        assert text in shown
    assert "NEWNET|" not in shown.partition("# clone3(")[2].partition("\n")[0]
    assert leases(store) == []
    traced = store("run", "--rm", "--trace", "--network", "web", "busybox", "true", check=True).stderr
    assert " µs  RTM_NEWLINK, on network web" in traced
    assert " µs  lease an address of network web" in traced


def test_without_a_network_there_is_none(place: Site, store: Minirun) -> None:
    assert store("run", "--rm", "busybox", "ls", "/sys/class/net", check=True).stdout == "lo\n"


def test_rules_that_somebody_flushed_are_put_in_force_again_and_the_users_own_stay(place: Site, store: Minirun) -> None:
    subprocess.run(["nft", "add", "rule", "inet", "minirun", "user", "tcp", "dport", "99", "drop"], check=True)
    store("run", "--rm", "--network", "bridge", "busybox", "true", check=True)
    store("network", "create", "brief", check=True)
    store("network", "rm", "brief", check=True)
    assert "tcp dport 99 drop" in rules()
    with serving_outside(place, 99), container(store, "one", "web") as one:
        assert one.ask(OUTSIDE, 99) == "timed out"
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    with (
        container(store, "one", "bridge") as one,
        container(store, "two", "web") as two,
        serving("tcp:80", pid=two.pid),
        serving_outside(place, 90),
    ):
        assert one.ask(two.own) == "timed out"
        assert one.ask(OUTSIDE, 90) == f"90 from {HOST}"
        assert two.ask(OUTSIDE, 90) == f"90 from {HOST}"


def test_a_bridge_that_somebody_removed_is_made_again(place: Site, store: Minirun) -> None:
    subprocess.run(["ip", "link", "delete", interface_of(store, "web")], check=True)
    with container(store, "one", "web") as one, serving("tcp:80", pid=one.pid):
        assert ask("tcp", one.own, 80).startswith("80 from")


def test_an_interface_that_is_somebody_elses_is_refused_and_left_alone(place: Site, store: Minirun) -> None:
    store("network", "create", "brief", check=True)
    interface = interface_of(store, "brief")
    subprocess.run(["ip", "link", "delete", interface], check=True)
    subprocess.run(["ip", "link", "add", interface, "type", "bridge"], check=True)
    try:
        refused = store("run", "--rm", "--network", "brief", "busybox", "true")
        assert refused.returncode == 125
        assert f"the host has an interface {interface} already" in refused.stderr
        assert leases(store) == []
        store("network", "rm", "brief", check=True)
    finally:
        subprocess.run(["ip", "link", "delete", interface], check=True)


def test_addresses_that_the_host_has_found_a_way_to_since_are_refused(place: Site, store: Minirun) -> None:
    store("network", "create", "--subnet", "10.234.0.0/16", "brief", check=True)
    subprocess.run(["ip", "link", "delete", interface_of(store, "brief")], check=True)
    subprocess.run(["ip", "route", "add", "10.234.1.0/24", "via", OUTSIDE], check=True)
    try:
        refused = store("run", "--rm", "--network", "brief", "busybox", "true")
        assert "overlap 10.234.1.0/24: a route of the host, through outside" in refused.stderr
    finally:
        subprocess.run(["ip", "route", "delete", "10.234.1.0/24"], check=True)
        store("network", "rm", "brief", check=True)


def test_leases_of_containers_that_are_gone_are_found(place: Site, store: Minirun) -> None:
    home = kept.home(store)
    store("network", "create", "--subnet", "10.235.0.0/29", "narrow", check=True)
    network = networks.get(home, "narrow")
    taken = [lease.take(home, network, f"{number:064x}").address for number in range(5)]
    store("create", "--name", "one", "--network", "narrow", "--ip", taken[2], "busybox", "true", check=True)
    # when there is no other to give, and when somebody looks
    assert store("start", "-a", "one").returncode == 0
    assert leases(store) == []
    lease.take(home, network, "f" * 64)
    with container(store, "stays", "bridge"):  # or gc would take that network's bridge away, too
        assert "Other remains removed: 1\n" in store("gc", check=True).stdout
    assert leases(store) == []
    store("rm", "one", check=True)
    store("network", "rm", "narrow", check=True)


def test_a_lease_comes_back_when_everybody_who_knew_of_it_was_killed(place: Site, store: Minirun) -> None:
    store("run", "-d", "--name", "one", "--network", "web", "busybox", "sleep", "1000", check=True)
    try:
        keeper = kept.keeper(store, "one")
        kept.kill(*kept.supervisors(store), keeper.keeper, keeper.pid)
        store("ps", check=True)
        kept.until(lambda: not leases(store), "its lease is kept")
    finally:
        store("rm", "-f", "one", check=True)


def test_what_happens_on_networks_is_told(place: Site, store: Minirun) -> None:
    store("run", "--rm", "--network", "web", "busybox", "true", check=True)
    form = "{{.Action}} {{.Actor.Attributes.name}}"
    told = store("events", "--since", "10m", "--until", "0s", "--filter", "type=network", "--format", form, check=True)
    assert told.stdout.splitlines()[-2:] == ["connect web", "disconnect web"]
