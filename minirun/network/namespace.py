"""A network namespace for a container, made beforehand by the process that starts it, which does not stay in there.

    here ── unshare(CLONE_NEWNET) ──▶ there: a socket, a descriptor ── setns(here) ──▶ here

No child is needed: the socket goes on to speak to the namespace that it was opened in, and the container's first
process enters by the descriptor. For an ordinary user there is no way back to here, which is a namespace of the host's:
a child goes there, and sends him both. Whoever is killed meanwhile leaves nothing: a namespace without processes and
descriptors is gone, and with it the interfaces in it and what they are a pair with. See network_namespaces(7).
"""

from __future__ import annotations

import os
from errno import EEXIST, EHOSTUNREACH, ENETDOWN, ENETUNREACH, ENODEV

from minirun import caller
from minirun.errors import MinirunError
from minirun.kernel.call import Call
from minirun.kernel.names import CLONE_NEWNET
from minirun.network import drivers, netlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable, Collection, Iterable, Sequence

    from minirun.network.lease import Lease
    from minirun.network.record import Network

_OWN = "/proc/thread-self/ns/net"
# he has a default route of his own, or has renamed the interface, taken it down, or taken its addresses
_HIS_OWN = (EEXIST, ENODEV, ENETDOWN, ENETUNREACH, EHOSTUNREACH)


class Namespace:
    """A network namespace that the caller is not in.

    Attributes:
        descriptor: of it, close-on-exec.
        speaker: a socket of rtnetlink in it.
    """

    __slots__ = ("_run", "descriptor", "speaker")

    def __init__(self, run: Callable[[Sequence[Call]], object], descriptor: int, speaker: socket) -> None:
        self._run = run
        self.descriptor = descriptor
        self.speaker = speaker

    @classmethod
    def make(cls, run: Callable[[Sequence[Call]], object]) -> Namespace:
        """Make one, whose loopback interface is up.

        Args:
            run: does system calls in this process: launch/machine.py.

        Raises:
            OSError: it could not be made; the caller is where he was.
        """
        made = cls._there(run, Call("unshare", CLONE_NEWNET))
        try:
            netlink.ask(made.speaker, [netlink.up(netlink.LOOPBACK)])
        except OSError:
            made.close()
            raise
        return made

    @classmethod
    def enter(cls, run: Callable[[Sequence[Call]], object], descriptor: int) -> Namespace:
        """The one that *descriptor* is of, which stays the caller's; *run* and what is raised are those of `make`."""
        return cls._there(run, Call("setns", descriptor, CLONE_NEWNET))

    @classmethod
    def _there(cls, run: Callable[[Sequence[Call]], object], go: Call) -> Namespace:
        if caller.ROOTLESS:
            from minirun.network import abroad

            return cls(run, *abroad.fetch(lambda: run([go]), _OWN))
        here = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            run([go])
            try:
                speaker = netlink.speak()
                try:
                    return cls(run, os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC), speaker)
                except OSError:
                    speaker.close()
                    raise
            finally:
                run([Call("setns", here, CLONE_NEWNET)])
        finally:
            os.close(here)

    def connect(
        self, network: Network, lease: Lease, index: int, leads: Collection[int],
        guard: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        """Put it on a network.

        Args:
            network: which.
            lease: what it has there.
            index: of what that network has on the host: see drivers.ensure.
            leads: the kinds of addresses, 4 and 6, whose default route is to go by this network: see `gateways`.
            guard: see drivers.plug.

        Raises:
            MinirunError: the kernel refuses.
        """
        attempt = f"connect a container to network {network.name}"
        drivers.plug(attempt, network, lease, index, self.descriptor, guard)
        if settings := drivers.settings(network, lease):
            self._set(attempt, settings)
        link = netlink.index(self.speaker, lease.interface)
        blocks = ((lease.address, network.subnet), (lease.address6, network.subnet6))
        own = [netlink.add_address(link, own, int(block.rpartition("/")[2])) for own, block in blocks if own]
        routes = [_default_route(link, kind, gateway) for kind, gateway in gateways(network) if kind in leads]
        # a route through an interface needs it to be up
        netlink.do(attempt, self.speaker, [*own, netlink.up(link), *routes])

    def _set(self, attempt: str, settings: Sequence[tuple[str, str]]) -> None:
        """Write files of /proc/sys/net, which are those of the namespace that the writer is in: see sysfs(5)."""
        here = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._run([Call("setns", self.descriptor, CLONE_NEWNET)])
            try:
                for name, value in settings:
                    with open(f"/proc/sys/net/{name}", "wb", 0) as file:
                        file.write(value.encode())
            except FileNotFoundError:
                pass  # a kernel without IPv6
            finally:
                self._run([Call("setns", here, CLONE_NEWNET)])
        except OSError as error:
            raise MinirunError(attempt, error) from None
        finally:
            os.close(here)

    def disconnect(self, network: Network, lease: Lease) -> None:
        """Take it off a network: its interface goes, with what it had there. Idempotent.

        Raises:
            MinirunError: the kernel refuses.
        """
        drivers.unplug(f"disconnect a container from network {network.name}", network, lease, self.speaker)

    def lead(self, network: Network, lease: Lease, kind: int) -> None:
        """Have the default route of a kind of addresses go by a network, unless somebody in there wants it otherwise.

        Raises:
            MinirunError: the kernel refuses.
        """
        try:
            link = netlink.index(self.speaker, lease.interface)
            netlink.ask(self.speaker, [_default_route(link, kind, dict(gateways(network))[kind])])
        except OSError as error:
            if error.errno not in _HIS_OWN:
                raise MinirunError(f"route by network {network.name}", error) from None

    def free_interface(self) -> str:
        """The first name that no interface has in there: eth0, eth1 and so on."""
        number = 0
        while True:
            try:
                netlink.index(self.speaker, f"eth{number}")
            except OSError:
                return f"eth{number}"
            number += 1

    def close(self) -> None:
        """Let it go; it stays while there is a process in it."""
        self.speaker.close()
        os.close(self.descriptor)


def gateways(network: Network) -> list[tuple[int, str]]:
    """The ways out of a network: (kind of addresses: 4 or 6, gateway); without one where nobody is asked."""
    both = ((4, network.subnet, network.gateway), (6, network.subnet6, network.gateway6))
    return [] if network.internal else [(kind, gateway) for kind, block, gateway in both if block]


def _default_route(link: int, kind: int, gateway: str) -> bytes:
    return netlink.default_route(link, gateway) if gateway else netlink.route_by_link(link, kind)


def leading(networks: Iterable[Network]) -> dict[int, Network]:
    """By kind of addresses, which of a container's networks its default route goes by: the first that has a way out."""
    found: dict[int, Network] = {}
    for network in networks:
        for kind, _ in gateways(network):
            found.setdefault(kind, network)
    return found
