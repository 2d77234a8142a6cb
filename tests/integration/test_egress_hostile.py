"""A container with an allow-list, root in it, NET_RAW and NET_ADMIN: every frame that it can make, and who hears them.

Each kind of frame is sent by a container without a list first, and somebody has to hear it then: or the test says
nothing.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest

from tests import frames, kept
from tests.command import Minirun
from tests.echo import ask
from tests.egresslab import OTHER, OTHER6, Container, container, lab, limited, unrejected
from tests.frames import ARP, IPV4, IPV6, arp, ethernet, ipv4, ipv6, mac, mark, over, packed, tcp, udp
from tests.outside import OUTSIDE, OUTSIDE6, inside, run_in

_ALL, _NOBODY = "ff:ff:ff:ff:ff:ff", "02:00:00:00:00:99"
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _ICMP6, _DESTINATION = 0, 43, 44, 58, 60
_ICMP, _IPIP, _TCP, _UDP, _IP6IP6, _GRE, _ESP, _SCTP = 1, 4, 6, 17, 41, 47, 50, 132
_SYN, _RST, _ACK = 2, 4, 16
_LIST = f"allow={OUTSIDE}:443,[{OUTSIDE6}]:443,friend"


class Sender:
    """Who makes frames, and whom he knows.

    Attributes:
        box: himself.
        peer: a neighbour whom he must not reach, if he has a list.
        friend: one whom he may.
        gateway: the hardware address of the bridge.
    """

    def __init__(self, box: Container, peer: Container, friend: Container) -> None:
        self.box = box
        self.peer = peer
        self.friend = friend
        self.mac = str(box.network["MacAddress"])
        told = run_in(box.pid, "ip", "neigh", "show", box.gateway)
        self.gateway = told.split("lladdr ")[1].split()[0]

    def by_gateway(self, kind: int, packet: bytes) -> bytes:
        """A frame to the bridge."""
        return ethernet(self.gateway, self.mac, kind, packet)

    def to(self, other: Container, kind: int, packet: bytes) -> bytes:
        """A frame to a neighbour."""
        return ethernet(other.network["MacAddress"], self.mac, kind, packet)


def _datagram(own: str, to: str, port: int, told: bytes) -> bytes:
    """One of either kind of address."""
    inner = udp(own, to, port, told)
    return ipv6(own, to, _UDP, inner) if ":" in to else ipv4(own, to, _UDP, inner)


def _icmp6(own: str, to: str, kind: int, rest: bytes) -> bytes:
    return ipv6(own, to, _ICMP6, over(own, to, _ICMP6, bytes((kind, 0, 0, 0)) + rest, 2))


def _option(told: bytes) -> bytes:
    """An option of neighbour discovery that nobody knows."""
    body = b"\xfd" + bytes((1 + (len(told) + 9) // 8,)) + told
    return body + bytes(-len(body) % 8)


def _icmp(kind: int, code: int, rest: bytes) -> bytes:
    data = bytes((kind, code, 0, 0)) + rest
    return data[:2] + frames.checksum(data).to_bytes(2, "big") + data[4:]


# what must not get through: kind → the frame that a sender makes of it, with a mark
def _kinds(me: Sender) -> dict[str, Callable[[bytes], bytes]]:
    own, own6 = me.box.address, me.box.address6
    peer, peer6, peer_mac = me.peer.address, me.peer.address6, str(me.peer.network["MacAddress"])
    gateway, gateway6 = me.box.gateway, str(me.box.network["IPv6Gateway"])
    lsrr, ssrr = (bytes((kind, 7, 4)) + packed(OTHER) + b"\0" for kind in (131, 137))
    routing = bytes((_UDP, 2, 4, 1, 0, 0, 0, 0)) + packed(OTHER6)
    more = bytes((_DESTINATION, 0, 1, 4, 0, 0, 0, 0))
    nothing = bytes((_UDP, 0, 1, 4, 0, 0, 0, 0))  # an extension header with padding alone
    return {
        "port": lambda m: me.by_gateway(IPV4, _datagram(own, OUTSIDE, 9, m)),
        "port6": lambda m: me.by_gateway(IPV6, _datagram(own6, OUTSIDE6, 9, m)),
        "address": lambda m: me.by_gateway(IPV4, _datagram(own, OTHER, 443, m)),
        "address6": lambda m: me.by_gateway(IPV6, _datagram(own6, OTHER6, 443, m)),
        "host": lambda m: me.by_gateway(IPV4, _datagram(own, gateway, 443, m)),
        "host6": lambda m: me.by_gateway(IPV6, _datagram(own6, gateway6, 443, m)),
        "dns elsewhere": lambda m: me.by_gateway(IPV4, _datagram(own, OTHER, 53, m)),
        "dns of the host by IPv6": lambda m: me.by_gateway(IPV6, _datagram(own6, gateway6, 53, m)),
        "neighbour": lambda m: me.to(me.peer, IPV4, _datagram(own, peer, 443, m)),
        "neighbour6": lambda m: me.to(me.peer, IPV6, _datagram(own6, peer6, 443, m)),
        "neighbour by the gateway": lambda m: me.by_gateway(IPV4, _datagram(own, peer, 443, m)),
        # pretending to be somebody else, or nobody
        "address of a neighbour": lambda m: me.by_gateway(IPV4, _datagram(peer, OUTSIDE, 443, m)),
        "address of a neighbour6": lambda m: me.by_gateway(IPV6, _datagram(peer6, OUTSIDE6, 443, m)),
        "another of the subnet": lambda m: me.by_gateway(IPV4, _datagram("10.90.77.77", OUTSIDE, 443, m)),
        "link-local address": lambda m: me.to(me.peer, IPV6, _datagram("fe80::77", peer6, 443, m)),
        "hardware address of nobody": lambda m: ethernet(me.gateway, _NOBODY, IPV4, _datagram(own, OUTSIDE, 443, m)),
        # what is allowed, to somebody who would pass it on, or hears it
        "by a neighbour": lambda m: me.to(me.peer, IPV4, _datagram(own, OUTSIDE, 443, m)),
        "by a neighbour6": lambda m: me.to(me.peer, IPV6, _datagram(own6, OUTSIDE6, 443, m)),
        "to all": lambda m: ethernet(_ALL, me.mac, IPV4, _datagram(own, OUTSIDE, 443, m)),
        "friend to all": lambda m: ethernet(_ALL, me.mac, IPV4, _datagram(own, me.friend.address, 443, m)),
        "broadcast": lambda m: ethernet(_ALL, me.mac, IPV4, _datagram(own, "255.255.255.255", 443, m)),
        "multicast": lambda m: ethernet("01:00:5e:00:00:fb", me.mac, IPV4, _datagram(own, "224.0.0.251", 5353, m)),
        "multicast6": lambda m: ethernet("33:33:00:00:00:fb", me.mac, IPV6, _datagram(own6, "ff02::fb", 5353, m)),
        "all nodes by a host's address": lambda m: me.to(me.peer, IPV6, _datagram(own6, "ff02::1", 443, m)),
        # what is no IP
        "another ethertype": lambda m: me.to(me.peer, 0x88B5, m),
        "802.3": lambda m: me.to(me.peer, len(m) + 3, b"\xaa\xaa\x03" + m),
        "spanning tree": lambda m: ethernet("01:80:c2:00:00:00", me.mac, len(m) + 3, b"\x42\x42\x03" + m),
        "vlan": lambda m: ethernet(
            str(me.friend.network["MacAddress"]), me.mac, IPV4, _datagram(own, me.friend.address, 443, m), tag=5
        ),
        "vlan 0": lambda m: ethernet(
            str(me.friend.network["MacAddress"]), me.mac, IPV4, _datagram(own, me.friend.address, 443, m), tag=0x2000
        ),
        "ppp": lambda m: me.to(me.peer, 0x8864, b"\x11\0\0\0" + len(m).to_bytes(2, "big") + m),
        "router": lambda m: ethernet(
            "33:33:00:00:00:01", me.mac, IPV6,
            _icmp6("fe80::77", "ff02::1", 134, b"\x40\0\7\x08" + bytes(8) + _option(m)),
        ),
        "router asked for": lambda m: ethernet(
            "33:33:00:00:00:02", me.mac, IPV6, _icmp6(own6, "ff02::2", 133, bytes(4) + _option(m))
        ),
        "redirect": lambda m: me.to(me.friend, IPV4, ipv4(own, me.friend.address, _ICMP, _icmp(5, 1, packed(own) + m))),
        "redirect6": lambda m: me.to(
            me.friend, IPV6,
            _icmp6(own6, me.friend.address6, 137, bytes(4) + packed(own6) + packed(OTHER6) + _option(m)),
        ),
        # pieces, and what stands before the ports
        "first piece": lambda m: me.by_gateway(
            IPV4, ipv4(own, OUTSIDE, _UDP, udp(own, OUTSIDE, 9, m + bytes(-len(m) % 8)), more=True)
        ),
        "later piece": lambda m: me.by_gateway(IPV4, ipv4(own, OTHER, _UDP, m, place=1480)),
        "later piece6": lambda m: me.by_gateway(
            IPV6, ipv6(own6, OTHER6, _FRAGMENT, bytes((_UDP, 0)) + (1480).to_bytes(2, "big") + bytes(4) + m)
        ),
        "later piece to a neighbour": lambda m: me.to(me.peer, IPV4, ipv4(own, peer, _TCP, m, place=8)),
        "tiny piece": lambda m: me.by_gateway(IPV4, ipv4(own, OUTSIDE, _TCP, b"\x9c\x40" + m, more=True)),
        "loose source route": lambda m: me.by_gateway(
            IPV4, ipv4(own, OUTSIDE, _UDP, udp(own, OUTSIDE, 443, m), options=lsrr)
        ),
        "strict source route": lambda m: me.by_gateway(
            IPV4, ipv4(own, OUTSIDE, _UDP, udp(own, OUTSIDE, 443, m), options=ssrr)
        ),
        "routing header": lambda m: me.by_gateway(
            IPV6, ipv6(own6, OUTSIDE6, _ROUTING, routing + udp(own6, OUTSIDE6, 443, m))
        ),
        "destination options": lambda m: me.by_gateway(
            IPV6, ipv6(own6, OUTSIDE6, _DESTINATION, nothing + udp(own6, OUTSIDE6, 9, m))
        ),
        "hop by hop": lambda m: me.by_gateway(
            IPV6, ipv6(own6, OTHER6, _HOP_BY_HOP, nothing + udp(own6, OTHER6, 443, m))
        ),
        "headers one after the other": lambda m: me.by_gateway(
            IPV6, ipv6(own6, OTHER6, _DESTINATION, more * 9 + nothing + udp(own6, OTHER6, 443, m))
        ),
        "no header": lambda m: me.by_gateway(IPV6, ipv6(own6, OTHER6, 59, m)),
        # other protocols: the list has ports of OUTSIDE, and so only those that have some
        "tunnel": lambda m: me.by_gateway(IPV4, ipv4(own, OUTSIDE, _IPIP, _datagram(own, OUTSIDE, 443, m))),
        "tunnel of IPv6": lambda m: me.by_gateway(IPV4, ipv4(own, OUTSIDE, _IP6IP6, _datagram(own6, OUTSIDE6, 443, m))),
        "gre": lambda m: me.by_gateway(IPV4, ipv4(own, OUTSIDE, _GRE, b"\0\0\x08\0" + m)),
        "esp": lambda m: me.by_gateway(IPV6, ipv6(own6, OUTSIDE6, _ESP, bytes(8) + m)),
        "sctp": lambda m: me.by_gateway(IPV4, ipv4(own, OUTSIDE, _SCTP, b"\x9c\x40\0\x09" + bytes(8) + m)),
        "protocol 253": lambda m: me.by_gateway(IPV4, ipv4(own, OUTSIDE, 253, m)),
        # what seems to be an answer
        "segment": lambda m: me.by_gateway(IPV4, ipv4(own, OTHER, _TCP, tcp(own, OTHER, 80, _ACK, m))),
        "answer to a call": lambda m: me.by_gateway(IPV4, ipv4(own, OTHER, _TCP, tcp(own, OTHER, 80, _SYN | _ACK, m))),
        "reset": lambda m: me.by_gateway(IPV6, ipv6(own6, OTHER6, _TCP, tcp(own6, OTHER6, 80, _RST, m))),
        "echo": lambda m: me.by_gateway(IPV4, ipv4(own, OTHER, _ICMP, _icmp(8, 0, bytes(4) + m))),
        "answer to an echo": lambda m: me.by_gateway(IPV4, ipv4(own, OTHER, _ICMP, _icmp(0, 0, bytes(4) + m))),
        "unreachable": lambda m: me.by_gateway(
            IPV4, ipv4(own, OTHER, _ICMP, _icmp(3, 1, bytes(4) + ipv4(OTHER, own, _UDP, udp(OTHER, own, 9, m))))
        ),
        "unreachable6": lambda m: me.by_gateway(
            IPV6, _icmp6(own6, OTHER6, 1, bytes(4) + ipv6(OTHER6, own6, _UDP, udp(OTHER6, own6, 9, m)))
        ),
        "timestamp": lambda m: me.by_gateway(IPV4, ipv4(own, OUTSIDE, _ICMP, _icmp(13, 0, bytes(16) + m))),
        # lies about who is who
        "arp: the gateway": lambda m: me.to(me.peer, ARP, arp(2, me.mac, gateway, peer_mac, peer) + m),
        "arp: a neighbour": lambda m: ethernet(_ALL, me.mac, ARP, arp(1, me.mac, peer, _ALL, gateway) + m),
        "arp: by another": lambda m: me.to(me.peer, ARP, arp(2, _NOBODY, own, peer_mac, peer) + m),
        "arp: reverse": lambda m: me.to(me.peer, ARP, arp(3, me.mac, own, peer_mac, peer) + m),
        "arp: elsewhere": lambda m: ethernet(_ALL, me.mac, ARP, arp(1, me.mac, own, _ALL, "203.0.113.7") + m),
        "arp with more behind it": lambda m: me.to(me.peer, ARP, arp(1, me.mac, own, _ALL, peer) + m),
        "solicitation with more in it": lambda m: me.to(
            me.peer, IPV6, _icmp6(own6, peer6, 135, bytes(4) + packed(peer6) + _option(m))
        ),
        "advertisement: the gateway": lambda m: me.to(
            me.peer, IPV6,
            _icmp6(own6, peer6, 136, b"\x60\0\0\0" + packed(gateway6) + b"\2\1" + mac(me.mac) + _option(m)),
        ),
        "solicitation: a neighbour": lambda m: me.to(
            me.peer, IPV6, _icmp6(peer6, gateway6, 135, bytes(4) + packed(peer6) + b"\1\1" + mac(me.mac) + _option(m))
        ),
        "solicitation: elsewhere": lambda m: me.to(
            me.peer, IPV6, _icmp6(own6, OTHER6, 135, bytes(4) + packed(OTHER6) + _option(m))
        ),
        "hardware address of a neighbour": lambda m: ethernet(
            me.gateway, peer_mac, IPV4, _datagram(own, OUTSIDE, 443, m)
        ),
    }  # fmt: skip


class Ears:
    """Those who hear frames, outside, in containers and on the bridge: what they have heard, each with who it was."""

    def __init__(self) -> None:
        self.words: list[tuple[str, str]] = []
        self._threads: list[threading.Thread] = []

    @contextmanager
    def listening(self, who: str, *there: str, interface: str = "") -> Iterator[None]:
        """Have somebody hear; *there* are words that start a command where he is."""
        command = [*there, sys.executable, str(Path(frames.__file__)), "hear", interface]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            lines = process.stdout

            def read() -> None:
                self.words += ((who, line.strip()) for line in lines)

            thread = threading.Thread(target=read)
            thread.start()
            try:
                yield
            finally:
                process.kill()
                thread.join()

    def heard(self, word: str) -> list[str]:
        """Who heard it."""
        return [who for who, what in self.words if what == word]


class Scene:
    """Who is there.

    Attributes:
        free: somebody without a list.
        peer: a neighbour who is in no list.
        friend: one who is.
        ears: who hears.
    """

    def __init__(self, free: Container, peer: Container, friend: Container, ears: Ears) -> None:
        self.free = free
        self.peer = peer
        self.friend = friend
        self.ears = ears

    def sender(self, box: Container) -> Sender:
        """What one of them knows of the others."""
        box.look_up("peer")  # so that he knows the gateway's hardware address
        return Sender(box, self.peer, self.friend)


@pytest.fixture(scope="module")
def scene(root: None, store: Minirun) -> Iterator[Scene]:
    """All but the one with a list; bridges do not show packets to the firewall, which would hold pieces back."""
    with ExitStack() as stack:
        place, peer = stack.enter_context(lab(store, "minirun-hostile"))
        for path in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*tables"):
            path.write_text("0")
        friend = stack.enter_context(container(store, "friend"))
        free = stack.enter_context(container(store, "free"))
        ears = Ears()
        bridge = f"br-{store('network', 'inspect', '-f', '{{.Id}}', 'web', check=True).stdout[:12]}"
        listen = ears.listening
        stack.enter_context(listen("outside", "ip", "netns", "exec", place.outside))
        stack.enter_context(listen("peer", "nsenter", f"--net=/proc/{peer.pid}/ns/net"))
        stack.enter_context(listen("friend", "nsenter", f"--net=/proc/{friend.pid}/ns/net"))
        stack.enter_context(listen("bridge", interface=bridge))
        yield Scene(free, peer, friend, ears)


@pytest.fixture
def bad(scene: Scene, store: Minirun) -> Iterator[Sender]:
    """The one with a list: two addresses outside at one port, and a friend."""
    with limited(store, _LIST) as box:
        yield scene.sender(box)


def send(sender: Sender, sent: list[bytes]) -> None:
    """Send frames from its interface."""
    words = [
        "nsenter",
        f"--net=/proc/{sender.box.pid}/ns/net",
        sys.executable,
        str(Path(frames.__file__)),
        "send",
        "eth0",
    ]
    subprocess.run(words, input="\n".join(one.hex() for one in sent), text=True, check=True)


def settled(sender: Sender, ears: Ears, word: str) -> None:
    """Send what may get through, and wait until it is heard: all that was sent before was heard by then."""
    own = sender.box.address
    told = mark(word)
    send(
        sender,
        [
            sender.by_gateway(IPV4, _datagram(own, OUTSIDE, 443, told)),
            sender.by_gateway(IPV6, _datagram(sender.box.address6, OUTSIDE6, 443, mark(word + "6"))),
            sender.to(sender.friend, IPV4, _datagram(own, sender.friend.address, 9, told)),
        ],
    )
    for who, what in (("outside", word), ("outside", word + "6"), ("friend", word), ("bridge", word)):
        kept.until(lambda who=who, what=what: who in ears.heard(what), f"{who} does not hear {what}")  # type: ignore[misc]


def test_nothing_that_it_makes_gets_past_its_cable_but_what_is_in_the_list(scene: Scene, bad: Sender) -> None:
    free, ears = scene.sender(scene.free), scene.ears
    for who, sender in (("free", free), ("bad", bad)):
        # what is allowed comes first: whoever it is for has been told of the sender, and asks for nobody
        settled(sender, ears, f"begin-{who}")
        kinds = _kinds(sender)
        # twice: the answer to the first, if somebody gives one, opens nothing for the second
        for turn in (1, 2):
            send(sender, [make(mark(f"{kind}|{who}|{turn}")) for kind, make in kinds.items()])
            settled(sender, ears, f"end-{who}-{turn}")
        for box in (scene.peer, scene.friend):  # who believe what they were told
            run_in(box.pid, "ip", "neigh", "flush", "all")
            box.ask("udp", OUTSIDE, 9, 0.1)
    send(free, [free.to(scene.peer, IPV4, _datagram(free.box.address, scene.peer.address, 443, mark("last")))])
    kept.until(lambda: "peer" in ears.heard("last"), "the neighbour does not hear anything")
    unheard = [kind for kind in _kinds(free) if not ears.heard(f"{kind}|free|1")]
    assert unheard == [], "frames that nobody hears show nothing"
    came_through = [(kind, ears.heard(f"{kind}|bad|{turn}")) for kind in _kinds(bad) for turn in (1, 2)]
    assert [one for one in came_through if one[1]] == []
    told = bad.box.denied()
    for key in (
        f"udp {OUTSIDE} 9", f"udp {OTHER} 443", f"udp {OTHER6} 443", f"udp {OTHER} 53", f"tcp {OTHER} 80",
        f"icmp {OTHER} 0", f"47 {OUTSIDE} 0", f"4 {OUTSIDE} 0", f"udp {bad.peer.address} 443", "arp  0", "vlan  0",
        "ethertype 0x88b5  0",
    ):  # fmt: skip
        assert key in told


def test_neighbours_go_on_knowing_who_is_who(scene: Scene, bad: Sender) -> None:
    ears = scene.ears
    peer = bad.peer
    assert peer.ask("tcp", OUTSIDE, 80) == "80"
    before = run_in(peer.pid, "ip", "neigh", "show", peer.gateway)
    send(bad, [_kinds(bad)["arp: the gateway"](b""), _kinds(bad)["advertisement: the gateway"](b"")] * 3)
    settled(bad, ears, "lies")
    assert bad.mac not in run_in(peer.pid, "ip", "neigh", "show", peer.gateway)
    assert before.split("lladdr ")[1].split()[0] == bad.gateway
    assert peer.ask("tcp", OUTSIDE, 80) == "80"


@pytest.mark.parametrize("by", ["the kernel", "the attendant"])
def test_a_refusal_opens_nothing(scene: Scene, store: Minirun, by: str) -> None:
    with (
        unrejected(store) if by == "the attendant" else nullcontext(),
        limited(store, _LIST) as box,
    ):
        _is_refused(scene.sender(box), scene.ears, f"after {by}")


def _is_refused(bad: Sender, ears: Ears, word: str) -> None:
    own = bad.box.address
    with inside(bad.box.pid):
        assert ask("tcp", OTHER, 80) == "refused"
    for _turn in range(2):
        # each is refused, by a reset or by ICMP, as if by whom it was for; and then what follows
        send(bad, [bad.by_gateway(IPV4, ipv4(own, OTHER, _TCP, tcp(own, OTHER, 80, _SYN, b"", source=41000)))])
        send(bad, [bad.by_gateway(IPV4, ipv4(own, OTHER, _UDP, udp(own, OTHER, 80, b"", source=41000)))])
        send(
            bad,
            [
                bad.by_gateway(IPV4, ipv4(own, OTHER, _TCP, tcp(own, OTHER, 80, _ACK, mark(word), source=41000))),
                bad.by_gateway(IPV4, ipv4(own, OTHER, _UDP, udp(own, OTHER, 80, mark(word), source=41000))),
                bad.by_gateway(IPV4, ipv4(own, OTHER, _ICMP, _icmp(0, 0, bytes(4) + mark(word)))),
                bad.by_gateway(IPV4, ipv4(own, OTHER, _UDP, mark(word), place=1480)),
            ],
        )
    settled(bad, ears, f"refused {word}")
    assert ears.heard(word) == []


def test_who_calls_is_answered_and_he_alone_where_he_called_from(scene: Scene, bad: Sender) -> None:
    ears = scene.ears
    peer, own = bad.peer, bad.box.address
    call = ethernet(bad.mac, str(peer.network["MacAddress"]), IPV4, _datagram(peer.address, own, 7777, b"?"))
    words = ["nsenter", f"--net=/proc/{peer.pid}/ns/net", sys.executable, str(Path(frames.__file__)), "send", "eth0"]
    subprocess.run(words, input=call.hex(), text=True, check=True)
    answers = {
        "answer": udp(own, peer.address, 40000, mark("answer"), source=7777),
        "another port of his": udp(own, peer.address, 40001, mark("another port of his"), source=7777),
        "another port of ours": udp(own, peer.address, 40000, mark("another port of ours"), source=7778),
    }
    send(bad, [bad.to(peer, IPV4, ipv4(own, peer.address, _UDP, one)) for one in answers.values()])
    send(
        bad,
        [bad.by_gateway(IPV4, ipv4(own, peer.address, _TCP, tcp(own, peer.address, 40000, _ACK, mark("tcp"), 7777)))],
    )
    settled(bad, ears, "answered")
    assert ears.heard("answer") == ["peer"]
    assert [word for word in ("another port of his", "another port of ours", "tcp") if ears.heard(word)] == []


@pytest.mark.parametrize("where", [OUTSIDE, OUTSIDE6])
def test_what_is_too_long_for_a_frame_is_sent_in_pieces_to_those_who_may_have_it(
    scene: Scene, bad: Sender, where: str
) -> None:
    ears = scene.ears
    words = ["-c", f"import socket; s = socket.socket({10 if ':' in where else 2}, 2); s.connect(({where!r}, 443)); "
             f"s.send(bytes(4000) + b'<mark:long-{where}>')"]  # fmt: skip
    run_in(bad.box.pid, sys.executable, *words)
    kept.until(lambda: "outside" in ears.heard(f"long-{where}"), "its end does not arrive")


def test_with_all_of_the_networks_of_its_own_changed_it_is_held_still(
    scene: Scene,
    bad: Sender,
) -> None:
    """NET_ADMIN: other addresses, routes, interfaces above its own, another hardware address."""
    pid, peer = bad.box.pid, bad.peer

    def words(text: str) -> None:
        run_in(pid, "ip", *text.split())

    words(f"address add {peer.address}/16 dev eth0")
    try:
        assert bad.box.ask("tcp", OTHER, 80) == "refused"
        words(f"route replace {OTHER} via {bad.box.gateway} src {peer.address}")
        assert bad.box.ask("tcp", OTHER, 80, 0.2) == "nothing"
        words(f"route replace {OUTSIDE} via {bad.box.gateway} src {peer.address}")
        assert bad.box.ask("tcp", OUTSIDE, 443, 0.2) == "nothing"
        words(f"route delete {OUTSIDE}")
        assert bad.box.ask("tcp", OUTSIDE, 443) == "443"
        words("link set eth0 address 02:00:00:00:00:77")
        assert bad.box.ask("tcp", OUTSIDE, 443, 0.2) == "nothing"
    finally:
        words(f"link set eth0 address {bad.mac}")
        words(f"address delete {peer.address}/16 dev eth0")
    assert bad.box.ask("tcp", OUTSIDE, 443) == "443"
