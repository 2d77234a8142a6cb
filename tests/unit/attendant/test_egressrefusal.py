"""What is answered to a packet that is not let out: a reset, or that it is prohibited, or nothing."""

from __future__ import annotations

import pytest

from minirun.attendant.egressrefusal import refusal
from tests.frames import checksum, ipv4, ipv6, over, packed, tcp, udp

OWN, TO, OWN6, TO6 = "10.90.0.7", "192.0.2.7", "fd00::7", "2001:db8::7"
_SYN, _RST, _ACK, _TCP, _UDP = 2, 4, 16, 6, 17


def test_a_call_by_tcp_is_reset_and_what_it_said_acknowledged() -> None:
    told = refusal(ipv4(OWN, TO, _TCP, tcp(OWN, TO, 80, _SYN, b"", source=41000)))
    assert checksum(told[:20]) == 0
    assert told[9] == _TCP
    assert told[12:20] == packed(TO) + packed(OWN)
    segment = told[20:]
    assert int.from_bytes(segment[:2], "big") == 80
    assert int.from_bytes(segment[2:4], "big") == 41000
    assert int.from_bytes(segment[8:12], "big") == 1
    assert segment[13] == _RST | _ACK
    assert over(TO, OWN, _TCP, segment[:16] + b"\0\0" + segment[18:], 16) == segment


def test_what_follows_a_call_is_reset_where_it_is() -> None:
    sent = bytearray(tcp(OWN6, TO6, 80, _ACK, b"and so on", source=41000))
    sent[8:12] = b"\x12\x34\x56\x78"
    told = refusal(ipv6(OWN6, TO6, _TCP, bytes(sent)))
    assert told[6] == _TCP
    assert told[8:40] == packed(TO6) + packed(OWN6)
    assert told[44:48] == b"\x12\x34\x56\x78"
    assert told[53] == _RST
    assert over(TO6, OWN6, _TCP, told[40:56] + b"\0\0" + told[58:], 16) == told[40:]


def test_of_the_rest_it_is_said_that_it_is_prohibited() -> None:
    packet = ipv4(OWN, TO, _UDP, udp(OWN, TO, 53, b"?" * 100))
    told = refusal(packet)
    assert (told[9], told[20:22]) == (1, b"\3\x0d")
    assert told[28:] == packet[:28]
    assert checksum(told[20:]) == 0
    hops = bytes((_UDP, 0, 1, 4, 0, 0, 0, 0))
    packet = ipv6(OWN6, TO6, 0, hops + udp(OWN6, TO6, 53, b"?"))
    told = refusal(packet)
    assert (told[6], told[40:42]) == (58, b"\1\1")
    assert told[48:] == packet
    assert over(TO6, OWN6, 58, told[40:42] + b"\0\0" + told[44:], 2) == told[40:]


@pytest.mark.parametrize(
    "packet",
    [
        ipv4(OWN, TO, _TCP, tcp(OWN, TO, 80, _RST, b"")),
        ipv4(OWN, TO, _UDP, b"later piece", place=1480),
        ipv4(OWN, TO, 1, b"\3\1\0\0" + bytes(32)),
        ipv6(OWN6, TO6, 44, bytes((_UDP, 0, 5, 0xC8)) + bytes(4) + b"later piece"),
        ipv6(OWN6, TO6, 58, b"\1\1\0\0" + bytes(32)),
        ipv6(OWN6, TO6, 58, b"\x87\0\0\0" + bytes(32)),
        b"",
        b"\x45",
        ipv4(OWN, TO, _TCP, tcp(OWN, TO, 80, _SYN, b""))[:30],
        ipv6(OWN6, TO6, 60, b"\x3c"),
    ],
)
def test_some_are_answered_with_nothing(packet: bytes) -> None:
    assert refusal(packet) == b""
