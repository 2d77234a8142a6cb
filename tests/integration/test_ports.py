"""Published ports, by real packets: from outside, from the host, from containers; and what becomes of them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from minirun.network import portelements
from minirun.network.portelements import Element
from tests import kept
from tests.command import Minirun
from tests.echo import ask
from tests.outside import HOST, HOST6, OUTSIDE, OUTSIDE6, Site, ask_in, run_in, serving, site

_BRIDGED = [Path(f"/proc/sys/net/bridge/bridge-nf-call-{name}tables") for name in ("ip", "ip6")]
_SLEEP = ("busybox", "sleep", "1000")


@pytest.fixture(scope="module")
def place(root: None, store: Minirun) -> Iterator[Site]:
    """A host of these tests' own, on which ports have been published before: bridge and rules are there."""
    with site("minirun-outside") as found:
        store("run", "--rm", "--network", "bridge", "-p", "127.0.0.1:9:9", "busybox", "true", check=True)
        yield found
        kept.unsupervised(store)


@contextmanager
def container(minirun: Minirun, name: str, *flags: str) -> Iterator[int]:
    """A container in the background that does nothing; yields the pid of its first process."""
    minirun("run", "-d", "--name", name, "--network", "bridge", *flags, *_SLEEP, check=True)
    try:
        yield kept.keeper(minirun, name).pid
    finally:
        minirun("rm", "-f", name, check=True)


@contextmanager
def bridges_filtered(*, filtered: bool) -> Iterator[None]:
    """Have what bridges pass on go through the rules of the host, as on one with Docker or Kubernetes, or not."""
    if not _BRIDGED[0].exists():
        if filtered:
            pytest.skip("this kernel has no br_netfilter loaded")
        yield
        return
    before = [path.read_text() for path in _BRIDGED]
    for path in _BRIDGED:
        path.write_text("1" if filtered else "0")
    try:
        yield
    finally:
        for path, text in zip(_BRIDGED, before, strict=True):
            path.write_text(text)


def elements() -> list[str]:
    """The published ports that the kernel has: ``tcp 8080``, ``tcp 127.0.0.1 8081``."""
    text = subprocess.run(["nft", "-j", "list", "table", "inet", "minirun"], check=True, capture_output=True).stdout
    maps = [one["map"] for one in json.loads(text)["nftables"] if "map" in one]
    found = [element[0] for one in maps for element in one.get("elem", ())]
    return sorted(" ".join(str(part) for part in key["elem"]["val"]["concat"]) for key in found)


def address_of(minirun: Minirun, name: str) -> str:
    """The IPv4 address of a container."""
    told = minirun("exec", name, "ip", "-4", "-o", "address", "show", "dev", "eth0", check=True).stdout
    return str(re.findall(r"inet ([0-9.]+)/", told)[0])


def gateway_of(minirun: Minirun, name: str) -> str:
    """The address of the bridge."""
    told = minirun("exec", name, "ip", "-4", "route", check=True).stdout
    return str(re.findall(r"default via ([0-9.]+)", told)[0])


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_published_port_leads_into_the_container_from_outside_and_from_the_host(
    place: Site, store: Minirun, protocol: str
) -> None:
    with container(store, "web", "-p", f"8080:80/{protocol}") as pid, serving(f"{protocol}:80", pid=pid):
        # who asks from outside is known as who he is
        assert place.ask(protocol, HOST, 8080) == f"80 from {OUTSIDE}"
        assert place.ask(protocol, HOST6, 8080) == f"80 from {OUTSIDE6}"
        assert ask(protocol, HOST, 8080) == f"80 from {HOST}"
        assert ask(protocol, HOST6, 8080) == f"80 from {HOST6}"
        gateway = gateway_of(store, "web")
        assert ask(protocol, "127.0.0.1", 8080) == f"80 from {gateway}"
        assert ask(protocol, "127.0.0.77", 8080) == f"80 from {gateway}"
        assert place.ask("udp" if protocol == "tcp" else "tcp", HOST, 8080) == "refused"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_ipv6_loopback_leads_into_the_container_where_bridges_do_not_show_packets_to_the_firewall(
    place: Site, store: Minirun, protocol: str
) -> None:
    with bridges_filtered(filtered=False):
        for address in ("", "[::1]:"):
            flags = ("-p", f"{address}8080:80/{protocol}")
            with container(store, "web", *flags) as pid, serving(f"{protocol}:80", pid=pid):
                assert ask(protocol, "::1", 8080).startswith("80 from fd")
                if address:
                    assert place.ask(protocol, HOST6, 8080) == "refused"
                    assert ask(protocol, "127.0.0.1", 8080) == "refused"


