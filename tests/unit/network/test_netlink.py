"""Every message that we encode has the bytes that pyroute2 gives it; and what the kernel answers is understood."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from minirun.errors import MinirunError
from minirun.network import netlink

REQUEST, ACK, EXCL, CREATE = 1, 4, 0x200, 0x400
MAC = "02:42:0a:5a:00:07"
MAC_BYTES = bytes.fromhex("02420a5a0007")


def encoded(message: Any, kind: int, how: int, attributes: list[tuple[str, Any]], **fields: int) -> bytes:
    """What pyroute2 makes of a message."""
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attributes
    message["header"]["type"] = kind
    message["header"]["flags"] = REQUEST | ACK | how
    message["header"]["sequence_number"] = message["header"]["pid"] = 0
    message.encode()
    return bytes(message.data)


def test_a_pair_of_interfaces() -> None:
    peer = {
        "attrs": [("IFLA_IFNAME", "eth0"), ("IFLA_ADDRESS", MAC), ("IFLA_MTU", 1400), ("IFLA_NET_NS_FD", 9)],
    }
    info = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})]}
    attributes = [("IFLA_IFNAME", "mr0123"), ("IFLA_MTU", 1400), ("IFLA_MASTER", 5), ("IFLA_LINKINFO", info)]
    theirs = encoded(ifinfmsg(), 16, CREATE | EXCL, attributes, flags=1, change=1)
    assert netlink.veth("mr0123", 5, 1400, "eth0", MAC_BYTES, 9) == theirs
    down = encoded(ifinfmsg(), 16, CREATE | EXCL, attributes)
    assert netlink.veth("mr0123", 5, 1400, "eth0", MAC_BYTES, 9, up=False) == down


@pytest.mark.parametrize(("mac", "mtu"), [(MAC, 1400), ("", 0)])
def test_an_interface_of_a_macvlan(mac: str, mtu: int) -> None:
    info = {"attrs": [("IFLA_INFO_KIND", "macvlan"), ("IFLA_INFO_DATA", {"attrs": [("IFLA_MACVLAN_MODE", "bridge")]})]}
    attributes: list[tuple[str, Any]] = [("IFLA_IFNAME", "eth0"), ("IFLA_LINK", 5), ("IFLA_NET_NS_FD", 9)]
    attributes += [("IFLA_ADDRESS", mac)] if mac else []
    attributes += [("IFLA_MTU", mtu)] if mtu else []
    theirs = encoded(ifinfmsg(), 16, CREATE | EXCL, [*attributes, ("IFLA_LINKINFO", info)])
    assert netlink.macvlan(5, 4, mtu, "eth0", MAC_BYTES if mac else b"", 9) == theirs


def test_an_interface_of_an_ipvlan() -> None:
    data = {"attrs": [("IFLA_IPVLAN_MODE", 2)]}
    info = {"attrs": [("IFLA_INFO_KIND", "ipvlan"), ("IFLA_INFO_DATA", data)]}
    attributes = [("IFLA_IFNAME", "eth1"), ("IFLA_LINK", 5), ("IFLA_NET_NS_FD", 9), ("IFLA_LINKINFO", info)]
    assert netlink.ipvlan(5, 2, 0, 0, "eth1", 9) == encoded(ifinfmsg(), 16, CREATE | EXCL, attributes)


def test_a_port_that_is_isolated() -> None:
    attributes = [("IFLA_PROTINFO", {"attrs": [("IFLA_BRPORT_ISOLATED", 1)]})]
    theirs = bytearray(encoded(ifinfmsg(), 19, 0, attributes, family=7, index=12))
    # only with this flag does the kernel take it for the attributes of a port: see br_setlink() in br_netlink.c
    theirs[35] |= 0x80
    assert netlink.isolate(12) == bytes(theirs)


def test_a_link_that_becomes_a_port() -> None:
    assert netlink.join(12, 7) == encoded(ifinfmsg(), 16, 0, [("IFLA_MASTER", 7)], index=12)


def test_a_link_that_goes() -> None:
    assert netlink.remove_link("mr0123") == encoded(ifinfmsg(), 17, 0, [("IFLA_IFNAME", "mr0123")])


def test_a_link_that_comes_up() -> None:
    assert netlink.up(16) == encoded(ifinfmsg(), 16, 0, [], index=16, flags=1, change=1)


@pytest.mark.parametrize(("address", "prefix", "family", "flags"), [("10.90.0.7", 16, 2, 0), ("fd00:1::7", 64, 10, 2)])
def test_addresses(address: str, prefix: int, family: int, flags: int) -> None:
    attributes = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
    fields = {"family": family, "prefixlen": prefix, "flags": flags, "index": 16}
    theirs = encoded(ifaddrmsg(), 20, CREATE | EXCL, attributes, **fields)
    assert netlink.add_address(16, address, prefix) == theirs


@pytest.mark.parametrize(("gateway", "family"), [("10.90.0.1", 2), ("fd00:1::1", 10)])
def test_default_routes(gateway: str, family: int) -> None:
    attributes = [("RTA_GATEWAY", gateway), ("RTA_OIF", 16)]
    fields = {"family": family, "table": 254, "proto": 4, "scope": 0, "type": 1}
    assert netlink.default_route(16, gateway) == encoded(rtmsg(), 24, CREATE | EXCL, attributes, **fields)


@pytest.mark.parametrize(("kind", "family", "scope"), [(4, 2, 253), (6, 10, 0)])
def test_default_routes_that_ask_nobody(kind: int, family: int, scope: int) -> None:
    fields = {"family": family, "table": 254, "proto": 4, "scope": scope, "type": 1}
    assert netlink.route_by_link(16, kind) == encoded(rtmsg(), 24, CREATE | EXCL, [("RTA_OIF", 16)], **fields)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="speaks to the kernel: run as root")


@needs_root
def test_what_the_kernel_refuses_is_told_with_the_errno_by_name() -> None:
    speaker = netlink.speak()
    with pytest.raises(MinirunError) as caught:
        netlink.do("remove the link mr-nosuch", speaker, [netlink.up(1), netlink.remove_link("mr-nosuch")], "look")
    assert str(caught.value) == ("cannot remove the link mr-nosuch: ENODEV (No such device)\n  look")
    speaker.close()


@needs_root
def test_what_the_kernel_says_in_words_is_told_too() -> None:
    speaker = netlink.speak()
    with pytest.raises(OSError, match=r"Invalid argument: .+") as caught:
        netlink.ask(speaker, [netlink.add_address(1, "10.90.0.1", 77), netlink.up(1)])
    assert caught.value.errno == errno.EINVAL
    speaker.close()
