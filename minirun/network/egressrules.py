"""The rules that hold a container to its allow-list: on its cable, in a table of nftables that is the container's own.

    eth0 ══ veth ══ mr4f… ── bridge ── neighbours, the host, outside
                     │  ingress: from-mr4f…   what the container sends, before anybody else sees it
                     └─ egress:  to-mr4f…     what is sent to it; all of that gets through

    from-mr4f…   not its own hardware address: spoofed    ARP, neighbour discovery: about itself alone
      │          not its own address: spoofed             what is not to a neighbour goes to the bridge
      │          to port 53 of the gateway: accept        the resolver, who asks for names that are allowed alone
      └▶ sent4 ┬ TCP, UDP, SCTP ┬ flows4: somebody answered, or called ▶ accept
               │                └ allow4: the list                     ▶ accept, or deny
               ├ ICMP, pieces   ─ hosts4: the addresses of the list, and those who called (peers4)
               └ others         ─ any4: those that are allowed with every port
    deny         counted in denied4, others4; told by nfnetlink_log; and the container is told by ICMP
    to-mr4f…     flows4, peers4: who sends something to the container is answered

conntrack does not see what goes from neighbour to neighbour, and not which of them sends: see decision 0067. So what is
established is kept here, in sets whose elements last as those of conntrack: an answer makes one of flows4, and what the
container sends on makes it last. An address of a name that is not good any more so ends no connections. See nft(8).
"""

from __future__ import annotations

from minirun.network import egresslink
from minirun.network.egresslist import within
from minirun.network.firewall import TABLE
from minirun.network.portrules import ASKING, ASKING_TYPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.network.address import Subnet
    from minirun.network.egresslist import Service

NAMED = 16384  # addresses of names at a time, each kind
FLOWS = 32768  # connections at a time, each kind
DENIED = 256  # destinations, each kind; what is denied beyond these is counted as one
DENIED_S = 86400  # how long a destination is known after it was denied last
_TOLD_A_SECOND = 5  # messages of nfnetlink_log: each has somebody look at what was counted
_REFUSED_A_SECOND = 100  # answers, by the kernel
_ASKED_A_SECOND = 20  # the same by the attendant, which has some 0.2 ms to do with each
REFUSE = "!"  # behind the name of a table: what it logs is to be refused
HEAD_BYTES = 160  # of a packet, are enough for that
# as long as conntrack's: nf_conntrack-sysctl.rst
_ESTABLISHED, _CLOSING, _DATAGRAMS, _NEW = "5d", "2m", "3m", "1m"
_PORTS = "meta l4proto { tcp, udp, sctp }"
_ENDS = "tcp flags & (fin | rst) != 0x0"
_GOES_ON = "tcp flags & (fin | syn | rst) == 0x0"
_BEGINS = "tcp flags & (syn | ack) == syn"


class Group:
    """What may be reached of one service.

    Attributes:
        service: the ports.
        blocks: of addresses.
        named: whether there are addresses of names, too, which come and go.
    """

    __slots__ = ("blocks", "named", "service")

    def __init__(self, service: Service, blocks: Sequence[Subnet], *, named: bool) -> None:
        self.service = service
        self.blocks = blocks
        self.named = named


def table(container_id: str) -> str:
    """The name of a container's table, of the family netdev."""
    return f"minirun-{container_id[:12]}"


def named(place: int, bits: int) -> str:
    """The name of the set of the addresses of names of the group at *place*."""
    return f"names{place}_{4 if bits == 32 else 6}"


