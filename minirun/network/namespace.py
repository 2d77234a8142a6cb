"""A network namespace for a container, made beforehand by the process that starts it, which does not stay in there.

    here ── unshare(CLONE_NEWNET) ──▶ there: a socket, a descriptor ── setns(here) ──▶ here

No child is needed: the socket goes on to speak to the namespace that it was opened in, and the container's first
process enters by the descriptor. Whoever is killed meanwhile leaves nothing: a namespace without processes and
descriptors is gone, and with it the interfaces in it and what they are a pair with. See network_namespaces(7).
"""

from __future__ import annotations

import os

from minirun.kernel.call import Call
from minirun.kernel.names import CLONE_NEWNET
from minirun.network import drivers, netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Sequence

    from minirun.network.lease import Lease
    from minirun.network.record import Network

_OWN = "/proc/thread-self/ns/net"


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

    def connect(self, network: Network, lease: Lease, index: int) -> None:
        """Put it on a network; *index* is of what that has on the host: see drivers.ensure.

        Raises:
            MinirunError: the kernel refuses.
        """
        attempt = f"connect a container to network {network.name}"
        drivers.plug(attempt, network, lease, index, self.descriptor)
        self._configure(attempt, network, lease)

    def _configure(self, attempt: str, network: Network, lease: Lease) -> None:
        link = netlink.index(self.speaker, lease.interface)
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
