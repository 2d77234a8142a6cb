"""What a container may reach: the elements of its allow-list, read once, and asked for names and addresses.

element        TARGET[:PORT[-PORT]][/tcp|/udp|/sctp]            │ at any port, by any protocol, unless it says
TARGET         pypi.org   db                                    │ that name: of a host, or of a container
               *.example.org                                    │ every name that ends so, and not example.org itself
               *                                                │ every name
               192.0.2.7   10.0.0.0/8   [2001:db8::]/32         │ brackets are needed before a port
               host-gateway                                     │ the host, by the addresses of the gateways

A name stands for the addresses that the resolver told the container under it, for as long as they are good: see
attendant/egress.py. What is in the kernel of all that is drawn in egressrules.py.
"""

from __future__ import annotations

from minirun.errors import BadInput
from minirun.network import address
from minirun.network.address import Subnet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

GATEWAY = "host-gateway"
NOTHING = "none"
PROTOCOLS = ("tcp", "udp", "sctp")
_MOST = 4096  # elements of one list
_MOST_SERVICES = 64  # a new connection is compared with each in turn
_NAME_BYTES, _LABEL_BYTES = 253, 63
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_MULTICAST = (Subnet(0xE << 28, 4, 32), Subnet(0xFF << 120, 8, 128))
_LOOPBACK = (Subnet(127 << 24, 8, 32), Subnet(1, 128, 128))
_LOOPBACK_REASON = "a container's loopback is its own, and nothing of it goes out"
_LOOPBACK_REMEDY = f"leave it out; allow={GATEWAY} is the host"
_BROADCAST = (1 << 32) - 1
_LAST_PORT = (1 << 16) - 1


class Service:
    """Ports of protocols. Equal ones are one key of a dictionary: it is a tuple that has names.

    Attributes:
        protocols: some of PROTOCOLS; empty for every protocol, with ports or without.
        first: the lowest port.
        last: the highest.
    """

    __slots__ = ("first", "last", "protocols")

    def __init__(self, protocols: tuple[str, ...] = (), first: int = 0, last: int = _LAST_PORT) -> None:
        self.protocols = protocols
        self.first = first
        self.last = last

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Service) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        """The service as it is written behind a target."""
        text = ""
        if (self.first, self.last) != (0, _LAST_PORT):
            text = f":{self.first}" if self.first == self.last else f":{self.first}-{self.last}"
        return text + (f"/{self.protocols[0]}" if len(self.protocols) == 1 else "")


class Element:
    """One element.

    Attributes:
        name: in small letters: of a host, ``*.`` and the end of names, ``*``, GATEWAY; empty if it is a block.
        block: of addresses; None if it is a name.
        service: what may be reached there.
    """

    __slots__ = ("block", "name", "service")

    def __init__(self, name: str, block: Subnet | None, service: Service) -> None:
        self.name = name
        self.block = block
        self.service = service

    @classmethod
    def parse(cls, text: str) -> Element:
        """Read one.

        Raises:
            BadInput: it is none.
        """
        attempt = f"use --network-egress allow={text}"
        target, service = _split(text, attempt)
        if target.startswith("[") or ":" in target or _is_like_ipv4(target):
            return cls("", _block(target, attempt), service)
        return cls(_name(target, attempt), None, service)

    def means(self, name: str) -> bool:
        """Whether *name*, in small letters and without a dot at its end, is one of those that it stands for."""
        if self.name == "*":
            return True
        if self.name.startswith("*."):
            return name.endswith(self.name[1:]) and len(name) >= len(self.name)
        return bool(name) and name == self.name

    def __repr__(self) -> str:
        """The element as it is kept in a record, and read again."""
        if self.block is None:
            return f"{self.name}{self.service!r}"
        text = address.text(self.block.first, self.block.bits)
        text = f"[{text}]" if self.block.bits == 128 else text
        return f"{text}{'' if self.block.size == 1 else f'/{self.block.prefix}'}{self.service!r}"


def read(given: Sequence[str]) -> list[str]:
    """Read what --network-egress was given, each time.

    Returns:
        The elements, each once, as they are kept: `Element.parse` reads them. Empty: nothing may be reached.

    Raises:
        BadInput: something has no meaning.
    """
    found: dict[str, Element] = {}
    nothing = False
    for text in given:
        attempt = f"use --network-egress {text}"
        if not text.startswith("allow=") and text != NOTHING:
            meant = _guess(text) or (text if text and "=" not in text else "pypi.org:443")
            raise BadInput(attempt, "it is no allow=HOST or allow=CIDR", f"--network-egress allow={meant}")
        for part in text.split(","):
            one = part.strip().removeprefix("allow=")
            if one == NOTHING:
                nothing = True
                continue
            if not one:
                raise BadInput(attempt, "an element of it is empty", "allow=none allows nothing at all")
            element = Element.parse(one)
            found[repr(element)] = element
    if nothing and found:
        raise BadInput(
            "use --network-egress allow=none", f"{next(iter(found))} is allowed, too", "leave one of them out"
        )
    if len(found) > _MOST:
        raise BadInput("use --network-egress", f"{len(found)} elements are more than {_MOST}", "name wider blocks")
    services = {element.service for element in found.values()}
    if len(services) > _MOST_SERVICES:
        raise BadInput(
            "use --network-egress", f"{len(services)} different ports are more than {_MOST_SERVICES}",
            "name ranges of ports, as in allow=10.0.0.0/8:8000-8100, or hosts without ports",
        )  # fmt: skip
    return [*found]


