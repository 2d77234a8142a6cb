"""/etc/hosts and /etc/resolv.conf of a container with a network of its own.

    hosts         localhost and its like, --add-host, and the addresses it has, under its host name
    resolv.conf   the host's, without name servers that only the host reaches; --dns, --dns-search, --dns-option instead

See hosts(5), resolv.conf(5).
"""

from __future__ import annotations

from minirun.container import endpoint, etc
from minirun.container.networkflags import GATEWAY, JOINED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.home import Home

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
            "resolv.conf": _resolver(record),
        },
    )


def _share(other: str, directory: str) -> None:
    """Have what the container has whose network it joins, as it is now."""
    etc.write_files(directory, {name: etc.read(f"{other}/{name}") for name in etc.FILES})


def _hosts(home: Home, record: Record) -> str:
    options = record.options
    text = etc.host("hosts") if options["network"] == "host" else etc.HOSTS
    if text and not text.endswith("\n"):
        text += "\n"
    own, gateways = [], []
    for _, network, lease in endpoint.leases(home, record):
        if network and lease:
            own += [lease.address, lease.address6]
            gateways += [network.gateway, network.gateway6]
    for name, where in options.get("add_hosts", ()):
        text += "".join(f"{one}\t{name}\n" for one in (gateways if where == GATEWAY else [where]) if one)
    return text + "".join(f"{one}\t{options['hostname']}\n" for one in own if one)


def _resolver(record: Record) -> str:
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
    servers = asked["servers"] or [server for server in servers if shared or _is_reachable(server)]
    search = _values(text, "search")[-1:] if asked["search"] is None else asked["search"]
    given = _values(text, "options") if asked["options"] is None else asked["options"]
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(given)}"] if given else []
    return "".join(f"{line}\n" for line in lines)


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
