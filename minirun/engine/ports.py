"""Which ports of the host lead to a container, as Docker shows that.

port      80/tcp -> 0.0.0.0:8080                    ps        0.0.0.0:8080-8081->80-81/tcp, 443/tcp
inspect   "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "443/tcp": null: exposed, and not published
"""

from __future__ import annotations

from minirun.container import ports as wanted
from minirun.container import record as records
from minirun.container import state
from minirun.engine import open_home
from minirun.errors import BadInput, NotFound
from minirun.network import published

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home
    from minirun.network.hold import Held

PROTOCOLS = ("tcp", "udp", "sctp")


def port(name: str, private: str = "") -> list[str]:
    """The lines that `docker port` has, ``80/tcp -> 0.0.0.0:8080``; of one port alone, ``0.0.0.0:8080``.

    Args:
        name: of the container.
        private: ``PORT[/PROTOCOL]``, to know of that one only.

    Raises:
        BadInput: *private* is no port.
        NotFound: there is no such container, or it has not published that port, or does not run.
    """
    number, _, protocol = private.partition("/")
    protocol = protocol.lower() or "tcp"
    if private and not (number.isdecimal() and 0 < int(number) < 1 << 16 and protocol in PROTOCOLS):
        raise BadInput(f"show port {private} of container {name}", "it is no port", "write 80, 80/tcp, 53/udp")
    home = open_home()
    box = records.find(home, name)
    found = now_published(home, box, state.read(home, box))
    if not private:
        return [f"{one.to_port}/{one.protocol} -> {_outside(one)}" for one in found]
    lines = [_outside(one) for one in found if (one.to_port, one.protocol) == (int(number), protocol)]
    if not lines:
        raise NotFound(
            f"show port {number}/{protocol} of container {box.name}", "it is not published",
            f"`minirun port {box.name}` lists those that are; -p publishes one when a container is made",
        )  # fmt: skip
    return lines


def now_published(home: Home, box: Record, now: State) -> list[Held]:
    """The ports that lead to a container that runs, by the container's port."""
    if "ports" not in box.options or not now.alive:
        return []
    return sorted(published.now(home, box.id), key=lambda one: (one.to_port, one.protocol, ":" in one.address))


def _outside(one: Held) -> str:
    return f"{_address(one)}:{one.port}"


def _address(one: Held) -> str:
    return f"[{one.address}]" if ":" in one.address else one.address


def column(home: Home, box: Record, now: State) -> str:
    """What `ps` shows of a container that runs; neighbours are drawn together."""
    if "ports" not in box.options or not now.alive or box.options["network"] == "host":
        return ""
    found = now_published(home, box, now)
    # (protocol, address, [first port of the host, first of the container, how many])
    runs: list[tuple[str, str, list[int]]] = []
    for one in sorted(found, key=lambda one: (":" in one.address, one.address, one.protocol, one.to_port, one.port)):
        if runs and runs[-1][:2] == (one.protocol, _address(one)):
            first, inside, count = runs[-1][2]
            if (one.port, one.to_port) == (first + count, inside + count):
                runs[-1][2][2] += 1
                continue
        runs.append((one.protocol, _address(one), [one.port, one.to_port, 1]))
    runs.sort(key=lambda run: (run[2][1], run[0]))
    told = [
        f"{address}:{_range(first, count)}->{_range(inside, count)}/{protocol}"
        for protocol, address, (first, inside, count) in runs
    ]
    published_names = {f"{one.to_port}/{one.protocol}" for one in found}
    return ", ".join([*told, *_exposed_ranges(set(box.options["ports"]["exposed"]) - published_names)])


def _exposed_ranges(names: set[str]) -> list[str]:
    """``80-82/tcp`` of the three, sorted."""
    runs: list[list[Any]] = []
    parts = (name.partition("/") for name in names)
    for protocol, number in sorted((protocol, int(text)) for text, _, protocol in parts):
        if runs and runs[-1][0] == protocol and runs[-1][1] + runs[-1][2] == number:
            runs[-1][2] += 1
        else:
            runs.append([protocol, number, 1])
    return [f"{_range(first, count)}/{protocol}" for protocol, first, count in sorted(runs, key=lambda run: run[1])]


def _range(first: int, count: int) -> str:
    return f"{first}" if count == 1 else f"{first}-{first + count - 1}"


def bindings(options: Mapping[str, Any]) -> dict[str, Any]:
    """HostConfig's part: what was asked for."""
    found: dict[str, list[dict[str, str]]] = {}
    given = options.get("ports") or {"published": (), "all": False}
    for protocol, inside, address, first, last in given["published"]:
        text = "" if not first else _range(first, last - first + 1)
        found.setdefault(f"{inside}/{protocol}", []).append({"HostIp": address, "HostPort": text})
    return {"PortBindings": found, "PublishAllPorts": given["all"]}


def settings(home: Home, box: Record, now: State) -> dict[str, Any]:
    """NetworkSettings.Ports: what leads to a container that runs."""
    if "ports" not in box.options or not now.alive or box.options["network"] == "host":
        return {}
    found: dict[str, Any] = dict.fromkeys(box.options["ports"]["exposed"])
    for one in now_published(home, box, now):
        name = f"{one.to_port}/{one.protocol}"
        found[name] = [*(found.get(name) or ()), {"HostIp": one.address, "HostPort": str(one.port)}]
    return found


def exposed(options: Mapping[str, Any]) -> list[str]:
    """What a container exposes by its flags and its image, where it has such flags."""
    names: list[str] = (options.get("ports") or {"exposed": []})["exposed"]
    return names


def published_names(options: Mapping[str, Any]) -> set[str]:
    """``80/tcp``: the ports of a container that are published while it runs."""
    return {f"{port}/{protocol}" for protocol, port, *_ in wanted.bindings(options)}
