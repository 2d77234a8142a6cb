"""The parent of the interfaces of a macvlan or ipvlan network: an interface of the host, which is its way outside.

    eth0            the host's own, and left as it is
    eth0.50         the same, if it is there; if not, made as VLAN 50 of eth0, and removed with its last network
    dm-0123456789ab a dummy, of the network's id: what is sent there goes nowhere but to its containers

    vl-0123456789ab ─ gets its name and an alias, at once ─▶ eth0.50    alias "minirun network NAME 0123456789ab"

A VLAN that we made is known by its alias, and before it has one by its name. Of several networks that have it as their
parent the one whose alias it has hands it on when it is removed. The host itself is not on such a network: the kernel
keeps parents and those who have them apart. See Documentation/networking/ipvlan.rst.
"""

from __future__ import annotations

import os
from errno import EEXIST, EOPNOTSUPP

from minirun.errors import Conflict, MinirunError, NotFound, Unsupported
from minirun.network import netlink, parentoptions, store
from minirun.network.bridge import hold

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyroute2 import IPRoute

    from minirun.home import Home
    from minirun.network.record import Network


def ensure(home: Home, network: Network) -> int:
    """See drivers.ensure."""
    attempt = f"use network {network.name}"
    speaker = netlink.speak()
    try:
        try:
            index = netlink.index(speaker, network.interface)
        except OSError:
            _make(home, network, attempt)
            index = netlink.index(speaker, network.interface)
        if not netlink.is_up(speaker, network.interface):
            raise parentoptions.down(attempt, network.interface)
    except OSError as error:
        raise MinirunError(attempt, error, f"look at its parent: `ip -d link show {network.interface}`") from None
    finally:
        speaker.close()
    return index


def _make(home: Home, network: Network, attempt: str) -> None:
    from pyroute2 import IPRoute, NetlinkError

    lock = hold(home)
    try:
        if not os.path.exists(home.network(network.name)):
            raise NotFound(attempt, "it was removed meanwhile", "`minirun network ls` lists them")
        with IPRoute() as speaker:
            if speaker.link_lookup(ifname=network.interface):
                return  # somebody was quicker
            is_dummy = network.interface == parentoptions.dummy(network.id)
            born = network.interface if is_dummy else _unnamed(network)
            try:
                if is_dummy:
                    speaker.link("add", ifname=born, kind="dummy")
                else:
                    _add_vlan(speaker, network, attempt)
                (index,) = speaker.link_lookup(ifname=born)
                speaker.link("set", index=index, ifname=network.interface, ifalias=_alias(network))
                speaker.link("set", index=index, state="up")
            except BaseException:
                _delete(speaker, born)
                raise
    except NetlinkError as error:
        raise _refusal(attempt, network, error.code) from None
    finally:
        os.close(lock)


def _add_vlan(speaker: IPRoute, network: Network, attempt: str) -> None:
    from pyroute2 import NetlinkError

    base, vlan = parentoptions.split(network.interface)
    found = speaker.link_lookup(ifname=base) if base else ()
    if not found:
        reason = f"the host has no interface {base or network.interface} any more"
        raise NotFound(attempt, reason, "`ip link` lists those that it has")
    if not speaker.link("get", index=found[0])[0]["flags"] & 1:
        raise parentoptions.down(attempt, base)
    _delete(speaker, _unnamed(network))  # of a time that was cut short
    try:
        speaker.link("add", ifname=_unnamed(network), kind="vlan", link=found[0], vlan_id=int(vlan))
    except NetlinkError as error:
        if error.code != EEXIST:
            raise
        raise Conflict(
            attempt, f"{base} has its VLAN {vlan} already, under another name",
            "`ip -d link` tells which: make a network with that as its parent",
        ) from None  # fmt: skip


def _refusal(attempt: str, network: Network, code: int) -> MinirunError:
    if code == EOPNOTSUPP:
        is_dummy = network.interface == parentoptions.dummy(network.id)
        kind, module = ("dummy interfaces", "dummy") if is_dummy else ("VLANs", "8021q")
        remedy = f"`modprobe {module}`, or give it a parent that is there: `ip link` lists them"
        return Unsupported(attempt, f"this kernel has no {kind}", remedy)
    return MinirunError(f"{attempt}: make its parent {network.interface}", OSError(code, os.strerror(code)))


def _unnamed(network: Network) -> str:
    """The name that a VLAN has until it is known that it is ours."""
    return f"vl-{network.id[:12]}"


def _alias(network: Network) -> str:
    return f"minirun network {network.name} {network.id[:12]}"


def _delete(speaker: IPRoute, name: str) -> None:
    for index in speaker.link_lookup(ifname=name):
        speaker.link("del", index=index)


def remove(home: Home, network: Network) -> None:
    """See drivers.remove."""
    from pyroute2 import IPRoute

    lock = hold(home)
    try:
        with IPRoute() as speaker:
            for name in (parentoptions.dummy(network.id), _unnamed(network)):
                _delete(speaker, name)
            for index in speaker.link_lookup(ifname=network.interface):
                link = speaker.link("get", index=index)[0]
                if dict(link["attrs"]).get("IFLA_IFALIAS") != _alias(network):
                    continue  # it was there before us
                known = store.list_all(home, warn=lambda _error: None)
                heirs = [one for one in known if one.interface == network.interface and one.id != network.id]
                if heirs:
                    speaker.link("set", index=index, ifalias=_alias(heirs[0]))
                else:
                    speaker.link("del", index=index)
        store.take_away(home, network)
    finally:
        os.close(lock)