def test_ipv6_loopback_is_refused_where_it_could_not_work(place: Site, store: Minirun) -> None:
    with bridges_filtered(filtered=True):
        result = store("run", "--rm", "--network", "bridge", "-p", "[::1]:8080:80", "busybox", "true")
        assert result.returncode == 125
        assert "sysctl net.bridge.bridge-nf-call-ip6tables=0" in result.stderr
        with container(store, "web", "-p", "8080:80") as pid, serving("tcp:80", pid=pid):
            # so that `curl localhost` goes on to 127.0.0.1 at once
            assert ask("tcp", "::1", 8080) == "refused"


@pytest.mark.parametrize("filtered", [True, False], ids=["bridges filtered", "bridges not filtered"])
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_containers_reach_themselves_and_each_other_by_the_address_of_the_host(
    place: Site, store: Minirun, protocol: str, filtered: bool
) -> None:
    with (
        bridges_filtered(filtered=filtered),
        container(store, "web", "-p", f"8080:80/{protocol}") as web,
        container(store, "other") as other,
        serving(f"{protocol}:80", pid=web),
    ):
        for address in (HOST, HOST6, gateway_of(store, "web")):
            assert ask_in(web, protocol, address, 8080).startswith("80 from "), address
            assert ask_in(other, protocol, address, 8080).startswith("80 from "), address
        # and without it they see each other as who they are
        own = address_of(store, "other")
        assert ask_in(other, protocol, address_of(store, "web"), 80) == f"80 from {own}"


def test_a_port_of_loopback_is_for_the_host_alone(place: Site, store: Minirun) -> None:
    with container(store, "web", "-p", "127.0.0.1:8080:80") as pid, serving("tcp:80", pid=pid):
        assert ask("tcp", "127.0.0.1", 8080).startswith("80 from ")
        assert ask("tcp", HOST, 8080) == "refused"
        assert place.ask("tcp", HOST, 8080) == "refused"
        # nor does a neighbour get there who sends to the container's own address
        assert place.ask("tcp", address_of(store, "web"), 80) == "timed out"


def test_nobody_reaches_a_port_of_loopback_by_sending_to_127_0_0_1_from_elsewhere(place: Site, store: Minirun) -> None:
    # a neighbour who has no loopback of his own, and a route for it to this host: CVE-2020-8558, moby issue 45610
    with container(store, "web", "-p", "127.0.0.1:8080:80") as web, container(store, "evil") as evil:
        for run, gateway in (
            (place.run, HOST),
            (lambda *words: run_in(evil, *words), gateway_of(store, "evil")),
        ):
            run("ip", "route", "delete", "table", "local", "local", "127.0.0.0/8", "dev", "lo")
            run("ip", "route", "delete", "table", "local", "local", "127.0.0.1", "dev", "lo")
            run("ip", "route", "add", "127.0.0.1", "via", gateway)
        try:
            with counted() as count, serving("tcp:80", pid=web), serving("tcp:7777"):
                assert place.ask("tcp", "127.0.0.1", 8080) == "timed out"
                assert place.ask("tcp", "127.0.0.1", 7777) == "timed out"
                assert count() > 0, "the packets did not come here at all"
                before = count()
                assert ask_in(evil, "tcp", "127.0.0.1", 8080) == "timed out"
                assert ask_in(evil, "tcp", "127.0.0.1", 7777) == "timed out"
                assert count() > before, "the packets did not come here at all"
                assert ask("tcp", "127.0.0.1", 7777) == "7777 from 127.0.0.1"
        finally:
            place.run("ip", "route", "delete", "127.0.0.1", "via", HOST)
            place.run("ip", "link", "set", "lo", "down")
            place.run("ip", "link", "set", "lo", "up")


