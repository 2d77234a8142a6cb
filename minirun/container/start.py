"""A container's command runs: cgroup, plan, wait, exit status; the caller is the parent."""

from __future__ import annotations

import os
import time
from errno import EBUSY

from minirun.cgroup import group, hierarchy
from minirun.container import environment, etc, wait
from minirun.container.relay import Relay
from minirun.errors import MinirunError, Unsupported
from minirun.journal import KEEP_WHILE_ALIVE, Step
from minirun.kernel.call import Call
from minirun.launch import ending, machine
from minirun.launch import plan as plans
from minirun.launch.spec import Spec
from minirun.rootfs.overlay import Overlay
from minirun.rootfs.volumes import Tmpfs, Volume
from minirun.security import capabilities, seccomp, user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.sharing import Shared
    from minirun.container.terminal import Terminal
    from minirun.home import Home
    from minirun.rootfs.devices import Device
    from minirun.security.user import User

stub = ending.stub
_BUSY_S, _BUSY_LOOK_S = 2.0, 0.01


def cgroup(container_id: str, options: Mapping[str, Any]) -> str:
    """The directory of the group that a container with these options would get now.

    Raises:
        Unsupported: this host has not got a controller that its limits need.
        BadInput: its --cgroup-parent is not there.
    """
    parent = options["cgroup_parent"]
    if not options["limits"] and not parent:
        return hierarchy.path(container_id)
    from minirun.cgroup import limits
    from minirun.container import place

    return place.find(container_id, parent, limits.needed(options["limits"]))


def steps(home: Home, record: Record, path: str) -> list[Step]:
    """List what a container needs on the host while it runs, each with its undo.

    Args:
        home: the store.
        record: the container.
        path: of its group: see `cgroup`.
    """
    directory = home.container(record.id)
    return [
        *_network_steps(home, record),
        Step(
            f"write {directory}/{{{','.join(etc.FILES)}}}",
            lambda: _write_etc(home, record), (),
            "files of /etc that are the container's own",
        ),
        *_overlay_steps(home, record),
        *_group_steps(path, record.options["limits"]),
        *_device_steps(path, record.options),
    ]  # fmt: skip


def _network_steps(home: Home, record: Record) -> list[Step]:
    if "networks" not in record.options:
        return []
    from minirun.container import endpoint

    return endpoint.steps(home, record)


def entrance_steps(home: Home, record: Record) -> list[Step]:
    """List what makes the network that its first process enters; none, where that comes with the process."""
    if record.options["network"] in ("none", "host"):
        return []
    from minirun.container.entrance import Entrance

    return Entrance(home, record).steps


def _write_etc(home: Home, record: Record) -> None:
    options = record.options
    if options["network"] in ("none", "host") and "add_hosts" not in options and "dns" not in options:
        etc.write(home.container(record.id), options["hostname"], options["network"])
        return
    from minirun.container import nameservice

    nameservice.write(home, record)


def _overlay_steps(home: Home, record: Record) -> list[Step]:
    if not record.options["volumes"]:
        return []
    from minirun.container import attaching

    return attaching.overlay_steps(home, record)


def _group_steps(path: str, limited: Mapping[str, Any]) -> list[Step]:
    why = "its processes, counted and killable as one"
    if not limited:
        return [Step(f"mkdir {path}", lambda: group.create(path), ("remove_cgroup", path), why)]
    from minirun.container import place

    return place.steps(path, limited, why)


def _device_steps(path: str, options: Mapping[str, Any]) -> list[Step]:
    if "devices" not in options and "device_rules" not in options:
        return []
    from minirun.container import privileges

    return privileges.filter_steps(options, path)


def undos_while_running(home: Home, record: Record, path: str) -> list[list[str]]:
    """What whoever finds this container without its parent must do, once the last process of its group is gone."""
    keep = [[KEEP_WHILE_ALIVE, path], *_network_undos(home, record)]
    directory = home.container(record.id)
    if record.remove:
        name = home.name(record.name)
        own = [["remove_tree", directory], ["remove_name", name, record.id], ["remove_cgroup", path]]
        return [*keep, *_volume_undos(home, record), *own]
    # undone from the last to the first: the group says how it ended, and then goes
    return [*keep, ["remove_cgroup", path], ["settle", home.root, record.id, path]]


