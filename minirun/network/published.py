"""Which ports of the host lead to a container: claimed on disk, then put into the kernel's maps, and taken out again.

    <runtime>/ports/             gone at boot, as is what they tell of; flock held by whoever publishes or takes back
    └── <container's id>         {"to": "10.88.0.2", "to6": "fd…::2", "loopback6": true,
                                  "ports": [["tcp", "0.0.0.0", 8080, 80], ["tcp", "::", 8080, 80]]}
                                 and "by": "pasta", where that program has them lead there, and nothing is in the maps

    hold (hold.py)  ─▶  the container gets its addresses  ─▶  publish: claim, rules, elements  ─▶  release at its end

A claim tells what to take back, and who has a port; that nobody else has it is the held socket's doing. Without "to"
its ports lead nowhere: the container has left the network that they led into.
"""

from __future__ import annotations

import os

from minirun.errors import MinirunError, Unsupported
from minirun.home import Home
from minirun.kernel import files, jsonfile
from minirun.network import hold, portelements, portowner
from minirun.network.hold import Held
from minirun.network.portelements import ANY, Element

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.network.lease import Lease
    from minirun.network.record import Network

    Ways = Mapping[int, tuple[Network, Lease]]

_ID_DIGITS = 64
_LOOPBACK6 = "::1"
_BRIDGED = "/proc/sys/net/bridge/bridge-nf-call-ip6tables"


def loopback6() -> bool:
    """Whether [::1] can be published on this host.

    The answers of a container are translated back to ::1 before the kernel looks whether such may come in. Where
    bridges show their packets to the firewall that happens too early, and they are dropped: see ip6_rcv_core in
    net/ipv6/ip6_input.c, and Documentation/networking/ip-sysctl.rst, bridge-nf-call-ip6tables.
    """
    try:
        with open(_BRIDGED) as file:
            return file.read().strip() == "0"
    except OSError:
        return True  # br_netfilter is not loaded


def check(ways: Mapping[int, Network], address: str, name: str) -> None:
    """Refuse an address of the host on which nothing of a container can be published.

    Args:
        ways: by kind of addresses, the network that ports lead into: see namespace.leading.
        address: of the host.
        name: the container's.

    Raises:
        Unsupported: the container is on networks, and has no address of that kind.
    """
    attempt = f"publish a port of container {name} on {f'[{address}]' if ':' in address else address}"
    if ":" in address and ways and 6 not in ways:
        raise Unsupported(
            attempt, f"network {ways[4].name} has no IPv6",
            "publish on an IPv4 address, or `minirun network create --ipv6` a network that has",
        )  # fmt: skip
    if address == _LOOPBACK6 and not loopback6():
        raise Unsupported(
            attempt, f"this host's bridges show IPv6 packets to the firewall, which drops its answers: {_BRIDGED} is 1",
            "publish on 127.0.0.1, or `sysctl net.bridge.bridge-nf-call-ip6tables=0`",
        )  # fmt: skip


def _folder(home: Home) -> str:
    return f"{home.runtime}/ports"


def _lock(home: Home) -> int:
    try:
        return files.lock(f"{_folder(home)}/lock", exclusive=True)
    except FileNotFoundError:
        os.makedirs(_folder(home), 0o700, exist_ok=True)
        return files.lock(f"{_folder(home)}/lock", exclusive=True)


def publish(home: Home, container_id: str, held: Sequence[Held], ways: Ways) -> None:
    """Have ports lead to a container.

    Args:
        home: the store.
        container_id: whose they are.
        held: the ports: see hold.py.
        ways: by kind of addresses, which of its networks they lead into, and what it has there; of none: nowhere.

    Raises:
        Unsupported: nft is not installed.
        MinirunError: the kernel refused.
    """
    lock = _lock(home)
    try:
        _publish(home, container_id, [[one.protocol, one.address, one.port, one.to_port] for one in held], ways)
    finally:
        os.close(lock)


