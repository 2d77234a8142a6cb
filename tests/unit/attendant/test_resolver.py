"""Who finds whom: leases and records in, names out; each change is seen by the next question."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.reversename
import pytest

from minirun.attendant.census import Census
from minirun.attendant.resolver import Resolver
from minirun.container import record as records
from minirun.container import renaming
from minirun.container.record import Record
from minirun.home import Home
from minirun.journal import Operation
from minirun.network import lease, store
from minirun.network.record import Network


class Elsewhere:
    """What would be asked of servers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.reply: bytes | None = b""

    def ask(self, asker: str, question: Any, wanted: Any, done: Any, *, stream: bool) -> None:
        """Answer with `reply`; an empty one means that nobody does."""
        self.asked.append((asker, question.text, wanted))
        if self.reply is None:
            found = dns.message.make_response(dns.message.from_wire(question.data))
            found.answer.append(dns.rrset.from_text(question.name, 33, "IN", "A", "192.0.2.9"))
            self.reply = found.to_wire()
        done(self.reply)


class Scene:
    """A store with networks, and what answers for the containers on them."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.networks: dict[str, Network] = {}
        self.boxes: dict[str, Record] = {}
        self.census = Census(home)
        self.elsewhere = Elsewhere()
        self.resolver = Resolver(self.census, self.elsewhere)  # type: ignore[arg-type]

    def network(self, name: str, number: int, **fields: Any) -> None:
        """Make a network that is on no host, and serve it."""
        made = Network(**{
            "name": name, "id": f"{number:064x}", "created": 1.0, "driver": "bridge", "interface": f"br{number}",
            "gateway": f"10.{number}.0.1", "subnet": f"10.{number}.0.0/16", "ip_range": "",
            "subnet6": f"fd00:{number}::/64", "gateway6": f"fd00:{number}::1", "internal": False, "icc": True,
            "mtu": 1500, "options": {}, "labels": {}, **fields,
        })  # fmt: skip
        self.networks[name] = store.put(self.home, made)
        Path(lease.folder(self.home, made.id)).mkdir(parents=True)
        self.census.begin(made)

    def start(self, name: str, *networks: str, aliases: tuple[str, ...] = (), **options: Any) -> Record:
        """Have a container run on networks."""
        box = Record(
            id=records.new_id(), name=name, created=time.time(), image="i", image_name="i", stack=[], committed=[],
            options={"hostname": f"host-{name}", **options}, remove=False,
        )  # fmt: skip
        Path(self.home.container(box.id)).mkdir()
        records.reserve_name(self.home, name, box.id)
        records.write(self.home, box)
        self.boxes[name] = box
        for number, network in enumerate(networks):
            self.connect(name, network, aliases, f"eth{number}")
        return box

    def connect(self, name: str, network: str, aliases: tuple[str, ...] = (), interface: str = "eth1") -> None:
        """Have it on one more."""
        found = self.networks[network]
        lease.take(self.home, found, self.boxes[name].id, interface=interface, aliases=aliases)

    def stop(self, name: str, *networks: str) -> None:
        """Have it on no network, or not on these."""
        for network in networks or self.networks:
            lease.release(self.home, self.networks[network].id, self.boxes[name].id)

    def address(self, name: str, network: str) -> str:
        """What a container has of a network."""
        found = lease.find(self.home, self.networks[network].id, self.boxes[name].id)
        assert found
        return found.address

    def ask(self, asker: str, name: str, kind: str = "A") -> dns.message.Message:
        """What a container is told."""
        self.census.look()
        (_, member), *_ = self.census.of(self.boxes[asker].id)
        replies: list[bytes] = []
        data = dns.message.make_query(name, kind, use_edns=-1).to_wire()
        self.resolver.ask(member, data, replies.append, stream=False)
        (reply,) = replies
        return dns.message.from_wire(reply)

    def find(self, asker: str, name: str, kind: str = "A") -> list[str]:
        """The values that it is told; what went wrong as a word."""
        reply = self.ask(asker, name, kind)
        if reply.rcode():
            return [dns.rcode.to_text(reply.rcode())]
        return [value.to_text() for records in reply.answer for value in records]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Two networks; one and two on the first, three on both."""
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    made = Scene(home)
    made.network("web", 1)
    made.network("back", 2, subnet6="", gateway6="")
    made.start("one", "web", aliases=("db", "all"))
    made.start("two", "web", aliases=("all",))
    made.start("three", "web", "back", aliases=("all",))
    yield made
    os.close(made.census.descriptor)


