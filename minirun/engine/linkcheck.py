"""Bridges, their ports and their rules: whether they are those that the networks of a store say.

links     index, name, kind, whose port it is, alias, hardware address, addresses, whether it is up

A bridge tells by its alias of which store it is; what is another store's is left alone, and so are rules of a bridge
that is there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from errno import ENODEV
from functools import partial

from minirun.container import state
from minirun.container.networkflags import JOINED
from minirun.engine.damage import REPAIR
from minirun.engine.fault import Fault, Known, OfNetworks, free
from minirun.network import bridge, cable, lease, netlink, ruleset
from minirun.network.firewall import TABLE
from minirun.network.lease import Lease
from minirun.network.record import Network
from minirun.network.ruleset import Ruleset

_UP = 0x1  # IFF_UP
_SETTLING_S = 0.5  # the kernel takes interfaces away some time after their namespace has ended
_TABLE = f"table inet {TABLE}"


@dataclass(frozen=True, slots=True)
class Link:
    """An interface of the host."""

    index: int
    name: str
    kind: str
    master: int
    alias: str
    hardware: str
    addresses: frozenset[str]
    is_up: bool

    @property
    def where(self) -> str:
        """Where one may look at it."""
        return f"/sys/class/net/{self.name}"


def links() -> list[Link]:
    """Every interface of the host."""
    from pyroute2 import IPRoute

    with IPRoute() as speaker:
        addresses: dict[int, set[str]] = {}
        for told in speaker.get_addr():
            own = dict(told["attrs"]).get("IFA_ADDRESS", "")
            addresses.setdefault(told["index"], set()).add(f"{own}/{told['prefixlen']}")
        found = []
        for told in speaker.get_links():
            fields = dict(told["attrs"])
            kind = dict(fields.get("IFLA_LINKINFO", {}).get("attrs", ())).get("IFLA_INFO_KIND", "")
            found.append(
                Link(
                    told["index"], fields["IFLA_IFNAME"], kind, fields.get("IFLA_MASTER", 0),
                    fields.get("IFLA_IFALIAS", ""), fields.get("IFLA_ADDRESS", ""),
                    frozenset(addresses.get(told["index"], ())), bool(told["flags"] & _UP),
                )
            )  # fmt: skip
        return found


def faults(known: Known, rules: Ruleset, there: list[Link]) -> Iterator[Fault]:
    """Look for all that is wrong; *rules* were read before the links *there*, and the leases are read now."""
    by_name = {link.name: link for link in there}
    bridges = [network for network in known.networks if network.driver == "bridge"]
    leases = {network.id: _leases(known, network) for network in bridges}
    for network in bridges:
        yield from _bridge(known, network, rules, by_name, leases[network.id])
    if known.whole:
        yield from _orphans(known, there)
        yield from _rules(known, rules, by_name)
        yield from _ports(known, bridges, there, leases)


def _leases(known: Known, network: Network) -> list[Lease]:
    holders = lease.holders(known.home, network.id)
    return [own for holder in holders if (own := lease.find(known.home, network.id, holder))]


def _bridge(
    known: Known, network: Network, rules: Ruleset, by_name: dict[str, Link], leases: list[Lease]
) -> Iterator[Fault]:
    home, name = known.home, network.name
    alive = {box.id: box.name for box in known.boxes if state.read(home, box).alive}
    on_it = [alive[own.container] for own in leases if own.container in alive]
    whom = f"containers on network {name}" + (f" ({', '.join(on_it)})" if on_it else "")
    link = by_name.get(network.interface)
    make = partial(bridge.make, home, network)
    if link is None:
        if on_it:
            damage = OfNetworks("network without its bridge", home.network(name), f"{whom} reach nobody", REPAIR)
            yield Fault(damage, make)
        return
    if link.kind != "bridge" or link.hardware != bridge.hardware_address(network):
        remedy = f"look whose it is, `ip -d link show {link.name}`; remove that, or `minirun network rm {name}`"
        meaning = f"network {name} has a bridge of that name: {whom} do not start"
        yield Fault(OfNetworks("somebody else's interface", link.where, meaning, remedy))
        return
    if not bridge.made(home, network):
        return  # made anew with the next container: its runtime directory was emptied
    blocks = ((network.subnet, network.gateway), (network.subnet6, network.gateway6))
    wanted = {f"{own}/{block.partition('/')[2]}" for block, own in blocks if block}
    if not link.is_up or not wanted <= link.addresses:
        lacks = ", ".join(sorted(wanted - link.addresses)) or "it is down"
        damage = OfNetworks("bridge without its addresses", link.where, f"{whom} get nowhere: {lacks}", REPAIR)
        yield Fault(damage, make)
    if not _has_rules(network, rules):
        meaning = f"{whom} are not kept apart from other networks, or have no way out"
        yield Fault(OfNetworks("network without its rules", _TABLE, meaning, REPAIR), partial(bridge.restore, home))
    for own in leases:
        port = by_name.get(cable.host_end(own))
        if own.container not in alive:
            continue
        if port is None:
            meaning = f"container {alive[own.container]} reaches nobody on network {name}"
            remedy = f"`minirun restart {alive[own.container]}`"
            yield Fault(OfNetworks("lease without an interface", link.where, meaning, remedy))
        elif port.master != link.index:
            meaning = f"container {alive[own.container]} reaches nobody on network {name}"
            yield Fault(OfNetworks("interface that is off its bridge", port.where, meaning, REPAIR), make)


def _has_rules(network: Network, rules: Ruleset) -> bool:
    wanted = {"bridges", "same"}
    if not network.icc:
        wanted.add("apart")
    if network.internal:
        wanted.add("internal")
    has = {name for name in wanted if network.interface in rules.of(name)}
    return has == wanted and (network.internal or network.interface in rules.masqueraded)


def _orphans(known: Known, there: list[Link]) -> Iterator[Fault]:
    """Bridges of this store whose networks are gone."""
    ids = {network.id[:12] for network in known.networks}
    for link in there:
        words = link.alias.split(" ", 5)
        is_ours = words[:2] == ["minirun", "network"] and words[4:] == ["of", known.home.root]
        if link.kind == "bridge" and is_ours and words[3] not in ids:
            yield free("bridge without a network", link.where, "nobody is on it", partial(_remove, link.name))


def _rules(known: Known, rules: Ruleset, by_name: dict[str, Link]) -> Iterator[Fault]:
    """Rules of bridges that are not there: whoever makes one of that name makes its rules, too."""
    for interface in sorted(rules.interfaces - set(by_name)):
        where = f"{interface} in {_TABLE}"
        yield free("rules without a bridge", where, "no packet meets them", partial(ruleset.forget, rules, interface))


def _ports(known: Known, bridges: list[Network], there: list[Link], leases: dict[str, list[Lease]]) -> Iterator[Fault]:
    """Ports of our bridges that are nobody's. Who shares the namespace of a container that has ended may use its."""
    own = {network.interface for network in bridges if bridge.made(known.home, network)}
    masters = {link.index for link in there if link.name in own}
    ends = {cable.host_end(one) for every in leases.values() for one in every}
    lost = [link for link in there if link.master in masters and link.name.startswith("mr") and link.name not in ends]
    joined = (box for box in known.boxes if box.options["network"].startswith(JOINED))
    if not lost or any(state.read(known.home, box).alive for box in joined):
        return
    until_s = time.monotonic() + _SETTLING_S
    while (left := {link.name for link in links()}) & {link.name for link in lost} and time.monotonic() < until_s:
        time.sleep(0.05)
    for link in lost:
        if link.name in left:
            meaning = "its namespace is there still, for a process that came in from elsewhere"
            yield free("interface of a container that is gone", link.where, meaning, partial(_remove, link.name))


def _remove(name: str) -> None:
    speaker = netlink.speak()
    try:
        netlink.ask(speaker, [netlink.remove_link(name)])
    except OSError as error:
        if error.errno != ENODEV:
            raise
    finally:
        speaker.close()
