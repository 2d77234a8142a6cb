"""What the attendant does for containers with an allow-list: see docs/egress.md.

    a question       ─▶ may_ask: is the name in its list?          no ─▶ NXDOMAIN, and a denial of that name
    an answer        ─▶ learned: its addresses, into the sets      ─▶ then the container is told
    a neighbour      comes, goes ─▶ the same of his addresses, if one of his names is in the list
    denied           ─▶ at once, and if there is much a second after the last time: what was, as events
    rules removed    ─▶ at once: made again
    rules made       ─▶ at once: what is to be in the sets

A list allows names, and whoever has a name says which addresses that has. So no answer lets in what leads to the host
itself, to loopback, to link-local addresses, where clouds tell secrets, or to minirun's own networks. Those are for the
list to name.
"""

from __future__ import annotations

import os
import time

from minirun.attendant.egressbox import FOR_EVER, Box
from minirun.attendant.egresswatch import Watch
from minirun.attendant.loop import attempt
from minirun.container.children import say
from minirun.errors import MinirunError
from minirun.network import address, egress, egressclaim, egressdenials, egresselements, egressrules, store
from minirun.network.address import Subnet
from minirun.network.egresslist import services
from minirun.network.portelements import speak

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from minirun.attendant.census import Member, Register
    from minirun.attendant.loop import Timer
    from minirun.attendant.process import Attendant

LEAST_S, MOST_S = 60, 86400  # how long the addresses of an answer are let in
_LOOK_S, _AT_ONCE = 1.0, 10  # between two looks at what was denied, once there were so many
_BUSY_S = 0.05  # until a container's claim is tried again that somebody holds
_UNHEARD_S = 5.0  # the same, where nobody tells us that there is something
# "this host", loopback, link-local, what goes to many; the same of IPv6, and IPv4 within it
_NEVER = (
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8",
)  # fmt: skip


