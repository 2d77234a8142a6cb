"""Where containers of a network ask for names: port 53 of its gateway, on its bridge and nowhere else.

    eth0 ══ veth ══ bridge ─▶ 10.77.0.1:53, by UDP and by TCP, bound to the device: what comes by any other is not heard

    <runtime>/networks/<id>/names    "<network namespace> <index of the bridge>": where the sockets are;
                                     flock of whoever answers there

Who starts a container sees by that file that somebody answers, and if nobody does binds the sockets himself: so he is
the one who is told that they are in use. What is asked before somebody answers waits in them. See ip(7), socket(7).
"""

from __future__ import annotations

import fcntl
import os
import time
from _socket import (
    AF_INET,
    SO_BINDTODEVICE,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)
from errno import EADDRINUSE

from minirun.errors import Conflict, MinirunError
from minirun.network import lease

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home
    from minirun.network.record import Network

PORT = 53
_BACKLOG = 64
_SO_RCVBUFFORCE = 33
_RECEIVE_BYTES = 1 << 20  # some thousand questions that wait until somebody answers
_TRIES, _TRY_S = 20, 0.005  # whoever had the sockets may be dying
_LOOK_S = 0.0002


def mark(home: Home, network_id: str) -> str:
    """The file that tells where somebody answers."""
    return f"{lease.folder(home, network_id)}/names"


def where(index: int) -> bytes:
    """What that file says of sockets that are bound to a bridge, by its index in the caller's network namespace."""
    return f"{os.stat('/proc/thread-self/ns/net').st_ino} {index}".encode()


def is_served(home: Home, network_id: str, at: bytes) -> bool:
    """Whether somebody answers on a network, and *at* that bridge: it may have been made anew."""
    try:
        descriptor = os.open(mark(home, network_id), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 64) == at
    finally:
        os.close(descriptor)
    return False


def bind(network: Network, tries: int = _TRIES) -> tuple[socket, socket]:
    """Bind the sockets of a network whose bridge is there: for datagrams, and for connections.

    Args:
        network: which.
        tries: how often, where they are in use.

    Raises:
        Conflict: another program has them.
        MinirunError: the kernel refuses.
    """
    for left in reversed(range(tries)):
        try:
            return _bind(network)
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise MinirunError(_attempt(network), error, "look whether its bridge is there: `ip address`") from None
        if left:
            time.sleep(_TRY_S)
    raise _in_use(network)


def _bind(network: Network) -> tuple[socket, socket]:
    bound: list[socket] = []
    try:
        for kind in (SOCK_DGRAM, SOCK_STREAM):
            one = socket(AF_INET, kind | SOCK_CLOEXEC | SOCK_NONBLOCK)
            bound.append(one)
            one.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, network.interface.encode() + b"\0")
            if kind == SOCK_STREAM:
                # past connections are no reason to refuse; one who listens still is
                one.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            else:
                one.setsockopt(SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
            one.bind((network.gateway, PORT))
        bound[1].listen(_BACKLOG)
    except OSError:
        for one in bound:
            one.close()
        raise
    return bound[0], bound[1]


def _in_use(network: Network) -> Conflict:
    """Somebody else answers at the address of a network's gateway, or at every address of the host."""
    from minirun.network import portowner

    owner = portowner.find("udp", PORT) or portowner.find("tcp", PORT) or "another program"
    return Conflict(
        _attempt(network), f"port {PORT} of {network.gateway} is in use by {owner}",
        f"have it listen at other addresses alone (dnsmasq: bind-interfaces and except-interface={network.interface}; "
        "unbound, named: by their addresses), or use `--network bridge`, which has no names",
    )  # fmt: skip


def _attempt(network: Network) -> str:
    return f"answer for the names of containers on network {network.name}"


def note(home: Home, network_id: str, at: bytes) -> int:
    """Write down where the sockets of a network are that were just bound.

    Returns:
        The descriptor that holds the lock of whoever answers there; -1 where that one has it already, and gets other
        sockets.
    """
    descriptor = os.open(mark(home, network_id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, at, 0)
    for _ in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOOK_S)  # it is locked for a look, too
        else:
            return descriptor
    os.close(descriptor)
    return -1
