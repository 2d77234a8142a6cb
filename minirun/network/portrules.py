"""The rules that make published ports work, in minirun's own nftables table; made when the first port is published.

    from outside ──▶ publish_raw ──▶ publish_prerouting ─┐                       ┌▶ the container
                     (-300: nothing                      ├▶ publish: maps ▶ dnat ┤
    from the host ─────── of 127/8) ─▶ publish_output ───┘                       └▶ publish_postrouting: masquerade
                                                                                    what could not find its way back

    published4, …      what leads where: see portelements.py
    publishing         bridges that let 127.0.0.1 through (route_localnet), and so let nobody else pretend to be it
    names, asking      bridges, and bridge . address, of who asks his gateway for names
    hairpin4, hairpin6 bridge . subnet: who reaches a neighbour, or himself, by an address of the host

The chains stand 5 behind what nft calls dstnat, so that a dnat of the user's own comes first. What follows is forwarded
and passes every chain of hook forward, whoever's: see docs/networks.md.

A packet to 127.0.0.1 that comes in by an interface is translated before the kernel looks whether it is allowed to be
there. So nothing that comes in is translated that is to loopback (CVE-2020-8558, and moby issue 45610).
"""

from __future__ import annotations

import os
from _socket import if_nametoindex
from struct import pack

from minirun.network import netlink
from minirun.network.firewall import TABLE, change
from minirun.network.portelements import attribute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_MAPS = {
    "published4": "inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service",
    "published4_any": "inet_proto . inet_service : ipv4_addr . inet_service",
    "published6": "inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service",
    "published6_any": "inet_proto . inet_service : ipv6_addr . inet_service",
}
ASKING, ASKING_TYPE = "asking", "type ifname . ipv4_addr;"
_SETS = {
    "names": "type ifname;",
    ASKING: ASKING_TYPE,
    "publishing": "type ifname;",
    "hairpin4": "type ifname . ipv4_addr; flags interval;",
    "hairpin6": "type ifname . ipv6_addr; flags interval;",
}
# rtnetlink(7)
_NEWROUTE, _SETLINK, _REQUEST_ACK, _REQUEST_CREATE_ACK, _INET6 = 24, 19, 0x5, 0x405, 10
_PF_BRIDGE, _IFLA_PROTINFO, _IFLA_BRPORT_MODE = 7, 0x800C, 4
_LOCAL_ROUTE = (255, 4, 0, 2)  # RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_LOCAL
_RTA_DST, _RTA_OIF, _RTA_PRIORITY = 1, 4, 6
_LAST = 4096  # behind the one of lo
_PROTOCOLS = "meta l4proto { tcp, udp, sctp }"
_TO_GATEWAY = "meta nfproto ipv4 meta l4proto { tcp, udp } th dport 53 fib daddr . iif type local"
# chain → (what hooks it in, its rules)
_CHAINS: dict[str, tuple[str, Sequence[str]]] = {
    "publish": (
        "",
        (
            f"{_PROTOCOLS} dnat ip to meta l4proto . ip daddr . th dport map @published4",
            f"{_PROTOCOLS} dnat ip6 to meta l4proto . ip6 daddr . th dport map @published6",
            f"{_PROTOCOLS} fib daddr type local dnat ip to meta l4proto . th dport map @published4_any",
            # [::1] is in published6 where it can work: see published.py
            f"{_PROTOCOLS} ip6 daddr != ::1 fib daddr type local "
            "dnat ip6 to meta l4proto . th dport map @published6_any",
        ),
    ),
    "publish_raw": (
        "type filter hook prerouting priority -300;",
        ("iifname @publishing ip daddr 127.0.0.0/8 drop", "iifname @publishing ip saddr 127.0.0.0/8 drop"),
    ),
    "publish_prerouting": (
        "type nat hook prerouting priority -95;",
        (
            "ip daddr 127.0.0.0/8 return",
            # who asks his gateway for names is not led to a name server that somebody publishes
            f"iifname @names {_TO_GATEWAY} return",
            f"iifname . ip saddr @{ASKING} {_TO_GATEWAY} return",
            f"{_PROTOCOLS} jump publish",
        ),
    ),
    "publish_output": ("type nat hook output priority -95;", (f"{_PROTOCOLS} jump publish",)),
    # before everybody's srcnat: what comes from here must not keep an address that has no way back
    "publish_postrouting": (
        "type nat hook postrouting priority 95;",
        (
            "oifname @publishing ct status dnat ip saddr 127.0.0.0/8 masquerade",
            "oifname @publishing ct status dnat ip6 saddr ::1 masquerade",
            # not by the incoming interface: of what br_netfilter passes on there is none here
            "oifname . ip saddr @hairpin4 ct status dnat masquerade",
            "oifname . ip6 saddr @hairpin6 ct status dnat masquerade",
        ),
    ),
}


