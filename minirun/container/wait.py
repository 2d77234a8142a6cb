"""Waiting for a container's first process, and passing on the signals that come meanwhile."""

from __future__ import annotations

import _signal
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.launch.machine import Process

# What Docker passes on. CHLD and the kernel's own faults concern only us; PIPE and WINCH have their own places.
FORWARDED = (1, 2, 3, 10, 12, 15, 18, 20, 23)


def forward(process: Process) -> None:
    """From now on, pass the signals that this process gets on to the container's."""

    def pass_on(number: int, _frame: object) -> None:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass  # it has ended, and is being waited for

    for number in FORWARDED:
        _signal.signal(number, pass_on)


def wait(process: Process) -> int:
    """Wait for the end of *process*.

    Returns:
        Its exit status, or 128 plus the number of the signal that killed it.
    """
    forward(process)
    return exit_code(os.waitpid(process.pid, 0)[1])


def exit_code(status: int) -> int:
    """Docker's exit code for a wait status: see wait(2)."""
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
