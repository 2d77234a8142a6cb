"""Messages of rtnetlink, encoded here: a container is put on a bridge by two sends, without the library's 150 ms.

    nlmsghdr (16)                            body                              attributes, each at a multiple of 4
    ┌────────┬──────┬───────┬──────┬──────┐ ┌────────────────────────────────┐ ┌────────┬──────┬──────┬─────────┐
    │ length │ type │ flags │ seq  │ port │ │ ifinfomsg, ifaddrmsg or rtmsg  │ │ length │ type │ data │ padding │ …
    │ u32    │ u16  │ u16   │ u32  │ u32  │ │ 16, 8 or 12 bytes              │ │ u16    │ u16  │      │ 0 to 3  │
    └────────┴──────┴───────┴──────┴──────┘ └────────────────────────────────┘ └────────┴──────┴──────┴─────────┘

    reply:  nlmsghdr (type 2), error i32 (0: done), the request's nlmsghdr, attributes: 1 is a sentence of the kernel's

tests/unit/network/test_netlink.py holds every byte equal to what pyroute2 encodes. See netlink(7), rtnetlink(7).
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, socket
from fcntl import ioctl
from struct import pack, unpack_from

from minirun.errors import MinirunError
from minirun.network import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ROUTE = 0  # NETLINK_ROUTE
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_ERROR, _NEWLINK, _DELLINK, _SETLINK, _NEWADDR, _NEWROUTE = 2, 16, 17, 19, 20, 24
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_ACK_TLVS = 0x200
_INET, _INET6 = 2, 10
_BRIDGE = 7  # PF_BRIDGE
_IFF_UP = 1
_IFA_F_NODAD = 0x2
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK, _RTN_UNICAST = 254, 4, 0, 253, 1
# attributes of links, addresses and routes: linux/if_link.h, if_addr.h, rtnetlink.h
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_PROTINFO, _IFLA_LINKINFO, _IFLA_NET_NS_FD = (
    1, 3, 4, 5, 10, 12, 18, 28,
)  # fmt: skip
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER, _IFLA_BRPORT_ISOLATED = 1, 2, 1, 33
_IFLA_MACVLAN_MODE, _IFLA_IPVLAN_MODE, _IFLA_IPVLAN_FLAGS = 1, 1, 2
_NESTED = 0x8000
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_OIF, _RTA_GATEWAY = 4, 5
_RECEIVE_BYTES = 1 << 16

_SIOCGIFINDEX, _SIOCGIFFLAGS = 0x8933, 0x8913

LOOPBACK = 1  # its index in every namespace


def _attribute(kind: int, data: bytes) -> bytes:
    return pack("<HH", 4 + len(data), kind) + data + bytes(-len(data) & 3)


def _text(kind: int, text: str) -> bytes:
    return _attribute(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return _attribute(kind, pack("<I", number))


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return pack("<IHHII", 16 + len(body), kind, _REQUEST | _ACK | flags, 0, 0) + body


def _link(index: int = 0, *, up: bool = False, family: int = 0) -> bytes:
    return pack("<BxHiII", family, 0, index, _IFF_UP if up else 0, _IFF_UP if up else 0)


def veth(name: str, master: int, mtu: int, peer: str, peer_mac: bytes, namespace: int, *, up: bool = True) -> bytes:
    """Make a pair of interfaces: *name* here, on the bridge whose index is *master*; the other end in *namespace*.

    Args:
        name: of the end here.
        master: index of the bridge.
        mtu: of both ends, in bytes.
        peer: name of the other end.
        peer_mac: its address.
        namespace: descriptor of the network namespace that it is born in.
        up: whether the end here is.
    """
    inner = (
        _link()
        + _text(_IFLA_IFNAME, peer)
        + _attribute(_IFLA_ADDRESS, peer_mac)
        + _number(_IFLA_MTU, mtu)
        + _number(_IFLA_NET_NS_FD, namespace)
    )
    info = _text(_IFLA_INFO_KIND, "veth") + _attribute(_IFLA_INFO_DATA, _attribute(_VETH_INFO_PEER, inner))
    attributes = _text(_IFLA_IFNAME, name) + _number(_IFLA_MTU, mtu) + _number(_IFLA_MASTER, master)
    return _message(_NEWLINK, _CREATE | _EXCL, _link(up=up) + attributes + _attribute(_IFLA_LINKINFO, info))


def macvlan(parent: int, mode: int, mtu: int, name: str, mac: bytes, namespace: int) -> bytes:
    """Make an interface *name* in *namespace*, with the interface here whose index is *parent* as its parent.

    Args:
        parent: index of that.
        mode: see macvlan_mode in linux/if_link.h.
        mtu: in bytes; 0 for the parent's.
        name: of the interface.
        mac: its address; empty for the parent's.
        namespace: descriptor of the network namespace that it is born in.
    """
    return _offshoot("macvlan", parent, mtu, name, mac, namespace, _number(_IFLA_MACVLAN_MODE, mode))


def ipvlan(parent: int, mode: int, flags: int, mtu: int, name: str, namespace: int) -> bytes:
    """The same, with the address of the parent; *mode* and *flags*: see ipvlan_mode, IPVLAN_F_ in linux/if_link.h."""
    data = _attribute(_IFLA_IPVLAN_MODE, pack("<H", mode))
    data += _attribute(_IFLA_IPVLAN_FLAGS, pack("<H", flags)) if flags else b""
    return _offshoot("ipvlan", parent, mtu, name, b"", namespace, data)


def _offshoot(kind: str, parent: int, mtu: int, name: str, mac: bytes, namespace: int, data: bytes) -> bytes:
    attributes = _text(_IFLA_IFNAME, name) + _number(_IFLA_LINK, parent) + _number(_IFLA_NET_NS_FD, namespace)
    attributes += _attribute(_IFLA_ADDRESS, mac) if mac else b""
    attributes += _number(_IFLA_MTU, mtu) if mtu else b""
    info = _text(_IFLA_INFO_KIND, kind) + _attribute(_IFLA_INFO_DATA, data)
    return _message(_NEWLINK, _CREATE | _EXCL, _link() + attributes + _attribute(_IFLA_LINKINFO, info))


def isolate(port: int) -> bytes:
    """Have a port of a bridge reach no other port that is isolated: see bridge(8), "isolated"."""
    told = _attribute(_IFLA_PROTINFO | _NESTED, _attribute(_IFLA_BRPORT_ISOLATED, b"\1"))
    return _message(_SETLINK, 0, _link(port, family=_BRIDGE) + told)


def join(port: int, master: int) -> bytes:
    """Make an interface a port of the bridge with the index *master*."""
    return _message(_NEWLINK, 0, _link(port) + _number(_IFLA_MASTER, master))


def remove_link(name: str) -> bytes:
    """Remove an interface, and with it what it is a pair with."""
    return _message(_DELLINK, 0, _link() + _text(_IFLA_IFNAME, name))


def up(link: int) -> bytes:
    """Bring an interface up."""
    return _message(_NEWLINK, 0, _link(link, up=True))


def add_address(link: int, own: str, prefix: int) -> bytes:
    """Give an interface an address; one of IPv6 is used at once, for nobody else can have it."""
    data = address.pack(own)
    family, flags = (_INET6, _IFA_F_NODAD) if len(data) == 16 else (_INET, 0)
    body = pack("<BBBBI", family, prefix, flags, 0, link)
    return _message(_NEWADDR, _CREATE | _EXCL, body + _attribute(_IFA_LOCAL, data) + _attribute(_IFA_ADDRESS, data))


def default_route(link: int, gateway: str) -> bytes:
    """Send what goes nowhere else to *gateway*, through an interface."""
    data = address.pack(gateway)
    family = _INET6 if len(data) == 16 else _INET
    kind = (_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST)
    body = pack("<8BI", family, 0, 0, 0, *kind, 0)
    return _message(_NEWROUTE, _CREATE | _EXCL, body + _attribute(_RTA_GATEWAY, data) + _number(_RTA_OIF, link))


def route_by_link(link: int, kind: int) -> bytes:
    """Send what goes nowhere else through an interface, with nobody asked who passes it on; *kind*: 4 or 6."""
    family, scope = (_INET6, _RT_SCOPE_UNIVERSE) if kind == 6 else (_INET, _RT_SCOPE_LINK)
    body = pack("<8BI", family, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, scope, _RTN_UNICAST, 0)
    return _message(_NEWROUTE, _CREATE | _EXCL, body + _number(_RTA_OIF, link))


def speak() -> socket:
    """A socket that speaks to the network namespace that the caller is in, and goes on to when he has left it."""
    speaker = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _ROUTE)
    # of what failed the header alone comes back, and why in words
    speaker.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
    speaker.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
    speaker.bind((0, 0))
    return speaker


def index(speaker: socket, name: str) -> int:
    """The index of an interface, in the network namespace of *speaker*.

    Raises:
        OSError: ENODEV: there is none of that name.
    """
    request = pack("<16s24x", name.encode())
    return int(unpack_from("<i", ioctl(speaker, _SIOCGIFINDEX, request), 16)[0])


def is_up(speaker: socket, name: str) -> bool:
    """Whether an interface is, in the network namespace of *speaker*.

    Raises:
        OSError: ENODEV: there is none of that name.
    """
    request = pack("<16s24x", name.encode())
    return bool(unpack_from("<H", ioctl(speaker, _SIOCGIFFLAGS, request), 16)[0] & _IFF_UP)


def ask(speaker: socket, messages: Sequence[bytes]) -> None:
    """Have the kernel do what *messages* say, in their order.

    Raises:
        OSError: one of them failed; those before it, and those behind it that could be, were done.
    """
    speaker.send(b"".join(messages))
    failed: OSError | None = None
    answered = 0
    while answered < len(messages):
        data = speaker.recv(_RECEIVE_BYTES)
        place = 0
        while place < len(data):
            length, kind, flags = unpack_from("<IHH", data, place)
            if kind == _ERROR:
                answered += 1
                error = -unpack_from("<i", data, place + 16)[0]
                if error and failed is None:
                    said = _sentence(data[place + 36 : place + length]) if flags & _ACK_TLVS else ""
                    failed = OSError(error, f"{os.strerror(error)}: {said}" if said else os.strerror(error))
            place += (length + 3) & ~3
    if failed:
        raise failed


def _sentence(attributes: bytes) -> str:
    """What the kernel says of an error: NLMSGERR_ATTR_MSG."""
    place = 0
    while place + 4 <= len(attributes):
        length, kind = unpack_from("<HH", attributes, place)
        if kind == 1:
            return attributes[place + 4 : place + length].rstrip(b"\0").decode(errors="replace")
        place += max(4, (length + 3) & ~3)
    return ""


def do(attempt: str, speaker: socket, messages: Sequence[bytes], remedy: str = "") -> None:
    """`ask`, for whoever has nobody else to tell.

    Raises:
        MinirunError: one of them failed.
    """
    try:
        ask(speaker, messages)
    except OSError as error:
        raise MinirunError(attempt, error, remedy) from None
