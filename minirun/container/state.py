"""The states of a container, and the moves between them.

    created ──▶ running ◀──▶ paused        from         to
                │  ▲  ▲                    ──────────   ────────────────────
                │  │  │                    created      running, exited
                ▼  │  ▼                    running      exited, restarting
             exited ◀── restarting         restarting   running, exited
                                           exited       running

state.json says what was last written; the cgroup and the keeper (see kept.py) say what is true. A container whose
state is "running" and whose cgroup has no process has ended: how, its keeper knows; without one it has lost whoever
watched it, and exited with a status that nobody saw (Docker's 255). "paused" is read from the cgroup's freezer and
never written.
"""

from __future__ import annotations

import os
import time
from errno import EDQUOT, ENOSPC

from minirun import events, jsonrecord
from minirun.cgroup import group
from minirun.errors import Conflict, MinirunError
from minirun.home import Home
from minirun.kernel import jsonfile, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.container.record import Record

LOST = 255  # the exit code of a container whose end nobody saw

# what is known of a container while it runs, and of none else
_OF_A_RUN = {"pid": 0, "pid_start": 0, "boot": "", "seccomp": ""}

MOVES = {
    "created": ("running", "exited"),
    "running": ("exited", "restarting"),
    "restarting": ("running", "exited"),
    "exited": ("running",),
}


class State:
    """What became of a container; the attributes are the keys of state.json.

    Attributes:
        status: ``created``, ``running``, ``paused``, ``restarting`` or ``exited``.
        pid: of its first process, as the host sees it; 0 when it does not run.
        started, finished: seconds since 1970; 0 for never.
        exit_code: as `minirun run` returned it.
        error: why it could not start, for a container that never did.
        cgroup: the directory of its group; that of the time before, perhaps gone, when it does not run.
        oom_killed: whether the kernel killed a process of it for want of memory.
        restarts: how often its restart policy started it again, since a person did.
        by_hand: whether a person ended it, or it would have been started again.
        halted: whether it ended while the host went down; known where there is a restart policy.
        next_start: when its restart policy starts it again, while it is ``restarting``.
        delay: how long that policy waited the last time, in seconds: see restart.py.
        pid_start: when its first process started, in clock ticks since boot: see process.start_ticks; 0: not known.
        boot: since which boot of the host all that is true: see process.boot_id; empty: not known.
        seccomp: by what the filter is found that it was started with: see seccomp.key; empty: none, or not known.
    """

    __slots__ = (
        "boot", "by_hand", "cgroup", "delay", "error", "exit_code", "finished", "halted", "next_start", "oom_killed",
        "pid", "pid_start", "restarts", "seccomp", "started", "status",
    )  # fmt: skip

    def __init__(
        self,
        status: str = "created",
        pid: int = 0,
        started: float = 0,
        finished: float = 0,
        exit_code: int = 0,
        error: str = "",
        cgroup: str = "",
        oom_killed: bool = False,
        restarts: int = 0,
        by_hand: bool = False,
        next_start: float = 0,
        delay: float = 0,
        pid_start: int = 0,
        boot: str = "",
        halted: bool = False,
        seccomp: str = "",
    ) -> None:
        self.status = status
        self.pid = pid
        self.started = started
        self.finished = finished
        self.exit_code = exit_code
        self.error = error
        self.cgroup = cgroup
        self.oom_killed = oom_killed
        self.restarts = restarts
        self.by_hand = by_hand
        self.next_start = next_start
        self.delay = delay
        self.pid_start = pid_start
        self.boot = boot
        self.halted = halted
        self.seccomp = seccomp

    @property
    def alive(self) -> bool:
        """Whether it has processes."""
        return self.status in ("running", "paused")

    @property
    def outlived(self) -> bool:
        """Whether the host was booted since: no process of then is there, whatever has its number, or its group."""
        return bool(self.boot) and self.boot != process.boot_id()


def read(home: Home, record: Record) -> State:
    """What is true of a container now."""
    state = written(home, record)
    if state.status != "running":
        return state
    condition = "" if state.outlived else group.condition(state.cgroup)
    if not condition:
        return _unsettled(home, record, state)
    if condition == "frozen":
        state.status = "paused"
    return state


def _unsettled(home: Home, record: Record, state: State) -> State:
    """What became of a container that was running, and whose end nobody has written down yet."""
    from minirun.container import kept, restart

    seen = kept.ended(home, record.id)
    if seen is None and os.path.exists(home.kept(record.id)):
        return state  # its keeper is just writing
    code, finished = (exit_code(seen[0]), seen[1]) if seen else (LOST, state.finished or state.started)
    policy = record.options.get("restart") or restart.NO
    by_hand = kept.marked_by_hand(home, record.id)
    again = seen is not None and restart.delay(policy, state, code, finished, by_hand=by_hand) is not None
    return State(
        "restarting" if again else "exited", 0, state.started, finished, code, cgroup=state.cgroup,
        restarts=state.restarts, oom_killed=group.oom_kills(state.cgroup) > 0, boot=state.boot,
    )  # fmt: skip


def written(home: Home, record: Record) -> State:
    """What was last written of a container."""
    try:
        fields = jsonfile.read(_path(home, record))
        # a key that is missing was not known yet when that was written; one too many, not any more, or not yet here
        return State(**{name: fields[name] for name in State.__slots__ if name in fields})
    except (FileNotFoundError, ValueError, TypeError):
        return State()  # never started, or a power cut took what was not durable


