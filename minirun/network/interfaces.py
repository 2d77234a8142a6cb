"""What somebody else has made in a network namespace: the addresses of its interfaces, and its gateways.

    request   nlmsghdr, flags REQUEST | DUMP; the header of what is asked for, empty
    answers   messages as in netlink.py, an address or a route each, and one of type 3 at the end

See rtnetlink(7).
"""

from __future__ import annotations

from struct import pack, unpack_from

from minirun.network import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Iterator

_ERROR, _DONE, _GETADDR, _GETROUTE = 2, 3, 22, 26
_REQUEST, _DUMP = 0x1, 0x300
_RECEIVE_BYTES = 1 << 16
_RT_SCOPE_UNIVERSE, _RT_TABLE_MAIN = 0, 254
_IFA_ADDRESS, _RTA_GATEWAY = 1, 5
_IFADDRMSG_BYTES, _RTMSG_BYTES = 8, 12


def addresses(speaker: socket) -> list[str]:
    """Those that mean something beyond one link."""
    found = []
    for body in _dump(speaker, _GETADDR, _IFADDRMSG_BYTES):
        own = _attributes(body, _IFADDRMSG_BYTES).get(_IFA_ADDRESS)
        if own and body[3] == _RT_SCOPE_UNIVERSE:
            found.append(_text(own))
    return found


def gateways(speaker: socket) -> list[str]:
    """Those of the default routes."""
    found = []
    for body in _dump(speaker, _GETROUTE, _RTMSG_BYTES):
        gateway = _attributes(body, _RTMSG_BYTES).get(_RTA_GATEWAY)
        if gateway and body[1] == 0 and body[4] == _RT_TABLE_MAIN:
            found.append(_text(gateway))
    return found


def _text(data: bytes) -> str:
    return address.text(int.from_bytes(data, "big"), 8 * len(data))


def _dump(speaker: socket, kind: int, header_bytes: int) -> Iterator[bytes]:
    """The bodies of all that there is of one kind.

    Raises:
        OSError: the kernel refused.
    """
    speaker.send(pack("<IHHII", 16 + header_bytes, kind, _REQUEST | _DUMP, 0, 0) + bytes(header_bytes))
    while True:
        data = speaker.recv(_RECEIVE_BYTES)
        place = 0
        while place + 16 <= len(data):
            length, answer = unpack_from("<IH", data, place)
            if answer == _DONE:
                return
            if answer == _ERROR:
                raise OSError(-unpack_from("<i", data, place + 16)[0], "rtnetlink")
            yield data[place + 16 : place + length]
            place += (length + 3) & ~3


def _attributes(body: bytes, place: int) -> dict[int, bytes]:
    found = {}
    while place + 4 <= len(body):
        length, kind = unpack_from("<HH", body, place)
        found[kind] = body[place + 4 : place + length]
        place += max(4, (length + 3) & ~3)
    return found
