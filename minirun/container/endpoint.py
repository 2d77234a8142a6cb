"""A container on a network: asked for by its record, leased at its start, given back at its end.

    check    ─ there is such a network, or container                    before anything is made
    steps    ─ bridge, lease                                            on the host, with the undo
    entered  ─ namespace, veth, addresses, routes                       by whoever makes its first process
    release  ─ the leases; the veths went with the last process         at its end, or by who finds what was cut short

What comes and goes while it runs is connection.py's. Which leases it has, the networks say: see network/lease.py. The
record has what was asked for alone.
"""

from __future__ import annotations

import os
from _socket import if_nametoindex

from minirun import events
from minirun.container import record as records
from minirun.container import state
from minirun.container.networkflags import GATEWAY, JOINED
from minirun.errors import BadInput, Conflict, MinirunError, NotFound
from minirun.home import Home
from minirun.journal import Step
from minirun.launch import machine
from minirun.network import drivers, lease, store
from minirun.network.namespace import Namespace, gateways, leading
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.network.lease import Lease
    from minirun.network.record import Network


def check(home: Home, options: dict[str, Any]) -> None:
    """See that what the options name is there, and put the names in their place that stay.

    Raises:
        NotFound: there is no such network, or container.
        BadInput: an address is none of the network's, or two are the same one.
        Unsupported: ports are to be published, and none of the networks has a way in.
    """
    mode = options["network"]
    if mode.startswith(JOINED):
        other = records.find(home, mode.removeprefix(JOINED))
        options["network"] = f"{JOINED}{other.id}"
        options["hostname"] = other.options["hostname"]
        return
    found: list[Network] = []
    for wanted in options["networks"]:
        network = store.find(home, DEFAULT) if wanted["name"] == DEFAULT else store.get(home, wanted["name"])
        if network is None:
            continue  # made when it is needed
        lease.check(network, wanted["ip"], wanted["ip6"], wanted["mac"])
        if network.name in (other.name for other in found):
            raise BadInput(f"use --network {wanted['name']}", f"it is network {network.name}, given twice")
        wanted["name"] = network.name
        found.append(network)
    options["network"] = options["networks"][0]["name"]
    interfaces(options["networks"])
    if "egress" in options:
        from minirun.container import egress

        egress.check(found)
    if len(found) == len(options["networks"]):
        _check_gateway(options, found)
    if "ports" in options and len(found) == len(options["networks"]):
        from minirun.container import ports

        ports.check(options, found)


def _check_gateway(options: dict[str, Any], networks: Sequence[Network]) -> None:
    """Refuse names for the host, where no network has an address of it."""
    names = [name for name, where in options.get("add_hosts", ()) if where == GATEWAY]
    if names and not any(network.driver == "bridge" for network in networks):
        raise BadInput(
            f"use --add-host {names[0]}:{GATEWAY}", f"the host is not on network {networks[0].name}",
            "say an address of it that is reached from there, or connect it to a bridge as well",
        )  # fmt: skip


