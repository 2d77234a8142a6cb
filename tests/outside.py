"""A host of the tests' own with a network around it: namespaces that nothing else is in.

outside                        the host: this process, and every minirun that it starts
192.0.2.2, 2001:db8::2 ─eth0───veth─ 192.0.2.1, 2001:db8::1 ─── minirun0 ─── containers
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import echo
from tests.kept import until

_CLONE_NEWNET = 0x40000000
_ECHO = str(Path(echo.__file__).resolve())
HOST, HOST6 = "192.0.2.1", "2001:db8::1"
OUTSIDE, OUTSIDE6 = "192.0.2.2", "2001:db8::2"
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), what)


def link(words: str) -> None:
    """Have iproute2 do something."""
    subprocess.run(["ip", *words.split()], check=True)


class Site:
    """The host, and what is outside.

    Attributes:
        outside: name of the other namespace, for `ip netns exec`.
    """

    def __init__(self, outside: str) -> None:
        self.outside = outside

    def ask(self, protocol: str, address: str, port: int) -> str:
        """Ask from outside; see echo.ask."""
        return self.run(sys.executable, _ECHO, "ask", protocol, address, str(port)).strip()

    def run(self, *command: str) -> str:
        """What a command prints that runs outside."""
        words = ["ip", "netns", "exec", self.outside, *command]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def ask_in(pid: int, protocol: str, address: str, port: int) -> str:
    """Ask in the network namespace of a process; see echo.ask."""
    return run_in(pid, sys.executable, _ECHO, "ask", protocol, address, str(port)).strip()


def run_in(pid: int, *command: str) -> str:
    """What a command of the host's prints that runs in the network namespace of a process."""
    words = ["nsenter", f"--net=/proc/{pid}/ns/net", *command]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@contextmanager
def inside(pid: int) -> Iterator[None]:
    """Be in the network namespace of a process."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(there, _CLONE_NEWNET), "setns")
        try:
            yield
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET), "setns")
    finally:
        os.close(before)
        os.close(there)


@contextmanager
def serving(*places: str, pid: int = 0) -> Iterator[int]:
    """Serve (see echo.py) in the network namespace of a process, or here; yields the server's pid."""
    words = ["nsenter", f"--net=/proc/{pid}/ns/net"] if pid else []
    with subprocess.Popen([*words, sys.executable, _ECHO, "serve", *places], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout
            assert server.stdout.readline() == b"ready\n"
            yield server.pid
        finally:
            server.kill()


@contextmanager
def site(name: str) -> Iterator[Site]:
    """Be on that host; *name* is of the namespace outside."""
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
        try:
            link(f"netns add {name}")
            try:
                _connect(name)
                yield Site(name)
            finally:
                link(f"netns delete {name}")
        finally:
            _check(_libc.setns(before, _CLONE_NEWNET), "setns")
    finally:
        os.close(before)


def _connect(name: str) -> None:
    link("link set lo up")
    link(f"link add outside type veth peer name eth0 netns {name}")
    # or neighbours are not asked for in the first seconds: nobody else can have our addresses here
    Path("/proc/sys/net/ipv6/conf/outside/accept_dad").write_text("0")
    Site(name).run("sysctl", "-q", "-w", "net.ipv6.conf.eth0.accept_dad=0")
    for words in (
        f"address add {HOST}/24 dev outside",
        f"-6 address add {HOST6}/64 dev outside nodad",
        "link set outside up",
        f"-n {name} link set lo up",
        f"-n {name} address add {OUTSIDE}/24 dev eth0",
        f"-n {name} -6 address add {OUTSIDE6}/64 dev eth0 nodad",
        f"-n {name} link set eth0 up",
        f"-n {name} route add default via {HOST}",
        f"-n {name} -6 route add default via {HOST6}",
    ):
        link(words)
    # The kernel tells that a cable is plugged in up to a second later; until then it hears nobody who asks for it.
    until(lambda: "state UP" in Site(name).run("ip", "link", "show", "dev", "eth0"), "eth0 is not plugged in")