def _network_undos(home: Home, record: Record) -> list[list[str]]:
    if "networks" not in record.options:
        return []
    from minirun.container import endpoint

    return endpoint.undos(home, record)


def _volume_undos(home: Home, record: Record) -> list[list[str]]:
    if not record.options["volumes"]:
        return []
    from minirun.container import mounts

    return mounts.discards(home, record)


def specify(
    home: Home,
    record: Record,
    *,
    stdin: bool,
    status: int,
    terminal: Terminal | None,
    who: User | None = None,
    namespace: int | None = None,
    shared: Mapping[str, int | None] | None = None,
) -> Spec:
    """Resolve everything that the record names: the user in the image, the kinds of the volumes' sources.

    Raises:
        BadInput: the image has no such user.
    """
    options = record.options
    directory = home.container(record.id)
    stack = [home.diff(name) for name in record.stack]
    if os.path.isdir(upper := f"{directory}/upper"):
        stack.append(upper)
    who = who or user.find(options["user"], stack, options.get("group_add", ()))
    if options["init"] and not stub():
        raise Unsupported("use --init", "its reaper was not compiled", "install a C compiler and run `make setup`")
    keep = capabilities.kept(options)
    return Spec(
        overlay=Overlay(
            home.folder("diffs"),
            record.stack,
            f"../containers/{record.id}/upper",
            f"../containers/{record.id}/work",
            volatile=record.remove,
        ),
        attach_point=home.attach_point,
        read_only=options["read_only"],
        hostname=options["hostname"],
        network=options["network"],
        network_namespace=namespace,
        shared=shared or {},
        sysctls=[*options.get("sysctls", {}).items()],
        files=etc.volumes(directory, read_only=options["read_only"]),
        volumes=_attached(home, record),
        terminal=terminal and (terminal.devpts, terminal.slave),
        stdin=stdin,
        redirects=(),
        devices=_devices(options),
        makes_devices="device_rules" in options or "privileged" in options,
        privileged="privileged" in options,
        user=who,
        capabilities=keep,
        cwd=options["cwd"],
        argv=options["argv"],
        env=environment.complete(
            options["env"], hostname=options["hostname"], home=who.home, terminal=terminal is not None
        ),
        init=options["init"],
        seccomp=seccomp.find(home, options, keep),
        no_new_privileges=seccomp.forbids_new_privileges(options),
        stub=stub(),
        shm_bytes=options["shm_bytes"],
        cgroup_namespace=options["cgroupns"] == "private",
        rlimits=[(resource, soft, hard) for _, resource, soft, hard in options["ulimits"]],
        oom_score_adj=options["oom_score_adj"],
        status=status,
    )


def _devices(options: Mapping[str, Any]) -> list[Device]:
    if "devices" not in options and "privileged" not in options:
        return []
    from minirun.container import privileges

    return privileges.nodes(options)


def _attached(home: Home, record: Record) -> list[Volume | Tmpfs]:
    """What is attached, in order; most containers have nothing that attaching.py would be needed for."""
    if record.options["volumes"]:
        from minirun.container import attaching

        return attaching.attach(home, record)
    return [Tmpfs(target, given, attributes) for target, given, attributes in record.options["tmpfs"]]


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
        record: a container that does not run; what `steps` lists was done.
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

            terminal = Terminal.open()
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
        record: a container that does not run; what `steps` lists was done.
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
    report, status = os.pipe2(os.O_CLOEXEC)
    wait.hold()
    try:
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            places = shared.places if shared else {}
            spec = specify(home, record, stdin=stdin, status=status, terminal=terminal, shared=places)
            spec.redirects = redirects
            if terminal:
                terminal.give_to(spec.user.uid)
            process = _spawn_connected(home, record, spec, directory, trace)
        finally:
            os.close(directory)
            os.close(status)
        # empty once the stub has become the command: the pipe is closed by its exec
        error = int.from_bytes(os.read(report, 4), "little")
    finally:
        os.close(report)
        if shared:
            shared.close()
    if error:
        os.waitpid(process.pid, 0)
        from minirun.launch.refusal import not_executed

        raise not_executed(spec.argv[0], error)
    return process


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

    entrance = Entrance(home, record)
    spec.network_namespace = entrance.open(trace)
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
