"""Containers on networks of their own find each other by name, and others through the host: by real packets."""

from __future__ import annotations

import json
import os
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import dns.message
import pytest

from tests import kept, nameserver
from tests.command import PATIENCE, Minirun
from tests.nameserver import ADDRESS, ADDRESS6
from tests.outside import HOST, OUTSIDE, Site, ask_in, inside, link, run_in, serving, site

NEXT = "192.0.2.3"  # another server, outside
NOBODY = "192.0.2.99"


@dataclass(frozen=True, slots=True)
class Resolving(Minirun):
    """minirun on a host that has a resolv.conf of the tests' own.

    Attributes:
        servers: that file.
    """

    servers: Path

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        """Return the words to execute."""
        mounted = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", mounted, str(self.servers), *Minirun.command(self, arguments)]


@dataclass(frozen=True, slots=True)
class Place:
    """A host with networks, and name servers outside of it.

    Attributes:
        site: the host.
        minirun: the command on it.
        asked: what the servers were asked is written there.
    """

    site: Site
    minirun: Resolving
    asked: Path

    def been_asked(self) -> list[str]:
        """What the servers were asked since the last call, ``udp v4.example A`` each."""
        lines = self.asked.read_text().splitlines()
        self.asked.write_text("")
        return lines

    def ask_whom(self, *servers: str) -> None:
        """Have the host ask these servers."""
        self.minirun.servers.write_text("".join(f"nameserver {server}\n" for server in servers))


