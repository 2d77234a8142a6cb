"""What containers use, looked at again and again.

    sample ── about a second ── sample ── about a second ── sample …
                                  │                           │
             processor time since the one before, per cent    ▼
                                  ▼                         frame
                                frame

A frame is a list with every container that is watched, as it is then: those that were named, or all that run.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from minirun.cgroup import absent, group, usage
from minirun.container import record as records
from minirun.container import state
from minirun.engine import open_home
from minirun.errors import NotFound
from minirun.network import traffic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from minirun.cgroup.usage import Cpu, Usage
    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.errors import MinirunError
    from minirun.home import Home

INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one container uses.

    Attributes:
        box: the container.
        called: as the user named it; its id, if nobody did.
        cpu_percent: of one processor, since the frame before; None for one that is too new to say.
        used: None for a container that does not run.
        memory_limit_bytes: what it may use, at most what the host has; 0 for a container that does not run.
        network_bytes: received and sent; None where it could not be read.
    """

    box: Record
    called: str
    cpu_percent: float | None = 0.0
    used: Usage | None = None
    memory_limit_bytes: int = 0
    network_bytes: tuple[int, int] | None = (0, 0)


def watch(
    names: Sequence[str], *, everything: bool = False, interval_s: float = INTERVAL_S,
    warn: Callable[[MinirunError], object] | None = None,
) -> Iterator[list[Statistics]]:  # fmt: skip
    """Look at containers for ever; it ends when all that were named have been removed.

    Args:
        names: which; none means all that run at the time of a frame.
        everything: also those that do not run, where none are named.
        interval_s: from one look to the next; the first frame comes after it.
        warn: told once of each record that cannot be read, where none are named; without it that is raised.

    Raises:
        NotFound, Conflict: a name means no container, or several.
    """
    home = open_home()
    wanted = {name: records.find(home, name).id for name in names}
    unread: dict[str, MinirunError] = {}

    def once(error: MinirunError) -> None:
        if warn is None:
            raise error
        if unread.setdefault(str(error), error) is error:
            warn(error)

    before = dict(_first(now.cgroup, box.id) for box, now, _ in _boxes(home, wanted, once) if now.alive)
    while True:
        time.sleep(interval_s)
        boxes = _boxes(home, wanted, once)
        if names and not boxes:
            return
        frame = [_look(box, now, called, before.get(box.id)) for box, now, called in boxes]
        before = {one.box.id: one.used.cpu for one in frame if one.used}
        yield [one for one in frame if one.used or names or everything]


def _boxes(
    home: Home, wanted: Mapping[str, str], warn: Callable[[MinirunError], object]
) -> list[tuple[Record, State, str]]:
    """The containers to look at, with what is true of them and what the user calls them; removed ones are left out."""
    if not wanted:
        return [(box, state.read(home, box), box.id) for box in records.list_all(home, warn)]
    found = []
    for name, container_id in wanted.items():
        try:
            box = records.read(home, container_id)
        except NotFound:
            continue
        found.append((box, state.read(home, box), name))
    return found


def _first(cgroup: str, container_id: str) -> tuple[str, Cpu | None]:
    try:
        return container_id, usage.cpu(cgroup)
    except FileNotFoundError:
        return container_id, None  # it ended


def _look(box: Record, now: State, called: str, before: Cpu | None) -> Statistics:
    """Take a container's figures; zeros, as Docker has them, for one that does not run."""
    if not now.alive:
        return Statistics(box, called)
    absent.refuse(f"read statistics of container {box.name}", now.cgroup)
    try:
        used = usage.read(now.cgroup)
    except FileNotFoundError:
        return Statistics(box, called)  # it has just ended
    host_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    pids = group.processes(now.cgroup)
    # any of them, should the first have ended before the others
    pid = now.pid if now.pid in pids else min(pids, default=0)
    return Statistics(
        box,
        called,
        used.cpu.percent_since(before) if before else None,
        used,
        min(used.memory_max_bytes or host_bytes, host_bytes),
        traffic.read(pid) if pid else None,
    )