def script(
    container_id: str,
    groups: Sequence[Group],
    links: Sequence[egresslink.Link],
    log_group: int,
    *,
    rejects: bool = True,
    gone: Sequence[str] = (),
) -> str:
    """What nft(8) reads to put the rules in force, in one transaction; what the sets hold stays if it was done before.

    Args:
        container_id: whose.
        groups: what it may reach.
        links: its interfaces, which are there.
        log_group: of nfnetlink_log, for whoever reads there that something was denied.
        rejects: whether the kernel can refuse what it denies; otherwise whoever reads there is asked to.
        gone: interfaces that it had, of which nothing is to be left.
    """
    name = table(container_id)
    sets = [f"set link {{ type ether_type; flags dynamic,timeout; size 64; timeout {DENIED_S}s; counter; }}"]
    chains = _endings(name, log_group, rejects=rejects)
    for bits in (32, 128):
        sets += _sets(groups, bits)
        chains |= _shared(bits) | _lists(groups, bits)
    hooks = {}
    for link in links:
        hooks[f"from-{link.interface}"] = f"type filter hook ingress device {link.interface} priority 0; policy drop;"
        hooks[f"to-{link.interface}"] = f"type filter hook egress device {link.interface} priority 0; policy accept;"
        chains |= egresslink.chains(link)
    lines = [f"add table netdev {name}", f"flush table netdev {name}", f"table netdev {name} {{", "counter more { }"]
    # what is added first can be deleted, whether it was there or not
    whole = [f"chain netdev {name} {kind}-{interface}" for interface in gone for kind in egresslink.KINDS]
    lines[2:2] = [f"{verb} {chain}" for chain in whole for verb in ("add", "delete")]
    lines += sets
    # a chain is there before a rule of another names it
    lines += [f"chain {chain} {{ {hooks.get(chain, '')} }}" for chain in chains]
    lines += ["}"]
    lines += [f"add rule netdev {name} {chain} {rule}" for chain, rules in chains.items() for rule in rules]
    if asking := [pair for link in links for pair in link.asking]:
        lines += [f"add table inet {TABLE}", f"add set inet {TABLE} {ASKING} {{ {ASKING_TYPE} }}"]
        lines += [f'add element inet {TABLE} {ASKING} {{ "{bridge}" . {own} }}' for bridge, own in asking]
    return "\n".join(lines) + "\n"


def _words(bits: int) -> tuple[str, str]:
    """Of a kind of addresses: the digit that names end in, and nft's word."""
    return ("4", "ip") if bits == 32 else ("6", "ip6")


def _sets(groups: Sequence[Group], bits: int) -> list[str]:
    n, _ = _words(bits)
    kind = f"ipv{n}_addr"
    flow = f"type {kind} . inet_proto . inet_service . inet_service; flags dynamic,timeout; size {FLOWS}"
    denied = f"flags dynamic,timeout; size {DENIED}; timeout {DENIED_S}s; counter"
    lasting = [f"set {named(i, bits)} {{ type {kind}; flags timeout; size {NAMED}; }}" for i in _named_places(groups)]
    return [
        f"set flows{n} {{ {flow}; timeout {_NEW}; }}",
        f"set closing{n} {{ {flow}; timeout {_CLOSING}; }}",
        f"set peers{n} {{ type {kind}; flags dynamic,timeout; size {FLOWS}; timeout {_NEW}; }}",
        f"set denied{n} {{ type {kind} . inet_proto . inet_service; {denied}; }}",
        f"set others{n} {{ type {kind} . inet_proto; {denied}; }}",
        *lasting,
    ]


def _named_places(groups: Sequence[Group]) -> list[int]:
    return [place for place, group in enumerate(groups) if group.named]


def _endings(name: str, log_group: int, *, rejects: bool) -> dict[str, list[str]]:
    """The chains that end what is not let out."""
    # a program that connects is told by a reset at once; of ICMP it hears when it tries again, a second later
    refusals = [
        f"meta l4proto tcp {_limit(_REFUSED_A_SECOND)} reject with tcp reset",
        f"meta l4proto != tcp {_limit(_REFUSED_A_SECOND)} reject with icmpx admin-prohibited",
    ]
    if not rejects:
        told = f'log prefix "{name}{REFUSE}" group {log_group} snaplen {HEAD_BYTES} queue-threshold 1'
        refusals = [f"{_limit(_ASKED_A_SECOND)} {told}"]
    return {
        "record": [
            f'{_limit(_TOLD_A_SECOND)} log prefix "{name}" group {log_group} snaplen 1',
            "ether type ip goto record4",
            "ether type ip6 goto record6",
            "update @link { ether type } return",
            "counter name more",
        ],
        "deny": ["jump record", *refusals, "drop"],
        # whoever seems to have sent it is told nothing
        "spoofed": ["jump record", "drop"],
    }


def _limit(a_second: int) -> str:
    return f"limit rate {a_second}/second burst {2 * a_second} packets"


