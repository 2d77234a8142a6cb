"""To whom we speak in the clear, and whose certificates we take for theirs.

    registry                     tried in this order
    ---------------------------  ---------------------------------------------------------------
    any                          https, its certificate verified
    any, --tls-verify=false      https, not verified
    loopback                     https as above; where nobody speaks TLS there, http
    listed as insecure           https, not verified; where nobody speaks TLS there, http

    listed in                    MINIRUN_INSECURE_REGISTRIES="box:5000 10.0.0.0/8"
                                 /etc/docker/daemon.json   {"insecure-registries": ["box:5000", "10.0.0.0/8"]}
    certificates in              --cert-dir DIR, else /etc/docker/certs.d/HOST[:PORT]
      *.crt                      authorities that are trusted beside the system's
      NAME.cert, NAME.key        who we are, told to the registry alone

See docs.docker.com/reference/cli/dockerd ("insecure registries") and docs.docker.com/engine/security/certificates. A
name is never looked up to see whether it is in a listed network: whoever answers for names could have it listed.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from minirun.errors import BadInput
from minirun.image import jsondocument
from minirun.registry.address import Address, is_loopback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DOCKER_FOLDER = "/etc/docker"
VARIABLE = "MINIRUN_INSECURE_REGISTRIES"
_LIST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Way:
    """One way to speak to a registry."""

    scheme: str
    verified: bool


class Trust:
    """What one command trusts.

    Args:
        tls_verify: False: no certificate is verified.
        cert_dir: certificates for the registry that is named on the command line; empty: those of Docker's folder.
        insecure: registries that are listed: ``host``, ``host:port`` or networks.
        folder: Docker's folder for the system.
    """

    def __init__(
        self, *, tls_verify: bool = True, cert_dir: str = "", insecure: Sequence[str] = (), folder: str = DOCKER_FOLDER
    ) -> None:
        self.tls_verify = tls_verify
        self.cert_dir = cert_dir
        self.insecure = frozenset(entry.lower() for entry in insecure)
        self.folder = folder

    def ways(self, address: Address) -> list[Way]:
        """How to speak to a registry, the best way first."""
        listed = self.is_listed(address.host, address.port)
        ways = [Way("https", verified=self.tls_verify and not listed)]
        if listed or address.is_loopback:
            ways.append(Way("http", verified=False))
        return ways

    def may_be_plain(self, host: str, port: int | None) -> bool:
        """Whether we may speak to *host* in the clear."""
        return is_loopback(host) or self.is_listed(host, port)

    def is_listed(self, host: str, port: int | None) -> bool:
        """Whether *host* is listed as insecure."""
        if {host, f"{host}:{port}", f"[{host}]:{port}"} & self.insecure:
            return True
        try:
            number = ip_address(host)
        except ValueError:
            return False
        return any(number in network for entry in self.insecure if (network := _network(entry)) is not None)

    def context(self, *names: str, own: bool, verified: bool) -> ssl.SSLContext:
        """How TLS is to be spoken with somebody.

        Args:
            names: of the registry, or host and port.
            own: whether it is the registry itself, which alone gets to know who we are.
            verified: whether its certificate must be good.

        Raises:
            BadInput: certificates that are there cannot be used.
        """
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2  # Python leaves it to the system; see RFC 8996
        if not verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_dir:
            _load(context, self.cert_dir, clients=own, missing=False)
        if not (own and self.cert_dir):
            for name in dict.fromkeys(names):
                _load(context, f"{self.folder}/certs.d/{name}", clients=True, missing=True)
        return context


def listed(folder: str = DOCKER_FOLDER) -> list[str]:
    """The registries that are listed as insecure, by the environment and by Docker's own list.

    Raises:
        BadInput: the list is there and cannot be read.
    """
    entries = os.environ.get(VARIABLE, "").replace(",", " ").split()
    path = f"{folder}/daemon.json"
    try:
        with open(path, "rb") as file:
            document = jsondocument.parse(file.read(_LIST_BYTES), path)
    except FileNotFoundError:
        return entries
    except OSError as error:
        raise BadInput(f"read {path}", error, "it lists insecure registries; let root read it") from None
    theirs = document.get("insecure-registries") if isinstance(document, dict) else None
    if not isinstance(theirs or [], list) or not all(isinstance(entry, str) for entry in theirs or []):
        raise BadInput(f"read {path}", "insecure-registries is no list of strings", 'write ["HOST:PORT", …]')
    return [*entries, *(theirs or [])]


def _network(entry: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(entry, strict=False) if "/" in entry else None
    except ValueError:
        return None


def _load(context: ssl.SSLContext, folder: str, *, clients: bool, missing: bool) -> None:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        if missing and isinstance(error, FileNotFoundError | NotADirectoryError):
            return
        raise BadInput(f"read certificates in {folder}", error, "name a directory with ca.crt in it") from None
    for name in names:
        path = f"{folder}/{name}"
        try:
            if name.endswith(".crt"):
                context.load_verify_locations(path)
            elif name.endswith(".cert") and clients:
                # without a question on the terminal where a key has a password
                context.load_cert_chain(path, f"{path[:-5]}.key", password=lambda: b"")
        except ssl.SSLError as error:
            reason = f"it is no certificate in PEM, or its key is another's: {error.reason or error}"
            raise BadInput(f"use {path}", reason, "`openssl x509 -in FILE -noout -text` shows a good one") from None
        except OSError as error:
            raise BadInput(f"use {path}", error, "NAME.cert has its key beside it in NAME.key") from None
