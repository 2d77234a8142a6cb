"""An interface of a macvlan or ipvlan network: born in the container's namespace, of a parent on the host.

eth0 of the host ─┬─ eth0 of a container    macvlan: it has a hardware address of its own
                  └─ eth0 of another        ipvlan: it has the parent's, and the kernel looks at IP addresses
"""

from __future__ import annotations

from errno import EBUSY, EINVAL, ENODEV, EOPNOTSUPP

from minirun.errors import MinirunError
from minirun.network import address, netlink
from minirun.network.parentoptions import CHOICES, choice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

    from minirun.network.lease import Lease
    from minirun.network.record import Network


def plug(attempt: str, network: Network, lease: Lease, index: int, namespace: int) -> None:
    """See drivers.plug; *index* is the parent's."""
    numbers = [CHOICES[network.driver][option][choice(network, option)] for option in CHOICES[network.driver]]
    if network.driver == "macvlan":
        mac = address.pack_mac(lease.mac) if lease.mac else b""
        message = netlink.macvlan(index, numbers[0], network.mtu, lease.interface, mac, namespace)
    else:
        message = netlink.ipvlan(index, numbers[0], numbers[1], network.mtu, lease.interface, namespace)
    ours = netlink.speak()
    try:
        netlink.ask(ours, [message])
    except OSError as error:
        raise MinirunError(attempt, error, _remedy(network, error.errno or 0)) from None
    finally:
        ours.close()


def _remedy(network: Network, code: int) -> str:
    parent = network.interface
    if code == EOPNOTSUPP:
        return f"this kernel has no {network.driver}: `modprobe {network.driver}`"
    if code == EBUSY:
        return f"{parent} is in a bridge or a bond, or the parent of interfaces of the other kind: `ip -d link`"
    if code == EINVAL and network.driver == "macvlan" and choice(network, "macvlan_mode") == "passthru":
        return f"in mode passthru {parent} is for a single container: stop the one that has it"
    if code == EINVAL and network.mtu:
        return f"{parent} may have got a smaller mtu than {network.mtu}: `ip link show {parent}`"
    return f"look at its parent: `ip -d link show {parent}`"


def settings(network: Network, lease: Lease) -> list[tuple[str, str]]:
    """See drivers.settings: it has what its lease says, whatever a router outside promises. See ip-sysctl.rst."""
    name = "accept_ra" if network.subnet6 else "disable_ipv6"
    return [(f"ipv6/conf/{lease.interface}/{name}", "0" if network.subnet6 else "1")]


def unplug(attempt: str, _network: Network, lease: Lease, speaker: socket) -> None:
    """See drivers.unplug."""
    try:
        netlink.ask(speaker, [netlink.remove_link(lease.interface)])
    except OSError as error:
        if error.errno != ENODEV:
            raise MinirunError(attempt, error) from None
