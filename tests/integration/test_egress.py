"""Containers with an allow-list: what they reach, what they do not, and what is told of that; by real packets."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import kept
from tests.command import PATIENCE, Minirun
from tests.echo import ask
from tests.egresslab import (
    OTHER,
    OTHER6,
    Container,
    asked,
    container,
    lab,
    limited,
    names,
    nft,
    script,
    tables,
    unrejected,
)  # fmt: skip
from tests.outside import HOST, HOST6, OUTSIDE, OUTSIDE6, Site, inside, link, run_in, serving

# answers each line with itself, for as long as somebody sends some
_REPEATER = """
import socket
listener = socket.create_server(("::", 7), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(64):
            connection.sendall(data)
"""
# connects, and then sends each line that it reads; prints what comes back
_CALLER = """
import socket, sys
with socket.create_connection((sys.argv[1], 7), 5) as connection:
    print("ready", flush=True)
    for line in sys.stdin:
        connection.sendall(line.encode())
        print(connection.recv(64).decode(), end="", flush=True)
"""
_FLOOD = """
import socket
speaker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(5000):
    try:
        speaker.sendto(b"?", (f"203.0.{number // 250}.{number % 250 + 1}", 9))
    except OSError:
        pass
"""


@pytest.fixture(scope="module")
def place(root: None, store: Minirun) -> Iterator[Site]:
    """The host and what is outside; a peer is on the network web."""
    with lab(store, "minirun-egress") as (found, _):
        yield found


@pytest.fixture(scope="module")
def peer(place: Site, store: Minirun) -> Container:
    """A neighbour, who answers at port 80."""
    return Container(store, "peer")


def test_what_is_in_the_list_is_reached_and_nothing_else(place: Site, store: Minirun) -> None:
    with limited(store, f"allow={OUTSIDE}:443,[{OUTSIDE6}]:80/tcp") as box:
        assert box.ask("tcp", OUTSIDE, 443) == box.ask("udp", OUTSIDE, 443) == "443"
        assert box.ask("tcp", OUTSIDE6, 80) == "80"
        begun = time.monotonic()
        # whoever connects hears at once that he may not
        for address, port in ((OUTSIDE, 80), (OTHER, 443), (OUTSIDE6, 443), (OTHER6, 80)):
            assert box.ask("tcp", address, port) == "refused"
        assert time.monotonic() - begun < 0.9 * PATIENCE
        assert box.ask("udp", OTHER, 443) == box.ask("udp", OUTSIDE6, 80) == "nothing"
        # what may be reached may be asked whether it is there
        assert box.ping(OUTSIDE)
        assert box.ping(OUTSIDE6)
        assert not box.ping(OTHER)
        assert not box.ping(OTHER6)
        assert box.denied().keys() == {
            f"tcp {OUTSIDE} 80", f"tcp {OTHER} 443", f"udp {OTHER} 443", f"tcp {OUTSIDE6} 443", f"tcp {OTHER6} 80",
            f"udp {OUTSIDE6} 80", f"icmp {OTHER} 0", f"icmp {OTHER6} 0",
        }  # fmt: skip
    assert tables() == []


def test_where_the_kernel_cannot_refuse_what_it_denies_the_attendant_does(place: Site, store: Minirun) -> None:
    with unrejected(store), limited(store, f"allow={OUTSIDE}:443") as box:
        assert "reject" not in nft("list", "table", "netdev", box.table)
        assert box.ask("tcp", OUTSIDE, 443) == "443"
        begun = time.monotonic()
        for address in (OUTSIDE, OTHER, OUTSIDE6, OTHER6):
            assert box.ask("tcp", address, 80) == "refused"
        with inside(box.pid):
            assert ask("udp", OTHER, 80) == "[Errno 113] No route to host"
            assert ask("udp", OTHER6, 80) == "[Errno 13] Permission denied"
        assert time.monotonic() - begun < 0.9 * PATIENCE
        kept.until(lambda: len(box.events()) == 6)


def test_a_container_without_the_flag_reaches_all_and_has_no_rules(place: Site, peer: Container) -> None:
    assert peer.ask("tcp", OTHER, 80) == "80"
    assert tables() == []
    assert "Egress" not in json.loads(peer.store("inspect", "peer", check=True).stdout)[0]["NetworkSettings"]


def test_none_allows_nothing(place: Site, store: Minirun, peer: Container) -> None:
    with limited(store, "none") as box:
        for address in (OUTSIDE, OUTSIDE6, HOST, HOST6, peer.address, peer.address6, box.gateway):
            assert box.ask("tcp", address, 80) == "refused"
        assert store("inspect", "-f", "{{.HostConfig.NetworkEgress}}", "limited", check=True).stdout == "[]\n"


def test_every_element_of_a_list_counts(place: Site, store: Minirun) -> None:
    allowed = "allow=2001:db8::2/127,192.0.2.0/30:442-443/tcp"
    with limited(store, allowed, "--network-egress", f"allow={OTHER}/32:1-80") as box:
        reached = [
            (address, protocol, port)
            for address in (OUTSIDE, OTHER, OUTSIDE6, OTHER6)
            for protocol, port in (("tcp", 80), ("tcp", 443), ("udp", 443))
            if (address, protocol) != (OTHER6, "udp")  # who is asked there answers by another address
            and box.ask(protocol, address, port, 0.3) == str(port)
        ]
    assert reached == [
        (OUTSIDE, "tcp", 443), (OTHER, "tcp", 80), (OTHER, "tcp", 443), (OUTSIDE6, "tcp", 80), (OUTSIDE6, "tcp", 443),
        (OUTSIDE6, "udp", 443), (OTHER6, "tcp", 80), (OTHER6, "tcp", 443),
    ]  # fmt: skip


def test_a_name_stands_for_what_the_resolver_told_and_others_are_not_asked_for(place: Site, store: Minirun) -> None:
    told = (
        f"good.example={OUTSIDE}",
        f"good.example={OUTSIDE6}/5",
        f"a.b.star.example={OTHER}/7200",
        f"bad.example={OTHER}",
    )
    allowed = "allow=good.example:443,*.star.example:80"
    with names(place, *told) as server, limited(store, allowed, "--dns", OUTSIDE, network="bridge") as box:
        assert box.ask("tcp", OUTSIDE, 443) == "refused"
        assert box.look_up("Good.Example") == [OUTSIDE, OUTSIDE6]
        assert box.ask("tcp", OUTSIDE, 443) == box.ask("udp", OUTSIDE6, 443) == "443"
        assert box.ask("tcp", OUTSIDE, 80) == "refused"
        assert box.look_up("a.b.star.example") == [OTHER]
        assert box.ask("tcp", OTHER, 80) == "80"
        held = nft("list", "table", "netdev", box.table)
        # as long as the answer says, and a minute at least
        assert f"{OUTSIDE} timeout 1m17s expires 1m" in held
        assert f"{OUTSIDE6} timeout 1m expires" in held
        assert f"{OTHER} timeout 2h expires 1h59m" in held
        unasked = ("bad.example", "star.example", "good.example.bad.example", "secret.good.example")
        for name in unasked:
            assert box.look_up(name) == box.look_up(name, "TXT") == ["NXDOMAIN"]
        # what an address is called may be asked of those that may be reached
        box.look_up("2.2.0.192.in-addr.arpa", "PTR")
        box.look_up("99.2.0.192.in-addr.arpa", "PTR")
        wanted = {f"dns {name} 53" for name in (*unasked, "99.2.0.192.in-addr.arpa")}
        kept.until(lambda: {key for key in box.denied() if key.startswith("dns")} == wanted)
        assert asked(server) == {
            "good.example A", "good.example AAAA", "a.b.star.example A", "a.b.star.example AAAA",
            "2.2.0.192.in-addr.arpa PTR",
        }  # fmt: skip


def test_programs_in_the_container_need_to_know_nothing_of_it(place: Site, store: Minirun) -> None:
    command = "nc -w 1 good.example 80; nc -w 1 bad.example 80; nc -w 1 good.example 443"
    with names(place, f"good.example={OUTSIDE}", f"bad.example={OUTSIDE}"):
        result = store(
            "run", "--rm", "--network", "bridge", "--dns", OUTSIDE, "--network-egress", "allow=good.example:80",
            "busybox", "sh", "-c", command,
        )  # fmt: skip
    assert result.stdout.startswith("80 from")
    assert "bad address 'bad.example'" in result.stderr
    assert result.stderr.endswith("Connection refused\n")


def test_other_name_servers_are_not_reached(place: Site, store: Minirun) -> None:
    with names(place, f"good.example={OTHER}") as server, limited(store, "allow=good.example", "--dns", OUTSIDE) as box:
        assert store("exec", "limited", "nslookup", "good.example", OUTSIDE).returncode != 0
        assert box.ask("tcp", OUTSIDE, 53) == box.ask("tcp", HOST, 53) == "refused"
        assert asked(server) == set()


def test_what_a_name_leads_to_inside_is_not_let_in_by_it(place: Site, store: Minirun, peer: Container) -> None:
    metadata = "169.254.169.254"
    inside = (metadata, "127.0.0.1", "fe80::1", "::ffff:10.0.0.1", peer.gateway, peer.address, peer.address6)
    told = [f"evil.example={address}" for address in (*inside, OUTSIDE)]
    with names(place, *told), limited(store, "allow=evil.example", "--dns", OUTSIDE) as box:
        assert len(box.look_up("evil.example")) == 8
        assert box.ask("tcp", OUTSIDE, 80) == "80"
        for address in (metadata, peer.gateway, peer.address, peer.address6):
            assert box.ask("tcp", address, 80) == "refused"
        kept.until(lambda: [one for one in box.events() if one["destination"] == metadata])
        one = next(one for one in box.events() if one["destination"] == metadata)
        assert [one[key] for key in ("host", "port", "protocol", "count")] == ["evil.example", "80", "tcp", "1"]


def test_a_connection_outlives_the_answer_that_allowed_it_and_a_new_one_does_not(place: Site, store: Minirun) -> None:
    with (
        names(place, f"good.example={OUTSIDE}"),
        script(place, "-c", _REPEATER),
        limited(store, "allow=good.example:7", "--dns", OUTSIDE) as box,
    ):
        box.look_up("good.example")
        with script(place, "-c", _CALLER, OUTSIDE, pid=box.pid) as caller:
            assert caller.stdin
            assert caller.stdout
            # the end of its time, a minute earlier
            nft("delete", "element", "netdev", box.table, "names0_4", f"{{ {OUTSIDE} }}")
            for word in ("one\n", "two\n"):
                caller.stdin.write(word)
                caller.stdin.flush()
                assert caller.stdout.readline() == word
            assert box.ask("tcp", OUTSIDE, 7) == "refused"
            # while the kernel makes a hash table smaller, a list may lack something
            kept.until(lambda: "expires 4d23h" in nft("list", "set", "netdev", box.table, "flows4"))
        kept.until(lambda: OUTSIDE in nft("list", "set", "netdev", box.table, "closing4"))
        assert OUTSIDE not in nft("list", "set", "netdev", box.table, "flows4")


def test_neighbours_are_reached_by_a_name_that_they_have(place: Site, store: Minirun, peer: Container) -> None:
    with limited(store, "allow=db:80,second.web") as box:
        assert box.ask("tcp", peer.address, 80) == "refused"
        with container(store, "db") as db, serving("tcp:80", "tcp:81", pid=db.pid):
            assert box.look_up("db") == sorted([db.address, db.address6])
            assert box.ask("tcp", db.address, 80) == box.ask("tcp", db.address6, 80) == "80"
            assert box.ask("tcp", db.address, 81) == "refused"
            store("rename", "db", "former", check=True)
            assert box.look_up("db") == ["SERVFAIL"]  # it may be asked for elsewhere, and there is no server
            kept.until(lambda: box.ask("tcp", db.address, 80) == "refused")
        with (
            container(store, "db", "--ip", db.address, "--network-alias", "second") as db,
            serving("tcp:81", pid=db.pid),
        ):
            assert box.look_up("second.web") == sorted([db.address, db.address6])
            assert box.ask("tcp", db.address, 81) == "81"
        with container(store, "heir", "--ip", db.address) as heir, serving("tcp:81", pid=heir.pid):
            assert box.look_up("heir") == sorted([heir.address, heir.address6])
            assert box.ask("tcp", heir.address, 81) == "refused"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_who_calls_is_answered(place: Site, store: Minirun, peer: Container, protocol: str) -> None:
    with limited(store, "none", "-p", f"8080:99/{protocol}") as box, serving(f"{protocol}:99", pid=box.pid):
        assert place.ask(protocol, HOST, 8080) == f"99 from {OUTSIDE}"
        assert place.ask(protocol, HOST6, 8080) == f"99 from {OUTSIDE6}"
        assert peer.ask(protocol, box.address, 99) == peer.ask(protocol, box.address6, 99) == "99"
        assert box.ask(protocol, peer.address, 80, 0.2) != "80"
        assert box.ask(protocol, peer.address6, 80, 0.2) != "80"
        assert peer.ping(box.address)
        assert peer.ping(box.address6)
        assert not box.ping(peer.address)


def test_the_host_is_reached_where_the_list_has_it(place: Site, store: Minirun) -> None:
    hosts = ("--add-host", f"box.example:{HOST}", "--add-host", "gate.example:host-gateway")
    with serving("tcp:80", "tcp:81"), limited(store, "allow=host-gateway:80,*.example:81", *hosts) as box:
        assert box.ask("tcp", box.gateway, 80) == box.ask("tcp", box.network["IPv6Gateway"], 80) == "80"
        assert box.ask("tcp", HOST, 80) == "refused"
        # names of /etc/hosts are nobody's to answer
        assert box.ask("tcp", HOST, 81) == box.ask("tcp", box.gateway, 81) == "81"
        assert box.ask("tcp", HOST6, 81) == "refused"


def test_a_published_port_of_a_neighbour_or_its_own_is_no_way_round(
    place: Site, store: Minirun, peer: Container
) -> None:
    with (
        container(store, "open", "-p", "8080:80") as other,
        serving("tcp:80", pid=other.pid),
        limited(store, f"allow={OUTSIDE}", "-p", "8081:80") as box,
        serving("tcp:80", pid=box.pid),
    ):
        for address in (HOST, HOST6, box.gateway):
            assert box.ask("tcp", address, 8080) == box.ask("tcp", address, 8081) == "refused"
            assert peer.ask("tcp", address, 8080) == "80"


def test_many_that_are_denied_are_few_events_and_a_bounded_list(place: Site, store: Minirun) -> None:
    with limited(store, "none") as box:
        box.ask("tcp", OTHER, 80)
        kept.until(box.events, "nothing is told", 1.0 * PATIENCE)
        run_in(box.pid, sys.executable, "-c", _FLOOD)
        told = json.loads(store("inspect", "-f", "{{json .NetworkSettings.Egress}}", "limited", check=True).stdout)
        assert len(told["Denied"]) == 256
        assert sum(one["Count"] for one in told["Denied"]) + told["DeniedElsewhere"] == 5001
        kept.until(lambda: any(one.get("destinations") for one in box.events()))
        for _ in range(3):
            box.ask("tcp", OTHER, 80)
        time.sleep(1.1)
        first = box.events()[0]
        assert [first[key] for key in ("destination", "port", "protocol", "count")] == [OTHER, "80", "tcp", "1"]
        # the same again is told a minute later, with how often it was; or at the end
        assert [one["count"] for one in box.events() if one["destination"] == OTHER] == ["1"]
    told_now = [one["count"] for one in box.events() if one["destination"] == OTHER]
    assert told_now == ["1", "3"]
    assert len(box.events()) < 60
    assert sum(int(one["count"]) for one in box.events()) > 256


def test_what_was_denied_is_known_until_the_container_starts_again(place: Site, store: Minirun) -> None:
    command = f"nc -w 1 {OTHER} 80; nslookup -type=A gone.example; true"
    store("run", "--name", "job", "--network", "web", "--network-egress", "none", "busybox", "sh", "-c", command)
    try:
        box = Container(store, "job")
        assert box.denied() == {f"tcp {OTHER} 80": 1, "dns gone.example 53": 1}
        assert {one["destination"]: one["count"] for one in box.events()} == {OTHER: "1", "gone.example": "1"}
        store("start", "job", check=True)
        store("wait", "job", check=True)
        assert box.denied()[f"tcp {OTHER} 80"] == 1
        assert tables() == []
    finally:
        store("rm", "-f", "job", check=True)


def test_events_of_denials_are_found_by_container_and_by_network(place: Site, store: Minirun) -> None:
    with limited(store, "none") as box:
        box.ask("tcp", OTHER, 80)
        kept.until(box.events)
        for word in (f"container={box.id[:12]}", "container=limited", "network=web"):
            told = store(
                "events", "--since", "1h", "--until", "0s", "--filter", word, "--filter", "event=deny", check=True
            )
            assert f"container={box.id}, containerName=limited, count=1, destination={OTHER}" in told.stdout, word
        told = store("events", "--since", "1h", "--until", "0s", "--filter", "container=peer", check=True)
        assert box.id not in told.stdout


def test_rules_that_somebody_removes_are_made_again_at_once_with_all_that_they_held(
    place: Site, store: Minirun, peer: Container
) -> None:
    with names(place, f"good.example={OUTSIDE}"), limited(store, "allow=good.example:80,peer", "--dns", OUTSIDE) as box:
        box.look_up("good.example")
        assert OUTSIDE in nft("list", "set", "netdev", box.table, "names0_4")
        nft("delete", "table", "netdev", box.table)
        kept.until(lambda: tables() == [box.table], "they are not made again", 2.0 * PATIENCE)
        # a moment later
        kept.until(lambda: box.ask("tcp", OUTSIDE, 80) == box.ask("tcp", peer.address, 80) == "80", "", 2.0 * PATIENCE)
        assert box.ask("tcp", OTHER, 80) == "refused"


def test_who_shares_the_network_is_held_as_well_and_goes_nowhere_when_its_owner_has_ended(
    place: Site, store: Minirun
) -> None:
    with limited(store, f"allow={OUTSIDE}:80") as box, container(store, "guest", network="container:limited"):
        guest = kept.keeper(store, "guest").pid
        box.pid = guest
        assert box.ask("tcp", OUTSIDE, 80) == "80"
        assert box.ask("tcp", OTHER, 80) == "refused"
        store("stop", "-t", "0", "limited", check=True)
        assert tables() == []
        assert "eth0" not in run_in(guest, "ip", "link")
        assert box.ask("tcp", OUTSIDE, 80) == "nothing"


def test_a_network_that_it_is_connected_to_later_is_no_way_out(place: Site, store: Minirun) -> None:
    store("network", "create", "back", check=True)
    try:
        with (
            limited(store, f"allow={OUTSIDE}:80,db") as box,
            container(store, "db", network="back") as db,
            serving("tcp:80", pid=db.pid),
            serving("tcp:80"),
        ):
            store("network", "connect", "back", "limited", check=True)
            kept.until(lambda: box.ask("tcp", db.address, 80) == "80")
            assert box.ask("tcp", db.gateway, 80) == "refused"
            run_in(box.pid, "ip", "route", "replace", "default", "via", db.gateway)
            assert box.ask("tcp", OUTSIDE, 80) == "80"
            assert box.ask("tcp", OTHER, 80) == "refused"
            ends = cables(store, box)
            assert len(ends) == 2
            store("network", "disconnect", "back", "limited", check=True)
            (left,) = cables(store, box)
            (gone,) = {*ends} - {left}
            assert gone not in nft("list", "table", "netdev", box.table)
            assert left in nft("list", "table", "netdev", box.table)
            assert f"tcp {db.gateway} 80" in box.denied()
            nft("delete", "table", "netdev", box.table)
            kept.until(lambda: tables() == [box.table])  # also without the interface that is gone
            run_in(box.pid, "ip", "route", "replace", "default", "via", box.gateway)
            assert box.ask("tcp", OTHER, 80) == "refused"
            # of none nothing is left but what was denied, and the next one is guarded as the first
            store("network", "disconnect", "web", "limited", check=True)
            assert cables(store, box) == []
            assert "hook" not in nft("list", "table", "netdev", box.table)
            assert store("system", "check", "--quick", check=True).stderr == ""
            store("network", "connect", "back", "limited", check=True)
            assert (box.ask("tcp", db.gateway, 80), box.ask("tcp", OUTSIDE, 80)) == ("refused", "80")
            assert f"tcp {OTHER} 80" in box.denied()
    finally:
        store("network", "rm", "back", check=True)


def cables(store: Minirun, box: Container) -> list[str]:
    """The interfaces on the host by which it is held, as they are written down."""
    return sorted(path.name for path in (store.runtime / "egress" / box.id).glob("mr*"))


def test_its_questions_go_past_whoever_publishes_the_port_of_names(place: Site, store: Minirun) -> None:
    with (
        container(store, "server", "-p", "53:53/udp", network="bridge") as server,
        serving("udp:53", pid=server.pid),
        container(store, "free", network="bridge") as free,
        limited(store, f"allow={OUTSIDE}", network="bridge") as box,
    ):
        # as with Docker, others reach it at their gateway as they do at the host's other addresses
        assert free.ask("udp", free.gateway, 53) == "53"
        assert box.ask("udp", box.gateway, 53) == "nothing"
        assert box.look_up("telemetry.example") == ["NXDOMAIN"]
    assert box.address not in nft("list", "ruleset")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--network", "host", "--network-egress", "allow=a"), "`--network bridge` gives it one that is"),
        (("--network", "none", "--network-egress", "allow=a"), "it reaches nothing as it is"),
        (("--network-egress", "allow=a"), "it reaches nothing as it is"),  # MINIRUN_NETWORK says none
        (("--network", "container:peer", "--network-egress", "allow=a"), "give that container the list"),
        (("--network", "web", "--network-egress", "pypi.org"), "--network-egress allow=pypi.org"),
        (("--network", "web", "--network-egress", "allow=https://pypi.org/"), "allow=pypi.org:443"),
        (("--network", "web", "--network-egress", "allow=10.0.0.1/8"), "10.0.0.0/8"),
        (
            ("--network", "web", "--network-egress", "allow=none", "--network-egress", "allow=a"),
            "leave one of them out",
        ),
    ],
)
def test_what_cannot_be_is_a_sentence_and_no_trace(
    place: Site, store: Minirun, flags: tuple[str, ...], told: str
) -> None:
    before = sorted(store.root.rglob("*"))
    result = store("create", "--name", "limited", *flags, "busybox", "true")
    assert result.returncode == 125
    assert result.stderr.startswith("minirun: cannot use --network-egress")
    assert told in result.stderr
    assert sorted(store.root.rglob("*")) == before


def test_networks_past_the_host_are_refused_with_it(place: Site, store: Minirun) -> None:
    for words in ("add parent0 type veth peer name parent1", "set parent1 up", "set parent0 up"):
        link(f"link {words}")
    try:
        store("network", "create", "-d", "macvlan", "-o", "parent=parent0", "past", check=True)
        result = store("create", "--network", "past", "--network-egress", "allow=a", "busybox", "true")
        assert result.returncode == 125
        assert "does not come by the host" in result.stderr
        with limited(store, "none"):
            result = store("network", "connect", "past", "limited")
            assert result.returncode != 0
            assert "does not come by the host" in result.stderr
    finally:
        store("network", "rm", "past")
        link("link delete parent0")


def test_who_is_started_again_is_held_again(place: Site, store: Minirun) -> None:
    command = f"sleep 0.2; nc -w 1 {OTHER} 80; exit 1"
    told = store(
        "run",
        "-d",
        "--restart",
        "on-failure:1",
        "--network",
        "web",
        "--network-egress",
        "none",
        "busybox",
        "sh",
        "-c",
        command,
    ).stdout.strip()
    try:
        form = "{{.RestartCount}} {{.State.Status}}"
        kept.until(lambda: store("inspect", "-f", form, told, check=True).stdout == "1 exited\n")
        found = json.loads((store.root / "containers" / told / "denials.json").read_text())["list"]
        assert [one[0] for one in found] == [OTHER]
        events = (store.runtime / "events").read_text().splitlines()
        assert sum('"deny"' in line and told in line for line in events) == 2
        assert tables() == []
    finally:
        store("rm", "-f", told, check=True)


def test_where_the_kernel_has_not_got_it_the_container_is_refused(place: Site, store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "nft").write_text("#!/bin/sh\necho 'Error: Operation not supported' >&2; exit 1\n")
    (tmp_path / "nft").chmod(0o755)
    without = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = store("run", "--rm", "--network", "web", "--network-egress", "none", "busybox", "true", env=without)
    assert result.returncode == 125
    assert "Operation not supported" in result.stderr
    assert "Linux 5.16" in result.stderr
    assert [*(store.runtime / "egress").iterdir()] == []
    with limited(store, "none") as box:
        before = links()
        result = store("network", "connect", "bridge", "limited", env=without)
        assert result.returncode == 125
        assert "Linux 5.16" in result.stderr
        store("ps", check=True)  # and whatever is left of that
        kept.until(lambda: links() == before)
        assert [*json.loads(store("inspect", "limited").stdout)[0]["NetworkSettings"]["Networks"]] == ["web"]
        assert box.ask("tcp", OTHER, 80) == "refused"


def links() -> list[str]:
    """The cables of containers that are there."""
    return sorted(name for _, name in socket.if_nameindex() if name.startswith("mr"))


def test_a_start_that_fails_leaves_nothing(place: Site, store: Minirun) -> None:
    result = store("run", "--network", "web", "--rm", "--network-egress", "none", "busybox", "not-there")
    assert result.returncode == 127
    assert tables() == []
    assert [*(store.runtime / "egress").iterdir()] == []