def claim(home: Home, container_id: str, held: Sequence[Held], by: str) -> None:
    """Note the ports of a container that another program, *by*, has lead to it: see usermode.py."""
    ports = [[one.protocol, one.address, one.port, one.to_port] for one in held]
    os.makedirs(_folder(home), 0o700, exist_ok=True)
    data = jsonfile.dumps({"ports": ports, "to": by, "to6": by, "by": by})
    files.replace(f"{_folder(home)}/{container_id}", data.encode(), durable=False)


def move(home: Home, container_id: str, ways: Ways) -> None:
    """Have the ports that lead to a container lead to another of its networks, or nowhere; they stay held. Idempotent.

    The arguments, and what is raised, are those of `publish`.
    """
    lock = _lock(home)
    try:
        claim = _read(home, container_id)
        if claim is None:
            return
        kept = {(element.map, element.key) for element in _elements(claim | _targets(ways))}
        gone = [element for element in _elements(claim) if (element.map, element.key) not in kept]
        try:
            portelements.remove(gone, container_id)
        except FileNotFoundError:
            pass  # somebody has flushed the whole ruleset
        _publish(home, container_id, claim["ports"], ways)
    except OSError as error:
        raise _refusal(error) from None
    finally:
        os.close(lock)


def _publish(home: Home, container_id: str, ports: list[list[Any]], ways: Ways) -> None:
    claim = {"ports": ports, **_targets(ways)}
    try:
        files.replace(f"{_folder(home)}/{container_id}", jsonfile.dumps(claim).encode(), durable=False)
        for network in {network.id: network for network, _ in ways.values()}.values():
            _prepare(network)
        if elements := _elements(claim):
            try:
                portelements.add(elements, container_id)
            except FileNotFoundError:  # somebody has flushed the whole ruleset; this claim is on disk already
                restore(home)
        # conntrack would go on sending them where they went before
        if datagrams := {port for protocol, _, port, _ in ports if protocol == "udp"}:
            from minirun.network import flows

            flows.forget(datagrams)
    except OSError as error:
        raise _refusal(error) from None


def _targets(ways: Ways) -> dict[str, Any]:
    """What a claim says of where its ports lead to."""
    own, own6 = (ways[kind][1] if kind in ways else None for kind in (4, 6))
    return {
        "to": own.address if own else "", "to6": own6.address6 if own6 else "", "loopback6": bool(own6) and loopback6(),
    }  # fmt: skip


def _refusal(error: OSError) -> MinirunError:
    remedy = "`nft list table inet minirun` shows what is there; the kernel needs nf_tables"
    return MinirunError("publish ports", error, remedy)


def _prepare(network: Network) -> None:
    """Make the rules, unless they were made for this network already: then its bridge lets loopback through."""
    from minirun.network import portrules

    if portrules.lets_loopback_through(network.interface):
        return
    portrules.make(network.interface, _subnets(network))
    if network.subnet6:
        portrules.let_loopback6_through(network.interface)


def _subnets(network: Network) -> list[str]:
    return [subnet for subnet in (network.subnet, network.subnet6) if subnet]


def restore(home: Home) -> None:
    """Put back the rules of ports, and what is in them, after somebody has flushed the whole ruleset.

    Raises:
        MinirunError, OSError: the kernel refused.
    """
    from minirun.network import portrules, store

    found = ((container_id, _read(home, container_id)) for container_id in claimants(home))
    claims = {container_id: claim for container_id, claim in found if claim and "by" not in claim}
    for network in store.list_all(home, warn=lambda _error: None):
        if portrules.lets_loopback_through(network.interface):
            portrules.make(network.interface, _subnets(network))
        elif any(_leads_into(claim, network) for claim in claims.values()):
            try:
                _prepare(network)  # its bridge was made again
            except FileNotFoundError:
                continue  # or it has gone
    for container_id, claim in claims.items():  # where two claim a port, the one before was killed
        try:
            portelements.add(_elements(claim), container_id)
        except FileNotFoundError:
            continue  # its bridge has gone, and it, too


