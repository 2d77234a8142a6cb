"""pasta(1), of Debian's package passt: a container behind it has the addresses and routes of the host.

    --network pasta:-T,5432,--map-gw      words that pasta(1) knows, with commas between them, as podman takes them

Without more words, ports lead in by -p alone, and nothing leads to what listens on the host's loopback. As root it is
told to stay root: as nobody, which it becomes by itself, it could not enter a namespace that is root's. It gives up
most capabilities, sees an empty file system, and may make few system calls, in any case.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.network.hold import Held

PROGRAM = "pasta"
PACKAGE = "passt"
READY = 1
ANY: tuple[str, ...] = ("0.0.0.0", "::")  # of what kinds it publishes a port of every address
_MAP_GATEWAY = "--map-gw"  # podman's word: leave --no-map-gw out
# where it runs, as whom, and what it writes is said here
_OURS = frozenset(
    ("fd", "foreground", "help", "log-file", "log-size", "netns", "netns-only", "no-netns-quit", "one-off", "pcap",
     "pid", "runas", "socket", "userns", "vhost-user", "version")
)  # fmt: skip
_OURS_SHORT = frozenset("fhlpsFP1")
_SHORT_WITH_VALUE = frozenset("amnMgioDStuTUIcR")
_PORTS = {"-t": "tcp", "-u": "udp", "-T": "", "-U": ""}
_LONG = {"-t": "--tcp-ports", "-u": "--udp-ports", "-T": "--tcp-ns", "-U": "--udp-ns"}


def read(attempt: str, text: str) -> list[str]:
    """Read what is behind ``pasta:``: the words, as they are passed on.

    Raises:
        BadInput: one says what is not for the user to say.
    """
    words = text.split(",") if text else []
    for word in words:
        if not word:
            raise BadInput(attempt, "a word is empty", "words of pasta(1), with commas between them: pasta:-T,5432")
        name = word[2:].partition("=")[0] if word.startswith("--") else ""
        # getopt_long(3) takes the beginning of a word for the word
        if (name and any(one.startswith(name) for one in _OURS)) or _has_ours(word):
            raise BadInput(attempt, f"{word} is for minirun to say", "leave it out")
    return words


def _has_ours(word: str) -> bool:
    """Whether letters behind one dash have one that is ours, before one that takes the rest as its value."""
    if not word.startswith("-") or word.startswith("--"):
        return False
    for letter in word[1:]:
        if letter in _OURS_SHORT:
            return True
        if letter in _SHORT_WITH_VALUE:
            return False
    return False


def check(attempt: str, protocol: str, _address: str) -> None:
    """Refuse a port that cannot be published.

    Raises:
        Unsupported: it is of SCTP.
    """
    if protocol not in ("tcp", "udp"):
        raise Unsupported(attempt, f"pasta knows nothing of {protocol}", "a network that is a bridge does")


def words(options: Sequence[str], ports: Sequence[Held], user_namespace: str) -> list[str]:
    """The words that start it."""
    found = [PROGRAM, "--config-net", "--foreground", "--quiet", "--pid", "/proc/self/fd/1"]
    found += ["--netns", "/proc/self/fd/0", "--no-netns-quit"]
    found += ["--userns", user_namespace] if user_namespace else []
    found += ["--runas", "0:0"] if os.geteuid() == 0 else []
    found += [] if _MAP_GATEWAY in options else ["--no-map-gw"]
    for flag, protocol in _PORTS.items():
        asked = [word for one in _specs(ports, protocol) for word in (flag, one)]
        said = any(word.startswith((flag, _LONG[flag])) for word in options)
        found += asked or ([] if said else [flag, "none"])
    return [*found, *(word for word in options if word != _MAP_GATEWAY)]


def _specs(ports: Sequence[Held], protocol: str) -> list[str]:
    """Ports of the host as it is told of them: ``8080:80`` of every address, ``127.0.0.1/8080:80`` of one."""
    mine = [one for one in ports if one.protocol == protocol]
    whole = {(one.port, one.to_port) for one in mine if one.address == ANY[1]}
    found = [f"{port}:{to_port}" for port, to_port in sorted(whole)]
    return found + [
        f"{one.address}/{one.port}:{one.to_port}"
        for one in mine
        if one.address not in ANY or (one.port, one.to_port) not in whole
    ]


def publish(_directory: int, _ports: Sequence[Held]) -> None:
    """Nothing: it was told when it was started."""


def resolver(_options: Sequence[str]) -> list[str]:
    """The name servers that it has: none but the host's."""
    return []


def host(options: Sequence[str], gateways: Sequence[str]) -> list[str]:
    """The addresses that stand for the host: with --map-gw, those of the gateway."""
    return list(gateways) if _MAP_GATEWAY in options else []
