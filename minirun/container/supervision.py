"""Keepers, the supervisor and the attendant are in a group of minirun's own, and not in that of who ran the command.

    <cgroup v2>/minirun/supervision-run-minirun     named by the runtime directory: each supervisor has one
                        └── attendant               it may stay when the others leave

A keeper that stayed in the group of a session or a service would end with that, when systemd kills what is left in it:
systemd.kill(5). It is born in ours: moving it there later would take the kernel up to 10 ms, in which nobody else could
make a group or a process in one. Where cgroup v2 cannot be written, they stay where they are.
"""

from __future__ import annotations

import os
import sys
import time
from errno import ENODEV, ENOENT

from minirun import caller
from minirun.cgroup import group, hierarchy
from minirun.errors import Unsupported
from minirun.launch import machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ATTENDANT = "attendant"
LINGER = "MINIRUN_NAMES_LINGER_S"  # in the environment: how long the attendant serves a network without containers
FIRST = 3  # where a program that is started here finds the first of its descriptors
_TRIES = 8  # the end of the last that was in it may take it away under our hands
_LONGEST = 200  # of a name that may have 255 bytes
_LOOKS, _LOOK_S = 40, 0.005  # for a keeper that was killed to be gone


def path(runtime: str, below: str = "") -> str:
    """The directory of the group, or of the one *below* it.

    Raises:
        Unsupported: there is no cgroup v2.
    """
    own = f"{hierarchy.own()}/supervision{runtime.replace('/', '-')[-_LONGEST:]}"
    return f"{own}/{below}" if below else own


def command(entry: str) -> list[str]:
    """The command that becomes a program of ours, in whatever way this process found its modules.

    Args:
        entry: the file of its first line, in the directory of the package.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-ISXutf8", f"{package}/{entry}", os.pathsep.join(sys.path)]


def begin(root: str, runtime: str, entry: str, given: Sequence[int], below: str = "") -> None:
    """Start a program of ours that stays when we are gone: nobody's child, and in a session of its own.

    Args:
        root: of the home that it works for.
        runtime: of that, too.
        entry: see `command`.
        given: descriptors that it has, from FIRST on, and no others.
        below: the part of the group that it is in.
    """
    child = fork(runtime, below)
    if child:
        os.waitpid(child, 0)
        return
    try:
        if os.fork():
            os._exit(0)
        _become(root, runtime, entry, given)
    finally:
        os._exit(127)


def _become(root: str, runtime: str, entry: str, given: Sequence[int]) -> None:
    import _signal
    import fcntl

    os.setsid()  # what the caller's terminal sends is not for it
    null = os.open("/dev/null", os.O_RDWR)
    for place in range(FIRST):
        os.dup2(null, place)
    # first out of the way: one may be at the place of another
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, FIRST + len(given)) for descriptor in given]
    for place, descriptor in enumerate(high, FIRST):
        os.dup2(descriptor, place)
    os.closerange(FIRST + len(given), 1 << 20)
    os.chdir("/")
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    words = command(entry)
    os.execve(words[0], words, environment(root, runtime))


def environment(root: str, runtime: str) -> dict[str, str]:
    """What a program of ours that stays is told: where things are, and how to do what it does."""
    env = {"MINIRUN_ROOT": root, "MINIRUN_RUNTIME": runtime, "PATH": os.environ.get("PATH", os.defpath)}
    env |= caller.environment()
    return env | ({LINGER: os.environ[LINGER]} if LINGER in os.environ else {})


def fork(runtime: str, below: str = "") -> int:
    """os.fork(), whose child is in the group, or *below*, if that can be had."""
    for _ in range(_TRIES):
        try:
            directory = _open(path(runtime, below))
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
    for _ in range(_TRIES):
        try:
            return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            group.make_own(directory)  # or the one above it, which comes first
    raise FileNotFoundError(ENOENT, "others take it away", directory)


def tidy(runtime: str, below: str = "") -> bool:
    """Remove the group, or the one *below*, if nobody is in it any more; whether it is gone."""
    try:
        directory = path(runtime, below)
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except (OSError, Unsupported):
        return False  # EBUSY
    try:
        if below:
            os.rmdir(path(runtime))
        os.rmdir(hierarchy.own())
    except OSError:
        pass  # there are containers
    return True


def leave(runtime: str, below: str = "") -> None:
    """Remove the group, or the one *below*, of which we are the last.

    Nobody can remove the group that he is in, so we go out to the root of the hierarchy. Where that takes no processes,
    as in a container that gives controllers to groups below, the group stays, empty, for the next supervisor.
    """
    if tidy(runtime, below):
        return
    try:
        for _ in range(_LOOKS):
            with open(f"{path(runtime, below)}/cgroup.procs") as file:
                if file.read().split() == [str(os.getpid())]:
                    break
            time.sleep(_LOOK_S)
        else:
            return  # somebody who has just come, and needs a supervisor
        with open(f"{hierarchy.mount_point()}/cgroup.procs", "w") as file:
            file.write("0")
    except (OSError, Unsupported):
        return
    tidy(runtime, below)
