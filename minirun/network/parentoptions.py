"""--opt of the drivers macvlan and ipvlan, under Docker's names: the parent, the mode, mtu.

parent=eth0         an interface of the host
parent=eth0.50      one that is there; or VLAN 50 of eth0, made when it is needed: see parent.py
no parent           one that leads nowhere, made with the network: it is internal then
macvlan_mode        bridge; private, vepa, passthru
ipvlan_mode         l2; l3, l3s          ipvlan_flag    bridge; private, vepa
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, Conflict, MinirunError, NotFound, Unsupported
from minirun.network.bridgeoptions import INTERFACE_BYTES, MTU_KEYS, mtu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.network.record import Network

# option: what it may be, the kernel's number; the first is what it is without
CHOICES = {
    "macvlan": {"macvlan_mode": {"bridge": 4, "private": 1, "vepa": 2, "passthru": 8}},
    "ipvlan": {"ipvlan_mode": {"l2": 0, "l3": 1, "l3s": 2}, "ipvlan_flag": {"bridge": 0, "private": 1, "vepa": 2}},
}
_ETHERNET, _LOOPBACK = 1, 772  # ARPHRD_*: linux/if_arp.h
_IFF_UP = 1
_MOST_VLAN = 4094
_LIST = "`ip link` lists those that it has"


def choice(network: Network, option: str) -> str:
    """What a network has been given for one of CHOICES, or what it is without."""
    return network.options.get(option) or next(iter(CHOICES[network.driver][option]))


def knows_no_gateway(driver: str, options: Mapping[str, str]) -> bool:
    """Whether whatever leaves a container is handed to the host's routing: ipvlan.rst, "L3 mode"."""
    return driver == "ipvlan" and options.get("ipvlan_mode") in ("l3", "l3s")


def read(
    attempt: str, driver: str, options: Mapping[str, str], network_id: str, known: Sequence[Network], *, ipv6: bool,
    internal: bool,
) -> dict[str, Any]:  # fmt: skip
    """Read what is said of the parent of a new network, and see that it will do.

    Args:
        attempt: for the refusal.
        driver: macvlan or ipvlan.
        options: as they were given.
        network_id: of the network.
        known: every other network.
        ipv6: whether it has IPv6.
        internal: whether there is to be no way out.

    Returns:
        interface, internal, icc and mtu, as in its record.

    Raises:
        BadInput, Unsupported: one has no meaning, or is not there.
        NotFound: the host has no such interface.
        Conflict: the interface will not do.
    """
    parent, size = "", ""
    for key, value in options.items():
        if key == "parent":
            parent = value
        elif key in MTU_KEYS:
            size = key
        elif key not in CHOICES[driver]:
            there = f"there are parent, mtu, {', '.join(CHOICES[driver])}"
            raise Unsupported(attempt, f"there is no option {key}", there)
        elif value not in CHOICES[driver][key]:
            raise BadInput(attempt, f"--opt {key}={value} is none of {', '.join(CHOICES[driver][key])}")
    if parent and internal:
        raise BadInput(
            attempt, f"it is to be internal, and whoever is behind {parent} would be on it",
            "leave --internal out, or the parent",
        )  # fmt: skip
    most = _check(attempt, driver, options, parent, known) if parent else 65535
    return {
        "interface": parent or dummy(network_id),
        "internal": internal or not parent,
        "icc": True,
        "mtu": mtu(attempt, size, options[size], ipv6=ipv6, most=most) if size else 0,
    }


def _check(attempt: str, driver: str, options: Mapping[str, str], parent: str, known: Sequence[Network]) -> int:
    """See that a parent will do; how many bytes a packet through it may have."""
    from pyroute2 import IPRoute

    for network in known:
        if network.interface == parent:
            _check_shared(attempt, driver, options, network)
    base, vlan = split(parent)
    with IPRoute() as speaker:
        found = speaker.link_lookup(ifname=parent)
        if not found and base and speaker.link_lookup(ifname=base):
            if not 0 < int(vlan) <= _MOST_VLAN:
                raise BadInput(attempt, f"{base} has no VLAN {vlan}: they are 1 to {_MOST_VLAN}")
            if len(parent) > INTERFACE_BYTES:
                raise BadInput(attempt, f"{parent} is longer than the {INTERFACE_BYTES} letters of an interface")
            found, parent = speaker.link_lookup(ifname=base), base
        if not found:
            raise NotFound(attempt, f"the host has no interface {parent}", _LIST)
        link = speaker.link("get", index=found[0])[0]
    return _check_link(attempt, driver, parent, link)


def dummy(network_id: str) -> str:
    """The name of the parent of a network that leads nowhere: Docker's."""
    return f"dm-{network_id[:12]}"


def split(parent: str) -> tuple[str, str]:
    """``eth0.50`` is VLAN 50 of eth0; two empty words for what is none."""
    base, _, vlan = parent.rpartition(".")
    return (base, vlan) if base and vlan.isascii() and vlan.isdigit() and len(vlan) < 6 else ("", "")


def _check_shared(attempt: str, driver: str, options: Mapping[str, str], other: Network) -> None:
    """Raise Conflict where two networks cannot have one parent, which is of one kind, and one mode of ipvlan."""
    mine = {option: options.get(option) or next(iter(given)) for option, given in CHOICES[driver].items()}
    if other.driver == "bridge":
        return
    if other.driver != driver:
        reason = f"network {other.name} has it as the parent of {other.driver}s, and it can be that of one kind only"
    elif driver == "macvlan" and "passthru" in (mine["macvlan_mode"], choice(other, "macvlan_mode")):
        reason = f"network {other.name} has it, too, and one of them is passthru, which is for a single interface"
    elif driver == "ipvlan" and any(choice(other, option) != wanted for option, wanted in mine.items()):
        reason = f"network {other.name} has it in another mode, and all ipvlans of a parent are in one"
    else:
        return
    raise Conflict(attempt, f"{other.interface} is taken: {reason}", "take another parent, or a VLAN of it: eth0.50")


def _check_link(attempt: str, driver: str, parent: str, link: Any) -> int:
    attributes = dict(link["attrs"])
    remedy = _LIST
    if link["ifi_type"] == _LOOPBACK:
        reason = "it is the loopback"
    elif link["ifi_type"] != _ETHERNET:
        reason = "it is no Ethernet: its packets have no hardware addresses"
    elif driver == "macvlan" and os.path.exists(f"/sys/class/net/{parent}/phy80211"):
        reason, remedy = "it is wireless: its access point knows one hardware address", "ipvlan has the parent's"
    elif attributes.get("IFLA_MASTER"):
        reason, remedy = "it is a port of a bridge, a bond or a VRF", "give that one as the parent"
    elif not link["flags"] & _IFF_UP:
        raise down(attempt, parent)
    else:
        return int(attributes["IFLA_MTU"])
    raise Conflict(attempt, f"{parent} cannot be a parent: {reason}", remedy)


def down(attempt: str, parent: str) -> MinirunError:
    """What there is to say of a parent that is down."""
    reason = f"{parent} is down, and whatever has it as a parent would be, too"
    return Conflict(attempt, reason, f"`ip link set {parent} up`")
