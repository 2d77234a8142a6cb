"""A container's command begins, and is waited for: specification, plan, process; the caller is the parent."""

from __future__ import annotations

import os
import time
from errno import EBUSY

from minirun import caller
from minirun.cgroup import absent, group
from minirun.container import specification, wait
from minirun.container.relay import Relay, give
from minirun.errors import MinirunError
from minirun.launch import machine
from minirun.launch import plan as plans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.sharing import Shared
    from minirun.container.terminal import Terminal
    from minirun.home import Home
    from minirun.kernel.call import Call
    from minirun.launch.spec import Spec

_BUSY_S, _BUSY_LOOK_S = 2.0, 0.01


class Running:
    """A container whose command has begun, and whose parent we are.

    Attributes:
        process: its first process.
        terminal: what joins it to the caller's terminal, with -t.
        relay: what copies between it and files of the host, where the caller's input or output is one.
        stdin: whether the command may read our descriptor 0.
    """

    __slots__ = ("process", "relay", "stdin", "terminal")

    def __init__(
        self, process: machine.Process, terminal: Terminal | None, relay: Relay | None, *, stdin: bool
    ) -> None:
        self.process = process
        self.terminal = terminal
        self.relay = relay
        self.stdin = stdin

    def wait(self) -> int:
        """Pass signals (and, with a terminal, bytes) on until the command ends.

        Returns:
            The exit code: the command's own, or 128 plus the signal that ended it.
        """
        if self.terminal:
            return self.terminal.relay(self.process, stdin=self.stdin)
        code = wait.wait(self.process)
        if self.relay:
            self.relay.finish()
        return code


def launch(
    home: Home, record: Record, path: str, *, stdin: bool, trace: list[tuple[str, float]] | None = None
) -> Running:
    """Start the container's command.

    Args:
        home: the store.
        record: a container that does not run; what `start.steps` lists was done.
        path: its group.
        stdin: whether the command may read our descriptor 0.
        trace: takes every call and its microseconds.

    Raises:
        CommandNotFound, CommandNotExecutable: the command could not begin.
        MinirunError: a call of the plan failed.
    """
    terminal = relay = None
    try:
        if record.options["tty"]:
            from minirun.container.terminal import Terminal

            terminal = Terminal.open(record.options)
        else:
            relay = Relay.open(stdin=stdin)
        redirects = relay.redirects if relay else ()
        process = begin(home, record, path, stdin=stdin, terminal=terminal, redirects=redirects, trace=trace)
    except BaseException:
        wait.release()
        if terminal:
            terminal.close()
        if relay:
            relay.close()
        raise
    if relay:
        relay.start()
    return Running(process, terminal, relay, stdin=stdin)


def begin(
    home: Home,
    record: Record,
    path: str,
    *,
    stdin: bool,
    terminal: Terminal | None,
    redirects: Sequence[tuple[int, int]],
    trace: list[tuple[str, float]] | None = None,
) -> machine.Process:
    """Make the container's first process, which is a child of ours, and wait until it is the command.

    Signals that could be passed on to it wait from here on: see wait.hold.

    Args:
        home: the store.
        record: a container that does not run; what `start.steps` lists was done.
        path: its group.
        stdin: whether the command may read; from descriptor 0, unless *redirects* has another.
        terminal: what is to control it.
        redirects: (descriptor, place): what it is to find at 0, 1 or 2.
        trace: takes every call and its microseconds.

    Raises:
        CommandNotFound, CommandNotExecutable: the command could not begin.
        MinirunError: a call of the plan failed.
    """
    shared = _shared(home, record.options)
    userns = None
    report, status = os.pipe2(os.O_CLOEXEC)
    wait.hold()
    try:
        directory = group.birthplace(path)
        try:
            places = shared.places if shared else {}
            if "userns" in record.options:
                from minirun.container import userns as usernamespaces

                userns = usernamespaces.make(home, record, trace)
            spec = specification.specify(
                home, record, stdin=stdin, status=status, terminal=terminal, shared=places, userns=userns
            )
            spec.redirects = redirects
            spec.has_cgroup = directory >= 0
            owner = userns.host_user(spec.user.uid) if userns else spec.user.uid
            if terminal:
                terminal.give_to(owner)
            elif userns:
                give(redirects, owner, stdin=stdin)
            process = _spawn_connected(home, record, spec, directory, trace)
            if caller.ROOTLESS:
                _note(home, path, process.pid)
        finally:
            if directory >= 0:
                os.close(directory)
            os.close(status)
        # empty once the stub has become the command: the pipe is closed by its exec
        error = int.from_bytes(os.read(report, 4), "little")
    finally:
        os.close(report)
        if shared:
            shared.close()
        if userns:
            userns.close()
    if error:
        os.waitpid(process.pid, 0)
        from minirun.launch.refusal import not_executed

        raise not_executed(spec.argv[0], error)
    return process