class Egress:
    """The duty."""

    def __init__(self, attendant: Attendant) -> None:
        self._home = attendant.home
        self._loop = attendant.loop
        self._census = attendant.census
        self._boxes: dict[str, Box] = {}
        self._speaker = speak()  # kept: one that has removed elements is waited for when it is closed
        self._watch: Watch | None = None
        self._own: list[Subnet] = []
        self._own_as_of = 0
        self._parting: Timer | None = None
        attendant.resolver.may_ask.append(self.may_ask)
        attendant.resolver.learned.append(self.learned)
        attendant.census.changed.append(self._changed)

    def may_ask(self, container_id: str, name: str) -> bool:
        """Whether a container may have a name asked elsewhere: see Resolver."""
        try:
            box = self._find(container_id)
        except OSError:
            return False  # its claim is gone: it has just ended
        if box is None or box.may_ask(name):
            return True
        if box.refuse(name):
            self._look_soon(box)
        return False

    def learned(self, container_id: str, name: str, addresses: list[str], seconds: int) -> None:
        """Let a container reach what it is about to be told: see Resolver."""
        box = self._find(container_id)
        if box is None:
            return
        now = time.monotonic()
        lasting = min(max(seconds, LEAST_S), MOST_S)
        box.names |= dict.fromkeys(addresses, name)
        for bits in (32, 128):
            good = [one for one in addresses if address.width(one) == bits and not self._is_own(one)]
            for place in box.places_of([name], bits):
                short = [one for one in good if box.ends.get((place, one), 0) < now + lasting]
                self._put(box, place, short, lasting, name)
        box.forget(now)

    def _find(self, container_id: str) -> Box | None:
        """What is known of a container; None if it has no list.

        Raises:
            OSError: it has one, and its claim is not there; or nobody tells us anything.
        """
        if box := self._boxes.get(container_id):
            return box
        places = self._census.of(container_id)
        return self._begin(places[0][1]) if places and "egress" in places[0][1].box.options else None

    def _is_own(self, where: str) -> bool:
        """Whether an address is none that an answer from elsewhere lets in."""
        now = os.stat(self._home.folder("networks")).st_mtime_ns
        if now != self._own_as_of:
            networks = store.list_all(self._home, warn=lambda _error: None)
            blocks = [block for network in networks for block in (network.subnet, network.subnet6) if block]
            self._own, self._own_as_of = [Subnet.parse(block) for block in (*_NEVER, *blocks)], now
        number, bits = address.parse(where), address.width(where)
        return any(block.holds(number, bits) for block in self._own)

    def _put(self, box: Box, place: str, addresses: Iterable[str], seconds: int, name: str) -> None:
        """Have addresses be in a set; 0 seconds: until they are taken out."""
        keys = {one: address.pack(one) for one in addresses}
        if not keys:
            return
        again = any((place, one) in box.ends for one in keys)
        try:
            egresselements.put(self._speaker, box.id, [place], [*keys.values()], seconds, name, again=again)
        except FileNotFoundError:
            pass  # it has no interface yet, or somebody has removed its rules: it is told when they are made, see _fill
        except OSError as error:
            if not box.full:
                say(f"{name} of container {box.id[:12]}: {error}")
            box.full = True
            return
        end = time.monotonic() + seconds if seconds else FOR_EVER
        box.ends |= {(place, one): end for one in keys}

    def _fill(self, box: Box) -> None:
        """Put into its sets what is to be in there: its rules are new."""
        now = time.monotonic()
        for (place, where), end in [*box.ends.items()]:
            if end > now:
                seconds = 0 if end == FOR_EVER else max(1, int(end - now))
                self._put(box, place, [where], seconds, box.names.get(where, ""))

    def _changed(self, network_id: str, container_id: str) -> None:
        """Somebody came to a network, or went, or has other names: the container itself, or a neighbour."""
        attempt(lambda: self._follow(network_id, container_id))

    def _follow(self, network_id: str, container_id: str) -> None:
        box = self._find(container_id)
        if box and not self._census.of(container_id):
            self._forget(box)
        register = self._census.registers.get(network_id)
        if register is None or not register.has_names:
            return
        member = register.members.get(container_id)
        if box and member:
            self._meet(box, register, register.members.values())
        for one in self._boxes.values():
            if one.id in register.members and one is not box and member:
                self._meet(one, register, [member])
        # when all that has changed is known
        self._parting = self._parting or self._loop.later(0.0, self._part_all)

    def _begin(self, member: Member) -> Box:
        """A container with a list is there."""
        claim = egressclaim.read(self._home, member.id)
        resolver = f"{self._home.container(member.id)}/resolv.conf"
        box = Box(member.id, [*services(claim["elements"]).values()], resolver, claim["network"])
        if self._watch is None:
            self._watch = Watch(self._loop, egress.log_group(self._home), self._denied, self._rules_changed)
        self._boxes[member.id] = box
        # of an attendant before us, who was killed
        for place, found in egresselements.read(box.id, box.places).items():
            for one in found:
                where = address.text(int.from_bytes(one.key, "big"), 8 * len(one.key))
                box.ends[place, where] = time.monotonic() + one.expires_ms / 1000 if one.expires_ms else FOR_EVER
                box.names[where] = one.comment
        self._restore(box)
        self._look_soon(box)
        return box

    def _forget(self, box: Box) -> None:
        """A container is gone; what it was denied was told by whoever saw its end, but for what only we know."""
        del self._boxes[box.id]
        if box.next:
            box.next.cancel()
        if box.refused:
            egressdenials.look(self._home, box.id, box.refused, box.names, box.network)
        if not self._boxes and self._watch:
            self._watch.close()
            self._watch = None

    def _meet(self, box: Box, register: Register, members: Iterable[Member]) -> None:
        """Let a container reach those of its neighbours who have a name that is in the list."""
        for member in members:
            for place, where in _wanted(box, register, member):
                box.names[where] = member.names[0]
                self._put(box, place, [where], 0, member.names[0])

    def _part_all(self) -> None:
        self._parting = None
        for box in self._boxes.values():
            self._part(box)

    def _part(self, box: Box) -> None:
        """Let it not reach addresses any more that were of neighbours, and are of none with a name in the list."""
        before = [key for key, end in box.ends.items() if end == FOR_EVER]
        if not before:
            return
        there = {
            key
            for register, _ in self._census.of(box.id)
            for member in register.members.values()
            for key in _wanted(box, register, member)
        }
        for place, where in before:
            if (place, where) not in there:
                del box.ends[place, where]
                egresselements.take(self._speaker, box.id, place, address.pack(where))

    def _denied(self, table: str) -> None:
        for box in self._boxes.values():
            if egressrules.table(box.id) == table:
                self._look_soon(box)

    def _rules_changed(self, table: str, present: bool) -> None:
        for box in [*self._boxes.values()]:
            if table in ("", egressrules.table(box.id)):
                attempt(lambda box=box: self._fill(box) if present else self._restore(box))  # type: ignore[misc]  # no type for a default of a lambda

    def _restore(self, box: Box) -> None:
        """Put its rules in force again, if somebody has removed them; they are filled when we are told of them."""
        try:
            egress.restore(self._home, box.id, wait=False)
        except BlockingIOError:
            self._loop.later(_BUSY_S, lambda: self._restore(box))
        except MinirunError as error:
            say(str(error))

    def _look_soon(self, box: Box, seconds: float = 0.0) -> None:
        """See what a container was denied: some times at once, and then a second after the last time; or later."""
        now = time.monotonic()
        due = max(now + seconds, box.patience - _AT_ONCE * _LOOK_S)
        if box.next and box.next.due <= due:
            return
        if box.next:
            box.next.cancel()
        box.next = self._loop.later(due - now, lambda: self._look(box))

    def _look(self, box: Box) -> None:
        box.next = None
        box.patience = max(time.monotonic(), box.patience) + _LOOK_S
        try:
            left = egressdenials.look(self._home, box.id, box.refused, box.names, box.network)
        except BlockingIOError:
            self._look_soon(box, _BUSY_S)
            return
        box.refused = {}
        if self._watch and not self._watch.hears_denials:
            left = min(left or _UNHEARD_S, _UNHEARD_S)
        if left:
            self._look_soon(box, left)


def _wanted(box: Box, register: Register, member: Member) -> Iterator[tuple[str, str]]:
    """What is in a container's sets for a neighbour: (set, address)."""
    if member.id == box.id or not register.has_names:
        return
    names = [*member.names, *(f"{name}.{register.network.name.lower()}" for name in member.names)]
    for bits, where in ((32, member.lease.address), (128, member.lease.address6)):
        if where:
            yield from ((place, where) for place in box.places_of(names, bits))


def attend(attendant: Attendant) -> None:
    """See process.DUTIES."""
    Egress(attendant)
