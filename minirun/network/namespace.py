"""A network namespace for a container, made beforehand by the process that starts it, which does not stay in there.

    here ── unshare(CLONE_NEWNET) ──▶ there: a socket, a descriptor ── setns(here) ──▶ here

No child is needed: the socket goes on to speak to the namespace that it was opened in, and the container's first
process enters by the descriptor. Whoever is killed meanwhile leaves nothing: a namespace without processes and
descriptors is gone, and with it the interfaces in it and what they are a pair with. See network_namespaces(7).
"""

from __future__ import annotations

import os
from _socket import if_nametoindex

from minirun.errors import MinirunError
from minirun.kernel.call import Call
from minirun.kernel.names import CLONE_NEWNET
from minirun.network import address, netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Sequence

    from minirun.network.lease import Lease
    from minirun.network.record import Network

_OWN = "/proc/thread-self/ns/net"
_EXFULL = 54
INTERFACE = "eth0"


class Namespace:
    """A network namespace that the caller is not in.

    Attributes:
        descriptor: of it, close-on-exec.
        speaker: a socket of rtnetlink in it.
    """

    __slots__ = ("descriptor", "speaker")

    def __init__(self, descriptor: int, speaker: socket) -> None:
        self.descriptor = descriptor
        self.speaker = speaker

    @classmethod
    def make(cls, run: Callable[[Sequence[Call]], object]) -> Namespace:
        """Make one.

        Args:
            run: does system calls in this process: launch/machine.py.

        Raises:
            OSError: it could not be made; the caller is where he was.
        """
        here = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            run([Call("unshare", CLONE_NEWNET)])
            try:
                speaker = netlink.speak()
                try:
                    return cls(os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC), speaker)
                except OSError:
                    speaker.close()
                    raise
            finally:
                run([Call("setns", here, CLONE_NEWNET)])
        finally:
            os.close(here)

    def connect(self, network: Network, lease: Lease, master: int) -> None:
        """Put it on a network, by a pair of interfaces: ours is a port of the bridge with the index *master*.

        Raises:
            MinirunError: the kernel refuses.
        """
        name = host_end(lease.container)
        attempt = f"connect a container to network {network.name}"
        pair = netlink.veth(
            name, master, network.mtu, INTERFACE, address.pack_mac(lease.mac), self.descriptor, up=network.icc
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
            raise MinirunError(
                attempt, error, "a bridge has 1023 ports: make another network" if full else ""
            ) from None
        finally:
            ours.close()
        self._configure(attempt, network, lease)

    def _configure(self, attempt: str, network: Network, lease: Lease) -> None:
        link = netlink.index(self.speaker, INTERFACE)
        messages = [netlink.up(netlink.LOOPBACK)]
        routes = []
        for own, block, gateway in (
            (lease.address, network.subnet, network.gateway),
            (lease.address6, network.subnet6, network.gateway6),
        ):
            if own:
                messages.append(netlink.add_address(link, own, int(block.rpartition("/")[2])))
                routes.append(netlink.default_route(link, gateway))
        if network.internal:
            routes = []
        # a route through an interface needs it to be up
        netlink.do(attempt, self.speaker, [*messages, netlink.up(link), *routes])

    def close(self) -> None:
        """Let it go; it stays while there is a process in it."""
        self.speaker.close()
        os.close(self.descriptor)


def host_end(container_id: str) -> str:
    """The name of the interface on the host that leads to a container."""
    return f"mr{container_id[:13]}"
