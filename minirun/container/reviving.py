"""A supervisor is started by a command that finds containers and nobody who looks after them.

Keepers do so themselves; a command is needed only where a kill took them, too.
"""

from __future__ import annotations

import _signal
import os

from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home

_LOCK_AT = 3  # where supervise.py expects it


def revive(home: Home) -> None:
    """Start a supervisor, unless there is one or somebody is just starting it."""
    try:
        lock = files.lock(home.supervisor_lock, exclusive=True, wait=False)
    except OSError:
        return
    from minirun.container import supervision
    from minirun.container.keeping import supervisor

    # The lock goes over by its descriptor: at no moment is it free. Twice forked, it is nobody's child.
    child = supervision.fork(home.runtime)
    if child:
        os.close(lock)
        os.waitpid(child, 0)
        return
    try:
        if os.fork():
            os._exit(0)
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for place in (0, 1, 2):
            os.dup2(null, place)
        os.dup2(lock, _LOCK_AT)
        os.set_inheritable(_LOCK_AT, True)
        os.closerange(_LOCK_AT + 1, 1 << 20)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        command = supervisor()
        env = {"MINIRUN_ROOT": home.root, "MINIRUN_RUNTIME": home.runtime, "PATH": os.environ.get("PATH", os.defpath)}
        os.execve(command[0], command, env)
    finally:
        os._exit(127)
