"""A network is thought out: blocks of addresses that nobody has, and what was asked for checked.

taken: the blocks of every other network of the store, and every route of the host, in all its tables; without those
       where it is said which addresses a macvlan or ipvlan has: they are outside, and the host may know a way to them
free:  the first of POOLS, in order, that overlaps none of those; of IPv6 a random /64 of fd00::/8 (RFC 4193)
"""

from __future__ import annotations

import os
import time
from _socket import if_nameindex

from minirun.errors import BadInput, Conflict
from minirun.network import address, bridgeoptions, parentoptions, predefined, store
from minirun.network.address import Subnet
from minirun.network.record import DEFAULT, Network, check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from minirun.home import Home

# (the first, how many, their prefix); podman has 10.88 and 10.89, Docker 172.17 to 172.31 and then 192.168
POOLS = (("10.90.0.0", 38, 16), ("10.160.0.0", 40, 16), ("172.16.0.0", 4096, 24), ("192.168.0.0", 256, 24))
_ROUTE_TYPES = (1, 6, 7, 8)  # unicast, blackhole, unreachable, prohibit: what a person may have set


def default(home: Home) -> Network:
    """The network that is called bridge, made where there is none."""
    held = store.hold(home)
    try:
        return store.find(home, DEFAULT) or store.put(home, describe(home, DEFAULT, ipv6=True))
    finally:
        os.close(held)


def describe(
    home: Home,
    name: str,
    *,
    driver: str = "bridge",
    subnet: str = "",
    gateway: str = "",
    ip_range: str = "",
    subnet6: str = "",
    gateway6: str = "",
    auxiliary: Mapping[str, str] = {},
    ipv6: bool = False,
    internal: bool = False,
    options: Mapping[str, str] = {},
    labels: Mapping[str, str] = {},
) -> Network:
    """Think out a network, with nothing on disk or on the host yet; the folder is held.

    Args:
        home: whose.
        name: checked for what it is made of, here.
        driver: see drivers.py.
        subnet: ``10.1.0.0/16``; empty for one that is free.
        gateway: who passes on what goes further: the bridge's own address, or that of somebody outside; empty for the
            first.
        ip_range: the part of it that containers get addresses of.
        subnet6: of IPv6; empty for a random one, if there is to be one.
        gateway6: the same in that.
        auxiliary: addresses that somebody else has: name to address.
        ipv6: whether it has IPv6 at all.
        internal: whether there is no way out.
        options: Docker's of its driver: see bridgeoptions.py, parentoptions.py.
        labels: name to value.

    Raises:
        BadInput, Unsupported: something of that has no meaning, or is not built.
        Conflict: a block of addresses is somebody else's.
    """
    check_name(name)
    attempt = f"create network {name}"
    known = store.list_all(home)
    network_id = predefined.identity(home, name) if name == DEFAULT else os.urandom(32).hex()
    ipv6 = ipv6 or bool(subnet6)
    fields: dict[str, Any] = {"internal": internal}
    if driver == "bridge":
        fields |= bridgeoptions.read(attempt, options, name, network_id, known, ipv6=ipv6)
    else:
        fields |= parentoptions.read(attempt, driver, options, network_id, known, ipv6=ipv6, internal=internal)
    taken = [*_blocks(known), *([] if subnet and driver != "bridge" else routes())]
    block = _wanted(attempt, "--subnet", subnet, 32, taken) if subnet else _free(attempt, taken)
    pool = _inner(attempt, ip_range, block) if ip_range else None
    asks = not parentoptions.knows_no_gateway(driver, options)
    if not asks and (gateway or gateway6):
        raise BadInput(attempt, "in modes l3 and l3s nobody is asked for the way", "leave --gateway out")
    own = _gateway(attempt, gateway, block, pool or block) if asks else ""
    block6, own6 = None, ""
    if ipv6:
        block6 = _wanted(attempt, "--subnet", subnet6, 128, taken) if subnet6 else _ula()
        own6 = _gateway(attempt, gateway6, block6, block6) if asks else ""
    elif gateway6:
        raise BadInput(attempt, "--gateway is of IPv6, and the network has none", "give a --subnet that it is in")
    blocks = {32: block} | ({128: block6} if block6 else {})
    return Network(
        name=name, id=network_id, created=time.time(), driver=driver, subnet=repr(block), gateway=own,
        ip_range=repr(pool) if pool else "", subnet6=repr(block6) if block6 else "", gateway6=own6,
        auxiliary={key: _auxiliary(attempt, key, text, blocks, (own, own6)) for key, text in auxiliary.items()},
        options=dict(options), labels=dict(labels), **fields,
    )  # fmt: skip


