"""pause and unpause: a container's processes stand still, and go on; see cgroup.freeze in the kernel's cgroup-v2.rst.

That it is paused is written nowhere but in its cgroup, where whoever wants to know looks.
"""

from __future__ import annotations

import os

from minirun import events
from minirun.cgroup import absent, group
from minirun.container import record as records
from minirun.container import state
from minirun.engine import open_home
from minirun.errors import Attempt, Conflict, MinirunError
from minirun.journal import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from minirun.container.record import Record
    from minirun.home import Home


def pause(names: Sequence[str]) -> Iterator[str | MinirunError]:
    """Have containers stand still, one after the other; yields each name, or why it does not."""
    return _each(names, _pause)


def unpause(names: Sequence[str]) -> Iterator[str | MinirunError]:
    """Let paused containers go on, one after the other; yields each name, or why it does not."""
    return _each(names, _unpause)


def _each(names: Sequence[str], do: Callable[[Home, Record], None]) -> Iterator[str | MinirunError]:
    home = open_home()
    for name in names:
        try:
            # held: a commit or an update that lets it stand still meanwhile would let it go on afterwards
            box, lock = records.find_and_hold(home, name)
            try:
                do(home, box)
            finally:
                os.close(lock)
            yield name
        except MinirunError as error:
            yield error


def _pause(home: Home, box: Record) -> None:
    attempt = f"pause container {box.name}"
    now = state.read(home, box)
    if now.status == "paused":
        raise Conflict(attempt, "it is paused already", f"`minirun unpause {box.name}` lets it go on")
    if now.status == "restarting":
        raise Conflict(attempt, "it is restarting", "wait until it runs")
    if not now.alive:
        raise Conflict(attempt, "it is not running", "`minirun ps` lists those that are")
    absent.refuse(attempt, now.cgroup)
    # who does not stand still in time goes on
    with Attempt(attempt), Operation(home) as operation:
        operation.will("thaw", now.cgroup)
        try:
            group.freeze(now.cgroup)
        except FileNotFoundError:
            pass  # it ended
        if not group.frozen(now.cgroup):
            raise Conflict(attempt, "it ended meanwhile")
    events.emit(home, "container", "pause", box.id, box.told())


def _unpause(home: Home, box: Record) -> None:
    attempt = f"unpause container {box.name}"
    now = state.read(home, box)
    if now.status != "paused":
        raise Conflict(attempt, "it is not paused", "`minirun ps --filter status=paused` lists those that are")
    with Attempt(attempt):
        group.thaw(now.cgroup)
    events.emit(home, "container", "unpause", box.id, box.told())