def _note(home: Home, path: str, pid: int) -> None:
    """Have others find the process, and by it the namespace that they are to be in."""
    from minirun.container import rootless

    if absent.is_at(path):
        absent.note(path, pid)
    rootless.register(home.runtime, pid)


def _shared(home: Home, options: Mapping[str, Any]) -> Shared | None:
    if options.keys().isdisjoint(("ipc", "pid", "uts")):
        return None
    from minirun.container import sharing

    return sharing.Shared(home, options)


def _spawn_connected(
    home: Home, record: Record, spec: Spec, cgroup: int, trace: list[tuple[str, float]] | None
) -> machine.Process:
    if spec.network in ("none", "host"):
        return _spawn(spec, cgroup, trace)
    from minirun.container.entrance import Entrance

    entrance = Entrance(home, record, spec.userns)
    opened = entrance.open(trace)
    if not (spec.userns and spec.userns.owns_network):  # or it is entered with that
        spec.network_namespace = opened
    try:
        return _spawn(spec, cgroup, trace)
    finally:
        entrance.close()


def _spawn(spec: Spec, cgroup: int, trace: list[tuple[str, float]] | None) -> machine.Process:
    end = 0.0
    while True:
        try:
            return _spawn_once(spec, cgroup, trace)
        except machine.CallFailed as failure:
            # Who had entered the container of before, by an `exec`, has its mounts until the kernel has ended him, too.
            end = end or time.monotonic() + _BUSY_S
            if failure.errno != EBUSY or time.monotonic() > end:
                from minirun.launch.refusal import refusal

                raise refusal(spec, failure) from None
            time.sleep(_BUSY_LOOK_S)


def _spawn_once(spec: Spec, cgroup: int, trace: list[tuple[str, float]] | None) -> machine.Process:
    try:
        try:
            return _spawn_among(spec, plans.plan(spec), cgroup, trace)
        except machine.CallFailed as failure:
            if not failure.may_lack_lowerdir_plus:
                raise
            return _spawn_among(spec, plans.plan(spec, by_options=True), cgroup, trace)
    except machine.CallFailed:
        raise
    except OSError as error:
        raise MinirunError("make a process in new namespaces", error, "run as root; see `minirun info`") from None


def _spawn_among(
    spec: Spec, plan: Sequence[Call], cgroup: int, trace: list[tuple[str, float]] | None
) -> machine.Process:
    """Make the process, among those of another container if it is to share them."""
    flags = plans.namespaces(spec)
    other = spec.shared.get("pid")
    if other is None:
        return _timed(plan, flags, cgroup, trace)
    from minirun.launch import enter

    return enter.among(other, lambda: _timed(plan, flags, cgroup, trace))


def _timed(plan: Sequence[Call], flags: int, cgroup: int, trace: list[tuple[str, float]] | None) -> machine.Process:
    if trace is None:
        return machine.spawn(plan, flags, cgroup)
    from struct import unpack
    from time import clock_gettime_ns

    times = bytearray(8 * (len(plan) + 1))
    begun = clock_gettime_ns(1)  # CLOCK_MONOTONIC, as the machine reads it
    process = machine.spawn(plan, flags, cgroup, times)
    readings = list(unpack(f"<{len(plan) + 1}q", times))
    if not readings[0]:  # by ctypes, the child's readings are the child's
        trace.append((f"clone3 and {len(plan)} calls", (clock_gettime_ns(1) - begun) / 1e3))
        return process
    readings[-1] = clock_gettime_ns(1)  # the exec does not return to read the clock
    trace.append((f"clone3 into {len(plan)} calls", (readings[0] - begun) / 1e3))
    trace += [(repr(call), (readings[i + 1] - readings[i]) / 1e3) for i, call in enumerate(plan)]
    return process
