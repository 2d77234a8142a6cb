"""What is not let out is refused by the attendant where the kernel cannot do that itself: on Debian, among others.

nfnetlink_log: a packet, to whoever it was for        sent back by the same cable, as if by him
  TCP, SYN or any other but RST                    ─▶ RST              RFC 9293, 3.10.7.1
  any other but ICMP errors, and later pieces      ─▶ ICMP: prohibited RFC 1812, 5.3.9; RFC 4443, 3.1

At most so many a second as the rules say. What is not answered is dropped all the same. Kernels that can have
CONFIG_NFT_REJECT_NETDEV.
"""

from __future__ import annotations

from _socket import AF_PACKET, SOCK_CLOEXEC, SOCK_RAW, if_indextoname, socket
from struct import pack, unpack_from

_TCP, _ICMP, _ICMP6 = 6, 1, 58
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS = 0, 43, 44, 51, 60
_FIN, _SYN, _RST, _ACK = 1, 2, 4, 16
_ERRORS = (3, 4, 5, 11, 12)  # of ICMP; of that for IPv6 all below 128
_FIRST_QUESTION6, _NEIGHBOURS6 = 128, (133, 134, 135, 136, 137)
_UNREACHABLE, _PROHIBITED, _UNREACHABLE6, _PROHIBITED6 = 3, 13, 1, 1
_QUOTED_BYTES = 128
_ETHERNET_BYTES = 14


class Refuser:
    """What sends refusals."""

    def __init__(self) -> None:
        self._mouth = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)

    def refuse(self, interface: int, header: bytes, packet: bytes) -> None:
        """Refuse what came by a cable.

        Args:
            interface: index of the host's end.
            header: of Ethernet.
            packet: the beginning of it.
        """
        answer = refusal(packet)
        if answer and len(header) == _ETHERNET_BYTES:
            frame = header[6:12] + header[:6] + header[12:] + answer
            try:
                self._mouth.sendto(frame, (if_indextoname(interface), 0))
            except OSError:
                pass  # the cable has just gone

    def close(self) -> None:
        """Refuse no more."""
        self._mouth.close()


def refusal(packet: bytes) -> bytes:
    """The answer to a packet; empty if it gets none."""
    try:
        return _refusal4(packet) if packet[0] >> 4 == 4 else _refusal6(packet)
    except (IndexError, ValueError):
        return b""  # it is shorter than it says


def _refusal4(packet: bytes) -> bytes:
    start, protocol = 4 * (packet[0] & 15), packet[9]
    (place,) = unpack_from(">H", packet, 6)
    if place & 0x1FFF:
        return b""
    source, to = packet[12:16], packet[16:20]
    if protocol == _TCP:
        (length,) = unpack_from(">H", packet, 2)
        inner = _reset(packet[start:], length - start)
        inner = inner and _summed(inner, 16, to + source + pack(">HH", _TCP, len(inner)))
    elif protocol == _ICMP and packet[start] in _ERRORS:
        inner = b""
    else:
        quoted = pack(">BB6x", _UNREACHABLE, _PROHIBITED) + packet[: start + 8]
        inner, protocol = _summed(quoted, 2), _ICMP
    if not inner:
        return b""
    return _summed(pack(">BBHHHBBH", 0x45, 0, 20 + len(inner), 0, 0x4000, 64, protocol, 0) + to + source, 10) + inner


def _refusal6(packet: bytes) -> bytes:
    (length,) = unpack_from(">H", packet, 4)
    protocol, start = packet[6], 40
    while protocol in (_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS):
        if protocol == _FRAGMENT and unpack_from(">H", packet, start + 2)[0] & 0xFFF8:
            return b""
        size = {_FRAGMENT: 8, _AUTHENTICATION: 4 * packet[start + 1] + 8}.get(protocol, 8 * packet[start + 1] + 8)
        protocol, start = packet[start], start + size
    source, to = packet[8:24], packet[24:40]
    if protocol == _TCP:
        inner, place = _reset(packet[start:], 40 + length - start), 16
    elif protocol == _ICMP6 and (packet[start] < _FIRST_QUESTION6 or packet[start] in _NEIGHBOURS6):
        return b""
    else:
        inner, place = pack(">BB6x", _UNREACHABLE6, _PROHIBITED6) + packet[:_QUOTED_BYTES], 2
        protocol = _ICMP6
    if not inner:
        return b""
    inner = _summed(inner, place, to + source + pack(">II", len(inner), protocol))
    return pack(">IHBB", 6 << 28, len(inner), protocol, 64) + to + source + inner


def _reset(segment: bytes, length: int) -> bytes:
    """The answer to a segment, without its checksum."""
    if len(segment) < 20:
        raise ValueError("a header of TCP has 20 bytes")
    sequence, acknowledged, words, flags = unpack_from(">4xIIBB", segment)
    if flags & _RST:
        return b""
    back = segment[2:4] + segment[:2]
    if flags & _ACK:
        return back + pack(">IIBBHHH", acknowledged, 0, 0x50, _RST, 0, 0, 0)
    end = sequence + length - 4 * (words >> 4) + bool(flags & _SYN) + bool(flags & _FIN)
    return back + pack(">IIBBHHH", 0, end & 0xFFFFFFFF, 0x50, _RST | _ACK, 0, 0, 0)


def _summed(data: bytes, place: int, before: bytes = b"") -> bytes:
    """*data* with the checksum of RFC 1071 at *place*, over *before* as well."""
    whole = before + data + bytes(len(data) & 1)
    total = sum(unpack_from(f">{len(whole) // 2}H", whole))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return data[:place] + pack(">H", ~total & 0xFFFF) + data[place + 2 :]
