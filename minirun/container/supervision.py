"""Keepers and the supervisor are in a group of minirun's own, and not in that of whoever ran the command.

    <cgroup v2>/minirun/supervision-run-minirun     named by the runtime directory: each supervisor has one

A keeper that stayed in the group of a session or a service would end with that, when systemd kills what is left in it:
systemd.kill(5). It is born in ours: moving it there later would take the kernel up to 10 ms, in which nobody else could
make a group or a process in one. Where cgroup v2 cannot be written, they stay where they are.
"""

from __future__ import annotations

import os
import time
from errno import ENODEV, ENOENT

from minirun.cgroup import group, hierarchy
from minirun.errors import Unsupported
from minirun.launch import machine

_TRIES = 8  # the end of the last that was in it may take it away under our hands
_LONGEST = 200  # of a name that may have 255 bytes
_LOOKS, _LOOK_S = 40, 0.005  # for a keeper that was killed to be gone


def path(runtime: str) -> str:
    """The directory of the group.

    Raises:
        Unsupported: there is no cgroup v2.
    """
    return f"{hierarchy.own()}/supervision{runtime.replace('/', '-')[-_LONGEST:]}"


def fork(runtime: str) -> int:
    """os.fork(), whose child is in the group, if that can be had."""
    for _ in range(_TRIES):
        try:
            directory = _open(path(runtime))
        except (OSError, Unsupported):
            break
        try:
            return machine.fork(directory)
        except OSError as error:
            if error.errno not in (ENODEV, ENOENT):
                break
        finally:
            os.close(directory)  # in the child, too
    return os.fork()


def _open(directory: str) -> int:
    try:
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        pass
    try:
        group.create(directory)
    except FileExistsError:
        pass
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def tidy(runtime: str) -> bool:
    """Remove the group if nobody is in it any more; whether it is gone."""
    try:
        directory = path(runtime)
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except (OSError, Unsupported):
        return False  # EBUSY
    try:
        os.rmdir(os.path.dirname(directory))
    except OSError:
        pass  # there are containers
    return True


def leave(runtime: str) -> None:
    """Remove the group, of which we are the last.

    Nobody can remove the group that he is in, so we go out to the root of the hierarchy. Where that takes no processes,
    as in a container that gives controllers to groups below, the group stays, empty, for the next supervisor.
    """
    if tidy(runtime):
        return
    try:
        for _ in range(_LOOKS):
            with open(f"{path(runtime)}/cgroup.procs") as file:
                if file.read().split() == [str(os.getpid())]:
                    break
            time.sleep(_LOOK_S)
        else:
            return  # somebody who has just come, and needs a supervisor
        with open(f"{hierarchy.mount_point()}/cgroup.procs", "w") as file:
            file.write("0")
    except (OSError, Unsupported):
        return
    tidy(runtime)
