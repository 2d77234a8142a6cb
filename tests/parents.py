"""Containers whose interface has one of the host's as its parent, on the host of tests/outside.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import echo
from tests.command import Minirun
from tests.outside import OUTSIDE, OUTSIDE6, Site, ask_in, run_in

SUBNETS = ("--subnet", "192.0.2.0/24", "--subnet", "2001:db8::/64", "--gateway", OUTSIDE, "--gateway", OUTSIDE6)


class Box:
    """A container on a network.

    Attributes:
        pid: of its first process.
        own: its IPv4 address.
        own6: its IPv6 address.
        mac: of its interface, as `inspect` tells.
    """

    def __init__(self, minirun: Minirun, name: str, network: str) -> None:
        (described,) = json.loads(minirun("inspect", name, check=True).stdout)
        found = described["NetworkSettings"]["Networks"][network]
        self.pid = described["State"]["Pid"]
        self.own, self.own6, self.mac = found["IPAddress"], found["GlobalIPv6Address"], found["MacAddress"]

    def ask(self, address: str, port: int = 80, protocol: str = "tcp") -> str:
        """Ask from inside; see echo.ask."""
        return ask_in(self.pid, protocol, address, port)

    def run(self, *command: str) -> str:
        """What a command of the host's prints in its network namespace."""
        return run_in(self.pid, *command)


@contextmanager
def container(minirun: Minirun, name: str, network: str, *flags: str) -> Iterator[Box]:
    """A container in the background that does nothing."""
    minirun("run", "-d", "--name", name, "--network", network, *flags, "busybox", "sleep", "1000", check=True)
    try:
        yield Box(minirun, name, network)
    finally:
        minirun("rm", "-f", name, check=True)


@contextmanager
def network(minirun: Minirun, name: str, driver: str, *flags: str) -> Iterator[None]:
    """A network."""
    minirun("network", "create", "-d", driver, *flags, name, check=True)
    try:
        yield
    finally:
        minirun("network", "rm", name, check=True)


@contextmanager
def serving_outside(place: Site, *places: str) -> Iterator[None]:
    """Serve (see echo.py) outside."""
    words = ["ip", "netns", "exec", place.outside, sys.executable, str(Path(echo.__file__).resolve()), "serve"]
    with subprocess.Popen([*words, *places], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


def links() -> list[str]:
    """The interfaces of the host, by name."""
    told = json.loads(subprocess.run(["ip", "-j", "link"], check=True, capture_output=True).stdout)
    return sorted(link["ifname"] for link in told)