@contextmanager
def counted() -> Iterator[Callable[[], int]]:
    """Count packets to 127/8 that come in by an interface, before anything else sees them."""
    rules = """
table inet counting {
    chain incoming { type filter hook prerouting priority -400; iifname != "lo" ip daddr 127.0.0.0/8 counter; }
}
"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

    def count() -> int:
        text = subprocess.run(["nft", "list", "table", "inet", "counting"], check=True, capture_output=True, text=True)
        return int(re.findall(r"packets (\d+)", text.stdout)[0])

    try:
        yield count
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "counting"], check=True)


def test_a_web_server_is_asked_for_a_megabyte(place: Site, store: Minirun) -> None:
    script = "mkdir /w; head -c 1048576 /dev/zero >/w/zeros; exec httpd -f -p 80 -h /w"
    flags = ("-d", "--name", "web", "--network", "bridge", "-p", "8080:80")
    store("run", *flags, "busybox", "sh", "-c", script, check=True)
    try:
        kept.until(lambda: ask("tcp", "127.0.0.1", 8080) != "refused", "it does not serve")
        for url in ("http://127.0.0.1:8080/zeros", f"http://{HOST}:8080/zeros", f"http://[{HOST6}]:8080/zeros"):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(url, timeout=10) as answer:
                assert answer.read() == bytes(1 << 20), url
        told = store("exec", "web", "wget", "-q", "-O", "/got", f"http://{HOST}:8080/zeros")
        assert told.returncode == 0, told.stderr
    finally:
        store("rm", "-f", "web", check=True)


def test_a_range_leads_to_a_range_each_to_its_own(place: Site, store: Minirun) -> None:
    with container(store, "web", "-p", "8000-8002:80-82") as pid, serving("tcp:80", "tcp:81", "tcp:82", pid=pid):
        assert [ask("tcp", HOST, 8000 + n) for n in range(3)] == [f"{80 + n} from {HOST}" for n in range(3)]
        told = store("ps", "--format", "{{.Ports}}", check=True).stdout.strip()
        assert told == "0.0.0.0:8000-8002->80-82/tcp, [::]:8000-8002->80-82/tcp"


def test_of_a_range_for_one_port_the_first_that_is_free_is_taken(place: Site, store: Minirun) -> None:
    with (
        serving("tcp:8000"),
        container(store, "web", "-p", "8000-8002:80"),
        container(store, "two", "-p", "8000-8002:80"),
    ):
        assert published(store, "web") == ["0.0.0.0:8001", "[::]:8001"]
        assert published(store, "two") == ["0.0.0.0:8002", "[::]:8002"]
        result = store("run", "--rm", "--network", "bridge", "-p", "8000-8002:80", "busybox", "true")
        assert result.returncode == 125
        assert "each of them is in use" in result.stderr


def published(minirun: Minirun, name: str, port: str = "80") -> list[str]:
    """What `port` prints."""
    return minirun("port", name, port, check=True).stdout.split()


def test_a_port_of_the_hosts_choice_is_the_same_for_both_kinds_of_address_and_after_a_restart(
    place: Site, store: Minirun
) -> None:
    with container(store, "web", "-p", "80", "-p", "127.0.0.1::81"):
        before = store("port", "web", check=True).stdout
        chosen = re.fullmatch(
            r"80/tcp -> 0\.0\.0\.0:(\d+)\n80/tcp -> \[::\]:(\d+)\n81/tcp -> 127\.0\.0\.1:(\d+)\n", before
        )
        assert chosen
        assert chosen[1] == chosen[2]
        store("restart", "-t", "0", "web", check=True)
        assert store("port", "web", check=True).stdout == before
        with serving("tcp:80", pid=kept.keeper(store, "web").pid):
            assert ask("tcp", HOST, int(chosen[1])) == f"80 from {HOST}"
        store("stop", "-t", "0", "web", check=True)
        assert store("port", "web", check=True).stdout == ""
        # somebody has it meanwhile: it gets another
        with serving(f"tcp:{chosen[1]}"):
            store("start", "web", check=True)
            assert published(store, "web") not in ([], [f"0.0.0.0:{chosen[1]}", f"[::]:{chosen[1]}"])


def test_a_restart_keeps_what_is_published_and_a_stop_takes_it_back(place: Site, store: Minirun) -> None:
    with container(store, "web", "-p", "8080:80", "--restart", "always"):
        for again in ("restart", "stop", "start", "crash"):
            if again == "crash":
                kept.kill(kept.keeper(store, "web").pid)
                kept.until(lambda: kept.state(store, "web")["Running"] and store_restarts(store, "web") == 1)
            else:
                store(again, *(() if again == "start" else ("-t", "0")), "web", check=True)
            if again == "stop":
                assert elements() == []
                assert ask("tcp", HOST, 8080) == "refused"
                continue
            with serving("tcp:80", pid=kept.keeper(store, "web").pid):
                assert place.ask("tcp", HOST, 8080) == f"80 from {OUTSIDE}", again
    assert elements() == []


def store_restarts(minirun: Minirun, name: str) -> int:
    """How often its policy started it again."""
    return int(minirun("inspect", "-f", "{{.RestartCount}}", name, check=True).stdout)


def test_who_sends_datagrams_all_the_time_reaches_a_container_that_was_started_again(
    place: Site, store: Minirun
) -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.settimeout(1)
        client.bind((HOST, 0))
        client.sendto(b"?", (HOST, 5353))  # nobody is there yet, and conntrack remembers
        with container(store, "web", "-p", "5353:53/udp", "--ip", "10.90.0.77") as pid, serving("udp:53", pid=pid):
            client.sendto(b"?", (HOST, 5353))
            assert client.recv(64) == f"53 from {HOST}".encode()
        with container(store, "web", "-p", "5353:53/udp", "--ip", "10.90.0.78") as pid, serving("udp:53", pid=pid):
            client.sendto(b"?", (HOST, 5353))
            assert client.recv(64) == f"53 from {HOST}".encode()


def test_all_that_is_exposed_is_published_with_P(place: Site, store: Minirun) -> None:  # noqa: N802 - the flag's name
    with container(store, "web", "-P", "--expose", "80-81", "--expose", "53/udp", "-p", "8080:80"):
        told = json.loads(store("inspect", "web", check=True).stdout)[0]
        ports = told["NetworkSettings"]["Ports"]
        assert sorted(ports) == ["53/udp", "80/tcp", "81/tcp"]
        assert ports["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}]
        assert ports["81/tcp"][0]["HostPort"] == ports["81/tcp"][1]["HostPort"]
        assert told["HostConfig"]["PortBindings"] == {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}
        assert told["HostConfig"]["PublishAllPorts"] is True
        assert told["Config"]["ExposedPorts"] == {"53/udp": {}, "80/tcp": {}, "81/tcp": {}}


def test_what_an_image_exposes_is_shown_and_published_with_P(  # noqa: N802 - the flag's name
    place: Site, store: Minirun
) -> None:
    store("create", "--name", "made", "busybox", "true", check=True)
    store("commit", "-c", "EXPOSE 80 53/udp", "made", "exposing", check=True)
    store("rm", "made", check=True)
    store("run", "-d", "--name", "web", "--network", "bridge", "-P", "exposing", "sleep", "1000", check=True)
    try:
        assert [line.split()[0] for line in store("port", "web", check=True).stdout.splitlines()] == [
            "53/udp", "53/udp", "80/tcp", "80/tcp",
        ]  # fmt: skip
        for text, names in (
            ("publish=80", "web\n"), ("publish=79-81", "web\n"), ("publish=53/udp", "web\n"), ("publish=53", ""),
            ("expose=80/tcp", "web\n"), ("expose=81", ""),
        ):  # fmt: skip
            assert store("ps", "--format", "{{.Names}}", "-f", text, check=True).stdout == names, text
    finally:
        store("rm", "-f", "web", check=True)
        store("rmi", "exposing", check=True)


def test_what_is_exposed_alone_is_shown_and_leads_nowhere(place: Site, store: Minirun) -> None:
    with container(store, "web", "--expose", "80-82", "-p", "127.0.0.1:8080:81"):
        assert store("ps", "--format", "{{.Ports}}").stdout.strip() == "127.0.0.1:8080->81/tcp, 80/tcp, 82/tcp"
        ports = json.loads(store("inspect", "-f", "{{json .NetworkSettings.Ports}}", "web").stdout)
        assert ports == {"80/tcp": None, "81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}], "82/tcp": None}
        result = store("port", "web", "80")
        assert result.returncode == 1 or result.returncode == 125
        assert "it is not published" in result.stderr
        assert elements() == ["tcp 127.0.0.1 8080"]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_a_process_has_is_refused_with_its_name(place: Site, store: Minirun, protocol: str) -> None:
    with serving(f"{protocol}:8080") as pid:
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        for address in ("", "127.0.0.1:", f"{HOST}:", f"[{HOST6}]:"):
            result = store("run", "--name", "web", "--network", "bridge", "-p", f"{address}8080:80/{protocol}", *_SLEEP)
            assert result.returncode == 125, address
            assert f"it is in use by {name} (pid {pid})" in result.stderr, address
    assert store("ps", "-aq", check=True).stdout == ""
    assert elements() == []


def test_a_port_that_a_container_has_is_refused_with_its_name(place: Site, store: Minirun) -> None:
    with container(store, "web", "-p", "8080:80"):
        for flags in (("--rm",), ("-d",), ("-d", "--rm")):
            result = store("run", *flags, "--network", "bridge", "-p", "127.0.0.1:8080:81", *_SLEEP)
            assert result.returncode == 125
            assert "it is in use by container web" in result.stderr
        store("create", "--name", "late", "--network", "bridge", "-p", "8080:80", *_SLEEP, check=True)
        result = store("start", "late")
        assert result.returncode in (1, 125)
        assert "it is in use by container web" in result.stderr
        assert elements() == ["tcp 8080", "tcp 8080"]
    store("start", "late", check=True)
    assert published(store, "late") == ["0.0.0.0:8080", "[::]:8080"]
    store("rm", "-f", "late", check=True)


@pytest.mark.parametrize("flags", [("-d",), ("--rm",)], ids=["with a keeper", "in the foreground"])
def test_nobody_else_gets_a_port_while_it_is_published(place: Site, store: Minirun, flags: tuple[str, ...]) -> None:
    with store.start("run", *flags, "--name", "web", "--network", "bridge", "-p", "8080:80", *_SLEEP) as process:
        kept.until(lambda: len(elements()) == 2)
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            with closing(socket.socket(family)) as server:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with pytest.raises(OSError, match="in use"):  # noqa: PT012 - whichever says it
                    server.bind((address, 8080))
                    server.listen()
        store("rm", "-f", "web", check=True)
        process.communicate(timeout=10)
    with serving("tcp:8080"):
        assert ask("tcp", HOST, 8080) == f"8080 from {HOST}"


@pytest.mark.parametrize("flags", [("-d",), ("--rm",), ("-d", "--rm")], ids=" ".join)
def test_nothing_is_left_after_everything_was_killed(place: Site, store: Minirun, flags: tuple[str, ...]) -> None:
    with store.start("run", *flags, "--name", "web", "--network", "bridge", "-p", "8080:80", *_SLEEP) as process:
        kept.until(lambda: len(elements()) == 2)
        if "-d" in flags:
            process.communicate(timeout=10)
            # whoever would tidy up dies first
            kept.kill(*kept.supervisors(store))
            found = kept.keeper(store, "web")
            kept.kill(found.keeper, found.pid)
        else:
            command = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            kept.kill(process.pid, *map(int, command))
    store("ps", check=True)
    kept.until(lambda: elements() == [], "elements are left")
    # the port is free at once, also for another container
    with container(store, "next", "-p", "8080:80") as pid, serving("tcp:80", pid=pid):
        assert ask("tcp", HOST, 8080) == f"80 from {HOST}"
    store("rm", "-f", "web")


def test_a_container_takes_the_port_of_one_that_was_killed_and_keeps_it(place: Site, store: Minirun) -> None:
    own = Element("tcp", "0.0.0.0", 8080, "10.90.0.200", 80)
    portelements.add([own], "d" * 64)  # whoever that was, his socket has gone with him
    with container(store, "web", "-p", "8080:80") as pid, serving("tcp:80", pid=pid):
        assert ask("tcp", HOST, 8080) == f"80 from {HOST}"
        portelements.remove([own], "d" * 64)  # by who finds it ended, late
        assert ask("tcp", HOST, 8080) == f"80 from {HOST}"


def test_a_port_is_free_once_a_stop_has_returned(place: Site, store: Minirun) -> None:
    for name in ("one", "two", "three"):
        store("run", "-d", "--name", name, "--network", "bridge", "-p", "8080:80", *_SLEEP, check=True)
        store("stop", "-t", "0", name, check=True)
    store("rm", "one", "two", "three", check=True)


def test_of_many_that_want_a_port_at_once_one_gets_it(place: Site, store: Minirun) -> None:
    started = [store.start("run", "-d", "--network", "bridge", "-p", "8080:80", *_SLEEP) for _ in range(6)]
    results = [process.communicate(timeout=60) for process in started]
    assert sorted(process.returncode for process in started) == [0, 125, 125, 125, 125, 125], results
    assert all(b"it is in use" in said for _, said in results if said)
    assert elements() == ["tcp 8080", "tcp 8080"]
    store("rm", "-f", *store("ps", "-aq", check=True).stdout.split(), check=True)
    assert elements() == []


def test_a_port_leads_in_from_another_network_and_nothing_else_does(place: Site, store: Minirun) -> None:
    store("network", "create", "far", check=True)
    try:
        with container(store, "web", "-p", "8080:80") as web, serving("tcp:80", pid=web):
            store("run", "-d", "--name", "other", "--network", "far", "-p", "8081:80", *_SLEEP, check=True)
            try:
                other = kept.keeper(store, "other").pid
                for filtered in (False, True):
                    with bridges_filtered(filtered=filtered):
                        assert ask_in(other, "tcp", HOST, 8080).startswith("80 from ")
                        assert ask_in(other, "tcp", address_of(store, "web"), 80) == "timed out"
                with serving("tcp:80", pid=other):
                    assert ask_in(web, "tcp", HOST, 8081).startswith("80 from ")
                    assert place.ask("tcp", HOST, 8081) == f"80 from {OUTSIDE}"
                    # its network has no IPv6
                    assert published(store, "other") == ["0.0.0.0:8081"]
            finally:
                store("rm", "-f", "other", check=True)
    finally:
        store("network", "rm", "far", check=True)
    rules = subprocess.run(["nft", "list", "table", "inet", "minirun"], check=True, capture_output=True, text=True)
    assert "br-" not in rules.stdout, "something of a network is left that is gone"


def test_rules_of_the_users_come_first_and_stay(place: Site, store: Minirun) -> None:
    def nft(words: str) -> None:
        subprocess.run(["nft", *words.split()], check=True)

    with container(store, "web", "-p", "8080:80", "-p", "8081:81") as pid, serving("tcp:80", "tcp:81", pid=pid):
        nft("add rule inet minirun user meta l4proto tcp ct original proto-dst 8080 drop")
        try:
            with container(store, "other", "-p", "8082:80"):
                assert place.ask("tcp", HOST, 8080) == "timed out"
                assert place.ask("tcp", HOST, 8081) == f"81 from {OUTSIDE}"
        finally:
            nft("flush chain inet minirun user")
        assert place.ask("tcp", HOST, 8080) == f"80 from {OUTSIDE}"
        # a table of the user's own, whose chain forwards nothing
        nft("add table inet mine")
        try:
            nft("add chain inet mine forward { type filter hook forward priority 0 ; policy drop ; }")
            assert place.ask("tcp", HOST, 8080) == "timed out"
        finally:
            nft("delete table inet mine")


def test_ports_come_back_with_the_next_container_after_all_rules_were_flushed(place: Site, store: Minirun) -> None:
    with container(store, "web", "-p", "8080:80") as pid, serving("tcp:80", pid=pid):
        subprocess.run(["nft", "flush", "ruleset"], check=True)
        assert place.ask("tcp", HOST, 8080) == "refused"
        with container(store, "other"):
            assert place.ask("tcp", HOST, 8080) == f"80 from {OUTSIDE}"
            assert elements() == ["tcp 8080", "tcp 8080"]
        # a table without what is ours alone
        subprocess.run(["nft", "delete", "table", "inet", "minirun"], check=True)
        subprocess.run(["nft", "add", "table", "inet", "minirun"], check=True)
        with container(store, "other", "-p", "8081:80"):
            assert place.ask("tcp", HOST, 8080) == f"80 from {OUTSIDE}"
            assert elements() == ["tcp 8080", "tcp 8080", "tcp 8081", "tcp 8081"]
    assert elements() == []


def test_what_is_encoded_is_what_nft_reads(place: Site) -> None:
    several = [
        Element("tcp", "0.0.0.0", 1, "10.0.0.1", 65535),
        Element("udp", "127.0.0.1", 65535, "10.255.0.1", 1),
        Element("sctp", "::", 8080, "fd00::1", 80),
        Element("tcp", "2001:db8::1", 256, "fd00::ff", 255),
    ]
    portelements.add(several, "0123456789abcdef" * 4)
    try:
        told = subprocess.run(
            ["nft", "list", "table", "inet", "minirun"], check=True, capture_output=True, text=True
        ).stdout
        for line in (
            'tcp . 1 comment "0123456789ab" : 10.0.0.1 . 65535',
            'udp . 127.0.0.1 . 65535 comment "0123456789ab" : 10.255.0.1 . 1',
            'sctp . 8080 comment "0123456789ab" : fd00::1 . 80',
            'tcp . 2001:db8::1 . 256 comment "0123456789ab" : fd00::ff . 255',
        ):
            assert f"elements = {{ {line} }}" in told
        portelements.remove(several, "f" * 64)
        assert len(elements()) == 4, "they are somebody else's"
    finally:
        portelements.remove(several, "0123456789abcdef" * 4)
    assert elements() == []
    portelements.remove(several, "0123456789abcdef" * 4)


def test_a_thousand_ports_are_published_at_once(place: Site, store: Minirun) -> None:
    with container(store, "web", "-p", f"{HOST}:20000-20999:1000-1999") as pid, serving("tcp:1999", pid=pid):
        assert len(elements()) == 1000
        assert place.ask("tcp", HOST, 20999) == f"1999 from {OUTSIDE}"
    assert elements() == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-p", "8080:0"), "'0' is no port"),
        (("-p", "8080:65536"), "'65536' is no port"),
        (("-p", "x:80"), "'x' is no port"),
        (("-p", "80/icmp"), "'icmp' is no protocol with ports"),
        (("-p", "8000-8001:80-82"), "are not of the same length"),
        (("-p", "81-80"), "'81-80' is no port"),
        (("-p", "localhost:8080:80"), "'localhost' is no address"),
        (("-p", "::1:8080:80"), "'::1' is no address"),
        (("-p", "[127.0.0.1]:8080:80"), "is no address"),
        (("-p", "8080:80", "-p", "8080:81"), "it is to be port 81 and another"),
        (("--expose", "x"), "'x' is no port"),
        (("-p", "198.51.100.7:8080:80"), "198.51.100.7 is no address of this host"),
        (("--network", "none", "-p", "80"), "a container has no network"),
        (("--network", "container:web", "-p", "80"), "has the network of another container"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_published_is_refused(place: Site, store: Minirun, flags: tuple[str, ...], words: str) -> None:
    network = () if "--network" in flags else ("--network", "bridge")
    result = store("run", "--rm", *network, *flags, "busybox", "true")
    assert result.returncode == 125
    assert words in result.stderr
    assert result.stderr.startswith("minirun: cannot ")
    assert store("ps", "-aq", check=True).stdout == ""


def test_with_the_hosts_network_ports_are_said_to_be_discarded(place: Site, store: Minirun) -> None:
    result = store("run", "--rm", "--network", "host", "-p", "8080:80", "busybox", "true", check=True)
    assert "--network host" in result.stderr
    assert elements() == []
