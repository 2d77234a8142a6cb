"""What a cgroup would tell of a container and do to it, where an ordinary user has been given none to make groups in.

    <runtime>/groupless/<container id>/first     pid and start of the first process of its pid namespace: 812 4711

The pid namespace is what is left to count and end its processes as one: nothing in it outlives its first process, and
when that is a zombie all others are gone. See pid_namespaces(7). What it cannot do is refused elsewhere: limits, pause,
statistics, and namespaces of processes that are shared.

The file is written when the process is there. Whoever was to write it may be killed in between; the process is known
by its root file system, then, whose upper directory has the container's id in its path.
"""

from __future__ import annotations

import os

from minirun import caller
from minirun.errors import Unsupported
from minirun.kernel import files, process

FOLDER = "groupless"
_DEATH_S = 10.0


def is_at(path: str) -> bool:
    """Whether *path* stands for a group that is not there."""
    return caller.ROOTLESS and os.path.basename(os.path.dirname(path)) == FOLDER


def path(runtime: str, container_id: str) -> str:
    """What stands for the group of a container."""
    return f"{runtime}/{FOLDER}/{container_id}"


def refuse(attempt: str, place: str) -> None:
    """Refuse what cannot be done without a group, where *place* stands for one.

    Raises:
        Unsupported: it does.
    """
    if is_at(place):
        raise Unsupported(
            attempt, "it has no cgroup, as none was given to you to make groups in",
            "start it where you were given one: `systemd-run --user --scope -p Delegate=yes minirun run …`",
        )  # fmt: skip


def create(place: str) -> None:
    """Make what stands for it; what is there is of the time before."""
    remove(place)
    os.makedirs(place, 0o700)


def note(place: str, pid: int) -> None:
    """Write down the first process."""
    files.replace(f"{place}/first", f"{pid} {process.start_ticks(pid)}".encode(), durable=False)


def alive(place: str) -> bool:
    """Whether the container has processes."""
    first = _first(place)
    return first is not None and process.runs(*first)


def processes(place: str) -> list[int]:
    """The pids of all in its pid namespace, and in those below it, in their order."""
    first = _first(place)
    if first is None or not process.runs(*first):
        return []
    try:
        namespace = os.readlink(f"/proc/{first[0]}/ns/pid")
    except OSError:
        return []
    found, parents = set(), {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        if (parent := process.parent(int(name))) < 0:
            continue  # as no group has one that waits for its parent
        try:
            if os.readlink(f"/proc/{name}/ns/pid") == namespace:
                found.add(int(name))
            parents[int(name)] = parent
        except OSError:
            continue  # it has ended, or is none of ours
    # who made a namespace of his own in there has the parent still
    while below := [pid for pid, parent in parents.items() if parent in found and pid not in found]:
        found.update(below)
    return sorted(found)


def kill(place: str) -> None:
    """End all of it."""
    first = _first(place) or _search(os.path.basename(place))
    if first is not None:
        process.end(*first, _DEATH_S)


def remove(place: str) -> None:
    """End what is left of it. Idempotent."""
    if os.path.exists(place):
        from minirun.kernel import tree

        kill(place)
        tree.remove(place)


def _first(place: str) -> tuple[int, int] | None:
    try:
        with open(f"{place}/first", "rb", 0) as file:
            pid, start = file.read(64).split()
    except FileNotFoundError:
        return None
    return int(pid), int(start)


def _search(container_id: str) -> tuple[int, int] | None:
    """The oldest process that has the container's root file system, and the host's no more."""
    mark = f"upperdir=../containers/{container_id}/upper".encode()
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/mountinfo", "rb", 0) as file:
                if mark in file.readall():
                    found.append((process.start_ticks(int(name)), int(name)))
        except OSError:
            continue  # it has ended, or is none of ours
    return (min(found)[1], min(found)[0]) if found else None