def test_a_container_is_found_by_its_names(scene: Scene) -> None:
    box = scene.boxes["one"]
    for name in ("one", "db", box.id[:12], "host-one", "ONE", "Db", "one.", "one.web", "db.WEB.", f"{box.id[:12]}.web"):
        assert scene.find("two", name) == [scene.address("one", "web")] == ["10.1.0.2"], name
    assert scene.find("two", "one", "AAAA") == ["fd00:1::2"]
    assert scene.find("one", "one") == ["10.1.0.2"]
    assert scene.elsewhere.asked == []


def test_an_address_leads_back_to_the_name_and_its_network(scene: Scene) -> None:
    for address in ("10.1.0.2", "fd00:1::2"):
        name = dns.reversename.from_address(address).to_text()
        assert scene.find("two", name, "PTR") == ["one.web."]
    # nobody elsewhere knows who has an address of a network
    for address in ("10.1.0.77", "fd00:1::77"):
        name = dns.reversename.from_address(address).to_text()
        assert scene.find("two", name, "PTR") == ["NXDOMAIN"]
    assert scene.elsewhere.asked == []
    scene.find("two", dns.reversename.from_address("192.0.2.1").to_text(), "PTR")
    assert len(scene.elsewhere.asked) == 1


def test_what_a_name_has_not_got_is_an_empty_answer_and_asked_of_nobody(scene: Scene) -> None:
    scene.start("four", "back")
    for kind in ("AAAA", "MX", "TXT", "SRV", "HTTPS"):
        assert scene.ask("three", "four", kind).rcode() == dns.rcode.NOERROR
        assert scene.find("three", "four", kind) == []
    assert scene.find("three", "four", "ANY") == ["10.2.0.3"]
    assert scene.elsewhere.asked == []


def test_all_who_have_an_alias_are_told_each_first_in_turn(scene: Scene) -> None:
    found = [scene.find("two", "all") for _ in range(6)]
    assert {tuple(sorted(one)) for one in found} == {("10.1.0.2", "10.1.0.3", "10.1.0.4")}
    assert [one[0] for one in found] == ["10.1.0.2", "10.1.0.3", "10.1.0.4"] * 2
    # as they are, though each asks for both kinds
    both = [(scene.find("two", "all")[0], scene.find("two", "all", "AAAA")[0]) for _ in range(3)]
    assert len(set(both)) == 3


def test_names_are_those_of_the_askers_networks_alone(scene: Scene) -> None:
    scene.start("four", "back", aliases=("db",))
    assert scene.find("three", "four") == ["10.2.0.3"]
    assert scene.find("one", "four") == ["SERVFAIL"]
    assert scene.elsewhere.asked == [(scene.boxes["one"].id, "four", None)]
    # of two networks where somebody has a name, the first one counts; NAME.NETWORK means one
    assert scene.find("three", "db") == ["10.1.0.2"]
    assert scene.find("three", "db.back") == ["10.2.0.3"]
    assert scene.find("three", "db.web") == ["10.1.0.2"]
    assert scene.find("four", "three") == ["10.2.0.2"]


def test_every_change_is_seen_by_the_next_question(scene: Scene) -> None:
    for turn in range(20):
        scene.start(f"new{turn}", "web", aliases=("fresh",))
        assert len(scene.find("one", "fresh")) == 1
        assert scene.find("one", f"new{turn}") == [scene.address(f"new{turn}", "web")]
        with Operation(scene.home) as operation:
            renaming.rename(scene.home, scene.boxes[f"new{turn}"], f"other{turn}", operation)
        assert scene.find("one", f"other{turn}") == [scene.address(f"new{turn}", "web")]
        assert scene.find("one", f"new{turn}") == ["SERVFAIL"]
        assert scene.find("one", "fresh") == [scene.address(f"new{turn}", "web")]
        scene.stop(f"new{turn}")
        assert scene.find("one", f"other{turn}") == ["SERVFAIL"]
        assert scene.find("one", "fresh") == ["SERVFAIL"]


def test_a_container_knows_of_a_network_as_long_as_it_is_on_it(scene: Scene) -> None:
    scene.start("four", "back")
    assert scene.find("one", "four") == ["SERVFAIL"]
    scene.connect("one", "back")
    assert scene.find("one", "four") == ["10.2.0.3"]
    assert scene.find("four", "one") == ["10.2.0.4"]
    scene.stop("one", "back")
    assert scene.find("one", "four") == ["SERVFAIL"]
    assert scene.find("four", "one") == ["SERVFAIL"]


