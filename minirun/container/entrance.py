"""The network namespace of a container: made by who starts it, before its first process; joined; entered by others.

Entrance          unshare, then an interface for each network, or a process; or the namespace of another container
open_namespace    that of a container that runs, as a descriptor

Nobody has to undo it: what is made goes with its last process and descriptor. See network/namespace.py.
"""

from __future__ import annotations

import os
from _socket import if_nametoindex

from minirun.container import endpoint
from minirun.container.networkflags import JOINED
from minirun.errors import Conflict, MinirunError
from minirun.journal import Step
from minirun.launch import machine
from minirun.network import drivers, lease
from minirun.network.namespace import Namespace, gateways

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home
    from minirun.launch.userns import UserNamespace
    from minirun.network.lease import Lease
    from minirun.network.record import Network


class Entrance:
    """The network namespace that a container's first process is to enter, made as its steps are done.

    Attributes:
        descriptor: of it; -1 before.
        steps: what makes it, in their order; they have no undo: what is made goes with the descriptor.
    """

    __slots__ = ("_home", "_leaderless", "_made", "_record", "_userns", "descriptor", "steps")

    def __init__(self, home: Home, record: Record, userns: UserNamespace | None = None) -> None:
        """Describe it; *userns*: what is to own it, where that is not the host's."""
        self._home = home
        self._userns = userns
        self._record = record
        self._made: Namespace | None = None
        self._leaderless = {4, 6}  # kinds of addresses without a default route
        self.descriptor = -1
        mode = record.options["network"]
        if mode.startswith(JOINED):
            text = f"open /proc/PID/ns/net → netns, of container {mode.removeprefix(JOINED)[:12]}"
            self.steps = [Step(text, self._join, (), "its network is this one's, too")]
            return
        made = "setns(holder)" if "userns" in record.options else "unshare(CLONE_NEWNET)"
        self.steps = [
            Step(f"{made} → netns, and setns back", self._make, (), "its network, made beforehand"),
            *map(self._connection, record.options.get("networks", ())),
        ]
        if "usermode" in record.options:
            why = "a process that sends on what is sent there"
            self.steps.append(Step(f"{mode} on netns", self._attach, (), why))

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
            if self._userns:
                self._made = self._owned(self._userns)
            else:
                self._made = Namespace.make(machine.run)
        except OSError as error:
            raise MinirunError("make a network namespace", error, "run as root; see `minirun info`") from None
        self.descriptor = self._made.descriptor

    @staticmethod
    def _owned(userns: UserNamespace) -> Namespace:
        there = userns.network()
        try:
            return Namespace.enter(machine.run, there)
        finally:
            os.close(there)

    def _connection(self, wanted: dict[str, Any]) -> Step:
        networks = self._record.options["networks"]
        there = f"{endpoint.interfaces(networks)[networks.index(wanted)]} in netns"
        text = f"RTM_NEWLINK, on network {wanted['name']}: {there}"
        why = "its interface there; then RTM_NEWADDR, RTM_NEWROUTE"
        return Step(text, lambda: self._connect(wanted), (), why)

    def _connect(self, wanted: dict[str, Any]) -> None:
        network = endpoint.network_of(self._home, wanted)
        own = lease.find(self._home, network.id, self._record.id)
        assert self._made
        if own is None:
            attempt = f"start container {self._record.name}"
            raise Conflict(attempt, f"its lease of network {network.name} was taken away")
        try:
            index = if_nametoindex(network.interface)
        except OSError:
            index = drivers.ensure(self._home, network)  # just taken away: it is made again
        leads = self._leaderless.intersection(kind for kind, _ in gateways(network))
        self._leaderless -= leads
        self._made.connect(network, own, index, leads, guard(self._home, self._record, network, own))
        if "ports" in self._record.options:
            from minirun.container import ports

            ports.reflect(network, own)

    def _attach(self) -> None:
        from minirun.container import usermode

        assert self._made
        usermode.attach(self._home, self._record, self._made)

    def _join(self) -> None:
        from minirun.container import sharing

        wanted = self._record.options["network"].removeprefix(JOINED)
        attempt = f"join the network of container {wanted[:12]}"
        other, now = sharing.running(self._home, wanted, attempt)
        if "egress" in other.options:
            from minirun.network import egressclaim

            egressclaim.share(self._home, other.id)
        self.descriptor = open_namespace(other, now, attempt)


def open_namespace(box: Record, now: State, attempt: str) -> int:
    """A descriptor of the network namespace of a container that runs.

    Raises:
        Conflict: it has ended.
    """
    from _signal import pidfd_send_signal

    from minirun.container.firstprocess import FirstProcess

    try:
        first = FirstProcess.open(box, now)
    except Conflict:
        raise Conflict(attempt, "it has just ended") from None
    descriptor = -1
    try:
        descriptor = os.open(f"/proc/{now.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        pidfd_send_signal(first.pidfd, 0)  # it lives, so that was its own
    except (FileNotFoundError, ProcessLookupError):
        if descriptor >= 0:
            os.close(descriptor)
        raise Conflict(attempt, "it has just ended") from None
    finally:
        first.close()
    return descriptor


def guard(home: Home, record: Record, network: Network, own: Lease) -> Callable[[str], None] | None:
    """What has to be done before anything gets through an interface: see drivers.plug."""
    if "egress" not in record.options:
        return None
    from minirun.container import egress

    return egress.guard(home, network, own)
