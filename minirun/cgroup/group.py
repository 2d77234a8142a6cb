"""One container's cgroup: made before its first process, gone after its last.

The group is also the truth about a container: it is alive while its group has processes, whatever any file says, and
whoever else was killed. Of an ordinary user to whom no group was given, absent.py says what is.
"""

from __future__ import annotations

import os
from errno import EBUSY, ENOENT, ENOTEMPTY, EOPNOTSUPP

from minirun.cgroup import absent, control, hierarchy
from minirun.errors import MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_S = 10.0  # for the kernel to reap what it killed
_STEP_S = 0.002


def create(path: str) -> None:
    """Make the group at *path*; what of it is minirun's own is made, anybody else's group above it must be there.

    One that is there already is left of the time before, when an `exec` that was just beginning kept it from going: the
    container does not run, or nobody would make its group.
    """
    if absent.is_at(path):
        absent.create(path)
        return
    parent = os.path.dirname(path)
    left_over = 3
    while True:
        try:
            os.mkdir(path)
            break
        except FileExistsError:
            left_over -= 1
            if not left_over or not hierarchy.is_own(path):
                raise
            remove(path)
        except FileNotFoundError:
            if not hierarchy.is_own(parent):
                raise
            make_own(parent)  # the first; or another's end removed it, with what was the last container


def make_own(directory: str) -> None:
    """Make a group of minirun's own that others may just be making, or taking away; or else the one above it."""
    try:
        os.mkdir(directory)
    except FileExistsError:
        pass  # another start made it
    except FileNotFoundError:
        if not hierarchy.is_own(os.path.dirname(directory)):
            raise
        make_own(os.path.dirname(directory))


def birthplace(path: str) -> int:
    """A descriptor of the group, to be born in it: see machine.spawn; -1 where an ordinary user has none."""
    if absent.is_at(path):
        return -1
    return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def alive(path: str) -> bool:
    """Whether the group is there and has processes, its children's included."""
    if absent.is_at(path):
        return absent.alive(path)
    try:
        return "populated 1" in control.read(path, "cgroup.events")
    except FileNotFoundError:
        return False


def frozen(path: str) -> bool:
    """Whether every process of the group is frozen."""
    try:
        return "frozen 1" in control.read(path, "cgroup.events")
    except FileNotFoundError:
        return False


def condition(path: str) -> str:
    """``running``, ``frozen``, or empty where the group has no process: `alive` and `frozen` at one look."""
    if absent.is_at(path):
        return "running" if absent.alive(path) else ""
    try:
        events = control.read(path, "cgroup.events")
    except FileNotFoundError:
        return ""
    if "populated 1" not in events:
        return ""
    return "frozen" if "frozen 1" in events else "running"


def processes(path: str) -> list[int]:
    """The host's pids of the processes in the group and in those below it, in their order; none where it is gone."""
    if absent.is_at(path):
        return absent.processes(path)
    found: set[int] = set()
    for directory, _, _ in os.walk(path):
        try:
            found.update(map(int, control.read(directory, "cgroup.procs").split()))
        except FileNotFoundError:
            continue  # it went meanwhile
        except OSError as error:
            if error.errno != EOPNOTSUPP:  # a threaded group's are in the group above
                raise
    return sorted(found - {0})  # 0 is one that our pid namespace does not see


def oom_kills(path: str) -> int:
    """How many processes of the group, and of groups below it, the kernel killed for want of memory."""
    try:
        words = control.read(path, "memory.events").split()
    except FileNotFoundError:
        return 0  # no memory controller here, and so no limit to die of; or no group any more
    return int(words[words.index("oom_kill") + 1])


def freeze(path: str) -> None:
    """Stop every process of the group where it is, and return when all stand still.

    Raises:
        FileNotFoundError: they ended, and the group is gone.
    """
    control.write(path, "cgroup.freeze", "1")
    _wait(path, lambda group: frozen(group) or not alive(group), "freeze")


def thaw(path: str) -> None:
    """Let the group's processes go on. Idempotent."""
    try:
        control.write(path, "cgroup.freeze", "0")
    except FileNotFoundError:
        pass  # they ended


def kill(path: str) -> None:
    """SIGKILL every process of the group at once (Linux 5.14), and return when all are gone."""
    if absent.is_at(path):
        absent.kill(path)
        return
    try:
        control.write(path, "cgroup.kill", "1")
    except FileNotFoundError:
        if os.path.exists(f"{path}/cgroup.procs"):
            for pid in processes(path):
                os.kill(pid, 9)
    _wait(path, lambda group: not alive(group), "end")


def _wait(path: str, reached: Callable[[str], bool], what: str) -> None:
    import time

    end = time.monotonic() + _PATIENCE_S
    while not reached(path):
        if time.monotonic() > end:
            pids = ", ".join(map(str, processes(path)))
            raise MinirunError(
                f"{what} the processes of {path}", f"{pids} did not within {_PATIENCE_S:.0f} s",
                "a process in uninterruptible sleep (`ps -o stat,wchan`) waits for its disk or network",
            )  # fmt: skip
        time.sleep(_STEP_S)


def end(path: str) -> None:
    """Kill what is left in the group and remove it, with the groups below it. Idempotent."""
    if absent.is_at(path):
        absent.remove(path)
        return
    for attempt in range(3):
        try:
            os.rmdir(path)
            break
        except FileNotFoundError:
            break
        except OSError as error:
            if error.errno != EBUSY or attempt == 2:
                raise
            kill(path)
            _remove_children(path)


def remove(path: str) -> None:
    """Kill what is left in the group and remove it, and what was made for it above and is now empty. Idempotent."""
    end(path)
    if absent.is_at(path):
        return
    parent = os.path.dirname(path)
    if hierarchy.is_scope(parent):
        from minirun.cgroup import scope

        scope.remove(parent)
    while hierarchy.is_own(parent):
        try:
            os.rmdir(parent)
        except OSError as error:
            if error.errno not in (EBUSY, ENOTEMPTY, ENOENT):
                raise
            _protect_less(parent)
        parent = os.path.dirname(parent)


def _protect_less(directory: str) -> None:
    try:
        protects = control.read(directory, "memory.low")
    except FileNotFoundError:
        return  # it has no memory controller, or went with another's last container
    if protects != "0\n":
        from minirun.cgroup import shares

        shares.protect(directory)


def _remove_children(path: str) -> None:
    # groups that the container made for itself, the deepest first
    for directory, folders, _ in os.walk(path, topdown=False):
        for folder in folders:
            os.rmdir(f"{directory}/{folder}")
