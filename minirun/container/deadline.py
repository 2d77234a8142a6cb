"""--timeout: a container that has run for so long is killed, by whoever is there.

    in the foreground   a thread of the `run` or `start -a` that stays with it: `guard`
    otherwise           the supervisor, by its timers

Both count from the time when its state says that it started; whoever comes second finds it dead.
"""

from __future__ import annotations

import _signal
import _thread
import os
import time

from minirun import events
from minirun.cgroup import group
from minirun.container import kept, state
from minirun.container import record as records
from minirun.errors import MinirunError, NotFound
from minirun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home

_SIGKILL = 9
_NEARLY_S = 0.5  # who was told to come back at that time does not come again


def left(box: Record, now: State) -> float:
    """How many seconds a container with a --timeout has, which runs or is just about to."""
    started = now.started if now.status == "running" else time.time()
    # a clock that was set back gives it no more than it had
    return float(min(started + box.options["timeout"] - time.time(), box.options["timeout"]))


def expire(home: Home, box: Record) -> None:
    """Kill a container whose time is over, if it runs still."""
    try:
        lock = records.hold(home, box, wait=False)
    except BlockingIOError:
        lock = -1  # whoever has it may have it for longer
    except NotFound:
        return
    try:
        now = state.written(home, box)
        if now.status != "running" or now.outlived or left(box, now) > _NEARLY_S:
            return  # it was started again meanwhile
        time.sleep(max(0, left(box, now)))
        if kept.ended(home, box.id) is None and group.alive(now.cgroup):
            events.emit(home, "container", "kill", box.id, box.told(signal=str(_SIGKILL)))
            group.kill(now.cgroup)
    finally:
        if lock >= 0:
            os.close(lock)


def guard(home: Home, box: Record, now: State, pidfd: int) -> None:
    """Have a thread of ours kill a container when its time is over, unless it has ended by then.

    Args:
        home: the store.
        box: a container that runs, with a --timeout or without.
        now: its state.
        pidfd: of its first process; -1 if that has ended.
    """
    if not box.options.get("timeout") or pidfd < 0:
        return
    # signals are for the thread that waits for the container, which they are to interrupt
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        _thread.start_new_thread(_guard, (home, box, left(box, now), os.dup(pidfd)))
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _guard(home: Home, box: Record, seconds: float, pidfd: int) -> None:
    try:
        if not process.wait([pidfd], max(0, seconds)):
            expire(home, box)
    except MinirunError:
        pass  # a process that no signal ends: whoever waits for it goes on waiting
    finally:
        os.close(pidfd)
