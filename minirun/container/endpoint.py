"""A container on a network: asked for by its record, leased at its start, given back at its end.

    check    ─ there is such a network, or container                    before anything is made
    steps    ─ bridge, lease                                            on the host, with the undo
    entered  ─ namespace, veth, addresses, routes                       by whoever makes its first process
    release  ─ the lease; the veth went with the last process           at its end, or by who finds what was cut short

Which lease it has, the network says: see network/lease.py. The record has what was asked for alone.
"""

from __future__ import annotations

import os
from _socket import if_nametoindex

from minirun import events
from minirun.container import record as records
from minirun.container import state
from minirun.container.networkflags import JOINED
from minirun.errors import Conflict, MinirunError, NotFound
from minirun.home import Home
from minirun.journal import Step
from minirun.launch import machine
from minirun.network import drivers, lease, store
from minirun.network.cable import host_end
from minirun.network.namespace import Namespace
from minirun.network.record import DEFAULT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirun.container.record import Record
    from minirun.network.lease import Lease
    from minirun.network.record import Network


def check(home: Home, options: dict[str, Any]) -> None:
    """See that what the options name is there, and put the names in their place that stay.

    Raises:
        NotFound: there is no such network, or container.
        BadInput: an address is none of the network's.
    """
    mode = options["network"]
    if mode.startswith(JOINED):
        other = records.find(home, mode.removeprefix(JOINED))
        options["network"] = f"{JOINED}{other.id}"
        options["hostname"] = other.options["hostname"]
        return
    for wanted in options["networks"]:
        if wanted["name"] == DEFAULT and store.find(home, DEFAULT) is None:
            continue  # made when it is needed
        network = store.get(home, wanted["name"])
        lease.check(network, wanted["ip"], wanted["ip6"])
        wanted["name"] = options["network"] = network.name


def network_of(home: Home, wanted: dict[str, Any]) -> Network:
    """The network that is asked for.

    Raises:
        NotFound: it is not there any more.
    """
    network = store.find(home, wanted["name"])
    if network is None and wanted["name"] == DEFAULT:
        from minirun.network import creation

        return creation.default(home)
    return network or store.get(home, wanted["name"])


def steps(home: Home, record: Record) -> list[Step]:
    """List what gets a container its addresses, each with the undo."""
    leasing = [_lease_step(home, record, wanted) for wanted in record.options["networks"]]
    if "ports" not in record.options:
        return leasing
    from minirun.container import ports

    holding, publishing = ports.steps(home, record)
    return [*holding, *leasing, *publishing]


def _lease_step(home: Home, record: Record, wanted: dict[str, Any]) -> Step:
    return Step(
        f"lease {wanted['ip'] or 'an address'} of network {wanted['name']}", lambda: _take(home, record, wanted),
        undo(home, record, wanted), "nobody else on its network has it",
    )  # fmt: skip


def undo(home: Home, record: Record, wanted: dict[str, Any]) -> list[str]:
    """What gives back what a container has of one network."""
    return ["release_endpoint", home.root, home.runtime, wanted["name"], record.id]


def undos(home: Home, record: Record) -> list[list[str]]:
    """The same of all its networks."""
    found = [undo(home, record, wanted) for wanted in record.options["networks"]]
    if "ports" in record.options:
        from minirun.container import ports

        found += ports.undos(home, record)
    return found


def _take(home: Home, record: Record, wanted: dict[str, Any]) -> None:
    network = network_of(home, wanted)
    drivers.ensure(home, network)
    # records of a version without aliases have none
    asked = {
        "own": wanted["ip"], "own6": wanted["ip6"], "mac": wanted["mac"], "aliases": wanted.get("aliases", ()),
        "interface": f"eth{record.options['networks'].index(wanted)}",
    }  # fmt: skip
    try:
        lease.take(home, network, record.id, **asked)
    except Conflict:
        if not forget_gone(home):
            raise
        lease.take(home, network, record.id, **asked)
    events.emit(home, "network", "connect", network.id, network.told(container=record.id))


def release(root: str, runtime: str, name: str, container_id: str) -> None:
    """Give back what a container has of a network. An undo of the journal: idempotent."""
    home = Home(root, runtime)
    network = store.find(home, name)
    if network and lease.release(home, network.id, container_id):
        events.emit(home, "network", "disconnect", network.id, network.told(container=container_id))


def release_all(home: Home, record: Record) -> None:
    """The same of all its networks, and of its ports, which go first."""
    if "ports" in record.options:
        from minirun.network import published

        published.release(home.root, home.runtime, record.id)
    for wanted in record.options["networks"]:
        release(home.root, home.runtime, wanted["name"], record.id)


