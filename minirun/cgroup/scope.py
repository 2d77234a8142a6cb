"""A place for a container's group where systemd keeps the tree: a scope of its own, or a group delegated to us.

    /sys/fs/cgroup/machine.slice/            systemd's: it makes and removes what is directly in it
    └── minirun-4f1c22d09c9d.scope/          systemd's, delegated to us: below it nobody else changes anything
        ├── placeholder/                     a process that sleeps: systemd makes no scope without one
        └── 4f1c22d09c9d…/                   the container's group; the controllers are enabled in the scope

    systemd ◀─ StartTransientUnit(scope, Delegate, PIDs=[placeholder]) ─ create
    systemd ─ JobRemoved(done) ─▶ create ─▶ the placeholder moves to its leaf, for where groups have controllers no
                                            process may be (cgroup-v2.rst, "No Internal Process Constraint")
    the container's last process and the placeholder end ─▶ systemd finds the scope empty, and removes all of it

The placeholder reads from a pipe that only this process can write to, and ends when it is told to, or a moment after
the pipe is closed: however we end, the scope goes too, unless there is a container in it. See
docs/decisions/0030-systemd-scope.md.
"""

from __future__ import annotations

import _signal
import os
from errno import EBUSY, ENODEV, ENOENT
from time import sleep

from minirun import caller
from minirun.cgroup import control, delegation, hierarchy
from minirun.errors import MinirunError, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_SLICE = "machine.slice"  # systemd.special(7): of virtual machines and containers
_USERS_SLICE = "app.slice"  # a user's own manager has no machine.slice
_LEAF = "placeholder"
_LINGER_S = 1.0  # systemd may be making the scope when we are killed, and keeps one whose process died meanwhile

_placeholders: dict[str, tuple[int, int]] = {}  # directory of a scope → (pid, the descriptor that keeps it)


def path(container_id: str) -> str:
    """The directory that a container's scope has, once `create` made it.

    Raises:
        Unsupported: an ordinary user whose processes are not below his own manager: no process of his may go there.
    """
    manager = delegation.manager() if caller.UID else ""
    return f"{hierarchy.mount_point()}{manager}/{_slice()}/{_unit(container_id)}"


def create(container_id: str, needed: Iterable[str] = ()) -> str:
    """Have systemd make a container's scope.

    Args:
        container_id: whose.
        needed: controllers that groups in the scope are to have.

    Returns:
        Its directory, `path`, where the container's group is to be made. It stays until `settle` and the end of the
        last process in it.

    Raises:
        Unsupported: systemd is not to be reached, or does not delegate what is needed; nothing was made.
        Conflict: the container has a scope already.
        MinirunError: systemd refuses; nothing was made.
    """
    from minirun.cgroup import systemd

    directory = path(container_id)
    pid, keeper = _hold_place()
    _placeholders[directory] = (pid, keeper)
    try:
        systemd.start_scope(_unit(container_id), _slice(), f"minirun container {container_id[:12]}", pid)
        os.mkdir(f"{directory}/{_LEAF}")
        control.write(f"{directory}/{_LEAF}", "cgroup.procs", str(pid))
        enable(needed, directory)
    except OSError as error:
        settle(directory)
        raise MinirunError(f"use the scope {_unit(container_id)}", error, systemd.ELSEWHERE) from None
    except BaseException:
        settle(directory)
        raise
    return directory


def settle(directory: str) -> None:
    """End the placeholder of a scope: from now on it lasts as long as the container. Idempotent."""
    pid, keeper = _placeholders.pop(directory, (0, -1))
    if pid:
        try:
            os.write(keeper, b"\0")
        except BrokenPipeError:
            pass  # somebody killed it
        os.close(keeper)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # who started us ignores SIGCHLD, and so do we: nobody waits for anybody
    try:
        os.rmdir(f"{directory}/{_LEAF}")
    except OSError as error:
        # EBUSY: another process of ours made it, and is not quite gone; systemd removes the leaf with the scope
        if error.errno not in (ENOENT, EBUSY, ENODEV):
            raise


def remove(directory: str) -> None:
    """Kill what is left in a scope; systemd then removes it. Idempotent.

    The directory itself is never removed by us: systemd would not be told that it is empty, and keep the unit.
    """
    ours = directory in _placeholders
    settle(directory)
    from minirun.cgroup import group

    if group.alive(directory):
        group.kill(directory)
    elif not ours and os.path.isdir(directory):
        from minirun.cgroup import systemd

        systemd.stop_scope(os.path.basename(directory))  # its last process died before systemd began to watch


def enable(needed: Iterable[str], directory: str) -> None:
    """Let groups in *directory*, a scope or what delegation.delegated returned, have the controllers *needed*.

    Raises:
        Unsupported: the group was not given one of them.
        OSError: EBUSY: a process is in it.
    """
    there = hierarchy.controllers(directory)
    for controller in needed:
        if controller not in there:
            from minirun.cgroup import systemd

            raise Unsupported(
                f"limit {controller}",
                f"the {controller} controller was not passed on to {directory}",
                f"systemd delegates {', '.join(systemd.DELEGATES)} and no other; {systemd.ELSEWHERE}",
            )
    enabled = control.read(directory, "cgroup.subtree_control").split()
    if missing := [f"+{controller}" for controller in needed if controller not in enabled]:
        control.write(directory, "cgroup.subtree_control", " ".join(missing))


def _unit(container_id: str) -> str:
    return f"minirun-{container_id[:12]}.scope"


def _slice() -> str:
    return _USERS_SLICE if caller.UID else _SLICE


def _hold_place() -> tuple[int, int]:
    """Start the placeholder; it ends when the descriptor is written to, or closed, which our own end does too."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        try:
            # Of what it was born with it keeps the pipe alone: no lock of ours, no terminal, no key pressed there.
            os.setsid()
            for number in (1, 2, 3):
                _signal.signal(number, _signal.SIG_IGN)
            os.dup2(reading, 0)
            os.closerange(1, os.sysconf("SC_OPEN_MAX"))
            if not os.read(0, 1):
                sleep(_LINGER_S)
        finally:
            os._exit(0)
    os.close(reading)
    return pid, writing
