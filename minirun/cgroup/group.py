"""One container's cgroup: made before its first process, gone after its last.

The group is also the truth about a container: it is alive while its group has processes, whatever any file says, and
whoever else was killed.
"""

from __future__ import annotations

import os
from errno import EBUSY, ENODEV, ENOENT, ENOTEMPTY

from minirun.cgroup import hierarchy
from minirun.errors import MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.cgroup.limits import Limits

_PATIENCE_S = 10.0  # for the kernel to reap what it killed
_STEP_S = 0.002


def create(path: str, limits: Limits | None) -> None:
    """Make the group at *path* and write its limits.

    Raises:
        OSError: the kernel refused the group or a limit; hierarchy.require tells beforehand what is missing.
    """
    parent = os.path.dirname(path)
    while True:
        try:
            os.mkdir(path)
            break
        except FileNotFoundError:
            try:
                os.mkdir(parent)
            except FileExistsError:
                pass  # another start made it; or it went again, with the last container
    if limits and (files := limits.files()):
        hierarchy.enable(limits.controllers())
        for name, text in files.items():
            _write(f"{path}/{name}", text)


def _write(path: str, text: str) -> None:
    # never O_CREAT: the kernel would say EACCES of a file that it has not got, instead of ENOENT
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise _missing(error, path) from None
    finally:
        os.close(descriptor)


def _read(path: str, name: str) -> str:
    descriptor = os.open(f"{path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1 << 20).decode()
    except OSError as error:
        raise _missing(error, path) from None
    finally:
        os.close(descriptor)


def _missing(error: OSError, path: str) -> OSError:
    """Make ENODEV, what a group's file says that was removed since it was opened, the ENOENT of the next open."""
    return FileNotFoundError(ENOENT, os.strerror(ENOENT), path) if error.errno == ENODEV else error


def alive(path: str) -> bool:
    """Whether the group is there and has processes, its children's included."""
    try:
        return "populated 1" in _read(path, "cgroup.events")
    except FileNotFoundError:
        return False


def frozen(path: str) -> bool:
    """Whether every process of the group is frozen."""
    try:
        return "frozen 1" in _read(path, "cgroup.events")
    except FileNotFoundError:
        return False


def processes(path: str) -> list[int]:
    """The host's pids of the group's processes; none where there is no group."""
    try:
        return [int(pid) for pid in _read(path, "cgroup.procs").split()]
    except FileNotFoundError:
        return []


def freeze(path: str) -> None:
    """Stop every process of the group where it is, and return when all stand still.

    Raises:
        FileNotFoundError: they ended, and the group is gone.
    """
    _write(f"{path}/cgroup.freeze", "1")
    _wait(path, lambda group: frozen(group) or not alive(group), "freeze")


def thaw(path: str) -> None:
    """Let the group's processes go on. Idempotent."""
    try:
        _write(f"{path}/cgroup.freeze", "0")
    except FileNotFoundError:
        pass  # they ended


def kill(path: str) -> None:
    """SIGKILL every process of the group at once (Linux 5.14), and return when all are gone."""
    try:
        _write(f"{path}/cgroup.kill", "1")
    except FileNotFoundError:
        if os.path.exists(f"{path}/cgroup.procs"):
            for pid in processes(path):
                os.kill(pid, 9)
    _wait(path, lambda group: not alive(group), "end")


def _wait(path: str, reached: object, what: str) -> None:
    import time

    end = time.monotonic() + _PATIENCE_S
    while not reached(path):  # type: ignore[operator]
        if time.monotonic() > end:
            pids = ", ".join(map(str, processes(path)))
            raise MinirunError(
                f"{what} the processes of {path}", f"{pids} did not within {_PATIENCE_S:.0f} s",
                "a process in uninterruptible sleep (`ps -o stat,wchan`) waits for its disk or network",
            )  # fmt: skip
        time.sleep(_STEP_S)


def remove(path: str) -> None:
    """Kill what is left in the group and remove it; with the last container PARENT goes too. Idempotent."""
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
    try:
        os.rmdir(os.path.dirname(path))
    except OSError as error:
        if error.errno not in (EBUSY, ENOTEMPTY, ENOENT):
            raise


def _remove_children(path: str) -> None:
    # groups that the container made for itself, the deepest first
    for directory, folders, _ in os.walk(path, topdown=False):
        for folder in folders:
            os.rmdir(f"{directory}/{folder}")
