"""A host with two others outside, and containers with an allow-list: what tests of --network-egress are made of.

outside                                 the host                     networks web, which has IPv6, and bridge
192.0.2.2, 2001:db8::2  tcp 80, 443     192.0.2.1, 2001:db8::1       peer, on web: tcp 80, udp 80
192.0.2.3, 2001:db8::3  udp 443
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rcode

from tests import echo, frames, kept, zone
from tests.command import Minirun
from tests.outside import OUTSIDE, Site, inside, link, serving, site

OTHER, OTHER6 = "192.0.2.3", "2001:db8::3"
_SLEEP = ("busybox", "sleep", "1000")


class Container:
    """A container that runs in the background.

    Attributes:
        name: of the container.
        pid: of its first process.
        id: 64 hex digits.
        network: the first of NetworkSettings.Networks when it was started.
    """

    def __init__(self, store: Minirun, name: str, told: dict[str, Any] | None = None) -> None:
        """Ask inspect, or be *told* what it told."""
        told = told or json.loads(store("inspect", name, check=True).stdout)[0]
        assert told
        self.store = store
        self.name = told["Name"].removeprefix("/")
        self.pid: int = told["State"]["Pid"]
        self.id: str = told["Id"]
        self.network: dict[str, Any] = next(iter(told["NetworkSettings"]["Networks"].values()), {})

    @property
    def address(self) -> str:
        """Of IPv4."""
        return str(self.network["IPAddress"])

    @property
    def address6(self) -> str:
        """Of IPv6."""
        return str(self.network["GlobalIPv6Address"])

    @property
    def gateway(self) -> str:
        """Of IPv4: where the resolver is."""
        return str(self.network["Gateway"])

    @property
    def table(self) -> str:
        """The name of its table."""
        return f"minirun-{self.id[:12]}"

    def ask(self, protocol: str, address: str, port: int, patience_s: float = 1.0) -> str:
        """Ask from in there; see echo.ask. In one word: the port of who answered, refused, or nothing."""
        with inside(self.pid):
            told = echo.ask(protocol, address, port, patience_s)
        answered, _, _ = told.partition(" from ")
        return answered if answered.isdecimal() else "refused" if told == "refused" else "nothing"

    def ping(self, address: str) -> bool:
        """Whether it is answered; see RFC 792, RFC 4443."""
        family, protocol, asks, answers = (10, 58, 128, 129) if ":" in address else (2, 1, 8, 0)
        packet = bytes((asks, 0, 0, 0, 0x12, 0x34, 0, 1))
        packet = packet[:2] + frames.checksum(packet).to_bytes(2, "big") + packet[4:]  # of IPv6 the kernel's
        with inside(self.pid), socket.socket(family, socket.SOCK_RAW, protocol) as speaker:
            speaker.settimeout(0.2)
            try:
                speaker.sendto(packet, (address, 0))
                while True:
                    data, who = speaker.recvfrom(2048)
                    if who[0] == address and data[0 if family == 10 else 20] == answers:
                        return True
            except OSError:
                return False

    def look_up(self, name: str, *kinds: str) -> list[str]:
        """What its resolver tells of a name: both kinds of addresses, or *kinds* of records; or a word: NXDOMAIN."""
        found = []
        for kind in kinds or ("A", "AAAA"):
            with inside(self.pid):
                answer = self._ask(dns.message.make_query(name, kind))
            if answer.rcode() != dns.rcode.NOERROR:
                return [dns.rcode.to_text(answer.rcode())]
            found += [item.to_text() for group in answer.answer for item in group]
        return sorted(found)

    def _ask(self, question: dns.message.Message) -> dns.message.Message:
        """Ask as a resolver does: again, where nobody answers, as while another attendant is just being started."""
        for _ in range(4):
            try:
                return dns.query.udp(question, self.gateway, timeout=1)
            except dns.exception.Timeout:
                continue
        return dns.query.udp(question, self.gateway, timeout=5)

    def denied(self) -> dict[str, int]:
        """What inspect tells: ``tcp 192.0.2.3 80`` → how often."""
        told = json.loads(self.store("inspect", self.name, check=True).stdout)[0]["NetworkSettings"]["Egress"]["Denied"]
        return {f"{one['Protocol']} {one['Destination']} {one['Port']}": one["Count"] for one in told}

    def events(self) -> list[dict[str, str]]:
        """The attributes of its denials that were told."""
        try:
            lines = (self.store.runtime / "events").read_text().splitlines()
        except FileNotFoundError:
            return []
        told = [json.loads(line) for line in lines if '"deny"' in line]
        assert all(one["Type"] == "network" and one["Actor"]["Attributes"]["name"] for one in told)
        every = [one["Actor"]["Attributes"] for one in told]
        return [one for one in every if one["container"] == self.id]


@contextmanager
def container(store: Minirun, name: str, *flags: str, network: str = "web") -> Iterator[Container]:
    """A container in the background that does nothing."""
    told = store("run", "-d", "--name", name, "--network", network, *flags, *_SLEEP, check=True).stdout
    try:
        yield Container(store, name)
    finally:
        store("rm", "-f", told.strip(), check=True)


@contextmanager
def limited(store: Minirun, allowed: str, *flags: str, network: str = "web") -> Iterator[Container]:
    """The same, with a list."""
    with container(store, "limited", "--network-egress", allowed, *flags, network=network) as found:
        yield found


@contextmanager
def unrejected(store: Minirun) -> Iterator[None]:
    """Have the attendant refuse what is denied, as where the kernel cannot."""
    found = store.runtime / "egress.unrejected"
    there = found.exists()
    found.touch()
    try:
        yield
    finally:
        if not there:
            found.unlink()


@contextmanager
def lab(store: Minirun, name: str) -> Iterator[tuple[Site, Container]]:
    """Be on that host; *name* is of the namespace outside. With peer, there is somebody who answers for names."""
    with site(name) as found:
        link(f"-n {name} address add {OTHER}/24 dev eth0")
        # deprecated: not the one that is taken for what is sent
        link(f"-n {name} -6 address add {OTHER6}/64 dev eth0 nodad preferred_lft 0")
        store("network", "create", "--ipv6", "web", check=True)
        for network in ("web", "bridge"):
            store("run", "--rm", "--network", network, "-p", "127.0.0.1:9:9", "busybox", "true", check=True)
        with (
            script(found, str(Path(echo.__file__)), "serve", "tcp:80", "tcp:443", "udp:443"),
            container(store, "peer") as peer,
            serving("tcp:80", "udp:80", pid=peer.pid),
        ):
            yield found, peer
        kept.unsupervised(store)
        store("network", "rm", "web", check=True)


@contextmanager
def script(place: Site, *words: str, pid: int = 0) -> Iterator[subprocess.Popen[str]]:
    """Run a script of Python's outside, or in the network namespace of a process, while it is needed.

    Its first line of output says that it is ready.
    """
    there = ["nsenter", f"--net=/proc/{pid}/ns/net"] if pid else ["ip", "netns", "exec", place.outside]
    with subprocess.Popen(
        [*there, sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@contextmanager
def names(place: Site, *told: str) -> Iterator[subprocess.Popen[str]]:
    """Have a name server at OUTSIDE that knows these names: see zone.py."""
    with script(place, str(Path(zone.__file__)), OUTSIDE, *told) as server:
        yield server


def asked(server: subprocess.Popen[str]) -> set[str]:
    """What a name server was asked, which is ended."""
    server.kill()
    assert server.stdout
    return set(server.stdout.read().splitlines())


def nft(*words: str) -> str:
    """What nft says."""
    return subprocess.run(["nft", *words], check=True, capture_output=True, text=True).stdout


def tables() -> list[str]:
    """The tables of containers that are there."""
    return re.findall(r"table netdev (minirun-\w+)", nft("list", "tables"))
