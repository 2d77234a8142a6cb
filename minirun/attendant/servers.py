"""The name servers that the host asks: /etc/resolv.conf, read again when it has changed. See resolv.conf(5).

The attendant is where the host is, so one on loopback, such as systemd-resolved's, is as good as any other.
"""

from __future__ import annotations

import os
import time
from _socket import AF_INET, AF_INET6, if_nametoindex

from minirun.network import address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATH = "/etc/resolv.conf"
PORT = 53
_MOST = 3  # MAXNS of resolv.h
_LIMIT_BYTES = 64 << 10
_TICK_NS = 50_000_000  # two changes within one tick of the kernel's clock have the same time


class HostServers:
    """The host's servers, as they are now."""

    def __init__(self, path: str = PATH) -> None:
        self._path = path
        self._stamp: tuple[int, ...] = ()
        self._found: list[str] = []

    def read(self) -> list[str]:
        """Their addresses, in order; none where there is no such file."""
        try:
            now = os.stat(self._path)
            stamp = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
            if stamp == self._stamp:
                return self._found
            with open(self._path, "rb", 0) as file:
                text = file.read(_LIMIT_BYTES).decode(errors="surrogateescape")
        except OSError:
            return []
        self._found = _servers(text)
        self._stamp = stamp if time.time_ns() - now.st_ctime_ns > _TICK_NS else ()
        return self._found


def _servers(text: str) -> list[str]:
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and is_address(words[1]):
            found.append(words[1])
    return found[:_MOST]


def is_address(server: str) -> bool:
    """Whether that is the address of a server, of IPv6 perhaps with an interface: ``fe80::1%eth0``."""
    try:
        address.parse(server.partition("%")[0])
    except ValueError:
        return False
    return True


def endpoint(server: str) -> tuple[int, Any]:
    """The family of sockets for a server, and where it is, as connect(2) takes it.

    Raises:
        OSError: there is no such interface.
    """
    bare, _, interface = server.partition("%")
    if ":" not in bare:
        return AF_INET, (bare, PORT)
    scope = int(interface) if interface.isdecimal() else if_nametoindex(interface) if interface else 0
    return AF_INET6, (bare, PORT, 0, scope)