def _shared(bits: int) -> dict[str, list[str]]:
    """The chains that are the same for all interfaces and lists."""
    n, ip = _words(bits)
    key = f"{ip} daddr . meta l4proto . th sport . th dport"
    back = f"{ip} saddr . meta l4proto . th dport . th sport"
    icmp, too_big = ("icmp", "") if bits == 32 else ("icmpv6", "packet-too-big, ")
    answers = f"echo-reply, destination-unreachable, {too_big}time-exceeded, parameter-problem"
    routed = ["ip option lsrr exists", "ip option ssrr exists"] if bits == 32 else ["exthdr rt exists"]
    piece = "ip frag-off & 0x1fff != 0x0" if bits == 32 else "frag frag-off != 0"
    return {
        f"sent{n}": [
            *(f"{way} goto deny" for way in routed),
            f"{piece} goto pieces{n}",
            f"meta l4proto tcp goto tcp{n}",
            f"{_PORTS} {key} @flows{n} update @flows{n} {{ {key} timeout {_DATAGRAMS} }} accept",
            f"{_PORTS} goto allow{n}",
            f"meta l4proto {icmp if bits == 32 else 'ipv6-icmp'} goto icmp{n}",
            f"goto any{n}",
        ],
        f"tcp{n}": [
            # nearly all of what there is
            f"{_GOES_ON} {key} @flows{n} update @flows{n} {{ {key} timeout {_ESTABLISHED} }} accept",
            # a new connection is asked for again, also where one has just ended that had the same ports
            f"{_BEGINS} delete @closing{n} {{ {key} }}",
            f"{_BEGINS} goto allow{n}",
            f"{key} @closing{n} update @closing{n} {{ {key} timeout {_CLOSING} }} accept",
            f"{key} @flows{n} goto known{n}",
            f"goto allow{n}",
        ],
        f"known{n}": [
            f"{_ENDS} delete @flows{n} {{ {key} }}",
            f"{_ENDS} update @closing{n} {{ {key} timeout {_CLOSING} }} accept",
            f"update @flows{n} {{ {key} timeout {_NEW} }} accept",
            "accept",
        ],
        f"icmp{n}": [
            f"{icmp} type {{ {answers} }} {ip} daddr @peers{n} accept",
            f"{icmp} type {{ echo-request, {answers} }} goto hosts{n}",
            "goto deny",
        ],
        # their ports are in the first piece, without which nobody makes anything of them
        f"pieces{n}": [f"{ip} daddr @peers{n} accept", f"goto hosts{n}"],
        # our own refusals seem to come from those who must not be reached: ICMP errors and resets open nothing
        f"to{n}": [
            f"{icmp} type != echo-request accept",
            f"tcp flags & rst == rst goto reset{n}",
            f"add @peers{n} {{ {ip} saddr }}",
            f"{_BEGINS} delete @closing{n} {{ {back} }}",
            f"{_ENDS} delete @flows{n} {{ {back} }}",
            f"{_ENDS} update @closing{n} {{ {back} timeout {_CLOSING} }} accept",
            f"meta l4proto tcp {back} @closing{n} accept",
            f"{_PORTS} add @flows{n} {{ {back} timeout {_NEW} }} accept",
        ],
        f"reset{n}": [
            f"{back} @flows{n} delete @flows{n} {{ {back} }} update @closing{n} {{ {back} timeout {_CLOSING} }}",
            "accept",
        ],
        f"record{n}": [
            f"{_PORTS} th dport 0-65535 goto ports{n}",  # of a piece none is known
            f"update @others{n} {{ {ip} daddr . meta l4proto }} return",
            "counter name more",
        ],
        f"ports{n}": [f"update @denied{n} {{ {ip} daddr . meta l4proto . th dport }} return", "counter name more"],
    }


def _lists(groups: Sequence[Group], bits: int) -> dict[str, list[str]]:
    """The chains that compare with the list: by address and port, by address alone, and those with every port."""
    n, ip = _words(bits)
    found: dict[str, list[str]] = {f"allow{n}": [], f"hosts{n}": [], f"any{n}": []}
    for place, group in enumerate(groups):
        targets = [*_blocks(ip, [block for block in group.blocks if block.bits == bits])]
        if group.named:
            targets.append(f"{ip} daddr @{named(place, bits)} ")
        service = _service(group.service)
        for target in targets:
            found[f"allow{n}"].append(f"{target}{service}accept")
            found[f"hosts{n}"].append(f"{target}accept")
            if not service:
                found[f"any{n}"].append(f"{target}accept")
    for rules in found.values():
        rules.append("goto deny")
    return found


def _blocks(ip: str, blocks: Sequence[Subnet]) -> Iterator[str]:
    """One match for all *blocks*: none of them within another, for intervals of a set do not overlap."""
    wide: list[Subnet] = []
    for block in sorted(blocks, key=lambda block: (block.first, block.prefix)):
        if not wide or not within(block, wide[-1]):
            wide.append(block)
    if any(block.prefix == 0 for block in wide):
        yield ""
    elif wide:
        yield f"{ip} daddr {{ {', '.join(map(repr, wide))} }} "


def _service(service: Service) -> str:
    if not service.protocols:
        return ""
    text = f"meta l4proto {{ {', '.join(service.protocols)} }} "
    if service.first:
        text += f"th dport {service.first}{'' if service.first == service.last else f'-{service.last}'} "
    return text
