"""A cable from a bridge into a container: a pair of interfaces, of which the one here is a port of the bridge."""

from __future__ import annotations

from _socket import if_nametoindex

from minirun.errors import MinirunError
from minirun.network import address, netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.network.lease import Lease
    from minirun.network.record import Network

_EXFULL = 54


def plug(attempt: str, network: Network, lease: Lease, index: int, namespace: int) -> None:
    """See drivers.plug; *index* is the bridge's."""
    name = host_end(lease.container)
    pair = netlink.veth(
        name, index, network.mtu, lease.interface, address.pack_mac(lease.mac), namespace, up=network.icc
    )
    ours = netlink.speak()
    try:
        try:
            netlink.ask(ours, [pair])
        except FileExistsError:
            # of the time before, whose namespace the kernel is just taking apart
            netlink.ask(ours, [netlink.remove_link(name)])
            netlink.ask(ours, [pair])
        if not network.icc:
            port = if_nametoindex(name)
            netlink.ask(ours, [netlink.isolate(port), netlink.up(port)])
    except OSError as error:
        full = error.errno == _EXFULL
        raise MinirunError(attempt, error, "a bridge has 1023 ports: make another network" if full else "") from None
    finally:
        ours.close()


def host_end(container_id: str) -> str:
    """The name of the interface on the host that leads to a container."""
    return f"mr{container_id[:13]}"