def script(bridge: str, subnets: Sequence[str]) -> str:
    """What nft(8) reads to make all that is not there yet, in one transaction; doing it again changes nothing.

    Args:
        bridge: the interface of a network whose containers publish ports.
        subnets: of the network, ``10.88.0.0/16``.
    """
    lines = [f"add table inet {TABLE}"]
    lines += [f"add map inet {TABLE} {name} {{ type {kind}; }}" for name, kind in _MAPS.items()]
    lines += [f"add set inet {TABLE} {name} {{ {kind} }}" for name, kind in _SETS.items()]
    for name, (hook, rules) in _CHAINS.items():
        lines += [f"add chain inet {TABLE} {name} {{ {hook} }}" if hook else f"add chain inet {TABLE} {name}"]
        lines += [f"flush chain inet {TABLE} {name}"]
        lines += [f"add rule inet {TABLE} {name} {rule}" for rule in rules]
    lines += [f"add element inet {TABLE} {name} {{ {element} }}" for name, element in _of(bridge, subnets)]
    return "\n".join(lines) + "\n"


def _of(bridge: str, subnets: Sequence[str]) -> list[tuple[str, str]]:
    hairpins = [(f"hairpin{6 if ':' in subnet else 4}", f'"{bridge}" . {subnet}') for subnet in subnets]
    return [("publishing", f'"{bridge}"'), *hairpins]


def make(bridge: str, subnets: Sequence[str]) -> None:
    """Make what is missing, and let connections from 127.0.0.1 through *bridge*.

    Raises:
        Unsupported: nft is not installed.
        MinirunError: the kernel refused.
        FileNotFoundError: the bridge is not there.
    """
    change(script(bridge, subnets), "make the rules of published ports")
    with open(f"/proc/sys/net/ipv4/conf/{bridge}/route_localnet", "w") as file:
        file.write("1")


def lets_loopback_through(bridge: str) -> bool:
    """Whether `make` was done for a bridge that is there."""
    try:
        with open(f"/proc/sys/net/ipv4/conf/{bridge}/route_localnet") as file:
            return file.read(1) == "1"
    except FileNotFoundError:
        return False


def let_loopback6_through(bridge: str) -> None:
    """Let answers to ::1 in by *bridge*, where they are what was translated back; the kernel drops all others itself.

    The route is found only for packets of that bridge, and goes with it: loopback addresses are looked for with the
    interface, see rt6_need_strict in net/ipv6/route.c.
    """
    speaker = netlink.speak()
    try:
        index = netlink.index(speaker, bridge)
        body = pack("<8BI", _INET6, 128, 0, 0, *_LOCAL_ROUTE, 0)
        body += attribute(_RTA_DST, bytes(15) + b"\1") + attribute(_RTA_OIF, pack("<I", index))
        body += attribute(_RTA_PRIORITY, pack("<I", _LAST))
        header = pack("<IHHII", 16 + len(body), _NEWROUTE, _REQUEST_CREATE_ACK, 0, 0)
        netlink.ask(speaker, [header + body])
    finally:
        speaker.close()


def bridges_are_filtered() -> bool:
    """Whether what bridges pass on goes through the rules of the host: br_netfilter is loaded."""
    return os.path.exists("/proc/sys/net/bridge")


def reflect(interface: str) -> None:
    """Have the bridge send to *interface* what came from there: a container that calls itself by the host's address.

    Without br_netfilter the packet goes up to the host and comes down again; with it, the bridge itself passes it on.
    """
    told = attribute(_IFLA_PROTINFO, attribute(_IFLA_BRPORT_MODE, b"\1"))
    body = pack("<BxHiII", _PF_BRIDGE, 0, if_nametoindex(interface), 0, 0) + told
    speaker = netlink.speak()
    try:
        netlink.ask(speaker, [pack("<IHHII", 16 + len(body), _SETLINK, _REQUEST_ACK, 0, 0) + body])
    finally:
        speaker.close()


def forget(bridge: str, subnets: Sequence[str]) -> None:
    """Take out what is there of a network that goes, before its bridge does. Idempotent.

    Raises:
        MinirunError: the kernel refused.
    """
    if not lets_loopback_through(bridge):
        return
    lines = [f"add table inet {TABLE}"]
    lines += [f"add set inet {TABLE} {name} {{ {kind} }}" for name, kind in _SETS.items()]
    # what is added first can be deleted, whether it was there or not
    for verb in ("add", "delete"):
        lines += [f"{verb} element inet {TABLE} {name} {{ {element} }}" for name, element in _of(bridge, subnets)]
    change("\n".join(lines) + "\n", f"take {bridge} out of the rules of published ports")
