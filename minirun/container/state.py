"""The states of a container, and the moves between them.

    created ──▶ running ◀──▶ paused        from       to
                  │  ▲                     ─────────  ────────────────
                  ▼  │                     created    running, exited
                 exited                    running    exited
                                           exited     running

state.json says what was last written; the cgroup says what is true. A container whose state is "running" and whose
cgroup has no process has lost whoever watched it: it exited, with a status that nobody saw (Docker's 255). "paused"
is read from the cgroup's freezer and never written.
"""

from __future__ import annotations

import time

from minirun import journal
from minirun.cgroup import group, hierarchy
from minirun.errors import Conflict
from minirun.home import Home
from minirun.kernel import jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record

LOST = 255  # the exit code of a container whose end nobody saw

MOVES = {"created": ("running", "exited"), "running": ("exited",), "exited": ("running",)}


class State:
    """What became of a container; the attributes are the keys of state.json.

    Attributes:
        status: ``created``, ``running``, ``paused`` or ``exited``.
        pid: of its first process, as the host sees it; 0 when it does not run.
        started, finished: seconds since 1970; 0 for never.
        exit_code: as `minirun run` returned it.
        error: why it could not start, for a container that never did.
    """

    __slots__ = ("error", "exit_code", "finished", "pid", "started", "status")

    def __init__(
        self,
        status: str = "created",
        pid: int = 0,
        started: float = 0,
        finished: float = 0,
        exit_code: int = 0,
        error: str = "",
    ) -> None:
        self.status = status
        self.pid = pid
        self.started = started
        self.finished = finished
        self.exit_code = exit_code
        self.error = error

    @property
    def alive(self) -> bool:
        """Whether it has processes."""
        return self.status in ("running", "paused")


def read(home: Home, record: Record) -> State:
    """What is true of a container now."""
    try:
        state = State(**jsonfile.read(_path(home, record)))
    except (FileNotFoundError, ValueError, TypeError):
        state = State()  # never started, or a power cut took what was not durable
    if state.status != "running":
        return state
    path = hierarchy.path(record.id)
    if not group.alive(path):
        return State("exited", 0, state.started, state.finished or state.started, LOST)
    if group.frozen(path):
        state.status = "paused"
    return state


def running(home: Home, record: Record, before: State, pid: int) -> State:
    """Write that a container runs."""
    return _move(home, record, before, State("running", pid, time.time()))


def exited(home: Home, record: Record, before: State, exit_code: int, error: str = "") -> State:
    """Write that a container's command ended, or could not begin."""
    return _move(home, record, before, State("exited", 0, before.started, time.time(), exit_code, error))


def _move(home: Home, record: Record, before: State, after: State) -> State:
    if after.status not in MOVES[before.status]:
        raise Conflict(f"have container {record.name} {after.status}", f"it is {before.status}")
    fields = {name: getattr(after, name) for name in State.__slots__}
    try:
        journal.write(home, _path(home, record), fields, durable=False)
    except FileNotFoundError:
        pass  # `rm -f` was quicker
    return after


def settle(root: str, container_id: str) -> None:
    """Write down the end of a container that nobody saw. An undo of the journal: idempotent.

    Args:
        root: of the store.
        container_id: whose end it was.
    """
    home = Home(root, root)
    path = f"{home.container(container_id)}/state.json"
    try:
        fields = jsonfile.read(path)
        if fields.get("status") == "running":
            fields.update(status="exited", pid=0, finished=time.time(), exit_code=LOST)
            journal.write(home, path, fields, durable=False)
    except (FileNotFoundError, ValueError):
        pass  # never started, or `rm -f` was quicker; or a power cut took what was not durable


def _path(home: Home, record: Record) -> str:
    return f"{home.container(record.id)}/state.json"
