"""Waiting for a container's first process, and passing on the signals that come meanwhile."""

from __future__ import annotations

import _signal
import os

from minirun.container.state import exit_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.launch.machine import Process

# Docker passes on everything. Not passed on here: CHLD and the faults, which are our own; PIPE; TTIN and TTOU, by which
# the caller's shell keeps a job in the background from its terminal; URG, which nobody sends by hand.
FORWARDED = (1, 2, 3, 10, 12, 14, 15, 18, 20, 28, 29, 30, *range(34, 65))


def forward(process: Process) -> None:
    """From now on, pass the signals that this process gets, or that wait since `hold`, on to the container's."""

    def pass_on(number: int, _frame: object) -> None:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass  # it has ended, and is being waited for

    for number in FORWARDED:
        _signal.signal(number, pass_on)
    release()


def hold() -> None:
    """Let signals wait until there is a process to pass them on to: `forward` takes them up."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED)


def release() -> None:
    """Undo `hold`."""
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, FORWARDED)


def wait(process: Process) -> int:
    """Wait for the end of *process*.

    Returns:
        Its exit status, or 128 plus the number of the signal that killed it.
    """
    forward(process)
    return exit_code(os.waitpid(process.pid, 0)[1])