@contextmanager
def answering(address: str, asked: Path, *before: str) -> Iterator[None]:
    """Have a name server of ours answer at an address, in a place that words before its command lead to."""
    words = [*before, sys.executable, str(Path(nameserver.__file__).resolve()), address, str(asked)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


@pytest.fixture(scope="module")
def place(root: None, store: Minirun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A host of these tests' own, on which there are networks with names; the containers one and two are on web."""
    folder = tmp_path_factory.mktemp("servers")
    asked = folder / "asked"
    asked.touch()
    (folder / "resolv.conf").write_text(f"nameserver {OUTSIDE}\n")
    minirun = Resolving(store.root, store.runtime, folder / "resolv.conf")
    with site("minirun-names") as found, ExitStack() as undo:
        link(f"-n {found.outside} address add {NEXT}/24 dev eth0")
        for address in (OUTSIDE, NEXT):
            undo.enter_context(answering(address, asked, "ip", "netns", "exec", found.outside))
        minirun("network", "create", "--ipv6", "web", check=True)
        minirun("network", "create", "back", check=True)
        minirun("network", "create", "--internal", "shut", check=True)
        # the rules of published ports are made with the first one
        minirun("run", "--rm", "-p", "127.0.0.1::80", "--network", "back", "busybox", "true", check=True)
        made = Place(found, minirun, asked)
        for name in ("one", "two"):
            start(made, name, "--network", "web", "--network-alias", "both")
        yield made
        kept.clear(minirun)
        unattended(made)


@pytest.fixture(autouse=True)
def as_before(request: pytest.FixtureRequest) -> None:
    """Have nothing be asked yet."""
    if "place" in request.fixturenames:
        request.getfixturevalue("place").been_asked()


class Box:
    """A container that runs.

    Attributes:
        pid: of its first process.
        own: its IPv4 address on its first network.
        own6: its IPv6 address there.
        gateway: whom it asks.
        id: of it.
    """

    def __init__(self, place: Place, name: str) -> None:
        (found,) = json.loads(place.minirun("inspect", name, check=True).stdout)
        network = next(iter(found["NetworkSettings"]["Networks"].values()))
        self.id = found["Id"]
        self.pid = found["State"]["Pid"]
        self.own, self.own6, self.gateway = network["IPAddress"], network["GlobalIPv6Address"], network["Gateway"]

    def dig(self, *words: str) -> list[str]:
        """What dig prints in there, a line each."""
        command = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "dig", f"@{self.gateway}", "+tries=1", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    def find(self, *words: str) -> list[str]:
        """The values alone."""
        return self.dig("+short", f"+time={5 * PATIENCE}", *words)

    def status(self, *words: str) -> str:
        """How it went: NOERROR, NXDOMAIN …; empty without an answer."""
        lines = self.dig(f"+time={6 * PATIENCE}", *words)
        return next((line.partition("status: ")[2].partition(",")[0] for line in lines if "status: " in line), "")


def start(place: Place, name: str, *flags: str) -> Box:
    """A container in the background that does nothing."""
    place.minirun("run", "-d", "--name", name, *flags, "busybox", "sleep", "1000", check=True)
    return Box(place, name)


@contextmanager
def box(place: Place, name: str, *flags: str) -> Iterator[Box]:
    """The same, until the block ends."""
    try:
        yield start(place, name, *flags)
    finally:
        place.minirun("rm", "-f", name, check=True)


def attendant(place: Place) -> int:
    """The pid of the attendant; 0 where there is none, or it has not said so yet."""
    try:
        words = (place.minirun.runtime / "attendant").read_text().split()
    except FileNotFoundError:
        return 0
    return int(words[0]) if words and kept.status(int(words[0])) not in kept.GONE else 0


def unattended(place: Place) -> None:
    """Wait until there is none."""
    kept.until(lambda: not (place.minirun.runtime / "attendant").exists(), "the attendant does not end")


def complaints(place: Place) -> str:
    """What attendants said."""
    return (place.minirun.runtime / "attendant.log").read_text()


def test_containers_find_each_other_by_every_name_that_they_have(place: Place) -> None:
    two = Box(place, "two")
    with box(place, "Db.prod", "--network", "web", "--network-alias", "store", "-h", "machine") as db:
        names = ("Db.prod", "db.PROD.", "store", "STORE.", db.id[:12], "machine", "db.prod.web", "store.web.")
        assert [two.find(name) for name in names] == [[db.own]] * len(names)
        assert [two.find(name, "AAAA") for name in names] == [[db.own6]] * len(names)
        assert two.find("-x", db.own) == two.find("-x", db.own6) == ["Db.prod.web."]
        assert db.find("two", "+tcp") == [two.own]
    assert place.been_asked() == []


def test_programs_in_containers_find_others_without_being_told_where_to_ask(
    place: Place, userland: Minirun, ubuntu_layers: Path
) -> None:
    one = Box(place, "one")
    script = "cat /etc/resolv.conf; nslookup one | tail -n +3; ping -c 1 -W 2 one | grep transmitted"
    printed = place.minirun("run", "--rm", "--network", "web", "busybox", "sh", "-c", script, check=True).stdout
    assert printed.startswith(f"nameserver {one.gateway}\noptions ndots:0\n")
    assert f"Address: {one.own}\n" in printed
    assert f"Address: {one.own6}\n" in printed
    assert "1 packets received" in printed
    # by libc
    minirun = Resolving(userland.root, userland.runtime, place.minirun.servers)
    minirun("network", "create", "--ipv6", "land", check=True)
    try:
        script = "getent ahostsv4 me; getent ahostsv6 me.land; getent hosts v4.example; getent hosts $(hostname -i)"
        command = (ubuntu_layers, "sh", "-c", script)
        printed = minirun("run", "--rm", "--network", "land", "--name", "me", "-h", "x", *command, check=True).stdout
        lines = [line.split() for line in printed.splitlines()]
        assert {len(lines[0][0].split(".")), lines[0][2]} == {4, "me"}
        assert [line for line in lines if line[0].startswith("fd") and line[2:] in (["me.land"], [])]
        assert [ADDRESS6, "v4.example"] in lines
    finally:
        minirun("network", "rm", "land", check=True)
    assert "me" not in " ".join(place.been_asked()).split()


def test_what_a_name_has_not_got_is_no_secret_that_others_are_told(place: Place) -> None:
    one = Box(place, "one")
    with box(place, "four", "--network", "back", "--network", "web") as four:
        lines = four.dig("four", "MX")
        assert any("status: NOERROR" in line and "ANSWER" not in line for line in lines)
        assert one.status("four.back") == "NXDOMAIN"  # it is on no such network, and so asks
        assert place.been_asked() == ["udp four.back A"]
        with box(place, "five", "--network", "back") as five:
            assert five.status("four", "AAAA") == "NOERROR"
            assert five.find("four", "AAAA") == []
            assert five.find("four") == [four.own]
            assert five.status("-x", "10.99.99.99") == "NXDOMAIN"
            assert five.find("one") == []
            assert four.find("one") == [one.own]
    assert [line for line in place.been_asked() if "arpa" not in line] == ["udp one A"]


def test_all_who_share_a_name_are_told_and_each_is_the_first_in_turn(place: Place) -> None:
    one, two = Box(place, "one"), Box(place, "two")
    found = [one.find("both") for _ in range(6)]
    assert all(sorted(answer) == sorted([one.own, two.own]) for answer in found)
    assert {answer[0] for answer in found} == {one.own, two.own}


def test_no_answer_is_older_than_the_command_that_changed_it(place: Place) -> None:
    minirun, one = place.minirun, Box(place, "one")
    for turn in range(2):
        with box(place, "new", "--network", "web", "--network-alias", "other") as new:
            assert one.find("new") == one.find("other") == [new.own]
            minirun("rename", "new", "newer", check=True)
            try:
                assert (one.find("newer"), one.find("new")) == ([new.own], [])
            finally:
                minirun("rename", "newer", "new", check=True)
            if turn % 2:
                minirun("stop", "-t", "0", "new", check=True)
                assert one.find("new") == one.find("other") == []
                minirun("start", "new", check=True)
                assert one.find("new") == [Box(place, "new").own]
        assert one.find("new") == one.find("other") == []


def test_a_network_that_comes_or_goes_brings_and_takes_its_names(place: Place) -> None:
    minirun = place.minirun
    with box(place, "four", "--network", "back") as four, box(place, "five", "--network", "web") as five:
        assert five.find("four") == []
        minirun("network", "connect", "--alias", "quatre", "web", "four", check=True)
        assert len(five.find("four")) == 1
        assert five.find("four") == five.find("quatre") != [four.own]
        assert four.find("five") == [five.own]
        assert four.find("one.web") == [Box(place, "one").own]
        minirun("network", "disconnect", "web", "four", check=True)
        assert five.find("four") == five.find("quatre") == []
        assert four.find("five") == []


def test_what_is_not_here_is_asked_elsewhere_as_it_was_asked(place: Place) -> None:
    one = Box(place, "one")
    assert one.find("v4.example") == [ADDRESS]
    assert one.find("v4.example", "AAAA") == [ADDRESS6]
    assert one.find("alias.example") == ["v4.example.", ADDRESS]
    assert one.status("nosuch.example") == "NXDOMAIN"
    wanted = ("v4.example A", "v4.example AAAA", "alias.example A", "nosuch.example A")
    assert place.been_asked() == [f"udp {name}" for name in wanted]
    assert one.find("flags.example", "TXT", "+bufsize=1400", "+nsid", "+nocookie") == ['"edns0-1400-1"']
    assert one.find("flags.example", "TXT", "+noedns") == ['"edns-1-0-0"']
    # what is too long for a datagram is asked for again, by TCP
    place.been_asked()
    assert len(one.find("big.example", "TXT")[0]) > 2000
    assert place.been_asked() == ["udp big.example TXT", "tcp big.example TXT"]
    assert one.find("v4.example", "+tcp") == [ADDRESS]
    assert place.been_asked() == ["tcp v4.example A"]


def test_answers_of_somebody_who_guesses_are_not_believed(place: Place) -> None:
    assert Box(place, "one").find("forged.example") == [ADDRESS]


def test_it_asks_whom_the_host_asks_at_that_moment_and_the_next_if_one_does_not_answer(place: Place) -> None:
    one = Box(place, "one")
    try:
        assert one.find("me.example", "TXT") == [f'"{OUTSIDE}"']
        place.ask_whom(NEXT, OUTSIDE)
        assert one.find("me.example", "TXT") == [f'"{NEXT}"']
        place.ask_whom(HOST, NOBODY, NEXT)  # nobody listens at the first, nobody is at the second
        assert one.find("me.example", "TXT") == one.find("me.example", "TXT", "+tcp") == [f'"{NEXT}"']
        began = time.monotonic()
        assert one.find("me.example", "TXT") == [f'"{NEXT}"']
        assert time.monotonic() - began < PATIENCE  # who was silent is not waited for each time
        with answering("127.0.0.53", place.asked):
            place.ask_whom("127.0.0.53")  # as with systemd-resolved
            assert one.find("me.example", "TXT") == ['"127.0.0.53"']
        for servers in ((), ("127.0.0.53",), ("nonsense",)):
            place.ask_whom(*servers)
            assert one.status("me.example", "TXT") == "SERVFAIL"
        place.ask_whom(OUTSIDE)
        assert one.status("broken.example") == "SERVFAIL"
        assert one.status("refused.example") == "REFUSED"
        assert one.find("one") == [one.own]
    finally:
        place.ask_whom(OUTSIDE)


def test_dns_names_whom_it_asks_for_one_container_alone(place: Place) -> None:
    flags = ("--dns", NEXT, "--dns-search", "example", "--dns-option", "ndots:2")
    with box(place, "four", "--network", "web", *flags) as four:
        assert four.find("me.example", "TXT") == [f'"{NEXT}"']
        assert Box(place, "one").find("me.example", "TXT") == [f'"{OUTSIDE}"']
        assert four.find("one") == [Box(place, "one").own]
        said = place.minirun("exec", "four", "cat", "/etc/resolv.conf", check=True).stdout
        assert said == f"nameserver {four.gateway}\nsearch example\noptions ndots:2\n"


def test_on_an_internal_network_names_are_no_way_out(place: Place) -> None:
    with box(place, "four", "--network", "shut") as four:
        # a bridge that is no gateway for others has an address all the same
        four.gateway = four.own.rpartition(".")[0] + ".1"
        assert four.find("four") == [four.own]
        assert four.status("secret.example") == four.status("secret.example", "+tcp") == "NXDOMAIN"
        assert place.been_asked() == []


def test_two_hundred_questions_at_once_are_all_answered(place: Place) -> None:
    one, two = Box(place, "one"), Box(place, "two")
    script = (
        "import socket, sys, dns.message\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)\n"
        "s.connect((sys.argv[1], 53)); s.settimeout(10)\n"
        "names = ['two', 'v4.example'] * 100\n"
        "for n, name in enumerate(names):\n"
        "    s.send(dns.message.make_query(name, 'A', id=n).to_wire())\n"
        "found = {}\n"
        "while len(found) < 200:\n"
        "    m = dns.message.from_wire(s.recv(4096)); found[m.id] = m.answer[0][0].address\n"
        "print(*(found[n] for n in range(200)))\n"
    )
    printed = run_in(one.pid, sys.executable, "-c", script, one.gateway)
    assert printed.split() == [two.own, ADDRESS] * 100


def test_a_container_that_asks_at_once_is_answered_though_it_is_the_first(place: Place) -> None:
    minirun = place.minirun
    minirun("network", "create", "fresh", check=True)
    try:
        for _ in range(3):
            printed = minirun(
                "run", "--rm", "--name", "me", "--network", "fresh", "busybox", "nslookup", "me", check=True
            )
            assert "Name:\tme" in printed.stdout
    finally:
        minirun("network", "rm", "fresh", check=True)


def test_killed_it_comes_back_by_the_supervisor_and_nobody_is_left_without_names(
    minirun: Minirun, busybox_layers: Path
) -> None:
    with site("minirun-names-2") as found:
        mine = Place(found, Resolving(minirun.root, minirun.runtime, Path("/etc/resolv.conf")), Path())
        minirun("import", busybox_layers, "busybox", check=True)
        minirun("network", "create", "web", check=True)
        minirun("network", "create", "back", check=True)
        one, two = (start(mine, name, "--network", "web") for name in ("one", "two"))
        before = attendant(mine)
        kept.kill(before)
        kept.until(lambda: attendant(mine) not in (0, before), "it does not come back")
        kept.until(lambda: one.find("two", "+time=1") == [two.own])
        # with whoever would have started the next one; a command does
        kept.kill(*kept.supervisors(minirun), attendant(mine))
        minirun("ps", check=True)
        kept.until(lambda: attendant(mine), "it does not come back")
        kept.until(lambda: one.find("two", "+time=1") == [two.own])
        # that somebody starts a container on another network at that moment does no harm
        kept.kill(attendant(mine))
        with box(mine, "four", "--network", "back") as four:
            assert four.find("four") == [four.own]
            kept.until(lambda: one.find("two", "+time=1") == [two.own])
        # nor that nobody needs it any more
        kept.kill(attendant(mine))
        kept.clear(minirun)
        unattended(mine)


def _hostile() -> Iterator[bytes]:
    """Datagrams that mean no good."""
    chance = random.Random(4711)
    good = dns.message.make_query("one", "A").to_wire()
    yield b""
    for length in range(len(good)):
        yield good[:length]
    for _ in range(400):
        data = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        yield bytes(data)
    for name in (b"\xc0\x0c", b"\x01a\xc0\x0c", b"\x3f" * 300, b"\xc0" * 500, b"\x01a" * 200 + b"\0"):
        yield struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + name + b"\0\x01\0\x01"
    yield struct.pack("!6H", 7, 0x100, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF) + bytes(4000)
    for _ in range(200):
        yield chance.randbytes(chance.randrange(1, 1500))


def test_hostile_messages_break_nothing_and_are_not_answered_with_more(place: Place) -> None:
    one, two = Box(place, "one"), Box(place, "two")
    before, said = attendant(place), complaints(place)
    with inside(one.pid), ExitStack() as undo:
        speaker = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        speaker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        speaker.connect((one.gateway, 53))
        sent = told = 0
        for data in _hostile():
            speaker.send(data)
            sent += len(data)
            time.sleep(0.0002)
        speaker.settimeout(0.5 * PATIENCE)
        try:
            while True:
                told += len(speaker.recv(65535))
        except TimeoutError:
            pass
        assert told < sent
        # connections that say nothing, too much, or half of it
        silent = [undo.enter_context(socket.create_connection((one.gateway, 53))) for _ in range(60)]
        for data in (b"\xff\xff" + b"x" * 65535, b"\0\0", b"\0\x05abcde", b"\x00", b"\x10\x00" + b"y" * 100):
            with socket.create_connection((one.gateway, 53)) as connection:
                try:
                    connection.sendall(data)
                except ConnectionError:
                    continue
                connection.settimeout(0.05)
                with suppress(TimeoutError, ConnectionError):
                    assert len(connection.recv(65535)) < 100
        assert one.find("two", "+tcp") == [two.own]
        # of so many the oldest made room
        silent[0].settimeout(PATIENCE)
        assert silent[0].recv(1) == b""
        many = b"".join(len(q).to_bytes(2, "big") + q for q in [dns.message.make_query("two", "A").to_wire()] * 50)
        with socket.create_connection((one.gateway, 53)) as connection:
            connection.settimeout(5 * PATIENCE)
            connection.sendall(many)
            with connection.makefile("rb") as file:
                for _ in range(50):
                    reply = dns.message.from_wire(file.read(int.from_bytes(file.read(2), "big")))
                    assert reply.answer[0][0].address == two.own
    assert attendant(place) == before
    assert complaints(place) == said


def test_who_asks_too_much_is_refused_and_others_are_not(place: Place) -> None:
    with box(place, "four", "--network", "web") as four, inside(four.pid), ExitStack() as undo:
        speaker = undo.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        speaker.connect((four.gateway, 53))
        for number in range(400):
            speaker.send(dns.message.make_query(f"silent.{number}.example", "A", id=number).to_wire())
            time.sleep(0.0002)
        speaker.settimeout(2 * PATIENCE)
        assert {dns.message.from_wire(speaker.recv(4096)).rcode() for _ in range(400 - 256)} == {2}
        assert four.find("silent.0.example", "+time=1")[:1] == []
        assert Box(place, "two").find("v4.example") == [ADDRESS]


def test_nobody_else_is_answered(place: Place) -> None:
    one = Box(place, "one")
    command = ["dig", f"@{one.gateway}", "+time=1", "+tries=1", "one"]
    # not the host itself, nobody outside, though he has a way to it, and no neighbour that is no container
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
    link(f"-n {place.site.outside} route add {one.gateway}/32 via {HOST}")
    outside = ["ip", "netns", "exec", place.site.outside, *command]
    assert subprocess.run(outside, capture_output=True, check=False).returncode != 0
    false = f"{one.own.rpartition('.')[0]}.250"
    run_in(one.pid, "ip", "address", "add", f"{false}/16", "dev", "eth0")
    assert one.status("one", "-b", false, "+time=1") == ""
    assert one.find("one", "-b", one.own) == [one.own]


def test_a_name_server_that_a_container_publishes_is_in_nobodys_way(place: Place) -> None:
    one, two = Box(place, "one"), Box(place, "two")
    published = ("-p", "53:53/udp", "-p", "53:53")
    with box(place, "server", "--network", "back", *published) as server, serving("udp:53", "tcp:53", pid=server.pid):
        for protocol in ("udp", "tcp"):
            assert place.site.ask(protocol, HOST, 53).startswith("53 from ")
            assert ask_in(one.pid, protocol, HOST, 53).startswith("53 from ")
        # whoever asks his gateway asks the attendant, on a network that it served before, and on one where it begins
        assert one.find("two") == one.find("two", "+tcp") == [two.own]
        assert server.find("server") == [server.own]
        place.minirun("network", "create", "fresh", check=True)
        try:
            with box(place, "four", "--network", "fresh") as four:
                assert four.find("four") == four.find("four", "+tcp") == [four.own]
        finally:
            place.minirun("network", "rm", "fresh", check=True)
        # the port is held against everybody else, as any that is published
        refused = place.minirun("run", "--rm", "-p", "53:53/udp", "--network", "back", "busybox", "true")
        assert "in use by container server" in refused.stderr
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other, pytest.raises(OSError, match="in use"):
            other.bind(("0.0.0.0", 53))


def test_it_is_small_and_holds_nothing_that_it_was_not_given(place: Place) -> None:
    pid = attendant(place)
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private_kb = sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_"))
    assert private_kb < 15_000
    assert os.getsid(pid) == pid
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            there = str(Path(f"/proc/{pid}/fd/{number}").readlink())
        except FileNotFoundError:
            continue  # it has just closed that: a question was answered, or a look taken
        assert there == "/dev/null" or there.startswith(("socket:", "anon_inode:", str(place.minirun.runtime))), there
    group = Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1]
    assert "/supervision" in group
    assert group.endswith("/attendant")


def test_it_is_there_as_long_as_it_is_needed(minirun: Minirun, busybox_layers: Path) -> None:
    with site("minirun-names-2"):
        mine = Place(Site(""), minirun, Path())  # type: ignore[arg-type]
        run = ("run", "--rm", "--name", "it")
        minirun(*run, "--network", "bridge", busybox_layers, "true", check=True)
        assert not (minirun.runtime / "attendant.gate").exists()
        minirun("network", "create", "web", check=True)
        with ThreadPoolExecutor(8) as pool:
            words = ["run", "--rm", "--network", "web", "-h", "me", str(busybox_layers), "nslookup", "me"]
            done = list(pool.map(lambda _: minirun(*words), range(8)))
        assert [one.stderr for one in done if one.returncode] == []
        unattended(mine)
        assert not (minirun.runtime / "attendant.socket").exists()
        assert (minirun.runtime / "attendant.log").read_text() == ""
        # a terminal that closes, and whatever else ends its starter, does not end it
        minirun("run", "-d", *run[2:], "--network", "web", busybox_layers, "sleep", "1000", check=True)
        kept.until(lambda: attendant(mine))
        pid = attendant(mine)
        os.kill(pid, 1)
        time.sleep(0.5)
        assert attendant(mine) == pid
        minirun("rm", "-f", "it", check=True)
        unattended(mine)
        minirun("network", "rm", "web", check=True)


def test_it_waits_for_the_next_container_and_ends_with_the_network(minirun: Minirun, busybox_layers: Path) -> None:
    with site("minirun-names-2"):
        mine = Place(Site(""), minirun, Path())  # type: ignore[arg-type]
        run = ("run", "--rm", "-h", "me", busybox_layers, "nslookup", "me")
        for network in ("web", "back"):
            minirun("network", "create", network, check=True)
        waiting = {"MINIRUN_NAMES_LINGER_S": "60"}
        minirun(*run[:2], "--network", "web", *run[2:], env=waiting, check=True)
        kept.until(lambda: attendant(mine))
        pid = attendant(mine)
        time.sleep(0.7)  # more than the tests let it wait elsewhere
        assert attendant(mine) == pid
        for network in ("web", "back", "web"):
            minirun(*run[:2], "--network", network, *run[2:], check=True)
            assert attendant(mine) == pid
        # nothing that is there for it is in anybody's way
        assert minirun("system", "check", check=True).stderr == ""
        minirun("gc", check=True)
        minirun("network", "rm", "web", check=True)
        assert attendant(mine) == pid
        minirun("network", "rm", "back", check=True)
        unattended(mine)
        assert (minirun.runtime / "attendant.log").read_text() == ""
        # nor does it wait where all that it knows was taken away
        minirun("network", "create", "web", check=True)
        minirun(*run[:2], "--network", "web", *run[2:], env=waiting, check=True)
        kept.until(lambda: attendant(mine))
        pid = attendant(mine)
        subprocess.run(["rm", "-r", minirun.runtime], check=False)  # it may be just locking something in there
        kept.until(lambda: kept.status(pid) in kept.GONE, "it does not end")
        minirun("network", "rm", "web", check=True)


def test_a_port_that_is_somebody_elses_is_refused_with_who_has_it(minirun: Minirun, busybox_layers: Path) -> None:
    with site("minirun-names-2"):
        minirun("network", "create", "web", check=True)
        with serving("udp:53") as pid:
            refused = minirun("run", "--rm", "--network", "web", busybox_layers, "true")
            assert refused.returncode == 125
            assert f"is in use by python3.11 (pid {pid})" in refused.stderr or f"(pid {pid})" in refused.stderr
            assert minirun("run", "--rm", "--network", "bridge", busybox_layers, "true").returncode == 0
        with serving("tcp:53") as pid:
            refused = minirun("run", "-d", "--network", "web", busybox_layers, "true")
            assert refused.returncode == 125
            assert f"(pid {pid})" in refused.stderr
        assert minirun("ps", "-aq", check=True).stdout == ""
        assert [path for path in minirun.runtime.glob("networks/*/*") if path.is_symlink()] == []
        assert not (minirun.runtime / "attendant").exists()
        assert minirun("run", "--rm", "--network", "web", busybox_layers, "true").returncode == 0
