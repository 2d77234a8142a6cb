"""Published ports as the kernel finds them: elements of maps in minirun's own nftables table.

    map of `table inet minirun`  key                                    → data
    published4                   inet_proto . ipv4_addr . inet_service  → ipv4_addr . inet_service   one address
    published4_any               inet_proto . inet_service              → ipv4_addr . inet_service   all that it has
    published6, published6_any   the same with ipv6_addr

    6 . 127.0.0.1 . 8080 → 10.88.0.2 . 80, comment "4f…"
    06000000 7f000001 1f900000   0a580002 00500000   00 0d "4f…" 00
    every field in network order, padded to four bytes; the comment is user data: type, length, text, NUL

The messages are encoded here, for nft(8) takes ten times as long; nft lists what they make. An element's comment is the
beginning of the id of the container that it leads to, and nobody else's is ever removed. See
include/uapi/linux/netfilter/nf_tables.h and libnftnl's udata.h.
"""

from __future__ import annotations

import os
from _socket import AF_NETLINK, MSG_DONTWAIT, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET, socket
from errno import EBUSY, EEXIST
from struct import pack, unpack_from

from minirun.network import address
from minirun.network.firewall import TABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
ANY = ("0.0.0.0", "::")
_NETLINK_NETFILTER = 12
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # socket(7)
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_ERROR, _BATCH_BEGIN, _BATCH_END = 2, 16, 17
_NFTABLES, _INET = 10, 1
_NEW, _GET, _DELETE = _NFTABLES << 8 | 12, _NFTABLES << 8 | 13, _NFTABLES << 8 | 14  # NFT_MSG_*SETELEM
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS, _LIST_ELEM = 1, 2, 0x8003, 0x8001
_KEY, _DATA, _USERDATA, _VALUE = 0x8001, 0x8002, 6, 1
_ELEMENTS_A_MESSAGE = 256  # their list is one attribute, of 64 kB at most
_HEADER = 16


class Element:
    """One port of the host, and where in a container it leads.

    Attributes:
        protocol: ``tcp``, ``udp`` or ``sctp``.
        address: of the host; one of ANY for each that it has.
        port: of the host.
        to: the container's address, of the same family.
        to_port: the container's port.
    """

    __slots__ = ("address", "port", "protocol", "to", "to_port")

    def __init__(self, protocol: str, address: str, port: int, to: str, to_port: int) -> None:
        self.protocol = protocol
        self.address = address
        self.port = port
        self.to = to
        self.to_port = to_port

    @property
    def map(self) -> str:
        """The map that it is in."""
        return f"published{6 if ':' in self.to else 4}{'_any' if self.address in ANY else ''}"

    @property
    def key(self) -> bytes:
        """Its key in that map."""
        own = b"" if self.address in ANY else address.pack(self.address)
        return pack("B3x", PROTOCOLS[self.protocol]) + own + pack(">H2x", self.port)

    @property
    def data(self) -> bytes:
        """What the key leads to."""
        return address.pack(self.to) + pack(">H2x", self.to_port)


def add(elements: Sequence[Element], owner: str) -> None:
    """Have ports lead to a container, all at once or none; what a container left that is gone is replaced.

    Args:
        elements: of ports that the caller holds: see hold.py.
        owner: the container's id.

    Raises:
        FileNotFoundError: the table is not there, or a map in it: see portrules.py.
        OSError: the kernel refused.
    """
    speaker = speak()
    try:
        try:
            batch(speaker, _new(elements, owner))
        except OSError as error:
            if error.errno not in (EEXIST, EBUSY):
                raise
            stale = [element for element in elements if _get(speaker, element)]
            batch(speaker, [*_deletions(stale), *_new(elements, owner)])
    finally:
        speaker.close()


def remove(elements: Sequence[Element], owner: str) -> None:
    """Have ports lead nowhere, where they lead to *owner*. Idempotent."""
    mark = _comment(owner)
    speaker = speak()
    try:
        ours = [element for element in elements if mark in _get(speaker, element)]
        if ours:
            batch(speaker, _deletions(ours))
    finally:
        speaker.close()


