"""A container whose network is a process: --network pasta, --network slirp4netns. See network/usermode.py.

    steps     ─ ports are bound, noted, and let go again                on the host, with the undo
    attach    ─ the process is started on the container's namespace     by whoever makes its first process, before that
    end       ─ it is killed                                            at its end, or by who finds what was cut short

    options["usermode"]                    {"kind": "slirp4netns", "options": ["mtu=1500"]}
    <runtime>/containers/<id>/usermode     {"pid": 812, "start": ticks since boot, "boot": …, "addresses": those of the
                                            container, "gateways": of its default routes}

It is a child of the container's keeper, which such a container always has, and in the group of keepers: the end of the
command, or of a session, is not its own. Who finds the container ended ends it, the supervisor within milliseconds.
"""

from __future__ import annotations

import os

from minirun.container import ports
from minirun.container.networkflags import GATEWAY
from minirun.errors import MinirunError
from minirun.home import Home
from minirun.journal import Step
from minirun.kernel import files, jsonfile, process
from minirun.launch import machine
from minirun.network import hold, interfaces, published, usermode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from typing import Any

    from minirun.container.record import Record
    from minirun.network.hold import Held
    from minirun.network.namespace import Namespace

_DEATH_S = 1.0


def steps(home: Home, record: Record) -> list[Step]:
    """List what such a container needs on the host, each with its undo."""
    kind: str = record.options["usermode"]["kind"]
    found = [Step(f"find {kind}", lambda: usermode.find(kind), _undo(home, record), "it is started later on")]
    if wanted := ports.bindings(record.options):
        text, undo = f"bind {ports.text(wanted)}, and let go", ports.undos(home, record)[0]
        found.append(Step(text, lambda: _claim(home, record), undo, f"nobody has them, and {kind} will"))
    return found


def undos(home: Home, record: Record) -> list[list[str]]:
    """What whoever finds it ended must do."""
    return [_undo(home, record), *ports.undos(home, record)]


def _undo(home: Home, record: Record) -> list[str]:
    return ["end_usermode", home.root, home.runtime, record.id]


def _claim(home: Home, record: Record) -> None:
    """See that the ports are free, and note which they are."""
    asked = record.options["usermode"]
    program = usermode.kind(asked["kind"])
    taken: list[Held] = []
    sockets: list[socket] = []
    try:
        before = {(one.protocol, one.address, one.to_port): one.port for one in published.recall(home, record.id)}
        for protocol, port, address, first, last in ports.bindings(record.options):
            program.check(f"publish port {port}/{protocol} of container {record.name}", protocol, address)
            addresses = [address] if address else list(program.ANY)
            preferred = before.get((protocol, addresses[0], port), 0)
            taken += hold.hold(
                protocol, port, addresses, (first, last), sockets,
                lambda protocol, port: published.owner(home, protocol, port), preferred,
            )  # fmt: skip
    finally:
        for one in sockets:
            one.close()
    published.claim(home, record.id, taken, asked["kind"])
    if not record.remove:
        published.remember(home, record.id)


def attach(home: Home, record: Record, namespace: Namespace) -> None:
    """Start the process, wait until the namespace is connected, and write the files that tell of it.

    Raises:
        Unsupported: it is not installed.
        MinirunError: it refuses.
    """
    asked = record.options["usermode"]
    end(home.root, home.runtime, record.id)  # of the time before, if that was cut short
    path = home.kept(record.id)
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    state: dict[str, Any] = {"addresses": [], "gateways": []}

    def note(pid: int) -> None:
        state.update(pid=pid, start=process.start_ticks(pid), boot=process.boot_id())
        _write(path, state)

    leading = published.now(home, record.id)
    try:
        usermode.start(
            asked["kind"], asked["options"], leading, namespace.descriptor, directory, note, machine.run
        )  # fmt: skip
    finally:
        os.close(directory)
    state["addresses"] = interfaces.addresses(namespace.speaker)
    state["gateways"] = interfaces.gateways(namespace.speaker)
    _write(path, state)
    from minirun.container import nameservice

    nameservice.write(home, record)


def _write(path: str, state: dict[str, Any]) -> None:
    files.replace(f"{path}/usermode", jsonfile.dumps(state).encode(), durable=False)


def _read(home: Home, container_id: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = jsonfile.read(f"{home.kept(container_id)}/usermode")
    except (OSError, ValueError):
        return {}
    return found


def lines(home: Home, record: Record) -> list[str]:
    """What /etc/hosts has of its network: names that stand for the host, and the container's own.

    Raises:
        MinirunError: no address stands for the host.
    """
    now = _read(home, record.id)
    if not now:
        return []  # it is not there yet: see `attach`
    asked = record.options["usermode"]
    found = []
    for name, where in record.options.get("add_hosts", ()):
        if where == GATEWAY:
            host = usermode.kind(asked["kind"]).host(asked["options"], now["gateways"])
            if not host:
                remedy = "say its address; or --network pasta:--map-gw, slirp4netns:allow_host_loopback=true"
                raise MinirunError(f"use --add-host {name}:{GATEWAY}", "no address leads to the host", remedy)
            found += [f"{one}\t{name}\n" for one in host]
    return found + [f"{own}\t{record.options['hostname']}\n" for own in now["addresses"]]


def servers(record: Record) -> list[str]:
    """The name servers that it has of its network; none, where those of the host will do."""
    asked = record.options["usermode"]
    return usermode.kind(asked["kind"]).resolver(asked["options"])


def end(root: str, runtime: str, container_id: str) -> None:
    """Kill the process. An undo of the journal: idempotent."""
    home = Home(root, runtime)
    now = _read(home, container_id)
    if not now or now["boot"] != process.boot_id():
        return
    process.end(now["pid"], now["start"], _DEATH_S)
    files.remove(f"{home.kept(container_id)}/usermode")
