"""What a container with an allow-list was denied: counted by the kernel, told as events, shown by inspect.

    egress/<id>/denials             {"more": 0, "more_seen": 0, "list": [[destination, protocol, port, name,
                                     count, last, seen, told, told_at], …]}: see Denial
    containers/<id>/denials.json    the same, when it has ended

    denied4 …   ── seen: the count that was there at the last look ──▶ count, last
    a name      ── the resolver was asked for one that is not in the list ──▶ protocol "dns"
    count - told ──▶ an event: at once of a destination that is new, a minute after the last one of another

A flood is no flood of events: of many that are new at once the first ones are told, and of the rest how many they are.
Neither does it fill anything: the kernel's sets have a size, and so has the list. Whoever has read a container's claim
holds it: see egress.py.
"""

from __future__ import annotations

import os
import time
from _socket import AF_INET, AF_INET6, inet_ntop

from minirun import events
from minirun.kernel import jsonfile
from minirun.network import egressclaim, egresselements, egressrules
from minirun.network.egresslink import RESOLVER_PORT
from minirun.network.egresslist import services

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.home import Home

NAME = "dns"  # the protocol of a name that was not to be asked for
NEW_AT_ONCE = 20  # destinations that are told one by one
AGAIN_S = 60.0  # of one that is known: how often it is told
_MOST, _MOST_NAMES = 4096, 256  # destinations that are kept, and names among them
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp", 132: "sctp"}
_LINKS = {0x0806: "arp", 0x0800: "ip", 0x86DD: "ip6", 0x8100: "vlan", 0x88A8: "vlan"}


class Denial:
    """A destination that a container was denied.

    Attributes:
        destination: an address, or a name that the resolver was asked for; empty for frames that are not of IP.
        protocol: ``tcp``, ``udp``, ``sctp``, ``icmp``, the number of another; NAME; of a frame its type, ``arp``.
        port: 0 where there is none.
        name: that the address was told for; empty if nobody knows.
        count: packets, or questions.
        last: the time of the last one, seconds since 1970.
        seen: what the kernel had counted at the last look.
        told: how many of *count* were told by events.
        told_at: when that was, the last time.
    """

    __slots__ = ("count", "destination", "last", "name", "port", "protocol", "seen", "told", "told_at")

    def __init__(
        self, destination: str, protocol: str, port: int, name: str = "", count: int = 0, last: float = 0.0,
        seen: int = 0, told: int = 0, told_at: float = 0.0,
    ) -> None:  # fmt: skip
        self.destination = destination
        self.protocol = protocol
        self.port = port
        self.name = name
        self.count = count
        self.last = last
        self.seen = seen
        self.told = told
        self.told_at = told_at

    def to_json(self) -> list[Any]:
        """As it is kept."""
        return [
            self.destination, self.protocol, self.port, self.name, self.count, self.last, self.seen, self.told,
            self.told_at,
        ]  # fmt: skip


class Denials:
    """All that a container was denied.

    Attributes:
        more: packets to destinations, and questions for names, that there was no room for.
    """

    def __init__(self, told: Mapping[str, Any]) -> None:
        self._by_key: dict[tuple[str, str, int], Denial] = {}
        self.more: int = told.get("more", 0)
        self._more_seen: int = told.get("more_seen", 0)
        for one in told.get("list", ()):
            self._keep(Denial(*one))

    def _keep(self, denial: Denial) -> Denial:
        return self._by_key.setdefault((denial.destination, denial.protocol, denial.port), denial)

    def list(self) -> list[Denial]:
        """Each destination, the last one first."""
        return sorted(self._by_key.values(), key=lambda denial: (-denial.last, denial.destination, denial.port))

    def to_json(self) -> dict[str, Any]:
        """As they are kept: those of long ago go first."""
        those = [denial.to_json() for denial in self.list()[:_MOST]]
        return {"more": self.more, "more_seen": self._more_seen, "list": those}

    def add_names(self, names: Mapping[str, int], now: float) -> None:
        """Take in names that the resolver was asked for in vain, and how often since the last time."""
        known = sum(denial.protocol == NAME for denial in self._by_key.values())
        for name, count in names.items():
            if (name, NAME, RESOLVER_PORT) not in self._by_key:
                if known == _MOST_NAMES:
                    self.more += count
                    continue
                known += 1
            denial = self._keep(Denial(name, NAME, RESOLVER_PORT))
            denial.count += count
            denial.last = now

    def add_counted(self, container_id: str, names: Mapping[str, str], now: float) -> None:
        """Take in what the kernel has counted; *names* are those of addresses."""
        for (destination, protocol, port), found in _counted(container_id):
            denial = self._keep(Denial(destination, protocol, port))
            # the kernel forgets a destination after a day, and everything where somebody flushes its rules
            fresh = found.packets - denial.seen if found.packets >= denial.seen else found.packets
            if fresh:
                denial.count += fresh
                denial.last = now - max(0.0, egressrules.DENIED_S - found.expires_ms / 1000)
            denial.seen = found.packets
            denial.name = denial.name or names.get(destination, "")
        seen = egresselements.counted(container_id, "more")
        self.more += seen - self._more_seen if seen >= self._more_seen else seen
        self._more_seen = seen


