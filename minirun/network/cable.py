"""A cable from a bridge into a container: a pair of interfaces, of which the one here is a port of the bridge."""

from __future__ import annotations

from _socket import if_nametoindex
from errno import ENODEV

from minirun.errors import MinirunError
from minirun.network import address, netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from minirun.network.lease import Lease
    from minirun.network.record import Network

_EXFULL = 54
_PREFIX, _DIGITS = "mr", 13


def plug(
    attempt: str, network: Network, lease: Lease, index: int, namespace: int,
    guard: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """See drivers.plug; *index* is the bridge's."""
    name = host_end(lease)
    at_once = network.icc and guard is None
    pair = netlink.veth(name, index, network.mtu, lease.interface, address.pack_mac(lease.mac), namespace, up=at_once)
    ours = netlink.speak()
    try:
        netlink.ask(ours, [pair])
        if guard:
            guard(name)
        if not at_once:
            port = if_nametoindex(name)
            netlink.ask(ours, [*([] if network.icc else [netlink.isolate(port)]), netlink.up(port)])
    except OSError as error:
        full = error.errno == _EXFULL
        raise MinirunError(attempt, error, "a bridge has 1023 ports: make another network" if full else "") from None
    finally:
        ours.close()


def settings(_network: Network, _lease: Lease) -> list[tuple[str, str]]:
    """See drivers.settings."""
    return []


def unplug(attempt: str, _network: Network, lease: Lease, _speaker: socket) -> None:
    """See drivers.unplug: it is the end here that goes, whatever the container calls its own by now."""
    ours = netlink.speak()
    try:
        netlink.ask(ours, [netlink.remove_link(host_end(lease))])
    except OSError as error:
        if error.errno != ENODEV:
            raise MinirunError(attempt, error) from None
    finally:
        ours.close()


def host_end(lease: Lease) -> str:
    """The name of the interface on the host that leads to a container: nobody ever has it again."""
    return f"{_PREFIX}{lease.endpoint[:_DIGITS]}"


def is_host_end(name: str) -> bool:
    """Whether that could be one's name."""
    return name.startswith(_PREFIX) and len(name) == len(_PREFIX) + _DIGITS
