"""Where a registry is: what comes before the first slash of an image's name, as a host and a port.

    name of the image             registry           repository        answers at
    ----------------------------  -----------------  ----------------  ------------------------------
    ubuntu, docker.io/ubuntu      docker.io          library/ubuntu    https://registry-1.docker.io
    team/app                      docker.io          team/app          the same
    quay.io/team/app              quay.io            team/app          https://quay.io
    localhost:5000/app            localhost:5000     app               https or http: see trust.py

An origin is scheme, host and port (RFC 6454): whoever has the same three is the same to us, and nobody else is.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from minirun.errors import BadInput
from minirun.image.reference import Reference

DOCKER = "docker.io"
DOCKER_KEY = "https://index.docker.io/v1/"  # what Docker's credentials are filed under
_DOCKER_HOST = "registry-1.docker.io"
_DOCKER_NAMES = (DOCKER, "index.docker.io", _DOCKER_HOST)
_PORTS = {"https": 443, "http": 80}

Origin = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a registry is.

    Attributes:
        name: as users write it and as credentials are filed: ``docker.io``, ``localhost:5000``.
        host: name or address, in lower case, without brackets.
        port: None: that of the scheme.
    """

    name: str
    host: str
    port: int | None

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there never leaves this host."""
        return is_loopback(self.host)

    @property
    def place(self) -> str:
        """Host and port as a URL has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def origin(self, scheme: str) -> Origin:
        """The origin that it has by *scheme*."""
        return scheme, self.host, self.port or _PORTS[scheme]


def of_image(reference: Reference) -> tuple[Address, str]:
    """The registry that has the image *reference*, and the name of its repository there."""
    first, slash, rest = reference.name.partition("/")
    if slash and (first == "localhost" or "." in first or ":" in first or first != first.lower()):
        return of_server(first), rest
    return of_server(DOCKER), reference.name if slash else f"library/{reference.name}"


def of_server(text: str) -> Address:
    """The registry that a user calls *text*: ``HOST[:PORT]``, or a URL of it as Docker once wanted it.

    Raises:
        BadInput: it is neither.
    """
    scheme, found, rest = text.partition("://")
    place = (rest if found else text).partition("/")[0].lower()
    try:
        split = urlsplit(f"//{place}")
        host, port = split.hostname or "", split.port
    except ValueError:
        host, port = "", None
    if not _is_host(host) or "@" in place or port == 0 or place.endswith(":") or (found and scheme not in _PORTS):
        raise BadInput(f"take {text[:80]!r} for a registry", "it is not HOST or HOST:PORT",
                       "write it as in localhost:5000, or leave it out for docker.io")  # fmt: skip
    if host in _DOCKER_NAMES and port in (None, 443):
        return Address(DOCKER, _DOCKER_HOST, None)
    return Address(place, host, port)


def _is_host(host: str) -> bool:
    if ":" in host:
        return _is_address(host)
    return 0 < len(host) <= 253 and host.isascii() and all(sign.isalnum() or sign in ".-" for sign in host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether *host* is localhost by its name or by its number; no name is looked up for that."""
    return host == "localhost" or (_is_address(host) and ip_address(host).is_loopback)


def origin_of(url: str) -> Origin:
    """The origin of an absolute URL of http or https.

    Raises:
        ValueError: it is none.
    """
    split = urlsplit(url)
    if split.scheme not in _PORTS or not split.hostname:
        raise ValueError("it is no URL of http or https")
    return split.scheme, split.hostname.lower(), split.port or _PORTS[split.scheme]


def place_of(origin: Origin) -> str:
    """Host and port of an origin as users write them: the port only where it is not the usual one."""
    scheme, host, port = origin
    host = f"[{host}]" if ":" in host else host
    return host if port == _PORTS[scheme] else f"{host}:{port}"


def shown(url: str) -> str:
    """A URL for a refusal, without what may be secret in it: user, password, query."""
    split = urlsplit(url)
    host = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname
    port = f":{split.port}" if split.port else ""
    return f"{split.scheme}://{host}{port}{split.path}"[:200]
