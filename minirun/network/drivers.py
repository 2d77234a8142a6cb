"""What a network is made of: its driver. Each is two modules; but for bridges, they are imported when they are needed.

driver             on the host: ensure, remove       into a container: plug, unplug
bridge             bridge.py                         cable.py: a pair of interfaces
macvlan, ipvlan    parent.py                         offshoot.py: an interface of another one's
"""

from __future__ import annotations

import os

from minirun.home import Home
from minirun.network import bridge, cable, store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable
    from typing import Protocol

    from minirun.network.lease import Lease
    from minirun.network.record import Network

    class _Host(Protocol):
        def ensure(self, home: Home, network: Network) -> int: ...

        def remove(self, home: Home, network: Network) -> None: ...

    class _Link(Protocol):
        def settings(self, network: Network, lease: Lease) -> list[tuple[str, str]]: ...

        def plug(self, attempt: str, network: Network, lease: Lease, index: int, namespace: int) -> None: ...

        def unplug(self, attempt: str, network: Network, lease: Lease, speaker: socket) -> None: ...


NAMES = ("bridge", "macvlan", "ipvlan")


def ensure(home: Home, network: Network) -> int:
    """Have on the host what containers are connected to: a bridge, or an interface that is the parent of theirs.

    Returns:
        Its index, in the network namespace of the caller.

    Raises:
        Conflict, NotFound: it cannot be had.
        MinirunError: the kernel refuses.
    """
    return _host(network).ensure(home, network)


def plug(
    attempt: str, network: Network, lease: Lease, index: int, namespace: int, guard: Callable[[str], None] | None
) -> None:
    """Make a container's interface, in its namespace, without addresses, and down.

    Args:
        attempt: for the refusal.
        network: which it is on.
        lease: its hardware address, and the interface's name.
        index: what `ensure` returned.
        namespace: descriptor of the container's network namespace.
        guard: called with the name of the end on the host before anything gets through it; for bridges alone.

    Raises:
        MinirunError: the kernel refuses.
    """
    if guard:
        cable.plug(attempt, network, lease, index, namespace, guard)
    else:
        _link(network).plug(attempt, network, lease, index, namespace)


def settings(network: Network, lease: Lease) -> list[tuple[str, str]]:
    """What is to be said of a container's interface below /proc/sys/net of its namespace, while it is down."""
    return _link(network).settings(network, lease)


def unplug(attempt: str, network: Network, lease: Lease, speaker: socket) -> None:
    """Remove a container's interface, with its addresses and routes; that there is none is as it should be.

    Args:
        attempt: for the refusal.
        network: which it is on.
        lease: what `plug` was given.
        speaker: a socket of rtnetlink in the container's network namespace.

    Raises:
        MinirunError: the kernel refuses.
    """
    _link(network).unplug(attempt, network, lease, speaker)


def remove(home: Home, network: Network) -> None:
    """Take a network from the host and from the store; nobody is on it, and the folder of networks is held.

    Its record goes last: as long as it is there, whoever finds this cut short knows what else has to go.

    Raises:
        MinirunError: the kernel refuses.
    """
    _host(network).remove(home, network)


def discard(root: str, runtime: str, name: str, network_id: str) -> None:
    """Remove a network that was not made whole, or not removed whole. An undo of the journal: idempotent."""
    home = Home(root, runtime)
    held = store.hold(home)
    try:
        network = store.find(home, name)
        if network and network.id == network_id:
            remove(home, network)
    finally:
        os.close(held)


def _host(network: Network) -> _Host:
    if network.driver == "bridge":
        return bridge
    from minirun.network import parent

    return parent


def _link(network: Network) -> _Link:
    if network.driver == "bridge":
        return cable
    from minirun.network import offshoot

    return offshoot
