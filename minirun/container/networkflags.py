"""What a container's network is to be, as the flags of `run` and `create` say it.

--network none|host|container:NAME                                              ─▶ network
--network pasta[:WORDS]|slirp4netns[:WORDS]                                     ─▶ network, usermode
--network NAME --network name=NAME,ip=…    --ip, --mac-address, --network-alias ─▶ network, networks
--add-host NAME:IP|host-gateway            --dns, --dns-search, …               ─▶ add_hosts, dns
--sysctl net.ipv4.ip_forward=1                                                  ─▶ sysctls

Whether there are such networks and containers is asked in endpoint.py, when there is a store to ask.
"""

from __future__ import annotations

from minirun import caller
from minirun.errors import BadInput, Unsupported
from minirun.network import address
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

JOINED = "container:"
GATEWAY = "host-gateway"
USERMODE = ("pasta", "slirp4netns")  # network/usermode.py's
# flags that are of one network, the first → what they are called in a record
_OF_ONE = {"ip": "ip", "ip6": "ip6", "mac-address": "mac", "network-alias": "aliases"}
# what the container that is joined has already
_NOT_WITH_JOINED = (*_OF_ONE, "hostname", "add-host", "dns", "dns-search", "dns-option")
# sysctls of the namespaces that every container has of its own, as Docker lets them through
_IPC = frozenset(
    ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
     "kernel.shmmni", "kernel.shm_rmid_forced")
)  # fmt: skip
_SYSCTL_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.-/")
_NAME_BYTES = 253  # RFC 1035
_ALIAS_BYTES = 3000  # they and the commas are part of a symbolic link: see network/lease.py
_HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the flags into options of the record.

    Returns:
        network: none, host, pasta, slirp4netns, the name of the first network, or ``container:NAME``; and what is asked
        for of: networks, each with name, ip, ip6 and mac, empty for any, aliases, and perhaps interface; usermode, see
        usermode.py; add_hosts, [name, address] each; dns, with servers, search and options, None for the host's;
        sysctls, name to value; egress, what it may reach.

    Raises:
        BadInput: a value has no meaning, or does not go with another.
        Unsupported: it is not built.
    """
    if links := flags.get("link"):
        raise Unsupported(
            f"use --link {links[0]}", "containers find each other by name on a network of yours, without it",
            "`minirun network create NET`, and --network NET for both; --network-alias gives another name",
        )  # fmt: skip
    asked = [_asked(text) for text in flags.get("network") or ["none"]]
    mode: str = asked[0]["name"]
    found: dict[str, Any] = {"network": mode}
    if len(asked) > 1:
        _check_together([one["name"] for one in asked])
    if mode.startswith(JOINED):
        for flag in _NOT_WITH_JOINED:
            if flags.get(flag) or asked[0].get(_OF_ONE.get(flag, "")):
                raise BadInput(
                    f"use --{flag} with --network {mode}", "the other container has its own, and both share that",
                    f"leave --{flag} out",
                )  # fmt: skip
    elif mode in ("none", "host", *USERMODE):
        if "usermode" in asked[0]:
            found["usermode"] = asked[0]["usermode"]
        for flag, word in _OF_ONE.items():
            if flags.get(flag) or asked[0][word]:
                raise BadInput(
                    f"use --{flag} with --network {mode}", "it has no interface on a network",
                    f"`--network {DEFAULT}` gives it one",
                )  # fmt: skip
    else:
        if caller.ROOTLESS:
            raise Unsupported(
                f"use --network {mode}", "a bridge is on the host, and an ordinary user can make none",
                "leave it out: pasta connects the container; or --network slirp4netns, none, host, container:NAME",
            )  # fmt: skip
        for flag, word in _OF_ONE.items():
            if given := flags.get(flag):
                if asked[0][word]:
                    raise BadInput(f"use --{flag}", f"--network {mode} says the same of it", "leave one out")
                asked[0][word] = given
        found["networks"] = [check(one) for one in asked]
    if given := flags.get("network-egress"):
        from minirun.container import egress

        found["egress"] = egress.read(given, found)
    if hosts := flags.get("add-host"):
        found["add_hosts"] = [_host(text, mode) for text in hosts]
    if any(flags.get(flag) for flag in ("dns", "dns-search", "dns-option")):
        found["dns"] = _dns(flags)
    if sysctls := flags.get("sysctl"):
        found["sysctls"] = dict(_sysctl(text, mode) for text in sysctls)
    return found


def _asked(text: str) -> dict[str, Any]:
    """One of --network: its name, and what is said with it."""
    asked: dict[str, Any]
    kind, _, words = text.partition(":")
    if kind in USERMODE:
        asked = {"name": kind, "ip": "", "ip6": "", "mac": "", "aliases": [], "usermode": _usermode(kind, words)}
    elif "=" in text:
        from minirun.container import networkfields

        asked = networkfields.read(text)
    else:
        asked = {"name": text, "ip": "", "ip6": "", "mac": "", "aliases": []}
    name: str = asked["name"]
    if name == "default":
        asked["name"] = DEFAULT
    if name.startswith("ns:") or name == JOINED or not name or "/" in name or "," in name:
        raise BadInput(
            f"use --network {text!r}", "it is none, host, a network, or container:NAME",
            "`minirun network ls` lists networks",
        )  # fmt: skip
    return asked


def _usermode(kind: str, words: str) -> dict[str, Any]:
    from minirun.network import usermode

    return {"kind": kind, "options": usermode.kind(kind).read(f"use --network {kind}:{words}", words)}


def _check_together(names: Sequence[str]) -> None:
    for name in names:
        attempt = f"use --network {name} with --network {names[names[0] == name]}"
        if name in ("none", "host", *USERMODE) or name.startswith(JOINED):
            raise BadInput(attempt, "with that a container is on no network", "leave it out, or the others")
        if names.count(name) > 1:
            raise BadInput(attempt, "it is the same", "leave one out")


def check(asked: dict[str, Any]) -> dict[str, Any]:
    """What is asked for on one network, written as records have it.

    Args:
        asked: name, ip, ip6, mac, aliases, and perhaps interface, as somebody typed them.

    Raises:
        BadInput: one of them has no meaning.
    """
    named = {
        "name": asked["name"], "ip": _address("--ip", asked["ip"], 32), "ip6": _address("--ip6", asked["ip6"], 128),
        "mac": _mac(asked["mac"]), "aliases": _aliases(asked["name"], asked["aliases"]),
    }  # fmt: skip
    return named | ({"interface": asked["interface"]} if "interface" in asked else {})


def _address(flag: str, text: str, bits: int) -> str:
    if not text:
        return ""
    try:
        number = address.parse(text)
        if address.width(text) != bits:
            raise ValueError  # noqa: TRY301 - told below
    except ValueError:
        raise BadInput(f"use {flag} {text!r}", f"it is no IPv{'6' if bits > 32 else '4'} address") from None
    return address.text(number, bits)


def _mac(text: str) -> str:
    if not text:
        return ""
    try:
        return address.pack_mac(text).hex(":")
    except ValueError:
        reason = "it is no address of an interface: six bytes, 02:42:ac:11:00:02, the first of them even"
        raise BadInput(f"use --mac-address {text!r}", reason) from None


def _aliases(network: str, given: Sequence[str]) -> list[str]:
    """Names for a container on a network, in small letters, each once."""
    found = list(dict.fromkeys(text.lower() for text in given))
    for name in found:
        attempt = f"use the alias {name!r}"
        if network == DEFAULT:
            raise BadInput(attempt, "on the default network nobody is found by name", "`minirun network create` one")
        if not 0 < len(name) <= _NAME_BYTES or not _HOST_CHARACTERS.issuperset(name) or not name[0].isalnum():
            raise BadInput(attempt, "it is no name of a host: letters, digits, - _ and dots, up to 253 of them")
    if sum(map(len, found)) > _ALIAS_BYTES:
        raise BadInput("use these aliases", f"all together are longer than {_ALIAS_BYTES} bytes", "give fewer")
    return found


def _host(text: str, mode: str) -> list[str]:
    name, separator, where = text.partition("=") if "=" in text else text.partition(":")
    attempt = f"use --add-host {text!r}"
    if not separator or not name or not _HOST_CHARACTERS.issuperset(name):
        raise BadInput(attempt, "it is no NAME:ADDRESS", "--add-host db:10.0.0.5, or --add-host host:host-gateway")
    if where == GATEWAY:
        if mode in ("none", "host"):
            reason = f"--network {mode} has no gateway"
            raise BadInput(attempt, reason, "the host is at 127.0.0.1 there" if mode == "host" else "")
        return [name, where]
    where = where.removeprefix("[").removesuffix("]")
    try:
        address.parse(where)
    except ValueError:
        raise BadInput(attempt, f"{where!r} is no address", "--add-host db:10.0.0.5, --add-host db:fd00::5") from None
    return [name, where]


def _dns(flags: Mapping[str, Any]) -> dict[str, list[str] | None]:
    for server in flags.get("dns") or ():
        try:
            address.parse(server)
        except ValueError:
            raise BadInput(f"use --dns {server!r}", "it is no address of a name server", "--dns 10.0.0.53") from None
    for flag in ("dns-search", "dns-option"):
        for word in flags.get(flag) or ():
            if not word.isascii() or not word.isprintable() or " " in word or not word:
                raise BadInput(f"use --{flag} {word!r}", "it is not one word of resolv.conf(5)")
    search = flags.get("dns-search")
    return {
        "servers": flags.get("dns"),
        "search": [] if search == ["."] else search,  # Docker's word for none
        "options": flags.get("dns-option"),
    }


def _sysctl(text: str, mode: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    attempt = f"use --sysctl {text!r}"
    parts = name.split(".")
    if not equals or not _SYSCTL_CHARACTERS.issuperset(name) or not all(parts) or any("/" in part for part in parts):
        raise BadInput(attempt, "it is no NAME=VALUE", "--sysctl net.ipv4.ip_unprivileged_port_start=0")
    if "\0" in value or "\n" in value or len(value.encode()) > 4000:
        raise BadInput(attempt, "its value is not one line")
    if name.startswith("net."):
        if mode == "host" or mode.startswith(JOINED):
            raise BadInput(attempt, f"with --network {mode} its network is not its own", "set it where the network is")
    elif name not in _IPC and not name.startswith("fs.mqueue."):
        raise BadInput(
            attempt, "it is the whole host's, and no namespace's", "net.*, fs.mqueue.* and System V's IPC can be set"
        )
    return name, value
