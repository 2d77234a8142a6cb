"""slirp4netns(1): a container behind it is at 10.0.2.100, and asks a name server at 10.0.2.3.

    --network slirp4netns:mtu=1500,allow_host_loopback=true      podman's words

    10.0.2.2     the host: its loopback, if that is allowed
    10.0.2.3     passes questions for names on to the host's name servers
    10.0.2.100   the container, on tap0; of IPv6 some address of fd00::/64

Ports are asked for by a message on a socket, which is gone once they are there. See slirp4netns(1), "API SOCKET".
"""

from __future__ import annotations

import os
from _socket import AF_INET, AF_UNIX, SOCK_CLOEXEC, SOCK_DGRAM, SOCK_STREAM, socket

from minirun.errors import BadInput, MinirunError, Unsupported
from minirun.kernel import jsonfile
from minirun.network import address
from minirun.network.address import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.network.hold import Held

PROGRAM = PACKAGE = "slirp4netns"
READY = 3
ANY: tuple[str, ...] = ("0.0.0.0",)
_SOCKET = "slirp4netns"
_SHUT_WR = 1
_OUTSIDE = ("192.0.2.1", 9)  # RFC 5737: nobody's; the way there is that to everybody
_MOST_MTU = 65521
_MTU = 65520  # podman's
_CIDR = "10.0.2.0/24"
_HOST, _RESOLVER, _OWN = 2, 3, 100  # places in it
_FLAGS = {"true": True, "false": False}
_WORDS = ("allow_host_loopback", "cidr", "enable_ipv6", "mtu", "outbound_addr", "outbound_addr6", "port_handler")


def read(attempt: str, text: str) -> list[str]:
    """Read what is behind ``slirp4netns:``: words as podman has them, name=value.

    Raises:
        BadInput, Unsupported: one has no meaning, or is not built.
    """
    words = text.split(",") if text else []
    for word in words:
        name, _, value = word.partition("=")
        if name not in _WORDS:
            raise BadInput(attempt, f"there is no option {name!r}", f"there are {', '.join(_WORDS)}")
        if name in ("allow_host_loopback", "enable_ipv6") and value not in _FLAGS:
            raise BadInput(attempt, f"{word} is neither true nor false")
        if name == "mtu" and not (value.isdecimal() and 68 <= int(value) <= _MOST_MTU):
            raise BadInput(attempt, f"{word} is no number of bytes from 68 to {_MOST_MTU}")
        if name == "cidr":
            _check_block(attempt, value)
        if name.startswith("outbound_addr") and not value:
            raise BadInput(attempt, f"{name} names no address, and no interface")
        if name == "port_handler" and value != "slirp4netns":
            raise Unsupported(attempt, f"the port handler {value!r} is not built", "slirp4netns is the one that is")
    return words


def _check_block(attempt: str, text: str) -> None:
    try:
        block = Subnet.parse(text)
    except ValueError as error:
        raise BadInput(attempt, f"cidr={text}: {error}") from None
    if block.bits != 32 or block.prefix > 25:
        raise BadInput(attempt, f"cidr={text} is no block of IPv4 with room for its places, /25 or wider")


def _value(options: Sequence[str], name: str, default: str) -> str:
    found = dict(word.split("=", 1) for word in options)
    return found.get(name, default)


def _at(options: Sequence[str], place: int) -> str:
    return address.text(Subnet.parse(_value(options, "cidr", _CIDR)).first + place, 32)


def check(attempt: str, protocol: str, own: str) -> None:
    """Refuse a port that cannot be published.

    Raises:
        Unsupported: it is of SCTP, or of an address of IPv6.
    """
    if protocol not in ("tcp", "udp") or ":" in own:
        what = f"on [{own}]" if ":" in own else f"of {protocol}"
        raise Unsupported(attempt, f"slirp4netns has no ports {what}", "--network pasta, or one that is a bridge")


def words(options: Sequence[str], ports: Sequence[Held], user_namespace: str) -> list[str]:
    """The words that start it."""
    found = [PROGRAM, "--configure", f"--ready-fd={READY}", "--netns-type=path", "--enable-seccomp"]
    # it would enter a user namespace for its sandbox, and finds that by a pid alone
    found += ["--enable-sandbox"] if os.geteuid() == 0 else []
    found += [f"--mtu={_value(options, 'mtu', str(_MTU))}", f"--cidr={_value(options, 'cidr', _CIDR)}"]
    found += [f"--userns-path={user_namespace}"] if user_namespace else []
    found += ["--enable-ipv6"] if _FLAGS[_value(options, "enable_ipv6", "true")] else []
    found += [] if _FLAGS[_value(options, "allow_host_loopback", "false")] else ["--disable-host-loopback"]
    for name in ("outbound_addr", "outbound_addr6"):
        value = _value(options, name, "")
        found += [f"--{name.replace('_', '-')}={value}"] if value else []
    found += [f"--api-socket={_SOCKET}"] if ports else []
    return [*found, "/proc/self/fd/0", "tap0"]


def publish(directory: int, ports: Sequence[Held]) -> None:
    """Have ports of the host lead into the container, by the socket that is in *directory*.

    Raises:
        MinirunError: somebody has got one meanwhile, or it has ended.
    """
    if not ports:
        return
    path = f"/proc/self/fd/{directory}/{_SOCKET}"
    try:
        for one in ports:
            arguments = {
                "proto": one.protocol, "host_addr": one.address, "host_port": one.port, "guest_port": one.to_port,
            }  # fmt: skip
            answer = _ask(path, {"execute": "add_hostfwd", "arguments": arguments})
            if "error" in answer:
                attempt = f"publish port {one.port}/{one.protocol} of the host"
                raise MinirunError(attempt, f"slirp4netns says: {answer['error']['desc']}", "publish another")
        os.unlink(path)  # nobody else is to speak to it
    except OSError as error:
        raise MinirunError("publish ports by slirp4netns", error) from None


def _ask(path: str, request: dict[str, object]) -> dict[str, dict[str, str]]:
    speaker = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    try:
        speaker.connect(path)
        speaker.send(jsonfile.dumps(request).encode())
        speaker.shutdown(_SHUT_WR)
        data = b""
        while got := speaker.recv(4096):
            data += got
    finally:
        speaker.close()
    answer: dict[str, dict[str, str]] = jsonfile.loads(data.decode())
    return answer


def resolver(options: Sequence[str]) -> list[str]:
    """The name server that it has."""
    return [_at(options, _RESOLVER)]


def host(options: Sequence[str], _gateways: Sequence[str]) -> list[str]:
    """The address that stands for the host: its loopback, if that is allowed; or one of its own."""
    if _FLAGS[_value(options, "allow_host_loopback", "false")]:
        return [_at(options, _HOST)]
    outgoing = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC)
    try:
        outgoing.connect(_OUTSIDE)  # nothing is sent
        found: str = outgoing.getsockname()[0]
    except OSError:
        return []
    finally:
        outgoing.close()
    return [found]


def own(options: Sequence[str]) -> list[str]:
    """The container's address of IPv4."""
    return [_at(options, _OWN)]
