"""Containers in the background: run -d, start, and what a restart policy starts again."""

from __future__ import annotations

import fcntl
import os

from minirun import events, journal
from minirun.cgroup import group
from minirun.container import keeping, kept, start, state
from minirun.container import record as records
from minirun.engine import creating, open_home
from minirun.engine import run as foreground
from minirun.errors import Attempt, Conflict, MinirunError, NotFound
from minirun.journal import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from minirun.container.kept import Kept
    from minirun.container.record import Record
    from minirun.engine.creating import Order, Trace
    from minirun.home import Home
    from minirun.image.source import Warn


def run(order: Order) -> str:
    """Make a container and start its command, as `docker run -d` does.

    A container whose command could not begin leaves nothing behind.

    Returns:
        Its id.

    Raises:
        MinirunError: anything that kept its command from beginning.
    """
    foreground.protect_interpreter()
    home = open_home()
    with Attempt(f"run {order.image}"), Operation(home) as operation:
        box, lock = creating.make(home, operation, order, None)
        try:
            _start(home, box, operation, state.State())
        finally:
            os.close(lock)
    kept.wake(home)
    return box.id


def start_each(names: Sequence[str]) -> Iterator[str | MinirunError]:
    """Start containers one after the other; yields each name, or why it was not started."""
    foreground.protect_interpreter()
    home = open_home()
    for name in names:
        try:
            box, lock = records.find_and_hold(home, name)
            try:
                _start_held(home, box, lock)
            finally:
                os.close(lock)
            yield name
        except MinirunError as error:
            yield error


def _start_held(home: Home, box: Record, lock: int) -> None:
    """Start a container that the caller holds, if it does not run: one that does is as it was to be."""
    before = settled(home, box, lock)
    if before.alive:
        return
    if box.remove and before.status == "exited":
        raise Conflict(f"start container {box.name}", "it has ended, and goes since it was made with --rm")
    with Attempt(f"start container {box.name}"), Operation(home) as operation:
        _start(home, box, operation, _by_person(before))
    kept.wake(home)


def start_again(home: Home, container_id: str) -> None:
    """Start a container whose restart policy wants it, unless that has changed meanwhile."""
    try:
        box = records.read(home, container_id)
        lock = records.hold(home, box)
    except NotFound:
        return  # removed meanwhile
    try:
        journal.settle(home, container_id)  # whoever tried before us may have been killed
        box = records.read(home, container_id)
        before = state.written(home, box)
        if before.status != "restarting":
            return
        if before.cgroup:
            group.remove(before.cgroup)  # of the time before, if whoever wrote that was killed
        try:
            with Attempt(f"start container {box.name}"), Operation(home) as operation:
                _start(home, box, operation, before)
        except MinirunError as error:
            # Docker gives up, too: what cannot begin now does not begin in a minute
            now = state.written(home, box)
            state.failed(home, box, now, error.exit_code, str(error))
            kept.forget(home.root, home.runtime, box.id)
    except NotFound:
        return  # whoever was removing it was killed, and somebody else has gone on with that
    finally:
        os.close(lock)
    kept.wake(home)


def settled(home: Home, box: Record, lock: int) -> state.State:
    """What is true of a container that the caller holds; had it just ended, its end is written down first.

    Args:
        home: the store.
        box: the container.
        lock: holds it; it is let go for whoever has to take its last output and write how it ended.

    Raises:
        NotFound: it was removed meanwhile.
    """
    from minirun.container import ending

    while True:
        journal.settle(home, box.id)  # whoever held it before us may have been killed, or is undoing what he began
        records.read(home, box.id)
        now, last = state.read(home, box), state.written(home, box)
        if now.alive or last.status != "running":
            break
        if last.outlived:  # and so did nobody who would write it down
            ending.finish(home, box)
            continue
        fcntl.flock(lock, fcntl.LOCK_UN)
        ending.wait_settled(home, box.id)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return ending.give_up(home, box) if now.status == "restarting" else now


def stay(
    home: Home,
    box: Record,
    operation: Operation,
    lock: int,
    flags: Mapping[str, Any],
    *,
    stdin: bool,
    before: state.State | None,
    trace: Trace | None,
    warn: Warn | None,
) -> int:
    """Start a container and stay with it to its end, or until the detach keys are typed.

    Args:
        home: the store.
        box: the container.
        operation: what it is part of; done when the command has begun.
        lock: holds the container, and is given back then.
        flags: detach-keys and sig-proxy, where they are given.
        stdin: whether the command may read our descriptor 0.
        before: what it was, if it was there before.
        trace: takes every call and its microseconds.
        warn: told what could not be tidied up.

    Returns:
        The command's exit code; 0 if it goes on without us.
    """
    from minirun.container.attached import Attached

    keys = None
    if box.options["tty"]:
        from minirun.container.detachkeys import DetachKeys

        keys = DetachKeys(flags.get("detach-keys") or "")
    attached: Attached | None = None

    def launch(path: str) -> Kept:
        nonlocal attached
        attached = Attached(home, box, path, stdin=stdin, trace=trace)
        return attached.kept

    now = _start(home, box, operation, _by_person(before) if before else state.State(), launch, trace)
    operation.done()
    os.close(lock)
    assert attached
    if "timeout" in box.options:
        from minirun.container import deadline

        deadline.guard(home, box, now, attached.process.pidfd)
    if "health" in box.options:
        from minirun.container import reviving

        reviving.attend(home, attached.process.pidfd)
    code = attached.wait(keys, proxy=flags.get("sig-proxy", True))
    if code is None:
        events.emit(home, "container", "detach", box.id, box.told())
        return 0
    try:
        if box.remove:
            remove(home, box)
        elif state.written(home, box).status == "restarting":
            _rouse(home)
    except (OSError, MinirunError) as error:
        # The command ran, and its exit code is what there is to know.
        if warn:
            warn(f"what is left of container {box.name} waits for the next command: {error}")
    return code


def _rouse(home: Home) -> None:
    """Have the supervisor look again; where none is needed but for this, there is none yet."""
    if not kept.wake(home):
        from minirun.container import reviving

        reviving.revive(home)


def remove(home: Home, box: Record) -> None:
    """Remove a container that ended and was made with --rm, with the volumes that are nobody else's."""
    from minirun.container import remove as removal

    try:
        lock = records.hold(home, box)
    except NotFound:
        return  # somebody else did
    try:
        with Operation(home, frees=True) as operation:
            removal.remove(home, box, operation, force=True, volumes=True)
    finally:
        os.close(lock)


def _by_person(before: state.State) -> state.State:
    """What a container was that a person starts: what its restart policy counted is over."""
    return state.State(before.status if before.status == "created" else "exited")


def _start(
    home: Home,
    box: Record,
    operation: Operation,
    before: state.State,
    launch: Callable[[str], Kept] | None = None,
    trace: Trace | None = None,
) -> state.State:
    """Start a container that the caller holds; *launch* gets its group and returns its keeper."""
    path = start.cgroup(box.id, box.options)
    again = before.status == "restarting"
    if again:
        operation.will("settle_again", home.root, box.id, str(before.restarts))
    else:
        operation.will("settle", home.root, box.id, path)
    operation.carry_out([*start.steps(home, box, path), *keeping.steps(home, box, again=again)], trace)
    begun = launch(path) if launch else keeping.launch(home, box, path)
    now = state.running(home, box, before, begun.pid, path, begun.start)
    state.tell_volumes(home, box, "mount")
    events.emit(home, "container", "start", box.id, box.told())
    return now