def services(elements: Sequence[str]) -> dict[Service, list[Element]]:
    """The elements of a list by what may be reached there, in an order that is always the same."""
    found: dict[Service, list[Element]] = {}
    for text in elements:
        element = Element.parse(text)
        found.setdefault(element.service, []).append(element)
    return found


def _split(text: str, attempt: str) -> tuple[str, Service]:
    """Take an element apart: the target, and the service."""
    if meant := _guess(text):
        raise BadInput(attempt, "it is an address of the web", f"allow={meant}")
    rest, slash, tail = text.rpartition("/")
    protocols: tuple[str, ...] = ()
    if slash and tail[:1].isalpha():
        if tail.lower() not in PROTOCOLS:
            reason = f"{tail!r} is no protocol with ports"
            raise BadInput(attempt, reason, f"after the slash is the length of a prefix, or {', '.join(PROTOCOLS)}")
        protocols, text = (tail.lower(),), rest
    target, colon, port = text.rpartition(":")
    # one of IPv6 without brackets has no port
    if not colon or (":" in target and not target.startswith("[")) or (text.startswith("[") and "]" in port):
        return text, Service(protocols)
    first, dash, last = port.partition("-")
    numbers = [int(one) if one.isascii() and one.isdigit() and len(one) < 6 else -1 for one in (first, last or first)]
    if not 0 < numbers[0] <= numbers[1] <= _LAST_PORT or (dash and not last):
        raise BadInput(attempt, f"{port!r} is no port, and no range of them", "as in allow=pypi.org:443, or :8000-8010")
    return target, Service(protocols or PROTOCOLS, *numbers)


def _guess(text: str) -> str:
    """What somebody may have meant who gave an address of the web."""
    scheme, separator, rest = text.partition("://")
    host, _, port = rest.partition("/")[0].rpartition("@")[2].partition(":")
    port = port or {"http": "80", "https": "443", "ssh": "22", "git": "9418", "ftp": "21"}.get(scheme, "")
    return f"{host}{':' if port else ''}{port}" if separator and host else ""


def _is_like_ipv4(target: str) -> bool:
    """Whether it can be no name, for the last label of one is no number (RFC 1123, RFC 3696)."""
    return target.partition("/")[0].rpartition(".")[2].isdecimal()


def _block(target: str, attempt: str) -> Subnet:
    bare = target
    if target.startswith("["):
        inside, bracket, behind = target[1:].partition("]")
        if not bracket or (behind and not behind.startswith("/")) or ":" not in inside:
            raise BadInput(attempt, f"{target!r} is no address in brackets", "as in allow=[2001:db8::]/32:443")
        bare = inside + behind
    try:
        if "/" not in bare:
            number, bits = address.parse(bare), address.width(bare)
            block = Subnet(number, bits, bits)
        else:
            block = Subnet.parse(bare)
    except ValueError as error:
        remedy = "as in allow=10.0.0.0/8, allow=192.0.2.7:5432, allow=[2001:db8::1]:443"
        raise BadInput(attempt, str(error), remedy) from None
    if any(within(block, other) for other in _MULTICAST) or (block.bits == 32 and block.first == _BROADCAST):
        raise BadInput(attempt, "what is sent to many at once is never let out", "name those who are to get it")
    if any(within(block, other) for other in _LOOPBACK):
        raise BadInput(attempt, _LOOPBACK_REASON, _LOOPBACK_REMEDY)
    return block


def within(block: Subnet, other: Subnet) -> bool:
    """Whether all of *block* is in *other*."""
    return other.holds(block.first, block.bits) and other.holds(block.last, block.bits)


def _name(target: str, attempt: str) -> str:
    name = target.lower().removesuffix(".")
    bare = name.removeprefix("*.")
    if name == "*":
        return name
    if not target.isascii():
        reason = "a name of other letters than a to z is written as it is asked for"
        raise BadInput(attempt, reason, f"allow={_encode(name)}")
    if "*" in bare:
        raise BadInput(attempt, "a * stands for whole labels at the beginning", "as in allow=*.example.org")
    labels = bare.split(".")
    if not all(map(_is_label, labels)):
        remedy = "as in allow=pypi.org:443, allow=*.example.org, allow=10.0.0.0/8"
        raise BadInput(attempt, f"{target!r} is no name and no address", remedy)
    if len(bare) > _NAME_BYTES:
        raise BadInput(attempt, f"a name has up to {_NAME_BYTES} characters")
    if bare == "localhost" or bare.endswith(".localhost"):
        raise BadInput(attempt, _LOOPBACK_REASON, _LOOPBACK_REMEDY)
    return name


def _is_label(text: str) -> bool:
    return 0 < len(text) <= _LABEL_BYTES and _NAME_CHARACTERS.issuperset(text) and "-" not in (text[0], text[-1])


def _encode(name: str) -> str:
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return "xn--…"
