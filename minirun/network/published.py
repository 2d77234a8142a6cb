"""Which ports of the host lead to a container: claimed on disk, then put into the kernel's maps, and taken out again.

    <runtime>/ports/             gone at boot, as is what they tell of; flock held by whoever publishes or takes back
    └── <container's id>         {"to": "10.88.0.2", "to6": "fd…::2", "loopback6": true,
                                  "ports": [["tcp", "0.0.0.0", 8080, 80], ["tcp", "::", 8080, 80]]}

    hold (hold.py)  ─▶  the container gets its addresses  ─▶  publish: claim, rules, elements  ─▶  release at its end

A claim tells what to take back, and who has a port; that nobody else has it is the held socket's doing.
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
    from collections.abc import Sequence
    from typing import Any

    from minirun.network.lease import Lease
    from minirun.network.record import Network

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


def check(network: Network, address: str, name: str) -> None:
    """Refuse an address of the host on which nothing of *network* can be published.

    Raises:
        Unsupported: it has no address of that kind, or no way in.
    """
    attempt = f"publish a port of container {name} on {f'[{address}]' if ':' in address else address}"
    if network.internal:
        raise Unsupported(
            attempt,
            f"network {network.name} is internal: nothing leads into it",
            "leave -p out, or use another",
        )
    if ":" in address and not network.subnet6:
        raise Unsupported(
            attempt, f"network {network.name} has no IPv6",
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


def publish(home: Home, held: Sequence[Held], network: Network, lease: Lease) -> None:
    """Have ports lead to a container.

    Args:
        home: the store.
        held: the ports: see hold.py.
        network: the one of its networks that they lead into.
        lease: its addresses there, which it has.

    Raises:
        Unsupported: nft is not installed.
        MinirunError: the kernel refused.
    """
    claim = {
        "to": lease.address,
        "to6": lease.address6,
        "loopback6": bool(lease.address6) and loopback6(),
        "ports": [[one.protocol, one.address, one.port, one.to_port] for one in held],
    }
    lock = _lock(home)
    try:
        files.replace(f"{_folder(home)}/{lease.container}", jsonfile.dumps(claim).encode(), durable=False)
        _prepare(network)
        elements = _elements(claim)
        try:
            portelements.add(elements, lease.container)
        except FileNotFoundError:  # somebody has flushed the whole ruleset; this claim is on disk already
            restore(home)
    except OSError as error:
        raise MinirunError(
            "publish ports", error, "`nft list table inet minirun` shows what is there; the kernel needs nf_tables"
        ) from None
    finally:
        os.close(lock)
    datagrams = {one.port for one in held if one.protocol == "udp"}
    if datagrams:
        from minirun.network import flows

        flows.forget(datagrams)


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

    for network in store.list_all(home, warn=lambda _error: None):
        if portrules.lets_loopback_through(network.interface):
            portrules.make(network.interface, _subnets(network))
    for container_id in claimants(home):  # where two claim a port, the one before was killed
        if claim := _read(home, container_id):
            try:
                portelements.add(_elements(claim), container_id)
            except FileNotFoundError:
                continue  # its bridge has gone, and it, too


def _elements(claim: dict[str, Any]) -> list[Element]:
    found = []
    for protocol, address, port, to_port in claim["ports"]:
        to = claim["to6"] if ":" in address else claim["to"]
        found.append(Element(protocol, address, port, to, to_port))
        if address == ANY[1] and claim["loopback6"]:
            found.append(Element(protocol, _LOOPBACK6, port, to, to_port))
    return found


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
    claim = _read(home, container_id) or {"ports": ()}
    return [Held(protocol, address, port, to_port) for protocol, address, port, to_port in claim["ports"]]


def remember(home: Home, container_id: str) -> None:
    """Have a container get the same ports at its next start that were chosen for it now, if they are free then."""
    ports = [[one.protocol, one.address, one.port, one.to_port] for one in now(home, container_id)]
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
        if any(one.protocol == protocol and one.port == port for one in now(home, container_id)):
            try:
                name = jsonfile.read(f"{home.container(container_id)}/container.json")["name"]
            except (OSError, ValueError, KeyError):
                continue  # it has gone, and somebody else has taken its port
            return f"container {name}"
    return portowner.find(protocol, port)
