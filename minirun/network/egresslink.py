"""One interface of a container with an allow-list: what may come from it at all, whoever it is for.

    from-mr4f…  ether saddr, type  ┬ arp-mr4f…   requests and answers that say nothing of others
                                   ├ ip4-mr4f…   from its address; to a neighbour, or to the bridge ─▶ sent4
                                   └ ip6-mr4f…   the same, and neighbour discovery                  ─▶ sent6

What follows is drawn in egressrules.py. A frame with a tag of a VLAN has another type than those three, and is dropped.
ARP and neighbour discovery that lie would have neighbours send to the container what is not for it.
"""

from __future__ import annotations

from minirun.network import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

RESOLVER_PORT = 53
# kinds of chains, each with the name of an interface behind it; the hooks, which name the others, first
KINDS = ("from", "to", "arp", "ip4", "ip6")
_MANY = "ether daddr & 01:00:00:00:00:00 == 01:00:00:00:00:00"  # multicast and broadcast
# what they need; with more they would be a way for more
_ARP_BYTES, _ND_BYTES = 28, 40
_NEAR, _ALL_NODES, _SOLICITED = "fe80::/10", "ff02::1", "ff02::1:ff00:0/104"
# what the container's kernel sends by itself, to nobody's use
_LISTENERS = "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report"
_QUIET6 = f"icmpv6 type {{ nd-router-solicit, {_LISTENERS} }} drop"


class Link:
    """An interface of the container, as the host sees it.

    Attributes:
        interface: the end on the host.
        mac: the container's hardware address.
        bridge: the bridge's.
        ends: (address, subnet, gateway), of IPv4, and of IPv6 where the container has that.
        default: the default network's bridge, if that is it: others on it ask whoever publishes port 53.
    """

    __slots__ = ("bridge", "default", "ends", "interface", "mac")

    def __init__(
        self, interface: str, mac: str, bridge: str, ends: Sequence[tuple[str, str, str]], default: str = ""
    ) -> None:
        self.interface = interface
        self.mac = mac
        self.bridge = bridge
        self.ends = ends
        self.default = default

    @property
    def asking(self) -> list[tuple[str, str]]:
        """The bridge and the address by which it asks for names where they are not asked for by all."""
        return [(self.default, own) for own, _, _ in self.ends if self.default and ":" not in own]


def chains(link: Link) -> dict[str, list[str]]:
    """The chains of one interface: what may come from it at all is decided by whose it is."""
    name = link.interface
    ends = {128 if ":" in own else 32: (own, subnet, gateway) for own, subnet, gateway in link.ends}
    kinds = ["arp : goto arp", "ip : goto ip4", "ip6 : goto ip6"]
    found = {
        f"from-{name}": [
            f"ether saddr != {link.mac} goto spoofed",
            f"ether type vmap {{ {', '.join(f'{kind}-{name}' for kind in kinds)} }}",
            "goto spoofed",
        ],
        f"to-{name}": ["ether type ip goto to4", "ether type ip6 goto to6"],
        f"arp-{name}": ["goto spoofed"],
        f"ip4-{name}": ["goto spoofed"],
        f"ip6-{name}": [_QUIET6, "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } drop", "goto spoofed"],
    }
    if 32 in ends:
        own, subnet, gateway = ends[32]
        found[f"arp-{name}"] = [
            f"meta length {_ARP_BYTES} arp operation {{ request, reply }} "
            f"arp saddr ether {link.mac} arp saddr ip {own} arp daddr ip {subnet} accept",
            "goto spoofed",
        ]
        found[f"ip4-{name}"] = [
            f"ip saddr != {own} goto spoofed",
            "ip protocol igmp drop",  # the kernel's own: of groups that nobody hears of
            *_straight("ip", subnet, gateway, link.bridge),
            f"ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport {RESOLVER_PORT} accept",
            "goto sent4",
        ]
    if 128 in ends:
        own, subnet, gateway = ends[128]
        near = link_local(link.mac)
        itself = f"{{ {own}, {near} }}"
        target = ", ".join(f"{address.parse(one):#x}" for one in (own, near))
        found[f"ip6-{name}"] = [
            _QUIET6,
            f"icmpv6 type nd-neighbor-advert ip6 length <= {_ND_BYTES} ip6 hoplimit 255 ip6 saddr {itself} "
            f"ip6 daddr {{ {subnet}, {_NEAR}, {_ALL_NODES} }} @th,64,128 {{ {target} }} accept",
            f"icmpv6 type nd-neighbor-solicit ip6 length <= {_ND_BYTES} ip6 hoplimit 255 ip6 saddr {itself} "
            f"ip6 daddr {{ {subnet}, {_NEAR}, {_SOLICITED} }} accept",
            f"icmpv6 type nd-neighbor-solicit ip6 length <= {_ND_BYTES} ip6 saddr :: ip6 daddr {_SOLICITED} "
            f"@th,64,128 {{ {target} }} accept",
            f"ip6 saddr != {own} goto spoofed",
            *_straight("ip6", subnet, gateway, link.bridge),
            "goto sent6",
        ]
    return found


def _straight(ip: str, subnet: str, gateway: str, bridge: str) -> list[str]:
    """What is not to a neighbour goes to the bridge, and to nobody who would pass it on; nothing goes to many."""
    return [
        f"{ip} daddr != {subnet} ether daddr != {bridge} goto spoofed",
        f"{ip} daddr {gateway} ether daddr != {bridge} goto spoofed",
        f"{_MANY} goto spoofed",
    ]


def link_local(mac: str) -> str:
    """The address that the kernel gives an interface with that hardware address: RFC 4291, appendix A."""
    data = address.pack_mac(mac)
    own = bytes((data[0] ^ 2,)) + data[1:3] + b"\xff\xfe" + data[3:]
    return address.text((0xFE80 << 112) | int.from_bytes(own, "big"), 128)
