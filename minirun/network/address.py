"""Addresses as numbers, without the module ipaddress, which takes longer to import than an address to take.

"10.90.0.7/16"  ─▶  Subnet: first 10.90.0.0, bits 16 of 32
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, inet_ntop, inet_pton


class Subnet:
    """A block of addresses.

    Attributes:
        first: the lowest address, the network's own, as a number.
        prefix: how many bits all of them share.
        bits: 32, or 128 for IPv6.
    """

    __slots__ = ("bits", "first", "prefix")

    def __init__(self, first: int, prefix: int, bits: int) -> None:
        self.first = first
        self.prefix = prefix
        self.bits = bits

    @classmethod
    def parse(cls, text: str) -> Subnet:
        """Read ``10.90.0.0/16`` or ``fd00::/64``.

        Raises:
            ValueError: it is none, or bits are set behind the prefix.
        """
        address, slash, prefix = text.partition("/")
        number, bits = parse(address), width(address)
        if not slash or not prefix.isdecimal() or len(prefix) > 3 or not 0 <= int(prefix) <= bits:
            raise ValueError(f"{text} is no ADDRESS/PREFIX")
        found = cls(number, int(prefix), bits)
        if number & (found.size - 1):
            raise ValueError(f"{text} has bits set behind its prefix: {cls(number & -found.size, int(prefix), bits)!r}")
        return found

    @property
    def size(self) -> int:
        """How many addresses are in it."""
        return 1 << (self.bits - self.prefix)

    @property
    def last(self) -> int:
        """The highest address: of IPv4 the one that means all."""
        return self.first + self.size - 1

    def overlaps(self, other: Subnet) -> bool:
        """Whether an address is in both."""
        return self.bits == other.bits and self.first <= other.last and other.first <= self.last

    def holds(self, number: int, bits: int) -> bool:
        """Whether an address is in it."""
        return self.bits == bits and self.first <= number <= self.last

    def __repr__(self) -> str:
        """The block as it is written."""
        return f"{text(self.first, self.bits)}/{self.prefix}"


def width(address: str) -> int:
    """How many bits addresses of this kind have."""
    return 128 if ":" in address else 32


def pack(address: str) -> bytes:
    """The bytes of an address, as they go over the wire.

    Raises:
        ValueError: it is none.
    """
    try:
        return inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except (OSError, UnicodeError):
        raise ValueError(f"{address!r} is no address") from None


def parse(address: str) -> int:
    """An address as a number.

    Raises:
        ValueError: it is none.
    """
    return int.from_bytes(pack(address), "big")


def text(number: int, bits: int) -> str:
    """An address as it is written, in its shortest form."""
    return inet_ntop(AF_INET6 if bits == 128 else AF_INET, number.to_bytes(bits // 8, "big"))


def pack_mac(mac: str) -> bytes:
    """The bytes of ``02:42:0a:5a:00:02``.

    Raises:
        ValueError: it is no address of a single interface.
    """
    parts = mac.replace("-", ":").split(":")
    try:
        data = bytes(int(part, 16) for part in parts if len(part) == 2)
    except ValueError:
        data = b""
    if len(parts) != 6 or len(data) != 6 or data[0] & 1 or not any(data):
        raise ValueError(f"{mac!r} is no MAC address of an interface")
    return data