def _counted(container_id: str) -> Iterator[tuple[tuple[str, str, int], egresselements.Found]]:
    sets = egresselements.read(container_id, ("denied4", "denied6", "others4", "others6", "link"))
    for name, those in sets.items():
        for found in those:
            yield _key(name, found.key), found


def _key(name: str, key: bytes) -> tuple[str, str, int]:
    if name == "link":
        kind = int.from_bytes(key[:2], "big")
        return "", _LINKS.get(kind, f"ethertype {kind:#06x}"), 0
    size, family = (4, AF_INET) if name.endswith("4") else (16, AF_INET6)
    protocol, port = key[size], int.from_bytes(key[size + 4 : size + 6], "big")
    return inet_ntop(family, key[:size]), _PROTOCOLS.get(protocol, str(protocol)), port


def _current(home: Home, container_id: str) -> str:
    return f"{egressclaim.folder(home, container_id)}/denials"


def show(home: Home, container_id: str) -> Denials:
    """What a container was denied since it was started last; nothing is told or written."""
    lock = egressclaim.hold(home, container_id)
    if lock < 0:
        return Denials(_read(egressclaim.kept(home, container_id)))
    try:
        denials = Denials(_read(_current(home, container_id)))
        denials.add_counted(container_id, _names(home, container_id), time.time())
    finally:
        os.close(lock)
    return denials


def _read(path: str) -> dict[str, Any]:
    try:
        told: dict[str, Any] = jsonfile.read(path)
    except (OSError, ValueError):
        return {}
    return told


def _names(home: Home, container_id: str) -> dict[str, str]:
    """The names that addresses were told for, of those that are good still."""
    places = range(len(services(egressclaim.read(home, container_id)["elements"])))
    sets = egresselements.read(container_id, [egressrules.named(place, bits) for place in places for bits in (32, 128)])
    return {
        inet_ntop(AF_INET if len(found.key) == 4 else AF_INET6, found.key): found.comment
        for those in sets.values()
        for found in those
    }


def look(
    home: Home, container_id: str, refused: Mapping[str, int], names: Mapping[str, str], network: Mapping[str, Any]
) -> float:
    """Take in what came since the last look, and tell it.

    Args:
        home: the store.
        container_id: whose.
        refused: names that its resolver was not to ask for, and how often since the last look.
        names: of addresses.
        network: what its claim has of that, which may be gone.

    Returns:
        In how many seconds there is something to tell; 0: nothing is left.

    Raises:
        BlockingIOError: somebody holds its claim.
    """
    lock = egressclaim.hold(home, container_id, wait=False)
    if lock < 0:
        _add_late(home, container_id, refused, network)
        return 0.0
    try:
        now = time.time()
        denials = Denials(_read(_current(home, container_id)))
        denials.add_names(refused, now)
        denials.add_counted(container_id, names, now)
        left = _tell(home, network, denials, now)
        jsonfile.write(_current(home, container_id), denials.to_json(), durable=False)
    finally:
        os.close(lock)
    return left


def _add_late(home: Home, container_id: str, refused: Mapping[str, int], network: Mapping[str, Any]) -> None:
    """Names that a container asked for which has ended since."""
    if not refused:
        return
    now = time.time()
    denials = Denials(_read(egressclaim.kept(home, container_id)))
    denials.add_names(refused, now)
    _tell(home, network, denials, now, last=True)
    _keep(home, container_id, denials)


def _keep(home: Home, container_id: str, denials: Denials) -> None:
    try:
        jsonfile.write(egressclaim.kept(home, container_id), denials.to_json(), durable=False)
    except FileNotFoundError:
        pass  # the container was removed


def finish(home: Home, container_id: str) -> None:
    """Tell all that is left, and keep it with the container, if that is kept; its claim is held, for the last time."""
    now = time.time()
    denials = Denials(_read(_current(home, container_id)))
    denials.add_counted(container_id, _names(home, container_id), now)
    _tell(home, egressclaim.read(home, container_id)["network"], denials, now, last=True)
    _keep(home, container_id, denials)


def _tell(home: Home, network: Mapping[str, Any], denials: Denials, now: float, *, last: bool = False) -> float:
    due = [denial for denial in denials.list() if denial.count > denial.told]
    new = [denial for denial in due if not denial.told]
    again = [denial for denial in due if denial.told and (last or now - denial.told_at >= AGAIN_S)]
    one_by_one = [*new[:NEW_AT_ONCE], *again[:NEW_AT_ONCE]]
    for denial in one_by_one:
        told = {"destination": denial.destination, "port": str(denial.port or ""), "protocol": denial.protocol}
        if denial.name:
            told["host"] = denial.name
        told["count"] = str(denial.count - denial.told)
        events.emit(home, "network", "deny", network["id"], {**network["told"], **told})
    rest = [*new[NEW_AT_ONCE:], *again[NEW_AT_ONCE:]]
    if rest:
        count = str(sum(denial.count - denial.told for denial in rest))
        told = {"destination": "", "port": "", "protocol": "", "destinations": str(len(rest)), "count": count}
        events.emit(home, "network", "deny", network["id"], {**network["told"], **told})
    for denial in (*one_by_one, *rest):
        denial.told, denial.told_at = denial.count, now
    left = [AGAIN_S - (now - denial.told_at) for denial in due if denial.count > denial.told]
    return max(0.1, min(left)) if left else 0.0