def _leads_into(claim: dict[str, Any], network: Network) -> bool:
    from minirun.network.address import Subnet, parse, width

    blocks = [Subnet.parse(text) for text in _subnets(network)]
    targets = [to for to in (claim["to"], claim["to6"]) if to]
    return any(block.holds(parse(to), width(to)) for to in targets for block in blocks)


def _elements(claim: dict[str, Any]) -> list[Element]:
    found: list[Element] = []
    if "by" in claim:
        return found
    for protocol, address, port, to_port in claim["ports"]:
        to = claim["to6"] if ":" in address else claim["to"]
        if not to:
            continue  # held, and for now it leads nowhere
        found.append(Element(protocol, address, port, to, to_port))
        if address == ANY[1] and claim["loopback6"]:
            found.append(Element(protocol, _LOOPBACK6, port, to, to_port))
    return found


def elements(home: Home, container_id: str) -> int:
    """How many elements of the maps lead to a container, if they are all there."""
    claim = _read(home, container_id)
    return len(_elements(claim)) if claim else 0


def claimants(home: Home) -> list[str]:
    """The ids of the containers that have published ports, the last one to do so last."""
    try:
        names = [name for name in os.listdir(_folder(home)) if len(name) == _ID_DIGITS]
    except FileNotFoundError:
        return []
    return sorted(names, key=lambda name: _age(f"{_folder(home)}/{name}"))


def _age(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0  # just taken back


def _read(home: Home, container_id: str) -> dict[str, Any] | None:
    try:
        claim: dict[str, Any] = jsonfile.read(f"{_folder(home)}/{container_id}")
    except (OSError, ValueError):
        return None
    return claim


def now(home: Home, container_id: str) -> list[Held]:
    """The ports that lead to a container, as they were asked for."""
    claim = _read(home, container_id) or {}
    return [one for one in _held(claim) if claim["to6" if ":" in one.address else "to"]]


def _held(claim: dict[str, Any]) -> list[Held]:
    """The ports of a claim, whether they lead to its container now or nowhere."""
    return [Held(protocol, address, port, to_port) for protocol, address, port, to_port in claim.get("ports", ())]


def remember(home: Home, container_id: str) -> None:
    """Have a container get the same ports at its next start that were chosen for it now, if they are free then."""
    ports = (_read(home, container_id) or {"ports": []})["ports"]
    files.replace(f"{home.container(container_id)}/ports.json", jsonfile.dumps(ports).encode(), durable=False)


def recall(home: Home, container_id: str) -> list[Held]:
    """What `remember` wrote."""
    try:
        return [Held(*one) for one in jsonfile.read(f"{home.container(container_id)}/ports.json")]
    except (OSError, ValueError, TypeError):
        return []


def release(root: str, runtime: str, container_id: str) -> None:
    """Have no port lead to a container any more. An undo of the journal: idempotent."""
    home = Home(root, runtime)
    hold.let_go(container_id)
    if _read(home, container_id) is None:
        return
    lock = _lock(home)
    try:
        if claim := _read(home, container_id):
            try:
                portelements.remove(_elements(claim), container_id)
            except FileNotFoundError:
                pass  # somebody has flushed the whole ruleset
            files.remove(f"{_folder(home)}/{container_id}")
    finally:
        os.close(lock)


def owner(home: Home, protocol: str, port: int) -> str:
    """Who has a port of the host, ``container web`` or ``nginx (pid 812)``; empty if that cannot be seen."""
    for container_id in claimants(home):
        if any(one.protocol == protocol and one.port == port for one in _held(_read(home, container_id) or {})):
            try:
                name = jsonfile.read(f"{home.container(container_id)}/container.json")["name"]
            except (OSError, ValueError, KeyError):
                continue  # it has gone, and somebody else has taken its port
            return f"container {name}"
    return portowner.find(protocol, port)
