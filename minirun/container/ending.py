"""The end of a container that has a keeper: its exit status is written down, what it had on the host goes.

    the first process ends ─▶ keeper writes `exit` ─▶ its last output is taken ─▶ finish: state, group, keeper
                                                        └ by the supervisor; by whoever waits, if there is none

`finish` may be called by anybody who holds the container, and again; what it does happens once.
"""

from __future__ import annotations

import os
import time

from minirun import events
from minirun.cgroup import group
from minirun.container import halting, kept, restart, state
from minirun.container import record as records
from minirun.errors import MinirunError, NotFound
from minirun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home

_FIRST_LOOK_S, _LAST_LOOK_S = 0.002, 0.05
_LOOKS = 100
_PATIENCE_S = 3.0  # for a supervisor to do what is its own


def finish(home: Home, box: Record) -> State:
    """Write down how *box*, whose output was taken, has ended, and give back what it had on the host.

    Args:
        home: the store.
        box: held by the caller.

    Returns:
        Its state now: ``restarting`` where its restart policy starts it again, when it is for the supervisor to.
        What is to be removed at its end keeps its directory until it is.
    """
    before = state.written(home, box)
    if before.status == "restarting":
        return before
    if before.status != "running":  # whoever wrote that, or started it, was killed before he had tidied up
        _tidy(home, box, before, keep_directory=box.remove and before.status == "exited")
        return before
    if group.alive(before.cgroup):
        if kept.ended(home, box.id) is None:
            return before
        group.kill(before.cgroup)  # nothing of a pid namespace outlives its first process for long
    status, finished = kept.ended(home, box.id) or (state.LOST << 8, time.time())
    finished = max(finished, before.started)  # that was written when it had begun, and perhaps ended
    code = state.exit_code(status)
    by_hand = kept.marked_by_hand(home, box.id)
    policy: list[str | int] = box.options.get("restart") or restart.NO
    delay = restart.delay(policy, before, code, finished, by_hand=by_hand)
    if halted := policy[0] != "no" and halting.under_way(home):
        delay = None
    _end_usermode(home, box)
    if "ports" in box.options:
        _give_ports_back(home, box)
    if "networks" in box.options:
        _give_addresses_back(home, box)
    if delay is None:
        now = state.exited(home, box, before, code, finished=finished, by_hand=by_hand, halted=halted)
    else:
        now = state.restarting(home, box, before, code, finished=finished, delay=delay)
    if now.oom_killed:
        events.emit(home, "container", "oom", box.id, box.told())
    lasted_s = int(finished - before.started)
    events.emit(home, "container", "die", box.id, box.told(execDuration=str(lasted_s), exitCode=str(code)))
    state.tell_volumes(home, box, "unmount")
    if "health" in box.options:
        from minirun.container import health

        health.keep(home, box.id)
    _tidy(home, box, before, keep_directory=box.remove or delay is not None)
    return now


def _end_usermode(home: Home, box: Record) -> None:
    """End the process that its network is, if it is one: nobody speaks by it any more, and it has ports."""
    if "usermode" in box.options:
        from minirun.container import usermode

        usermode.end(home.root, home.runtime, box.id)


def _give_ports_back(home: Home, box: Record) -> None:
    """Have others get its ports, whose sockets its keeper has: once its end is told, somebody may want them at once."""
    from minirun.network import published

    published.release(home.root, home.runtime, box.id)
    kept.end_keeper(home.root, home.runtime, box.id)


def _give_addresses_back(home: Home, box: Record) -> None:
    """Have others get its addresses, as with ports."""
    from minirun.container import endpoint

    endpoint.release_all(home, box)


def _tidy(home: Home, box: Record, before: State, *, keep_directory: bool = False) -> None:
    if before.cgroup:
        group.remove(before.cgroup)
    if "networks" in box.options:
        _give_addresses_back(home, box)
    if not keep_directory:
        kept.forget(home.root, home.runtime, box.id)
    elif not box.remove:  # its directory tells the supervisor that there is something to do
        kept.end_keeper(home.root, home.runtime, box.id)


def give_up(home: Home, box: Record, *, by_hand: bool = True) -> State:
    """Have a container that waits for its restart policy not be started again.

    Args:
        home: the store.
        box: held by the caller.
        by_hand: whether a person wants that.
    """
    before = state.written(home, box)
    if before.status != "restarting":
        return before
    now = state.exited(home, box, before, before.exit_code, finished=before.finished, by_hand=by_hand)
    _tidy(home, box, before)
    return now


def is_known(home: Home, container_id: str, pidfd: int) -> bool:
    """Whether it is known by now how a container ended; false: it soon will be.

    Of one whose keeper was killed the kernel tells, once init has reaped it; it does since Linux 6.15.

    Args:
        home: the store.
        container_id: whose end it is.
        pidfd: of its first process, opened while that was there; -1 if there was none to open.
    """
    if kept.ended(home, container_id) is not None:
        return True
    parent = kept.read(home, container_id)
    if parent and process.runs(parent.keeper, parent.keeper_start):
        return False  # it is just writing
    if pidfd < 0 or parent is None:
        return True
    if (status := process.wait_status(pidfd)) is not None:
        kept.write_exit(home, container_id, status, time.time())
        return True
    return process.start_ticks(parent.pid) != parent.start


def wait_settled(home: Home, container_id: str, pidfd: int = -1) -> State | None:
    """Wait until the end of a container whose first process has ended is written down; do it if nobody does.

    Args:
        home: the store.
        container_id: whose end it is; the caller does not hold it.
        pidfd: of its first process, opened while that was there; -1 if there was none to open.

    Returns:
        Its state; None if it was removed meanwhile.
    """
    for _ in range(_LOOKS):
        if is_known(home, container_id, pidfd):
            break
        time.sleep(_FIRST_LOOK_S)
    pause, end = _FIRST_LOOK_S, time.monotonic() + _PATIENCE_S
    while True:
        try:
            box = records.read(home, container_id)
            now = state.written(home, box)
            if now.status != "running":
                return now
            if time.monotonic() > end and (taken := _take_over(home, box)):
                return taken
        except NotFound:
            return None
        time.sleep(pause)
        pause = min(2 * pause, _LAST_LOOK_S)


def _take_over(home: Home, box: Record) -> State | None:
    """Take what is left of the output, and finish, unless somebody else is doing it."""
    from minirun.container import output

    try:
        taker = output.Taker(home, box)
    except BlockingIOError:
        return None  # whoever takes the output is alive
    except FileNotFoundError:
        taker = None  # it has no keeper: its parent is about to write how it ended, or was killed
    try:
        if taker:
            taker.drain()
    finally:
        if taker:
            taker.close()
    lock = records.hold(home, box)
    try:
        if taker is None:
            now = state.read(home, box)
            return now if now.status != "running" else None
        return finish(home, box)
    except MinirunError:
        return None
    finally:
        os.close(lock)
