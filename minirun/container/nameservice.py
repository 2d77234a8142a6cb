"""/etc/hosts and /etc/resolv.conf of a container with a network of its own.

    hosts         localhost and its like, --add-host, and the addresses it has, under its host name
    resolv.conf   the host's, without name servers that only the host reaches; or --dns, --dns-search, --dns-option.
                  Where the attendant answers, it is the server, and asks those itself

They are written when it starts. While it runs they are its own to change, and follow its networks: of hosts the lines
of one network come and go, whatever else is in it; resolv.conf is written anew unless somebody else has changed it.

See hosts(5), resolv.conf(5).
"""

from __future__ import annotations

import os

from minirun.container import endpoint, etc
from minirun.container import record as records
from minirun.container.networkflags import GATEWAY, JOINED
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.network.lease import Lease
    from minirun.network.record import Network

# where systemd-resolved writes which servers it asks itself
_UPSTREAM = "/run/systemd/resolve/resolv.conf"


def write(home: Home, record: Record) -> None:
    """Write hostname, hosts and resolv.conf into the directory of a container whose leases are taken."""
    options = record.options
    directory = home.container(record.id)
    mode: str = options["network"]
    if mode.startswith(JOINED):
        _share(home.container(mode.removeprefix(JOINED)), directory)
        return
    etc.write_files(
        directory,
        {
            "hostname": options["hostname"] + "\n",
            "hosts": _hosts(home, record),
            "resolv.conf": _resolver(home, record),
        },
    )


def follow(home: Home, record: Record, network: Network, lease: Lease, *, present: bool) -> None:
    """Have the files of a container that runs, and of those that share its network, follow what it is connected to.

    Args:
        home: the store.
        record: the container, with the networks that it has from now on.
        network: the one that came or goes.
        lease: what it has, or had, there.
        present: whether it came.

    Raises:
        OSError: one could not be written.
    """
    lines = "".join(_lines(record, network, lease))
    for directory in _directories(home, record):
        hosts = etc.Shared(f"{directory}/hosts")
        hosts.edit(lambda text: _without(text, lines) + (lines if present else ""))
        resolver = etc.Shared(f"{directory}/resolv.conf")
        if resolver.is_ours():
            resolver.edit(lambda _text: _resolver(home, record))


def _without(text: str, lines: str) -> str:
    """What is in a file but for some lines; it ends with the end of a line."""
    gone = set(lines.splitlines())
    kept = text.removesuffix("\n").split("\n") if text else []
    return "".join(f"{line}\n" for line in kept if line not in gone)


def _directories(home: Home, record: Record) -> Iterator[str]:
    """Where the files are of a container, and of those that run in its network: each has a copy."""
    yield home.container(record.id)
    for other in records.list_all(home, warn=lambda _error: None):
        if other.options["network"] == f"{JOINED}{record.id}" and os.path.exists(f"{home.container(other.id)}/hosts"):
            yield from _directories(home, other)


def _share(other: str, directory: str) -> None:
    """Have what the container has whose network it joins, as it is now."""
    etc.write_files(directory, {name: etc.read(f"{other}/{name}") for name in etc.FILES})


def _hosts(home: Home, record: Record) -> str:
    options = record.options
    text = etc.host("hosts") if options["network"] == "host" else etc.HOSTS
    if text and not text.endswith("\n"):
        text += "\n"
    text += "".join(f"{where}\t{name}\n" for name, where in options.get("add_hosts", ()) if where != GATEWAY)
    if "usermode" in options:
        from minirun.container import usermode

        return text + "".join(usermode.lines(home, record))
    return text + "".join(line for found in endpoint.connected(home, record) for line in _lines(record, *found))


def _lines(record: Record, network: Network, lease: Lease) -> Iterator[str]:
    """What /etc/hosts has of one network: its gateway, under names that stand for the host, and the container's own."""
    for name, where in record.options.get("add_hosts", ()):
        if where == GATEWAY and network.driver == "bridge":
            yield from (f"{one}\t{name}\n" for one in (network.gateway, network.gateway6) if one)
    hostname = record.options["hostname"]
    yield from (f"{one}\t{hostname}\n" for one in (lease.address, lease.address6) if one)


def _resolver(home: Home, record: Record) -> str:
    options = record.options
    asked = options.get("dns") or {"servers": None, "search": None, "options": None}
    shared = options["network"] == "host"
    text = etc.host("resolv.conf")
    servers = _values(text, "nameserver")
    if not shared and not any(map(_is_reachable, servers)):
        upstream = etc.read(_UPSTREAM)
        text, servers = upstream or text, _values(upstream, "nameserver")
    if shared and not options.get("dns"):
        return text
    if "usermode" in options:
        from minirun.container import usermode

        servers = usermode.servers(record) or servers
    servers = asked["servers"] or [server for server in servers if shared or _is_reachable(server)]
    search = _values(text, "search")[-1:] if asked["search"] is None else asked["search"]
    given = _values(text, "options") if asked["options"] is None else asked["options"]
    if own := _attendant(home, record):
        # it asks those itself; and a name without a dot is a container's before it is anything else
        servers = [own]
        given = given if "ndots:" in " ".join(given) else [*given, "ndots:0"]
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(given)}"] if given else []
    return "".join(f"{line}\n" for line in lines)


def _attendant(home: Home, record: Record) -> str:
    """Where the attendant answers a container: the gateway of the first network that it serves; empty: nowhere."""
    options = record.options
    if "egress" not in options and all(wanted["name"] == DEFAULT for wanted in options.get("networks", ())):
        return ""
    from minirun.container import attendance

    served = (one for one, _ in endpoint.connected(home, record) if attendance.is_needed(one, options))
    return next((network.gateway for network in served), "")


def _values(text: str, word: str) -> list[str]:
    found = []
    for line in text.splitlines():
        first, _, rest = line.strip().replace("\t", " ").partition(" ")
        if first == word and rest.strip():
            found.append(rest.strip())
    return found


def _is_reachable(server: str) -> bool:
    """Whether a name server may answer a container: loopback is another one there."""
    return not server.startswith("127.") and server != "::1"
