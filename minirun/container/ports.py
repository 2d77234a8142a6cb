"""Which ports a container publishes: -p, -P and --expose, read from the flags; held and published at its start.

    -p [IP:][HOST:]PORT[/PROTOCOL]     8080:80   127.0.0.1:8080:80/udp   [::1]:8080:80   80: any port of the host
                                       8000-8005:80-85: each its own     8000-8010:80: the first that is free

    options["ports"]    {"published": [["tcp", 80, "", 8080, 8080], …], "exposed": ["80/tcp", …], "all": false}
                         protocol, the container's port, the host's address ("": any), its first and last port (0: any)

"exposed" has those of the image, too, once the container is described: see `complete`.
"""

from __future__ import annotations

from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.journal import Step
    from minirun.network.hold import Held
    from minirun.network.lease import Lease
    from minirun.network.record import Network

FLAGS = frozenset(("expose", "publish", "publish-all"))
PROTOCOLS = ("tcp", "udp", "sctp")
_ANY = ("0.0.0.0", "::")


def read(flags: Mapping[str, Any], network: str) -> dict[str, Any]:
    """Turn the flags into the option ``ports`` of a record; *network* is its option of that name.

    Raises:
        BadInput: a value has no meaning, or nothing can be published on that network.
    """
    published: list[list[Any]] = []
    for text in flags.get("publish") or ():
        published += [row for row in _publish(text) if row not in published]
    taken: dict[tuple[str, str, int], int] = {}
    for protocol, port, address, first, last in published:
        if first and first == last and taken.setdefault((protocol, address, first), port) != port:
            raise BadInput(f"publish port {first}/{protocol} of the host", f"it is to be port {port} and another")
    exposed = {name for text in flags.get("expose") or () for name in _expose(text)}
    every = bool(flags.get("publish-all"))
    if (published or every) and (network == "none" or network.startswith("container:")):
        whose = "has no network" if network == "none" else "has the network of another container"
        raise BadInput(
            "publish ports", f"with --network {network} a container {whose}",
            "--network bridge gives it one; or publish them where that container is made",
        )  # fmt: skip
    return {"ports": {"published": published, "exposed": sorted(exposed, key=_order), "all": every}}


def complete(options: dict[str, Any], exposed: Collection[str]) -> None:
    """Add what the image exposes, ``80/tcp`` or ``80``; what is published is exposed, too."""
    ports = options["ports"]
    names = {name for text in exposed for name in _expose(text)}
    names |= {f"{port}/{protocol}" for protocol, port, *_ in ports["published"]}
    ports["exposed"] = sorted(names | set(ports["exposed"]), key=_order)


def check(options: Mapping[str, Any], networks: Sequence[Network]) -> None:
    """Refuse ports of a container on networks of which none has a way in.

    Raises:
        Unsupported: so it is.
    """
    if not (options["ports"]["published"] or options["ports"]["all"]) or _into(networks):
        return
    first = networks[0]
    is_what = "internal" if first.internal else f"of the driver {first.driver}"
    raise Unsupported(
        "publish ports", f"network {first.name} is {is_what}: no port of the host leads into it",
        "leave -p out, or give a network that is a bridge and leads out before it",
    )  # fmt: skip


def _into(networks: Iterable[Network]) -> dict[int, Network]:
    """By kind of addresses, 4 and 6, which of a container's networks its ports lead into: that of its default route.

    None, where that is no bridge: what comes by the host would be answered by another way.
    """
    from minirun.network.namespace import leading

    return {kind: network for kind, network in leading(networks).items() if network.driver == "bridge"}


def bindings(options: Mapping[str, Any]) -> list[list[Any]]:
    """What is to be published at the next start, rows as above; nothing with the host's network, as in Docker."""
    if "ports" not in options or options["network"] == "host":
        return []
    ports = options["ports"]
    published: list[list[Any]] = list(ports["published"])
    if ports["all"]:
        bound = {(port, protocol) for protocol, port, *_ in published}
        exposed = [_order(name) for name in ports["exposed"]]
        published += [[protocol, port, "", 0, 0] for port, protocol in exposed if (port, protocol) not in bound]
    return published


def _order(name: str) -> tuple[int, str]:
    number, _, protocol = name.partition("/")
    return int(number), protocol


def _publish(text: str) -> list[list[Any]]:
    attempt = f"use -p {text}"
    rest, protocol = _protocol(text, attempt)
    rest, _, inside = rest.rpartition(":")
    address, colon, outside = rest.rpartition(":")
    if colon or ":" in rest:
        address = _address(address, attempt)
    first, last = _range(inside, attempt)
    if not outside:
        return [[protocol, port, address, 0, 0] for port in range(first, last + 1)]
    begin, end = _range(outside, attempt)
    if end - begin == last - first:
        return [[protocol, first + n, address, begin + n, begin + n] for n in range(last - first + 1)]
    if first == last:
        return [[protocol, first, address, begin, end]]
    raise BadInput(attempt, f"{outside} and {inside} are not of the same length", "as in -p 8000-8005:80-85")


