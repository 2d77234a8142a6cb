"""A container is connected to a network, or taken off one, also while it runs.

    connect        lease ─▶ interface ─▶ routes ─▶ /etc/hosts, resolv.conf ─▶ ports ─▶ record
    disconnect     record ─▶ /etc/hosts, resolv.conf ─▶ ports ─▶ interface ─▶ routes ─▶ lease

The record says which networks it has. So whoever finds one of the two cut short takes away what it has of networks that
are not in its record: the lower line from its second word on. The lease goes last, for it tells what else there is.
A container that does not run has a record, and nothing of the rest.
"""

from __future__ import annotations

import os

from minirun.container import endpoint, entrance, nameservice, state
from minirun.container import record as records
from minirun.errors import Conflict, NotFound
from minirun.home import Home
from minirun.launch import machine
from minirun.network import drivers, lease, store
from minirun.network.namespace import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.journal import Operation
    from minirun.network.lease import Lease
    from minirun.network.record import Network


def connect(home: Home, box: Record, wanted: dict[str, Any], operation: Operation) -> None:
    """Connect a container to one more network.

    Args:
        home: the store.
        box: held by the caller.
        wanted: the network, and what the container is to have there, as records have it.
        operation: what this is part of.

    Raises:
        Conflict: it is on that network, or can be on none, or has just ended; or somebody has the address.
        NotFound, BadInput: there is no such network, or it has no such address.
        MinirunError: the kernel refuses.
    """
    attempt = f"connect container {box.name} to network {wanted['name']}"
    _check(box, attempt)
    if wanted["name"] in _names(box):
        raise Conflict(attempt, "it is on it", f"`minirun inspect {box.name}` shows what it has there")
    if "egress" in box.options:
        from minirun.container import egress

        egress.check([endpoint.network_of(home, wanted)])
    operation.will("settle_connections", home.root, home.runtime, box.id)
    _settle(home, box)
    now = state.read(home, box)
    box.options["networks"].append(wanted)
    endpoint.interfaces(box.options["networks"])
    if now.alive:
        _join(home, box, now, wanted, attempt)
    try:
        records.write(home, box)
    except FileNotFoundError:
        raise NotFound(attempt, "it has just ended, and was removed") from None


def disconnect(home: Home, box: Record, name: str, operation: Operation) -> None:
    """Take a container off a network; the arguments are those of `connect`, *name* is the network's.

    Raises:
        Conflict: it is not on that network, or can be on none.
        MinirunError: the kernel refuses; whoever recovers goes on.
    """
    attempt = f"disconnect container {box.name} from network {name}"
    _check(box, attempt)
    names = _names(box)
    if name not in names:
        reason = f"it is not on that one, but on {', '.join(names)}" if names else "it is on no network"
        raise Conflict(attempt, reason, f"`minirun inspect {box.name}` shows its networks")
    operation.will("settle_connections", home.root, home.runtime, box.id)
    del box.options["networks"][names.index(name)]
    try:
        records.write(home, box)
    except FileNotFoundError:
        raise NotFound(attempt, "it has just ended, and was removed") from None
    _settle(home, box)


def _names(box: Record) -> list[str]:
    return [wanted["name"] for wanted in box.options["networks"]]


def _check(box: Record, attempt: str) -> None:
    """Refuse a container that has no network of its own, or is to have none."""
    mode: str = box.options["network"]
    if "networks" not in box.options:
        whose = "it shares the network of another container" if ":" in mode else f"it was made with --network {mode}"
        raise Conflict(attempt, whose, "make it anew, on a network: `minirun run --network NETWORK …`")


def _join(home: Home, box: Record, now: State, wanted: dict[str, Any], attempt: str) -> None:
    """Connect a container that runs to the last of the networks in its record."""
    namespace = _enter(box, now, attempt)
    try:
        own = endpoint.take(home, box, wanted, wanted.get("interface") or namespace.free_interface())
        network = endpoint.network_of(home, wanted)
        guard = entrance.guard(home, box, network, own)
        namespace.connect(network, own, drivers.ensure(home, network), (), guard)
        _lead(home, box, namespace)
    finally:
        namespace.close()
    nameservice.follow(home, box, network, own, present=True)
    if "ports" in box.options:
        from minirun.container import ports

        ports.reflect(network, own)
        ports.follow(home, box)


def _enter(box: Record, now: State, attempt: str) -> Namespace:
    descriptor = entrance.open_namespace(box, now, attempt)
    try:
        return Namespace.enter(machine.run, descriptor)
    finally:
        os.close(descriptor)


def _lead(home: Home, box: Record, namespace: Namespace) -> None:
    """Have the default routes go by the first networks that lead out; those that are there stay."""
    for kind, (network, own) in endpoint.ways(home, box).items():
        namespace.lead(network, own, kind)


def settle(root: str, runtime: str, container_id: str) -> None:
    """Take away what a container has of networks that are not in its record. An undo of the journal: idempotent.

    Raises:
        BlockingIOError: somebody is changing the container, or starting it.
    """
    home = Home(root, runtime)
    try:
        box = records.read(home, container_id)
        lock = records.hold(home, box, wait=False)
    except NotFound:
        names = [network.name for network in store.list_all(home, warn=lambda _error: None)]
        endpoint.release_cut_short(root, runtime, container_id, *names)
        return
    try:
        _settle(home, records.read(home, container_id))
    finally:
        os.close(lock)


def _settle(home: Home, box: Record) -> None:
    """The same of a container that the caller holds."""
    now, names = state.read(home, box), _names(box)
    for network in store.list_all(home, warn=lambda _error: None):
        if network.name not in names:
            if own := lease.find(home, network.id, box.id):
                _part(home, box, now, network, own)
            endpoint.release(home, network, box.id)


def _part(home: Home, box: Record, now: State, network: Network, own: Lease) -> None:
    """Take from a container, if it runs, what it has of a network but for its lease."""
    if not now.alive:
        return
    nameservice.follow(home, box, network, own, present=False)
    if "ports" in box.options:
        from minirun.container import ports

        ports.follow(home, box)
    try:
        namespace = _enter(box, now, "enter its network")
    except Conflict:
        return  # it has just ended, and its interfaces with it
    try:
        namespace.disconnect(network, own)
        if "egress" in box.options:
            from minirun.container import egress

            egress.let_go(home, own)
        _lead(home, box, namespace)
    finally:
        namespace.close()
