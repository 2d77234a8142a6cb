"""Connections that the kernel remembers are forgotten, where a port leads somewhere else from now on.

A client that sends datagrams all the time keeps what conntrack remembers of it alive, and with it where they went: to
nobody, or to the container's address of the time before. So what is remembered of a UDP port goes when it is published.

    CTA_TUPLE_ORIG  ┬ CTA_TUPLE_IP     addresses
                    └ CTA_TUPLE_PROTO  ┬ CTA_PROTO_NUM       17
                                       ├ CTA_PROTO_SRC_PORT
                                       └ CTA_PROTO_DST_PORT  ◀ as the client sees it

See include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import os
from struct import unpack_from

from minirun.network.portelements import attribute, message, speak

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Collection, Iterator

_CONNTRACK = 1
_GET, _DELETE = _CONNTRACK << 8 | 1, _CONNTRACK << 8 | 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_TUPLE_ORIG, _TUPLE_PROTO, _ZONE, _ID = 1, 2, 18, 12
_PROTO_NUM, _PROTO_DST_PORT = 1, 3
_NESTED = 0x8000
_HEADERS = 20  # nlmsghdr and nfgenmsg
_UDP = 17


def forget(ports: Collection[int]) -> None:
    """Forget the UDP connections to *ports* of this host.

    Raises:
        OSError: the kernel refused.
    """
    speaker = speak()
    try:
        for entry in list(_entries(speaker)):
            parts = dict(attributes(entry, _HEADERS, len(entry)))
            if _is_to(parts[_TUPLE_ORIG], ports):
                _delete(speaker, entry[16], parts)
    finally:
        speaker.close()


def _is_to(tuple_: bytes, ports: Collection[int]) -> bool:
    protocol = dict(attributes(dict(attributes(tuple_, 0, len(tuple_)))[_TUPLE_PROTO]))
    if protocol[_PROTO_NUM][0] != _UDP or _PROTO_DST_PORT not in protocol:
        return False
    return int.from_bytes(protocol[_PROTO_DST_PORT], "big") in ports


def _entries(speaker: socket) -> Iterator[bytes]:
    """What is remembered, a message each."""
    speaker.send(message(_GET, _REQUEST | _DUMP, 0, b""))
    while True:
        data = speaker.recv(1 << 17)
        place = 0
        while place + 16 <= len(data):
            length, kind = unpack_from("<IH", data, place)
            if kind == _DONE:
                return
            if kind == _ERROR:
                error = -unpack_from("<i", data, place + 16)[0]
                raise OSError(error, os.strerror(error))
            yield data[place : place + length]
            place += length + 3 & ~3


def attributes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """The attributes of netlink in a part of *data*: (kind, value)."""
    end = len(data) if end is None else end
    while start + 4 <= end:
        length, kind = unpack_from("<HH", data, start)
        yield kind & ~_NESTED, data[start + 4 : start + length]
        start += max(4, length + 3 & ~3)


def _delete(speaker: socket, family: int, parts: dict[int, bytes]) -> None:
    body = attribute(_TUPLE_ORIG | _NESTED, parts[_TUPLE_ORIG])
    for kind in (_ZONE, _ID):  # the very one
        if kind in parts:
            body += attribute(kind, parts[kind])
    speaker.send(message(_DELETE, _REQUEST | _ACK, family, body))
    speaker.recv(1 << 12)  # ENOENT: it was forgotten meanwhile
