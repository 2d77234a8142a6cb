"""Who is on the networks that the attendant serves, under which names: known at once when that changes.

    <runtime>/networks/<id>/    a container's link comes, goes, is replaced   ─┐ inotify: what a command
    <store>/names/              a name goes: somebody was renamed, or removed ─┘ did is told before it returned
    <runtime>/networks/<id>/bridge   comes, goes: see network/bridge.py

Each look takes in what was told by then, so what is answered is never older than the question. Only the leases wake us
up: names go with every container of the store, and what was told of them can wait for the next question.
"""

from __future__ import annotations

from minirun.container import record as records
from minirun.errors import MinirunError
from minirun.kernel.inotify import (
    IN_CREATE,
    IN_DELETE,
    IN_IGNORED,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_ONLYDIR,
    IN_Q_OVERFLOW,
    Watch,
)
from minirun.network import lease
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.network.lease import Lease
    from minirun.network.record import Network

_COMES_AND_GOES = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR
_ID_DIGITS = 64


class Member:
    """A container on a network.

    Attributes:
        id: of the container.
        box: its record.
        lease: what it has of the network.
        names: those by which others on the network find it, the first of them its own; in small letters.
    """

    __slots__ = ("box", "id", "lease", "names")

    def __init__(self, box: Record, found: Lease) -> None:
        self.box = box
        self.id = box.id
        self.lease = found
        self.names = found.names(box.name, box.options["hostname"])


class Register:
    """The containers on one network.

    Attributes:
        network: which.
        members: by the container's id.
        by_address: of either kind, as inet_ntop(3) writes it.
        by_name: in the order in which they came.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.members: dict[str, Member] = {}
        self.by_address: dict[str, Member] = {}
        self.by_name: dict[str, dict[str, Member]] = {}

    @property
    def has_names(self) -> bool:
        """Whether its containers find each other: on the default network nobody has a name, as with Docker."""
        return self.network.name != DEFAULT

    def add(self, member: Member) -> None:
        """Somebody came."""
        self.members[member.id] = member
        for address in (member.lease.address, member.lease.address6):
            if address:
                self.by_address[address] = member
        for name in member.names:
            self.by_name.setdefault(name, {})[member.id] = member

    def remove(self, container_id: str) -> None:
        """Somebody went. Idempotent."""
        member = self.members.pop(container_id, None)
        if member is None:
            return
        for address in (member.lease.address, member.lease.address6):
            if self.by_address.get(address) is member:
                del self.by_address[address]
        for name in member.names:
            del self.by_name[name][container_id]
            if not self.by_name[name]:
                del self.by_name[name]


class Census:
    """The registers of all networks that are served.

    Attributes:
        registers: by the network's id.
        changed: each is told of a container that came, went or changed on a network, by the network's id and its own;
            and of a network that is gone, with an empty one.
        bridges: each is called when the bridge of a network that is served was made anew, or taken down.
        descriptor: there is something to read from it when leases changed: then `look`.
    """

    def __init__(self, home: Home) -> None:
        self.registers: dict[str, Register] = {}
        self.changed: list[Callable[[str, str], None]] = []
        self.bridges: list[Callable[[], None]] = []
        self._home = home
        self._leases = Watch()
        self._names = Watch(home.folder("names"), IN_DELETE | IN_ONLYDIR)
        self._watched: dict[int, str] = {}
        self.descriptor = self._leases.descriptor

    def begin(self, network: Network) -> None:
        """Know who is on a network from now on. Idempotent.

        Raises:
            OSError: it is gone; or there are too many watches: /proc/sys/fs/inotify/ has the limits.
        """
        number = self._leases.add(lease.folder(self._home, network.id), _COMES_AND_GOES)
        self._watched[number] = network.id
        self.registers[network.id] = Register(network)
        self._read_all(network.id)

    def end(self, network_id: str) -> None:
        """Know nothing of a network any more. Idempotent."""
        if register := self.registers.pop(network_id, None):
            for container_id in (*register.members, ""):
                self._tell(network_id, container_id)

    def look(self) -> None:
        """Take in what was told since the last look."""
        for number, mask, name in self._leases.events():
            if mask & IN_Q_OVERFLOW:
                for network_id in self.registers:
                    self._read_all(network_id)
            elif mask & IN_IGNORED:
                self.end(self._watched.pop(number, ""))
            elif name == "bridge":
                for tell in self.bridges:
                    tell()
            elif len(name) == _ID_DIGITS and (network_id := self._watched.get(number, "")) in self.registers:
                self._read(network_id, name)
        gone = {name.lower() for name in self._names.names()}
        if gone:
            self._renamed(gone)

    def _renamed(self, names: set[str]) -> None:
        """Names of the store are gone; an empty one stands for all."""
        for network_id, register in self.registers.items():
            for member in [*register.members.values()]:
                if "" in names or member.names[0] in names:
                    self._read(network_id, member.id)

    def _read_all(self, network_id: str) -> None:
        there = set(lease.holders(self._home, network_id))
        for container_id in there | self.registers[network_id].members.keys():
            self._read(network_id, container_id)

    def _read(self, network_id: str, container_id: str) -> None:
        register = self.registers[network_id]
        register.remove(container_id)
        found = lease.find(self._home, network_id, container_id)
        if found:
            try:
                register.add(Member(records.read(self._home, container_id), found))
            except MinirunError:
                pass  # it is just going; or its record is damaged, which `ps` tells
        self._tell(network_id, container_id)

    def _tell(self, network_id: str, container_id: str) -> None:
        for tell in self.changed:
            tell(network_id, container_id)

    def of(self, container_id: str) -> list[tuple[Register, Member]]:
        """The networks that a container is on, in the order of its interfaces."""
        found = [(one, one.members[container_id]) for one in self.registers.values() if container_id in one.members]
        return sorted(found, key=lambda pair: (len(pair[1].lease.interface), pair[1].lease.interface))
