"""Frames that a container makes itself, with NET_RAW, and who sees them: to be started in a network namespace.

python frames.py send INTERFACE     sends what comes by standard input: a line of hex a frame
python frames.py hear [INTERFACE]   prints "ready", then the first words of MARK that it sees in whatever frame comes in

Each frame has a MARK, a word of its own, so that whoever hears says which ones have come through.
"""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Iterator

_ALL, _OUTGOING = 0x0003, 4  # ETH_P_ALL, PACKET_OUTGOING
IPV4, IPV6, ARP = 0x0800, 0x86DD, 0x0806


def mark(word: str) -> bytes:
    """What a frame has within it that is to be known again."""
    return f"<mark:{word}>".encode()


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(int.from_bytes((data + b"\0")[place : place + 2], "big") for place in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(text: str) -> bytes:
    """A hardware address."""
    return bytes.fromhex(text.replace(":", ""))


def packed(address: str) -> bytes:
    """An address of either kind."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def ethernet(to: str, own: str, kind: int, payload: bytes, *, tag: int = 0) -> bytes:
    """A frame; with the tag of a VLAN, if one is given."""
    tagged = b"\x81\x00" + tag.to_bytes(2, "big") if tag else b""
    return mac(to) + mac(own) + tagged + kind.to_bytes(2, "big") + payload


def ipv4(
    own: str, to: str, protocol: int, payload: bytes, *, options: bytes = b"", more: bool = False, place: int = 0
) -> bytes:
    """A packet, or a piece of one: *place* is that of its payload in the whole, a multiple of 8."""
    words = 5 + len(options) // 4
    head = bytes((0x40 | words, 0)) + (4 * words + len(payload)).to_bytes(2, "big") + b"\x12\x34"
    head += ((0x2000 if more else 0) | place // 8).to_bytes(2, "big") + bytes((64, protocol))
    rest = packed(own) + packed(to) + options
    return head + checksum(head + b"\0\0" + rest).to_bytes(2, "big") + rest + payload


def ipv6(own: str, to: str, following: int, payload: bytes) -> bytes:
    """A packet."""
    head = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes((following, 255))
    return head + packed(own) + packed(to) + payload


def over(own: str, to: str, protocol: int, payload: bytes, place: int) -> bytes:
    """The same payload with a checksum at *place*, over what IPv6 and UDP have it over."""
    pseudo = packed(own) + packed(to) + len(payload).to_bytes(4, "big") + bytes((0, 0, 0, protocol))
    total = checksum(pseudo + payload) or 0xFFFF
    return payload[:place] + total.to_bytes(2, "big") + payload[place + 2 :]


def udp(own: str, to: str, port: int, payload: bytes, source: int = 40000) -> bytes:
    """A datagram."""
    head = source.to_bytes(2, "big") + port.to_bytes(2, "big") + (8 + len(payload)).to_bytes(2, "big") + b"\0\0"
    return over(own, to, 17, head + payload, 6)


def tcp(own: str, to: str, port: int, flags: int, payload: bytes, source: int = 40000) -> bytes:
    """A segment: 2 is SYN, 16 ACK, 4 RST, 1 FIN."""
    head = source.to_bytes(2, "big") + port.to_bytes(2, "big") + bytes(8) + bytes((0x50, flags)) + b"\x20\0\0\0\0\0"
    return over(own, to, 6, head + payload, 16)


def arp(operation: int, own_mac: str, own: str, to_mac: str, to: str) -> bytes:
    """A question (1), or an answer (2); behind it there is room for a mark."""
    return b"\0\1\x08\0\6\4" + operation.to_bytes(2, "big") + mac(own_mac) + packed(own) + mac(to_mac) + packed(to)


def heard(interface: str = "") -> Iterator[str]:
    """The marks of what comes in."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as ear:
        if interface:
            ear.bind((interface, _ALL))
        print("ready", flush=True)  # noqa: T201 - who started us waits for it
        while True:
            data, where = ear.recvfrom(65536)
            if where[2] != _OUTGOING:
                yield from (found.decode() for found in re.findall(rb"<mark:([^>]*)>", data))


def main(what: str, interface: str) -> None:
    """Send, or hear."""
    if what == "hear":
        for word in heard(interface):
            print(word, flush=True)  # noqa: T201 - who started us reads it
        return
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as mouth:
        mouth.bind((interface, 0))
        for line in sys.stdin:
            mouth.send(bytes.fromhex(line))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
