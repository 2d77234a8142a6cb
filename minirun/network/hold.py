"""Ports of the host are held for a container: bound for as long as it runs, so that nobody else has them meanwhile.

    bind, listen     fails if anybody has the port, also where he allows to share it (SO_REUSEADDR)
    shutdown         bound still, and not listening: who comes before the rules, or after them, is refused at once,
                     and does not wait for an answer of nobody

Datagrams that come then are dropped by the kernel, after the first few. Nothing ever reads from these sockets: what is
published is translated before it gets to them. See portelements.py.
"""

from __future__ import annotations

from _socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_BINDTODEVICE,
    SO_RCVBUF,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)  # fmt: skip
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT

from minirun.errors import BadInput, Conflict, MinirunError
from minirun.network.portelements import ANY, PROTOCOLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DOMAIN = 53  # at our gateways somebody may answer there: see nameserver.py
_SHUT_RDWR = 2
_TRIES = 64  # for a port that is free for every address


class Held:
    """A port of the host that is held.

    Attributes:
        protocol: ``tcp``, ``udp`` or ``sctp``.
        address: of the host; one of ANY for each that it has.
        port: of the host.
        to_port: the container's.
    """

    __slots__ = ("address", "port", "protocol", "to_port")

    def __init__(self, protocol: str, address: str, port: int, to_port: int) -> None:
        self.protocol = protocol
        self.address = address
        self.port = port
        self.to_port = to_port


# by container: until its keeper has the sockets, or what it publishes is taken back, or we end
_sockets: dict[str, list[socket]] = {}


def keep(container_id: str, sockets: list[socket]) -> None:
    """Have `descriptors` and `let_go` know the sockets that hold a container's ports."""
    let_go(container_id)
    _sockets[container_id] = sockets


def descriptors(container_id: str) -> list[int]:
    """Of the sockets that hold a container's ports in this process, for whoever is to have them next: its keeper."""
    return [one.fileno() for one in _sockets.get(container_id, ())]


def let_go(container_id: str) -> None:
    """Close those sockets, in this process. Idempotent."""
    for one in _sockets.pop(container_id, ()):
        one.close()


def hold(
    protocol: str, to_port: int, addresses: Sequence[str], ports: tuple[int, int], sockets: list[socket],
    owner: Callable[[str, int], str], preferred: int = 0,
) -> list[Held]:  # fmt: skip
    """Hold the first port that is free for all of *addresses*.

    Args:
        protocol: ``tcp``, ``udp`` or ``sctp``.
        to_port: the container's.
        addresses: of the host.
        ports: the first and the last that will do; (0, 0): any.
        sockets: takes those that hold it, which are closed to let it go.
        owner: who has a port, for the refusal, or nothing.
        preferred: tried first, where any will do.

    Raises:
        Conflict: none is free.
        BadInput: the host has not got an address.
    """
    first, last = ports
    tries = range(first, last + 1) if first else [preferred, *[0] * _TRIES] if preferred else [0] * _TRIES
    for port in tries:
        try:
            taken, number = _hold_all(protocol, addresses, port)
        except OSError as error:
            if error.errno == EADDRINUSE:
                continue
            raise _refusal(protocol, error, port) from None
        sockets += taken
        return [Held(protocol, address, number, to_port) for address in addresses]
    text = f"{first}" if first == last else f"{first}-{last}"
    if not first:
        raise Conflict(f"publish port {to_port}/{protocol}", "the host has no port left for it", "publish fewer")
    who = [owner(protocol, port) for port in range(first, last + 1)]
    by = next((f" by {name}" for name in who if name), "")
    reason = f"it is in use{by}" if first == last else f"each of them is in use, {first}{by}"
    remedy = f"end that, or publish another: -p {'8080' if first != 8080 else '8081'}:{to_port}"
    raise Conflict(f"publish port {text}/{protocol} of the host", reason, remedy)


def _refusal(protocol: str, error: OSError, port: int) -> MinirunError:
    attempt = f"publish port {port}/{protocol} of the host" if port else f"publish a {protocol} port of the host"
    if error.errno == EADDRNOTAVAIL:
        return BadInput(attempt, f"{error.filename} is no address of this host", "`ip addr` lists those that are")
    return MinirunError(attempt, error, "`ulimit -n` must allow a descriptor a port")


def _hold_all(protocol: str, addresses: Sequence[str], port: int) -> tuple[list[socket], int]:
    """Hold one port for every address; 0 for one that the kernel chooses.

    Raises:
        OSError: as bind(2) and listen(2) do; of the address that its filename is.
    """
    taken: list[socket] = []
    try:
        for address in addresses:
            try:
                held = _bind(protocol, address, port)
            except OSError as error:
                if error.errno == EAFNOSUPPORT and address == ANY[1]:
                    continue  # a host without IPv6
                raise OSError(error.errno, error.strerror, address) from None
            taken.append(held)
            port = port or held.getsockname()[1]
    except BaseException:
        for held in taken:
            held.close()
        raise
    return taken, port


def _bind(protocol: str, address: str, port: int) -> socket:
    family = AF_INET6 if ":" in address else AF_INET
    kind = SOCK_DGRAM if protocol == "udp" else SOCK_STREAM
    try:
        held = socket(family, kind | SOCK_CLOEXEC, PROTOCOLS[protocol])
    except OSError as error:
        if protocol != "sctp" or error.errno not in (EPROTONOSUPPORT, ESOCKTNOSUPPORT):
            raise
        # where the kernel has no such sockets nobody can have the port; for one to be chosen that of TCP will do
        return _bind("tcp", address, port)
    try:
        if family == AF_INET6:
            held.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        if port == _DOMAIN and address in ANY:
            # bound to one device it is in the way of all who are bound to none, and not of those at our gateways
            held.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, b"lo\0")
        if protocol == "udp":
            held.setsockopt(SOL_SOCKET, SO_RCVBUF, 0)
            held.bind((address, port))
            return held
        # past connections of somebody who has gone do not count: see TIME_WAIT
        held.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        held.bind((address, port))
        chosen = held.getsockname()[1]
        held.listen(0)
        held.setsockopt(SOL_SOCKET, SO_REUSEADDR, 0)  # from now on nobody else may share it
        if port == 0:  # shutdown(2) gives a port back that the kernel chose
            held.close()
            return _bind(protocol, address, chosen)
        held.shutdown(_SHUT_RDWR)
    except BaseException:
        held.close()
        raise
    return held
