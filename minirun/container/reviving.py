"""A supervisor is started by a command that finds containers and nobody who looks after them.

Keepers do so themselves; a command is needed only where a kill took them, too, and in the foreground: the keeper of
what a `run` stays with leaves everything to that.
"""

from __future__ import annotations

import _signal
import _thread
import os

from minirun.kernel import files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home

_SOON_S = 0.1  # until somebody who is just starting one has


def attend(home: Home, pidfd: int) -> None:
    """Have a thread of ours see to it that there is a supervisor, and that it looks again, as long as a process lives.

    Args:
        home: the store.
        pidfd: of the process; -1 if it has ended.
    """
    if pidfd < 0:
        return
    # signals are for the thread that waits for the container, which they are to interrupt
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        _thread.start_new_thread(_attend, (home, os.dup(pidfd)))
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def _attend(home: Home, pidfd: int) -> None:
    ended = False
    while not ended:
        try:
            wake = os.open(home.supervisor_wake, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:  # ENXIO
            revive(home)
            ended = process.wait([pidfd], _SOON_S)
            continue
        try:
            os.write(wake, b"w")
            process.wait([pidfd, wake])  # the FIFO hangs up when nobody reads it any more
        except OSError:
            pass  # EAGAIN: it has enough to wake up for; EPIPE: it has gone
        finally:
            os.close(wake)
        ended = process.wait([pidfd], 0)
    os.close(pidfd)


def is_needed(home: Home) -> bool:
    """Whether there is a container that nobody stays with in the foreground."""
    from minirun.container import kept

    parents = [kept.read(home, container_id) for container_id in os.listdir(f"{home.runtime}/containers")]
    return not all(parent and process.runs(parent.owner, parent.owner_start) for parent in parents)


def revive(home: Home) -> None:
    """Start a supervisor, unless there is one or somebody is just starting it."""
    try:
        lock = files.lock(home.supervisor_lock, exclusive=True, wait=False)
    except OSError:
        return
    from minirun.container import supervision

    # The lock goes over by its descriptor: at no moment is it free.
    try:
        supervision.begin(home.root, home.runtime, "supervise.py", [lock])
    finally:
        os.close(lock)
