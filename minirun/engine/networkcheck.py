"""Whether what is on the host for networks is what the store and its containers say, and mending it.

record          ◀─ container: names it                       lost network: its containers do not start
  │             ◀─ runtime/networks/<id>/: leases ─▶ container, which runs
  ▼
bridge          ◀─ minirun's rules: each of a bridge that is there       linkcheck.py
  └─ port       ◀─ lease                                                 linkcheck.py
runtime/ports/<container> ─▶ container, which runs; its elements in the maps of published ports
runtime/egress/<container> ─▶ container, which runs, or whose network another one shares

Every fault has what mends it: `gc` frees what nothing needs, `system check --repair` mends the rest, too. Where it is
looked for and mended at once, networks are held, so that none is just being made or removed. After a reboot nothing of
all this is there, and nothing is wrong: it is made again with the first container that needs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from minirun import caller
from minirun.container import endpoint, state
from minirun.container import record as records
from minirun.container.networkflags import JOINED
from minirun.engine import linkcheck
from minirun.engine.damage import DAMAGED, REMAINS, REPAIR, Damage, stray
from minirun.engine.fault import Fault, Known, OfNetworks, free
from minirun.errors import MinirunError
from minirun.home import Home
from minirun.image.reference import is_id
from minirun.kernel import tree
from minirun.network import (
    bridge,
    egress,
    egressclaim,
    forwarding,
    lease,
    portelements,
    published,
    retiring,
    ruleset,
    store,
)
from minirun.network.address import Subnet, parse, width
from minirun.network.firewall import TABLE
from minirun.network.record import DEFAULT, Network
from minirun.network.ruleset import Ruleset

_SUFFIX = ".json"


def faults(home: Home) -> Iterator[Fault]:
    """Look for everything that is wrong; nothing is changed.

    In this order: what came to be while it was looked at is looked for in what is made before it, and so is found.
    """
    if caller.ROOTLESS:
        return  # what is on the host's network, rules and bridges, is none of his
    unread: list[MinirunError] = []
    if not any(os.path.isdir(place) for place in (home.folder("networks"), f"{home.runtime}/networks")):
        return
    yield from _records(home, unread)
    networks = store.list_all(home, warn=lambda _error: None)
    if not networks and not os.path.isdir(f"{home.runtime}/networks"):
        return
    rules = ruleset.read() or Ruleset()
    links = linkcheck.links()
    boxes = records.list_all(home, warn=unread.append)
    known = Known(home, networks, boxes, whole=not unread)
    yield from _containers(known)
    yield from _leases(known)
    yield from _ports(known, rules)
    yield from _lists(known)
    yield from linkcheck.faults(known, rules, links)
    if known.whole and retiring.is_needless(home):
        what = "forwarding that no network needs"
        yield free(what, forwarding.path(home), "the host passes packets on", partial(retiring.tidy, home))


def found(home: Home) -> list[Damage]:
    """The same, without what mends it."""
    return [fault.damage for fault in faults(home)]


def sweep(home: Home) -> int:
    """Free what nothing needs; how much there was. The store is held."""
    return _mend(home, REMAINS)


def repair(home: Home) -> None:
    """Mend what can be mended of the rest. The store is held."""
    _mend(home, DAMAGED)


def _mend(home: Home, which: str) -> int:
    count = 0
    with _held(home):
        for fault in faults(home):
            if fault.damage.state == which and fault.mend:
                fault.mend()
                count += 1
    return count


@contextmanager
def _held(home: Home) -> Iterator[None]:
    networks = store.hold(home)
    try:
        bridges = bridge.hold(home)
        try:
            yield
        finally:
            os.close(bridges)
    finally:
        os.close(networks)


def _records(home: Home, unread: list[MinirunError]) -> Iterator[Fault]:
    for entry in sorted(os.listdir(home.folder("networks"))):
        path = f"{home.folder('networks')}/{entry}"
        name = entry.removesuffix(_SUFFIX)
        if name == entry:
            one = stray(path)
            yield Fault(OfNetworks(one.what, one.where, one.meaning, one.remedy, one.state))
            continue
        try:
            if network := store.find(home, name):
                _parsed(network, path)
        except MinirunError as error:
            unread.append(error)
            meaning = f"containers on it do not start, and who has to know all networks refuses to work: {error.reason}"
            yield Fault(OfNetworks("damaged network record", path, meaning, error.remedy))


def _parsed(network: Network, path: str) -> None:
    try:
        for block in filter(None, (network.subnet, network.subnet6, network.ip_range)):
            Subnet.parse(block)
        bytes.fromhex(network.id)
    except (ValueError, TypeError, AttributeError) as error:
        remedy = f"remove it: `rm {path}`, and make the network anew"
        raise MinirunError(f"read network {network.name}", f"{path} is damaged: {error}", remedy) from None


def _containers(known: Known) -> Iterator[Fault]:
    names = {network.name for network in known.networks}
    for box in known.boxes:
        for wanted in box.options.get("networks", ()):
            name = wanted["name"]
            if name not in names and name != DEFAULT and not os.path.exists(known.home.network(name)):
                what = f"container {box.name} ({box.id[:12]})"
                remedy = f"`minirun network create {name}` makes one, or `minirun rm {box.name}`"
                where = f"{known.home.container(box.id)}/container.json"
                yield Fault(OfNetworks("container without a network", where, f"{what} does not start", remedy))


def _leases(known: Known) -> Iterator[Fault]:
    home, ids = known.home, {network.id for network in known.networks}
    top = f"{home.runtime}/networks"
    for network_id in sorted(filter(is_id, os.listdir(top) if os.path.isdir(top) else ())):
        directory = f"{top}/{network_id}"
        if network_id in ids:
            for container_id in lease.holders(home, network_id):
                yield from _lease(home, network_id, container_id)
        elif known.whole:
            what = "leases of a network that is not there"
            yield free(what, directory, "nobody is on it", partial(tree.remove, directory))


def _lease(home: Home, network_id: str, container_id: str) -> Iterator[Fault]:
    directory = lease.folder(home, network_id)
    if endpoint.is_gone(home, container_id):
        yield free(
            "lease of a container that is gone", f"{directory}/{container_id}", "nobody else gets its addresses",
            partial(lease.release, home, network_id, container_id),
        )  # fmt: skip
    elif own := lease.find(home, network_id, container_id):  # else it is just being made, or given back
        for address in lease.addresses(home, network_id, container_id):
            if address not in (own.address, own.address6):
                yield free(
                    "address that no lease has", f"{directory}/{address}", "nobody else gets it",
                    partial(lease.strike, home, network_id, container_id, address),
                )  # fmt: skip


def _ports(known: Known, rules: Ruleset) -> Iterator[Fault]:
    home = known.home
    claims = published.claimants(home)
    blocks = [Subnet.parse(text) for network in known.networks for text in (network.subnet, network.subnet6) if text]
    for port in rules.published:
        own = port.element
        if any(claim.startswith(port.owner) for claim in claims if port.owner):
            continue
        if any(block.holds(parse(own.to), width(own.to)) for block in blocks):  # or it is another store's
            what = "published port of a container that is gone"
            where = f"{own.protocol} {own.address}:{own.port} in table inet {TABLE}"
            yield free(what, where, f"it leads to {own.to}", partial(portelements.remove, [own], port.owner))
    for container_id in claims:
        path = f"{home.runtime}/ports/{container_id}"
        there = sum(port.owner == container_id[:12] for port in rules.published)
        if endpoint.is_gone(home, container_id):
            what = "published ports of a container that is gone"
            give_back = partial(published.release, home.root, home.runtime, container_id)
            yield free(what, path, "they lead to nobody", give_back)
        elif there < published.elements(home, container_id) and _is_alive(known, container_id):
            damage = OfNetworks("published ports without their rules", path, "who connects there is refused", REPAIR)
            yield Fault(damage, partial(bridge.restore, home))


def _lists(known: Known) -> Iterator[Fault]:
    """What containers are held to. Who shares the network of one that has ended is held to its list still."""
    home, top = known.home, os.path.dirname(egressclaim.folder(known.home, ""))
    joined = {box.options["network"].removeprefix(JOINED) for box in known.boxes if state.read(home, box).alive}
    for entry in sorted(os.listdir(top) if os.path.isdir(top) else ()):
        container_id = entry.removesuffix(egressclaim.ENDING)
        if is_id(container_id) and container_id not in joined and endpoint.is_gone(home, container_id):
            what = "allow-list of a container that is gone"
            give_back = partial(egress.release, home.root, home.runtime, container_id)
            yield free(what, f"{top}/{entry}", "nobody is held to it", give_back)


def _is_alive(known: Known, container_id: str) -> bool:
    return any(box.id == container_id and state.read(known.home, box).alive for box in known.boxes)