def test_what_comes_and_goes_is_told_once_for_each_container(scene: Scene) -> None:
    told: list[tuple[str, str]] = []
    scene.census.look()
    scene.census.changed.append(lambda network, container: told.append((network, container)))
    box = scene.start("four", "back")
    scene.stop("four")
    scene.census.look()
    assert set(told) == {(scene.networks["back"].id, box.id)}
    told.clear()
    scene.census.end(scene.networks["back"].id)
    assert set(told) == {(scene.networks["back"].id, one) for one in (scene.boxes["three"].id, "")}


def test_a_network_that_is_removed_is_known_no_more(scene: Scene) -> None:
    network = scene.networks["back"]
    scene.stop("three", "back")
    held = store.hold(scene.home)
    store.take_away(scene.home, network)
    os.close(held)
    scene.census.look()
    assert network.id not in scene.census.registers
    assert scene.find("three", "one") == ["10.1.0.2"]


def test_more_than_the_kernel_keeps_is_read_anew(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 1 << 17:
        pytest.skip(f"this host keeps {most} events")
    folder = Path(lease.folder(scene.home, scene.networks["web"].id))
    for number in range(most // 2 + 10):
        (folder / f"{number % 2:064x}").symlink_to("nobody")
        (folder / f"{number % 2:064x}").unlink()
    scene.start("late", "web")
    assert scene.find("one", "late") == ["10.1.0.5"]


def test_where_all_is_internal_nothing_is_asked_elsewhere(scene: Scene) -> None:
    scene.network("shut", 3, internal=True)
    scene.start("four", "shut")
    scene.start("five", "shut", "web")
    assert scene.find("four", "five") == ["10.3.0.3"]
    assert scene.find("four", "secret.example.org") == ["NXDOMAIN"]
    assert scene.find("four", "one") == ["NXDOMAIN"]
    assert scene.elsewhere.asked == []
    # one that is also where there is a way out may ask
    assert scene.find("five", "secret.example.org") == ["SERVFAIL"]
    assert len(scene.elsewhere.asked) == 1


def test_on_the_default_network_nobody_has_a_name_and_all_may_ask(scene: Scene) -> None:
    scene.network("bridge", 4)
    scene.start("four", "bridge", aliases=("x",))
    scene.start("five", "bridge", "web")
    assert scene.find("four", "four") == ["SERVFAIL"]
    assert scene.find("four", "five") == ["SERVFAIL"]
    assert scene.find("five", "one") == ["10.1.0.2"]
    assert scene.find("one", "five") == ["10.1.0.5"]
    assert [name for _, name, _ in scene.elsewhere.asked] == ["four", "five"]


def test_who_has_servers_of_his_own_asks_those(scene: Scene) -> None:
    scene.start("four", "web", dns={"servers": ["192.0.2.53"], "search": None, "options": None})
    scene.start("five", "web", dns={"servers": None, "search": ["x.y"], "options": None})
    for name, servers in (("four", ["192.0.2.53"]), ("five", None), ("one", None)):
        scene.find(name, "example.org")
        assert scene.elsewhere.asked.pop()[2] == servers


def test_somebody_may_have_a_say_in_what_is_asked_and_is_told_what_was_answered(scene: Scene) -> None:
    learned: list[object] = []
    scene.elsewhere.reply = None
    scene.resolver.may_ask.append(lambda _container, name: name != "no.example.org")
    scene.resolver.learned.append(lambda *told: learned.append(told))
    assert scene.find("one", "no.example.org") == ["NXDOMAIN"]
    assert scene.elsewhere.asked == []
    assert scene.find("one", "Yes.Example.org") == ["192.0.2.9"]
    assert learned == [(scene.boxes["one"].id, "yes.example.org", ["192.0.2.9"], 33)]
    # neighbours are not for them to say
    scene.resolver.may_ask.append(lambda _container, _name: False)
    assert scene.find("one", "two") == ["10.1.0.3"]
    assert len(learned) == 1


def test_a_record_that_is_damaged_has_no_name_and_the_others_have(scene: Scene) -> None:
    box = scene.start("four")
    Path(scene.home.container(box.id), "container.json").write_text("what?")
    scene.connect("four", "web")
    assert scene.find("one", "four") == ["SERVFAIL"]
    assert scene.find("one", "two") == ["10.1.0.3"]