def forget_gone(home: Home) -> int:
    """Give back leases whose containers are gone, or have ended without anybody who did; how many there were."""
    count = 0
    for network in store.list_all(home, warn=lambda _error: None):
        for container_id in lease.holders(home, network.id):
            count += _is_gone(home, container_id) and lease.release(home, network.id, container_id)
    return count


def _is_gone(home: Home, container_id: str) -> bool:
    try:
        box = records.read(home, container_id)
        lock = records.hold(home, box, wait=False)
    except NotFound:
        return True
    except (MinirunError, BlockingIOError):
        return False  # not known, or just being started
    try:
        return not state.read(home, box).alive and state.written(home, box).status != "running"
    finally:
        os.close(lock)


def leases(home: Home, record: Record) -> Iterator[tuple[dict[str, Any], Network | None, Lease | None]]:
    """What is asked for, the network, and what the container has of it; None for what is not there."""
    for wanted in record.options.get("networks", ()):
        network = store.find(home, wanted["name"])
        yield wanted, network, lease.find(home, network.id, record.id) if network else None


class Entrance:
    """The network namespace that a container's first process is to enter, made as its steps are done.

    Attributes:
        descriptor: of it; -1 before.
        steps: what makes it, in their order; they have no undo: what is made goes with the descriptor.
    """

    __slots__ = ("_home", "_made", "_record", "descriptor", "steps")

    def __init__(self, home: Home, record: Record) -> None:
        self._home = home
        self._record = record
        self._made: Namespace | None = None
        self.descriptor = -1
        mode = record.options["network"]
        if mode.startswith(JOINED):
            text = f"open /proc/PID/ns/net → netns, of container {mode.removeprefix(JOINED)[:12]}"
            self.steps = [Step(text, self._join, (), "its network is this one's, too")]
            return
        self.steps = [
            Step("unshare(CLONE_NEWNET) → netns, and setns back", self._make, (), "its network, made beforehand"),
            *map(self._connection, record.options["networks"]),
        ]

    def open(self, trace: list[tuple[str, float]] | None) -> int:
        """Do the steps, and return the descriptor; *trace* takes what each took, in microseconds.

        Raises:
            MinirunError: the kernel refuses, or who is to be joined does not run.
        """
        from time import perf_counter

        try:
            for step in self.steps:
                begun = perf_counter()
                step.do()
                if trace is not None:
                    trace.append((step.text, (perf_counter() - begun) * 1e6))
        except BaseException:
            self.close()
            raise
        return self.descriptor

    def close(self) -> None:
        """Let go of it: it stays while it has processes."""
        if self._made:
            self._made.close()
        elif self.descriptor >= 0:
            os.close(self.descriptor)
        self._made, self.descriptor = None, -1

    def _make(self) -> None:
        try:
            self._made = Namespace.make(machine.run)
        except OSError as error:
            raise MinirunError("make a network namespace", error, "run as root; see `minirun info`") from None
        self.descriptor = self._made.descriptor

    def _connection(self, wanted: dict[str, Any]) -> Step:
        there = f"eth{self._record.options['networks'].index(wanted)} in netns"
        text = f"RTM_NEWLINK {host_end(self._record.id)} veth, on the bridge of {wanted['name']}; {there}"
        why = "a cable from the bridge into it; then RTM_NEWADDR, RTM_NEWROUTE"
        return Step(text, lambda: self._connect(wanted), (), why)

    def _connect(self, wanted: dict[str, Any]) -> None:
        network = network_of(self._home, wanted)
        own = lease.find(self._home, network.id, self._record.id)
        assert self._made
        if own is None:
            attempt = f"start container {self._record.name}"
            raise Conflict(attempt, f"its lease of network {network.name} was taken away")
        try:
            index = if_nametoindex(network.interface)
        except OSError:
            index = drivers.ensure(self._home, network)  # just taken away: it is made again
        self._made.connect(network, own, index)
        if "ports" in self._record.options:
            from minirun.container import ports

            ports.reflect(self._record.id)

    def _join(self) -> None:
        from _signal import pidfd_send_signal

        from minirun.container.firstprocess import FirstProcess

        wanted = self._record.options["network"].removeprefix(JOINED)
        attempt = f"join the network of container {wanted[:12]}"
        try:
            other = records.read(self._home, wanted)
        except NotFound:
            raise NotFound(attempt, "it was removed", "remove this one, too, and make it anew") from None
        now = state.read(self._home, other)
        if not now.alive:
            raise Conflict(attempt, f"it is {now.status}", f"start it first: `minirun start {other.name}`")
        first = FirstProcess.open(other, now)
        try:
            self.descriptor = os.open(f"/proc/{now.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            pidfd_send_signal(first.pidfd, 0)  # it lives, so that was its own
        except (FileNotFoundError, ProcessLookupError):
            raise Conflict(attempt, "it has just ended") from None
        finally:
            first.close()