def exit_code(status: int) -> int:
    """Docker's exit code for a wait status: see wait(2)."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def running(home: Home, record: Record, before: State, pid: int, cgroup: str, pid_start: int = 0) -> State:
    """Write that a container runs, in which group, and by which filter."""
    from minirun.security import capabilities, seccomp  # who only reads states needs neither

    again = before.status == "restarting"
    now = State(
        "running", pid, time.time(), cgroup=cgroup, restarts=before.restarts + again, delay=before.delay * again,
        pid_start=pid_start or process.start_ticks(pid), boot=process.boot_id(),
        seccomp=seccomp.key(record.options, capabilities.kept(record.options)),
    )  # fmt: skip
    return _move(home, record, before, now)


def exited(
    home: Home, record: Record, before: State, code: int, *, finished: float = 0, by_hand: bool = False,
    halted: bool = False,
) -> State:  # fmt: skip
    """Write that a container's command ended; its group is still there, and says whether the OOM killer was."""
    now = State(
        "exited", 0, before.started, finished or time.time(), code, restarts=before.restarts, by_hand=by_hand,
        cgroup=before.cgroup, oom_killed=_oom_killed(before), halted=halted,
    )  # fmt: skip
    return _move(home, record, before, now)


def restarting(home: Home, record: Record, before: State, code: int, *, finished: float, delay: float) -> State:
    """Write that a container's command ended, and that its restart policy starts it again after *delay* seconds."""
    now = State(
        "restarting", 0, before.started, finished, code, restarts=before.restarts, next_start=time.time() + delay,
        delay=delay, cgroup=before.cgroup, oom_killed=_oom_killed(before),
    )  # fmt: skip
    return _move(home, record, before, now)


def _oom_killed(before: State) -> bool:
    return group.oom_kills(before.cgroup) > 0 if before.status == "running" else before.oom_killed


def failed(home: Home, record: Record, before: State, code: int, error: str) -> State:
    """Write that a container's command could not begin, and why."""
    now = State(
        "exited", 0, before.started, before.finished or time.time(), code, error, restarts=before.restarts
    )  # fmt: skip
    return _move(home, record, before, now)


def _move(home: Home, record: Record, before: State, after: State) -> State:
    if after.status not in MOVES[before.status]:
        raise Conflict(f"have container {record.name} {after.status}", f"it is {before.status}")
    fields = {name: getattr(after, name) for name in State.__slots__}
    # what decides at boot whether it starts has to survive a power cut
    durable = record.options.get("restart", ["no"])[0] != "no"
    try:
        try:
            jsonrecord.write(home, _path(home, record), fields, durable=durable)
        except OSError as error:
            # how it ended has to be told also when its log has filled the disk
            if after.status == "running" or error.errno not in (ENOSPC, EDQUOT) or not home.give_up_spare():
                raise
            jsonrecord.write(home, _path(home, record), fields, durable=durable)
    except FileNotFoundError:
        pass  # `rm -f` was quicker
    return after


def tell_volumes(home: Home, record: Record, action: str) -> None:
    """Have events say that a container's volumes are attached now, ``mount``, or no more, ``unmount``."""
    if record.options["volumes"]:
        from minirun.container import mounts

        mounts.tell(home, record, action)


def settle(root: str, container_id: str, cgroup: str) -> None:
    """Write down the end of a container that nobody saw. An undo of the journal: idempotent.

    Args:
        root: of the store.
        container_id: whose end it was.
        cgroup: its group; perhaps gone.
    """
    home = Home(root, root)
    killed = group.oom_kills(cgroup) > 0
    lost = {"status": "exited", "exit_code": LOST, "oom_killed": killed, "finished": time.time()}
    if _settle(home, container_id, lost):
        _tell_lost(home, container_id)


def settle_again(root: str, container_id: str, restarts: str) -> None:
    """Have the restart policy of a container, whose start was cut short, start it anew. An undo: idempotent.

    Args:
        root: of the store.
        container_id: whose start it was.
        restarts: how often it had been started again before.
    """
    again = {"status": "restarting", "restarts": int(restarts), "next_start": time.time()}
    _settle(Home(root, root), container_id, again)


def _settle(home: Home, container_id: str, fields: dict[str, Any]) -> bool:
    """Write that a container of which "running" is written does not run; whether that was so."""
    path = f"{home.container(container_id)}/state.json"
    try:
        written = jsonfile.read(path)
        if written.get("status") != "running":
            return False
        jsonrecord.write(home, path, written | _OF_A_RUN | fields, durable=False)
    except (FileNotFoundError, ValueError):
        return False  # never started, or `rm -f` was quicker; or a power cut took what was not durable
    return True


def tell_gone(root: str, container_id: str) -> None:
    """Tell of a container with --rm whose end nobody saw, and which whoever recovers removes. An undo."""
    from minirun.container import record as records

    try:
        box = records.read(Home(root, root), container_id)
    except MinirunError:
        return  # who was killed had removed it already
    _tell_lost(Home(root, root), container_id)
    mine = Home.of_environment()
    if mine.root == root:
        events.emit(mine, "container", "destroy", box.id, box.told())


def _tell_lost(home: Home, container_id: str) -> None:
    from minirun.container import record as records

    mine = Home.of_environment()  # marks name no runtime directory: whoever finds one has it
    if mine.root == home.root:
        box = records.read(home, container_id)
        events.emit(mine, "container", "die", box.id, box.told(exitCode=str(LOST)))
        tell_volumes(mine, box, "unmount")


def _path(home: Home, record: Record) -> str:
    return f"{home.container(record.id)}/state.json"