def speak() -> socket:
    """A socket that speaks to netfilter in the network namespace that the caller is in."""
    speaker = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, _NETLINK_NETFILTER)
    speaker.bind((0, 0))
    return speaker


def _comment(owner: str) -> bytes:
    text = owner[:12].encode() + b"\0"
    return pack("BB", 0, len(text)) + text


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute of netlink; see netlink(7)."""
    return pack("<HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def message(kind: int, flags: int, family: int, body: bytes, resource: int = 0) -> bytes:
    """One message of nfnetlink, whose header says a family and, around a batch, whose that is."""
    return pack("<IHHII", 20 + len(body), kind, flags, 0, 0) + pack(">BBH", family, 0, resource) + body


def _listed(kind: int, flags: int, name: str, elements: Sequence[bytes]) -> bytes:
    body = attribute(_LIST_TABLE, TABLE.encode() + b"\0") + attribute(_LIST_SET, name.encode() + b"\0")
    body += attribute(_LIST_ELEMENTS, b"".join(attribute(_LIST_ELEM, element) for element in elements))
    return message(kind, _REQUEST | flags, _INET, body)


def _keyed(element: Element) -> bytes:
    return attribute(_KEY, attribute(_VALUE, element.key))


def _new(elements: Sequence[Element], owner: str) -> list[bytes]:
    comment = attribute(_USERDATA, _comment(owner))
    encoded = [(one.map, _keyed(one) + attribute(_DATA, attribute(_VALUE, one.data)) + comment) for one in elements]
    return _by_map(_NEW, _CREATE | _EXCL, encoded)


def _deletions(elements: Sequence[Element]) -> list[bytes]:
    return _by_map(_DELETE, 0, [(one.map, _keyed(one)) for one in elements])


def _by_map(kind: int, flags: int, encoded: Sequence[tuple[str, bytes]]) -> list[bytes]:
    found = []
    for name in sorted({name for name, _ in encoded}):
        mine = [element for where, element in encoded if where == name]
        for start in range(0, len(mine), _ELEMENTS_A_MESSAGE):
            found.append(_listed(kind, _ACK | flags, name, mine[start : start + _ELEMENTS_A_MESSAGE]))
    return found


def batch(speaker: socket, messages: Sequence[bytes]) -> None:
    """Have the kernel do all of *messages* or none.

    Raises:
        OSError: the first refusal.
    """
    begin = message(_BATCH_BEGIN, _REQUEST, 0, b"", resource=_NFTABLES)
    end = message(_BATCH_END, _REQUEST, 0, b"", resource=_NFTABLES)
    sent = b"".join((begin, *messages, end))
    if len(sent) > 1 << 16:
        speaker.setsockopt(SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(sent))
        speaker.setsockopt(SOL_SOCKET, _SO_RCVBUFFORCE, 2 * len(sent))
    speaker.send(sent)
    answers(speaker)


def _get(speaker: socket, element: Element) -> bytes:
    """The kernel's message about an element; empty if there is none."""
    speaker.send(_listed(_GET, 0, element.map, [_keyed(element)]))
    try:
        return answers(speaker)
    except FileNotFoundError:
        return b""


def answers(speaker: socket) -> bytes:
    """What the kernel said to what was sent, which it does before send(2) returns.

    Returns:
        The messages that are no acknowledgements.

    Raises:
        OSError: the first refusal.
    """
    told = b""
    refusal = 0
    while True:
        try:
            data = speaker.recv(1 << 17, MSG_DONTWAIT)
        except BlockingIOError:
            break
        place = 0
        while place + _HEADER <= len(data):
            length, kind = unpack_from("<IH", data, place)
            if kind == _ERROR:
                refusal = refusal or -unpack_from("<i", data, place + _HEADER)[0]
            else:
                told += data[place : place + length]
            place += length + 3 & ~3
    if refusal:
        raise OSError(refusal, os.strerror(refusal))
    return told