def _expose(text: str) -> list[str]:
    attempt = f"use --expose {text}"
    rest, protocol = _protocol(text, attempt)
    first, last = _range(rest, attempt)
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _protocol(text: str, attempt: str) -> tuple[str, str]:
    rest, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise BadInput(attempt, f"{protocol!r} is no protocol with ports", f"there are {', '.join(PROTOCOLS)}")
    return rest, protocol


def _range(text: str, attempt: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [int(one) if one.isascii() and one.isdigit() and len(one) < 6 else 0 for one in (first, last or first)]
    if not (0 < numbers[0] <= numbers[1] < 1 << 16) or (dash and not last):
        raise BadInput(
            attempt, f"{text!r} is no port, and no range of them", "[ADDRESS:][HOST PORT:]PORT[/udp]: -p 8080:80"
        )
    return numbers[0], numbers[1]


def _address(text: str, attempt: str) -> str:
    """An address of the host in its shortest form; of all that it has, of either kind, is empty."""
    from minirun.network import address

    bare = text.removeprefix("[").removesuffix("]")
    if not text:
        return ""
    try:
        # one of IPv6 is in brackets, or nobody knows where it ends
        if (":" in bare) == (text == f"[{bare}]"):
            return address.text(address.parse(bare), address.width(bare))
    except ValueError:
        pass
    raise BadInput(attempt, f"{text!r} is no address", "write 127.0.0.1:8080:80, [::1]:8080:80, or no address for all")


def _hold(home: Home, box: Record) -> list[Held]:
    """Hold the ports that a container publishes, in this process.

    Raises:
        Conflict: one is in use.
        BadInput, Unsupported: the host has not got an address, or the container none of that kind.
    """
    from minirun.container import endpoint
    from minirun.network import hold, published

    ways = _into(endpoint.network_of(home, wanted) for wanted in box.options["networks"])
    # of all addresses: those of the kinds that the container has; of every kind, if it is to get them later on
    everywhere = [any_address for any_address, kind in zip(_ANY, (4, 6), strict=True) if kind in ways or not ways]
    taken: list[Held] = []
    sockets: list[socket] = []
    hold.keep(box.id, sockets)
    before = {(one.protocol, one.address, one.to_port): one.port for one in published.recall(home, box.id)}
    for protocol, port, address, first, last in bindings(box.options):
        published.check(ways, address, box.name)
        addresses = [address] if address else everywhere
        preferred = before.get((protocol, addresses[0], port), 0)
        taken += hold.hold(
            protocol, port, addresses, (first, last), sockets,
            lambda protocol, port: published.owner(home, protocol, port), preferred,
        )  # fmt: skip
    return taken


def steps(home: Home, box: Record) -> tuple[list[Step], list[Step]]:
    """List what comes first at a start, and what comes when the container has its addresses.

    A port that is in use is found before anything was done.
    """
    wanted = bindings(box.options)
    if not wanted:
        return [], []
    from minirun.journal import Step

    held: list[Held] = []
    said = text(wanted)
    holding = Step(f"bind {said}", lambda: held.extend(_hold(home, box)), (), "nobody else gets them meanwhile")
    publishing = Step(
        f"publish {said}", lambda: _publish_held(home, box, held), undos(home, box)[0],
        "elements of maps in nftables, that lead to it",
    )  # fmt: skip
    return [holding], [publishing]


def undos(home: Home, box: Record) -> list[list[str]]:
    """What whoever finds it ended must do."""
    return [["release_ports", home.root, home.runtime, box.id]] if bindings(box.options) else []


def text(wanted: Sequence[Sequence[Any]]) -> str:
    """What is to be published, in a word each."""
    return " ".join(f"{where or '*'}:{first or '*'}→{port}/{protocol}" for protocol, port, where, first, _ in wanted)


def _publish_held(home: Home, box: Record, held: Sequence[Held]) -> None:
    from minirun.network import published

    published.publish(home, box.id, held, _ways(home, box))
    if not box.remove and any(not first or first != last for *_, first, last in bindings(box.options)):
        published.remember(home, box.id)


def follow(home: Home, box: Record) -> None:
    """Have the ports of a container that runs lead to what it has now of its networks, or nowhere. Idempotent.

    Raises:
        MinirunError: the kernel refused.
    """
    from minirun.network import published

    published.move(home, box.id, _ways(home, box))


def _ways(home: Home, box: Record) -> dict[int, tuple[Network, Lease]]:
    """The same as `_into` of what a container is on now, with what it has there."""
    from minirun.container import endpoint

    found = endpoint.ways(home, box)
    return {kind: (network, own) for kind, (network, own) in found.items() if network.driver == "bridge"}


def reflect(network: Network, lease: Lease) -> None:
    """Let a container reach itself by an address of the host, on a network on which its interface is there by now.

    Raises:
        OSError: the kernel refused.
    """
    from minirun.network import cable, portrules

    if network.driver == "bridge" and portrules.bridges_are_filtered():
        portrules.reflect(cable.host_end(lease))
