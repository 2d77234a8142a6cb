"""A container on a network: asked for by its record, leased at its start, given back at its end.

    check    ─ there is such a network, or container                    before anything is made
    steps    ─ bridge, lease                                            on the host, with the undo
    entrance.py ─ namespace, veth, addresses, routes                    by whoever makes its first process
    release  ─ the leases; the veths went with the last process         at its end, or by who finds what was cut short

What comes and goes while it runs is connection.py's. Which leases it has, the networks say: see network/lease.py. The
record has what was asked for alone.
"""

from __future__ import annotations

import os

from minirun import events
from minirun.container import record as records
from minirun.container import state
from minirun.container.networkflags import GATEWAY, JOINED
from minirun.errors import BadInput, Conflict, MinirunError, NotFound
from minirun.home import Home
from minirun.journal import Step
from minirun.network import drivers, lease, store
from minirun.network.namespace import leading
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
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
    if "usermode" in options:
        return
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

        # of one that was taken off them all, and may be connected again, the default network is told
        first = (record.options["networks"] or [{"name": DEFAULT}])[0]
        leasing = [*egress.steps(home, record, lambda: network_of(home, first)), *leasing]
    if "ports" not in record.options:
        return leasing
    from minirun.container import ports

    holding, publishing = ports.steps(home, record)
    return [*holding, *leasing, *publishing]


def _lease_step(home: Home, record: Record, wanted: dict[str, Any]) -> Step:
    return Step(
        f"lease {wanted['ip'] or 'an address'} of network {wanted['name']}", lambda: take(home, record, wanted),
        _undo(home, record, wanted["name"]), "nobody else on its network has it",
    )  # fmt: skip


def _undo(home: Home, record: Record, *names: str) -> list[str]:
    return ["release_endpoints", home.root, home.runtime, record.id, *names]


def undos(home: Home, record: Record) -> list[list[str]]:
    """What gives back what a container has of networks, also of those that it is connected to later on."""
    found = [_undo(home, record, *(wanted["name"] for wanted in record.options["networks"]))]
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


def release_cut_short(root: str, runtime: str, container_id: str, *names: str) -> None:
    """Give back what a container has of any network. An undo of the journal: idempotent.

    Args:
        root: of the store.
        runtime: its other directory.
        container_id: whose.
        names: the networks of which it may have the half of a lease.
    """
    home = Home(root, runtime)
    for name in names:
        if network := store.find(home, name):
            release(home, network, container_id)
    for network in _held(home, container_id, ()):
        release(home, network, container_id)


def _held(home: Home, container_id: str, names: Iterable[str]) -> Iterator[Network]:
    """The networks of which a container has a lease; most often, or always, they are among *names*."""
    ids = lease.networks_of(home, container_id)
    for name in names:
        network = store.find(home, name)
        if network and network.id in ids:
            ids.remove(network.id)
            yield network
    if ids:
        yield from (one for one in store.list_all(home, warn=lambda _error: None) if one.id in ids)


def release_all(home: Home, record: Record) -> None:
    """Give back what a container has of networks, of those that came later, too; its ports go first."""
    if "ports" in record.options:
        from minirun.network import published

        published.release(home.root, home.runtime, record.id)
    if "egress" in record.options:
        from minirun.network import egress

        egress.release(home.root, home.runtime, record.id)
    for network in _held(home, record.id, [wanted["name"] for wanted in record.options["networks"]]):
        release(home, network, record.id)


def forget_gone(home: Home) -> int:
    """Give back leases whose containers are gone, or have ended without anybody who did; how many there were."""
    count = 0
    for network in store.list_all(home, warn=lambda _error: None):
        for container_id in lease.holders(home, network.id):
            count += is_gone(home, container_id) and lease.release(home, network.id, container_id)
    return count


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
