"""run and start -a: a container comes into being, or is there, and its command runs to its end."""

from __future__ import annotations

import os
import time

from minirun import events
from minirun.cgroup import group
from minirun.container import launching, start, state
from minirun.container import record as records
from minirun.engine import creating, open_home
from minirun.errors import Attempt, BadInput, Conflict, MinirunError
from minirun.journal import Operation, undo_all
from minirun.launch import ending

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from minirun.container.record import Record
    from minirun.engine.creating import Order, Trace
    from minirun.home import Home
    from minirun.image.source import Warn


# set where somebody waits for the exit code and for nothing else that we do: see minirun/warm.py
reply: Callable[[int], None] | None = None
# what somebody has to look after when the command that started it is gone
_LEAST_UNDOS = 4  # of a container without volumes or a network of its own: see start.undos_while_running
_KEPT = frozenset(("health", "pid", "usermode"))


def run(order: Order) -> int:
    """Make a container and run its command to the end, as `docker run` does.

    A container whose command could not begin leaves nothing behind.

    Returns:
        The command's exit code.

    Raises:
        MinirunError: anything that kept it from running.
    """
    protect_interpreter()
    flags = order.flags
    if flags.get("tty") and flags.get("interactive") and not os.isatty(0):
        raise BadInput("use -it", "the input device is not a TTY", "leave -t out, or run it from a terminal or with -d")
    home = open_home()
    if flags.get("dry-run"):
        return _dry_run(home, order)
    trace: Trace | None = [] if flags.get("trace") else None
    with Attempt(f"run {order.image}"), Operation(home) as operation:
        box, lock = creating.make(home, operation, order, trace)
        try:
            code = _run(home, box, operation, lock, flags, stdin=box.options["stdin"], trace=trace, warn=order.warn)
        except BaseException:
            events.emit(home, "container", "destroy", box.id, box.told())
            raise
    if trace is not None:
        from minirun.container.report import print_trace

        print_trace(trace)
    return code


def start_attached(name: str, flags: Mapping[str, Any], *, stdin: bool) -> int:
    """Run the command of a container that was created, or has ended, to its end.

    Args:
        name: the container's name, id or the beginning of its id.
        flags: detach-keys and sig-proxy, where they are given.
        stdin: whether the command may read our descriptor 0; it must have been created with -i as well.

    Returns:
        The command's exit code.

    Raises:
        NotFound, Conflict: there is no such container, or it runs.
    """
    protect_interpreter()
    home = open_home()
    box, lock = records.find_and_hold(home, name)
    with Attempt(f"start container {box.name}"), Operation(home) as operation:
        from minirun.engine import background

        before = background.settled(home, box, lock)
        if before.alive:
            raise Conflict(f"start container {box.name}", f"it is {before.status}")
        return _run(home, box, operation, lock, flags, stdin=stdin and box.options["stdin"], before=before)


def _run(
    home: Home,
    box: Record,
    operation: Operation,
    lock: int,
    flags: Mapping[str, Any],
    *,
    stdin: bool,
    before: state.State | None = None,
    trace: Trace | None = None,
    warn: Warn | None = None,
) -> int:
    if not box.remove or box.options["tty"] or not _KEPT.isdisjoint(box.options):
        # What is to be known of it afterwards, looked after meanwhile, or can be left and come back to, has a keeper.
        # So has what the kernel does not end with its first process.
        from minirun.engine import background

        return background.stay(home, box, operation, lock, flags, stdin=stdin, before=before, trace=trace, warn=warn)
    cgroup = start.cgroup(box.id, box.options)
    if before is not None:
        operation.will("settle", home.root, box.id, cgroup)
    operation.carry_out(start.steps(home, box, cgroup), trace)
    running = launching.launch(home, box, cgroup, stdin=stdin, trace=trace)
    now = state.running(home, box, before or state.State(), running.process.pid, cgroup)
    state.tell_volumes(home, box, "mount")
    events.emit(home, "container", "start", box.id, box.told())
    # Our end is not the container's: it goes on, and whoever finds it ended later on tidies up.
    undos = start.undos_while_running(home, box, cgroup)
    operation.restart([*undos, ["tell_gone", home.root, box.id]])
    operation.undos = undos  # we tell of its end ourselves
    os.close(lock)
    # what removes it, imported while the command runs and not after
    from minirun.kernel import tree  # noqa: F401

    if "timeout" in box.options:
        from minirun.container import deadline

        deadline.guard(home, box, now, running.process.pidfd)
    code = running.wait()
    _tell_end(home, box, now, code)
    try:
        early = len(undos) == _LEAST_UNDOS and reply
        if early:
            _vanish(home, box, operation)
        else:
            operation.undo()
        events.emit(home, "container", "destroy", box.id, box.told())
        if early:
            early(code)
            operation.undo()
    except (OSError, MinirunError) as error:
        # The command ran, and its exit code is what there is to know.
        operation.leave()
        if warn:
            warn(f"what is left of container {box.name} waits for the next command: {error}")
    return code


def _vanish(home: Home, box: Record, operation: Operation) -> None:
    """Undo all that another command could see, or be hindered by; what remains are files that only the mark names."""
    undo_all([undo for undo in operation.undos if undo[0] != "remove_tree"])
    remains = f"{home.folder('tmp')}/{operation.key}"
    operation.will("remove_tree", remains)
    os.rename(home.container(box.id), remains)


def _tell_end(home: Home, box: Record, now: state.State, code: int) -> None:
    if code == 137 and group.oom_kills(now.cgroup):
        events.emit(home, "container", "oom", box.id, box.told())
    lasted_s = int(time.time() - now.started)
    events.emit(home, "container", "die", box.id, box.told(execDuration=str(lasted_s), exitCode=str(code)))
    state.tell_volumes(home, box, "unmount")


def protect_interpreter() -> None:
    """Have no container write to this interpreter, where no stub keeps it out of sight."""
    if not ending.stub():
        from minirun.launch import unwritable

        unwritable.ensure()


def _dry_run(home: Home, order: Order) -> int:
    from minirun.container.report import plan_lines
    from minirun.image.preview import preview

    wanted = creating.read(home, order.flags)
    image, unpacked_first = preview(home, order.image)
    creating.check_platform(image, order)
    box = creating.describe(image, order, wanted)
    if (volumes := creating.hold_volumes(home, box, image)) >= 0:
        os.close(volumes)
    print("\n".join(plan_lines(home, box, unpacked_first)))  # noqa: T201 - this is what was asked for
    return 0
