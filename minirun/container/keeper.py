"""The keeper in Python, where no compiler made the small one: launch/keeper.c does the same in some kilobytes.

It comes without an exec, so what it is not to hold of its parent's memory and descriptors it lets go by hand.
"""

from __future__ import annotations

import _signal
import fcntl
import os
import time
from struct import pack

from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

_SIGUSR1, _SIGCHLD = 10, 17
_LOOK_S = 0.1


def keep(words: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Be the keeper; *words* and *env* are what keeper.c is executed with."""
    child, exit_file, stdin, owner = map(int, words[1:5])
    wake, lock, supervisor = words[5], words[6], words[7:]
    for name in os.listdir("/proc/self/fd"):
        if os.path.exists(f"/proc/self/fd/{name}") and not os.get_inheritable(int(name)):
            os.close(int(name))
    awaited = (_SIGCHLD, _SIGUSR1)
    _signal.pthread_sigmask(_signal.SIG_BLOCK, range(1, _signal.NSIG))
    ended = False
    while True:
        ended = _reap(child, exit_file) or ended
        if owner >= 0 and _hung_up(owner):
            os.close(owner)
            owner = -1
        attended = owner >= 0 or _awake(wake, told=ended) or _revive(lock, supervisor, env)
        # not before: whoever was just forgetting it may have been killed half-way
        if ended and attended and os.fstat(exit_file).st_nlink == 0:
            os._exit(0)
        got = _signal.sigtimedwait(awaited, _LOOK_S)
        if got and got.si_signo == _SIGUSR1 and stdin >= 0:
            os.close(stdin)
            stdin = -1


def _reap(child: int, exit_file: int) -> bool:
    try:
        while (got := os.waitpid(-1, os.WNOHANG))[0]:
            if got[0] == child:
                now = time.time_ns()
                os.pwrite(exit_file, pack("<3q", got[1], now // 1_000_000_000, now % 1_000_000_000), 0)
                return True
    except ChildProcessError:
        pass
    return False


def _hung_up(owner: int) -> bool:
    import select

    poll = select.poll()
    poll.register(owner, 0)
    return bool(poll.poll(0))


def _awake(wake: str, *, told: bool) -> bool:
    """Whether there is a supervisor; if it is *told*, it looks again."""
    try:
        descriptor = os.open(wake, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    if told:
        try:
            os.write(descriptor, b"k")
        except OSError:
            pass
    os.close(descriptor)
    return True


def _revive(lock: str, supervisor: Sequence[str], env: Mapping[str, str]) -> bool:
    """Start a supervisor; false if somebody is just becoming one, or just ending."""
    try:
        held = files.lock(lock, exclusive=True, wait=False)
    except OSError:
        return False
    if os.fork() == 0:
        os.dup2(held, 3)
        fcntl.fcntl(3, fcntl.F_SETFD, 0)
        os.closerange(4, 4096)
        os.setsid()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        os.execve(supervisor[0], list(supervisor), dict(env))
    os.close(held)
    return True