def routes(but: str = "") -> list[tuple[Subnet, str]]:
    """Every block of addresses that the host knows a way to, and whose it is; without those of the interface *but*."""
    from pyroute2 import IPRoute

    names = dict(if_nameindex())
    found = []
    with IPRoute() as speaker:
        for family, bits in ((2, 32), (10, 128)):
            for route in speaker.get_routes(family=family):
                fields = dict(route["attrs"])
                prefix, interface = route["dst_len"], names.get(fields.get("RTA_OIF", 0), "")
                if not prefix or route["type"] not in _ROUTE_TYPES or (but and interface == but):
                    continue  # the default route leads to what is nearer nowhere else
                number = address.parse(fields["RTA_DST"])
                found.append((Subnet(number, prefix, bits), f"a route of the host, through {interface or 'nothing'}"))
    return found


def check_still_free(network: Network) -> None:
    """Raise Conflict where the host has by now other routes to the network's addresses: its bridge would take them."""
    taken = routes(but=network.interface)
    for text in (network.subnet, network.subnet6):
        if text:
            _check_free(f"make the bridge of network {network.name}", Subnet.parse(text), taken)


def _blocks(known: list[Network]) -> Iterator[tuple[Subnet, str]]:
    for network in known:
        for text in (network.subnet, network.subnet6):
            if text:
                yield Subnet.parse(text), f"network {network.name}"


def _check_free(attempt: str, block: Subnet, taken: list[tuple[Subnet, str]]) -> None:
    for other, whose in taken:
        if block.overlaps(other):
            raise Conflict(
                attempt,
                f"its addresses {block!r} overlap {other!r}: {whose}",
                "choose others: `--subnet 10.123.0.0/16`",
            )


def _wanted(attempt: str, flag: str, text: str, bits: int, taken: list[tuple[Subnet, str]]) -> Subnet:
    try:
        block = Subnet.parse(text)
    except ValueError as error:
        raise BadInput(attempt, f"{flag} {text}: {error}", "write it as 10.1.0.0/16, or fd00:1::/64") from None
    most = bits - 3  # a network, a gateway, a container, and of IPv4 one for all
    if block.prefix > most or block.prefix < 8:
        raise BadInput(attempt, f"{flag} {text} is too {'narrow' if block.prefix > most else 'wide'}: /8 to /{most}")
    if _is_special(block):
        raise BadInput(attempt, f"{flag} {text} is not for networks of interfaces", "10.0.0.0/8 and fd00::/8 are")
    _check_free(attempt, block, taken)
    return block


def _is_special(block: Subnet) -> bool:
    """Whether it holds addresses of this host, of a link alone, of many at once, or of nobody."""
    special = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/8", "fe80::/10", "ff00::/8")
    return any(block.overlaps(Subnet.parse(text)) for text in special)


def _inner(attempt: str, text: str, block: Subnet) -> Subnet:
    try:
        pool = Subnet.parse(text)
    except ValueError as error:
        raise BadInput(attempt, f"--ip-range {text}: {error}", f"write it as a part of {block!r}") from None
    if not block.holds(pool.first, pool.bits) or pool.prefix < block.prefix:
        raise BadInput(attempt, f"--ip-range {text} is no part of {block!r}")
    return pool


def _gateway(attempt: str, text: str, block: Subnet, pool: Subnet) -> str:
    if not text:
        return address.text(max(pool.first, block.first + 1), block.bits)
    return _one_of(attempt, f"--gateway {text}", text, block)


def _auxiliary(attempt: str, name: str, text: str, blocks: Mapping[int, Subnet], gateways: Sequence[str]) -> str:
    said = f"--aux-address {name}={text}"
    found = _one_of(attempt, said, text, blocks.get(address.width(text), blocks[32]))
    if found in gateways:
        raise BadInput(attempt, f"{said} is the gateway", "choose another by --gateway")
    return found


def _one_of(attempt: str, said: str, text: str, block: Subnet) -> str:
    """An address of *block*, in its shortest form."""
    try:
        number = address.parse(text)
    except ValueError as error:
        raise BadInput(attempt, f"{said}: {error}") from None
    if not block.holds(number, address.width(text)) or number in (block.first, block.last):
        raise BadInput(attempt, f"{said} is no address of {block!r} that one interface can have")
    return address.text(number, block.bits)


def _free(attempt: str, taken: list[tuple[Subnet, str]]) -> Subnet:
    for block in _candidates():
        if not any(block.overlaps(other) for other, _ in taken):
            return block
    raise Conflict(
        attempt, "the host has routes to all private addresses that minirun chooses from",
        "choose yourself: `--subnet 10.123.0.0/16`",
    )  # fmt: skip


def _candidates() -> Iterator[Subnet]:
    for first, count, prefix in POOLS:
        for step in range(count):
            yield Subnet(address.parse(first) + (step << (32 - prefix)), prefix, 32)


def _ula() -> Subnet:
    return Subnet(int.from_bytes(b"\xfd" + os.urandom(7) + bytes(8), "big"), 64, 128)