def interfaces(networks: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a container calls its interfaces, in the order of its networks: as they say, or eth0, eth1 and so on.

    Raises:
        BadInput: two are to have one name.
    """
    said = [wanted.get("interface", "") for wanted in networks]
    for name in filter(None, said):
        if said.count(name) > 1:
            raise BadInput(f"use {name} as the name of an interface", "two are to have it", "take another one")
    free = (name for number in range(2 * len(said)) if (name := f"eth{number}") not in said)
    return [name or next(free) for name in said]


def network_of(home: Home, wanted: Mapping[str, Any]) -> Network:
    """The network that is asked for.

    Raises:
        NotFound: it is not there any more.
    """
    name = wanted["name"]
    network = store.find(home, name)
    if network is None and name == DEFAULT:
        from minirun.network import creation

        return creation.default(home)
    if network is None:
        raise NotFound(
            f"use network {name}", "it was removed",
            f"`minirun network create {name}`, or leave it: `minirun network disconnect -f {name} CONTAINER`",
        )  # fmt: skip
    return network


def steps(home: Home, record: Record) -> list[Step]:
    """List what gets a container its addresses, each with the undo."""
    leasing = [_lease_step(home, record, wanted) for wanted in record.options["networks"]]
    if "egress" in record.options:
        from minirun.container import egress

        leasing = [*egress.steps(home, record, lambda: network_of(home, record.options["networks"][0])), *leasing]
    if "ports" not in record.options:
        return leasing
    from minirun.container import ports

    holding, publishing = ports.steps(home, record)
    return [*holding, *leasing, *publishing]


def _lease_step(home: Home, record: Record, wanted: dict[str, Any]) -> Step:
    return Step(
        f"lease {wanted['ip'] or 'an address'} of network {wanted['name']}", lambda: take(home, record, wanted),
        _undo(home, record), "nobody else on its network has it",
    )  # fmt: skip


def _undo(home: Home, record: Record) -> list[str]:
    return ["release_endpoints", home.root, home.runtime, record.id]


def undos(home: Home, record: Record) -> list[list[str]]:
    """What gives back what a container has of networks, also of those that it is connected to later on."""
    found = [_undo(home, record)]
    if "egress" in record.options:
        from minirun.container import egress

        found += egress.undos(home, record)
    if "ports" in record.options:
        from minirun.container import ports

        found += ports.undos(home, record)
    return found


def take(home: Home, record: Record, wanted: Mapping[str, Any], interface: str = "") -> Lease:
    """Give a container addresses of a network, which is made ready on the host.

    Args:
        home: the store.
        record: the container.
        wanted: one of its networks.
        interface: what it calls its own there; empty: as its place among its networks says.

    Raises:
        NotFound, Conflict, BadInput: there is no such network, or it has no such address to give.
    """
    network = network_of(home, wanted)
    index = drivers.ensure(home, network)
    if not interface:
        networks = record.options["networks"]
        interface = interfaces(networks)[networks.index(wanted)]
    asked = {
        "own": wanted["ip"], "own6": wanted["ip6"], "mac": wanted["mac"], "aliases": wanted["aliases"],
        "interface": interface,
    }  # fmt: skip
    try:
        taken = lease.take(home, network, record.id, **asked)
    except Conflict:
        if not forget_gone(home):
            raise
        taken = lease.take(home, network, record.id, **asked)
    if network.name != DEFAULT or "egress" in record.options:
        from minirun.container import attendance

        attendance.ensure(home, network, index)
    events.emit(home, "network", "connect", network.id, network.told(container=record.id))
    return taken


def release(home: Home, network: Network, container_id: str) -> None:
    """Give back what a container has of a network. Idempotent."""
    if lease.release(home, network.id, container_id):
        events.emit(home, "network", "disconnect", network.id, network.told(container=container_id))


def release_cut_short(root: str, runtime: str, container_id: str) -> None:
    """The same of every network, whole or not. An undo of the journal: idempotent."""
    home = Home(root, runtime)
    for network in store.list_all(home, warn=lambda _error: None):
        release(home, network, container_id)


def release_all(home: Home, record: Record) -> None:
    """Give back what a container has of networks, whatever it was told when it was started; its ports go first."""
    if "ports" in record.options:
        from minirun.network import published

        published.release(home.root, home.runtime, record.id)
    if "egress" in record.options:
        from minirun.network import egress

        egress.release(home.root, home.runtime, record.id)
    for network in store.list_all(home, warn=lambda _error: None):
        if lease.find(home, network.id, record.id):
            release(home, network, record.id)


def forget_gone(home: Home) -> int:
    """Give back leases whose containers are gone, or have ended without anybody who did; how many there were."""
    count = 0
    for network in store.list_all(home, warn=lambda _error: None):
        for container_id in lease.holders(home, network.id):
            count += is_gone(home, container_id) and lease.release(home, network.id, container_id)
    return count


def guard(home: Home, record: Record, network: Network, own: Lease) -> Callable[[str], None] | None:
    """What has to be done before anything gets through an interface: see drivers.plug."""
    if "egress" not in record.options:
        return None
    from minirun.container import egress

    return egress.guard(home, network, own)


def is_gone(home: Home, container_id: str) -> bool:
    """Whether a container is not there any more, or has ended and nobody is about to start it or to say so."""
    try:
        box = records.read(home, container_id)
        lock = records.hold(home, box, wait=False)
    except NotFound:
        return True
    except (MinirunError, BlockingIOError):
        return False  # not known, or just being started
    try:
        return not state.read(home, box).alive and state.written(home, box).status != "running"
    finally:
        os.close(lock)


def leases(home: Home, record: Record) -> Iterator[tuple[dict[str, Any], Network | None, Lease | None]]:
    """What is asked for, the network, and what the container has of it; None for what is not there."""
    for wanted in record.options.get("networks", ()):
        network = store.find(home, wanted["name"])
        yield wanted, network, lease.find(home, network.id, record.id) if network else None


def connected(home: Home, record: Record) -> list[tuple[Network, Lease]]:
    """The networks that a container is on now, in its order, and what it has there."""
    return [(network, own) for _, network, own in leases(home, record) if network and own]


def ways(home: Home, record: Record) -> dict[int, tuple[Network, Lease]]:
    """By kind of addresses, 4 and 6, by which network a container's default route goes, and what it has there."""
    found = {network.id: (network, own) for network, own in connected(home, record)}
    return {kind: found[network.id] for kind, network in leading(network for network, _ in found.values()).items()}


class Entrance:
    """The network namespace that a container's first process is to enter, made as its steps are done.

    Attributes:
        descriptor: of it; -1 before.
        steps: what makes it, in their order; they have no undo: what is made goes with the descriptor.
    """

    __slots__ = ("_home", "_leaderless", "_made", "_record", "descriptor", "steps")

    def __init__(self, home: Home, record: Record) -> None:
        self._home = home
        self._record = record
        self._made: Namespace | None = None
        self._leaderless = {4, 6}  # kinds of addresses without a default route
        self.descriptor = -1
        mode = record.options["network"]
        if mode.startswith(JOINED):
            text = f"open /proc/PID/ns/net → netns, of container {mode.removeprefix(JOINED)[:12]}"
            self.steps = [Step(text, self._join, (), "its network is this one's, too")]
            return
        self.steps = [
            Step("unshare(CLONE_NEWNET) → netns, and setns back", self._make, (), "its network, made beforehand"),
            *map(self._connection, record.options["networks"]),
        ]

    def open(self, trace: list[tuple[str, float]] | None) -> int:
        """Do the steps, and return the descriptor; *trace* takes what each took, in microseconds.

        Raises:
            MinirunError: the kernel refuses, or who is to be joined does not run.
        """
        from time import perf_counter

        try:
            for step in self.steps:
                begun = perf_counter()
                step.do()
                if trace is not None:
                    trace.append((step.text, (perf_counter() - begun) * 1e6))
        except BaseException:
            self.close()
            raise
        return self.descriptor

    def close(self) -> None:
        """Let go of it: it stays while it has processes."""
        if self._made:
            self._made.close()
        elif self.descriptor >= 0:
            os.close(self.descriptor)
        self._made, self.descriptor = None, -1

    def _make(self) -> None:
        try:
            self._made = Namespace.make(machine.run)
        except OSError as error:
            raise MinirunError("make a network namespace", error, "run as root; see `minirun info`") from None
        self.descriptor = self._made.descriptor

    def _connection(self, wanted: dict[str, Any]) -> Step:
        networks = self._record.options["networks"]
        there = f"{interfaces(networks)[networks.index(wanted)]} in netns"
        text = f"RTM_NEWLINK, on network {wanted['name']}: {there}"
        why = "its interface there; then RTM_NEWADDR, RTM_NEWROUTE"
        return Step(text, lambda: self._connect(wanted), (), why)

    def _connect(self, wanted: dict[str, Any]) -> None:
        network = network_of(self._home, wanted)
        own = lease.find(self._home, network.id, self._record.id)
        assert self._made
        if own is None:
            attempt = f"start container {self._record.name}"
            raise Conflict(attempt, f"its lease of network {network.name} was taken away")
        try:
            index = if_nametoindex(network.interface)
        except OSError:
            index = drivers.ensure(self._home, network)  # just taken away: it is made again
        leads = self._leaderless.intersection(kind for kind, _ in gateways(network))
        self._leaderless -= leads
        self._made.connect(network, own, index, leads, guard(self._home, self._record, network, own))
        if "ports" in self._record.options:
            from minirun.container import ports

            ports.reflect(network, own)

    def _join(self) -> None:
        wanted = self._record.options["network"].removeprefix(JOINED)
        attempt = f"join the network of container {wanted[:12]}"
        try:
            other = records.read(self._home, wanted)
        except NotFound:
            raise NotFound(attempt, "it was removed", "remove this one, too, and make it anew") from None
        now = state.read(self._home, other)
        if not now.alive:
            raise Conflict(attempt, f"it is {now.status}", f"start it first: `minirun start {other.name}`")
        if "egress" in other.options:
            from minirun.network import egressclaim

            egressclaim.share(self._home, other.id)
        self.descriptor = open_namespace(other, now, attempt)


def open_namespace(box: Record, now: State, attempt: str) -> int:
    """A descriptor of the network namespace of a container that runs.

    Raises:
        Conflict: it has ended.
    """
    from _signal import pidfd_send_signal

    from minirun.container.firstprocess import FirstProcess

    try:
        first = FirstProcess.open(box, now)
    except Conflict:
        raise Conflict(attempt, "it has just ended") from None
    descriptor = -1
    try:
        descriptor = os.open(f"/proc/{now.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        pidfd_send_signal(first.pidfd, 0)  # it lives, so that was its own
    except (FileNotFoundError, ProcessLookupError):
        if descriptor >= 0:
            os.close(descriptor)
        raise Conflict(attempt, "it has just ended") from None
    finally:
        first.close()
    return descriptor
