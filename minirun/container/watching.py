"""Watching a container that is not ours until it ends: `wait`, `attach`, `stop`."""

from __future__ import annotations

import os

from minirun.cgroup import group
from minirun.container import ending, kept, state
from minirun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home


class Watched:
    """A container that runs; its exit code is had also when somebody removes it at its end.

    Attributes:
        pidfd: of its first process; -1 if that has ended.
    """

    __slots__ = ("_box", "_exit", "_home", "pidfd")

    def __init__(self, home: Home, box: Record, now: State) -> None:
        self._home = home
        self._box = box
        try:
            self._exit = kept.open_exit(home, box.id)
        except FileNotFoundError:
            self._exit = -1  # a `run --rm` in the foreground is its parent
        self.pidfd = first_process(box, now)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end of its first process; false if it does not end within *seconds*."""
        return self.pidfd < 0 or process.wait([self.pidfd], seconds)

    def code(self) -> int:
        """Its exit code, once its first process has ended; it is written down then, by whomever."""
        last = ending.wait_settled(self._home, self._box.id, self.pidfd)
        if self._exit >= 0 and (seen := kept.read_exit(self._exit)):
            return state.exit_code(seen[0])
        if last is not None:
            return last.exit_code
        # removed, and it had no keeper
        status = process.wait_status(self.pidfd) if self.pidfd >= 0 else None
        return state.LOST if status is None else state.exit_code(status)

    def close(self) -> None:
        """Let go of it."""
        for descriptor in (self.pidfd, self._exit):
            if descriptor >= 0:
                os.close(descriptor)
        self.pidfd = self._exit = -1


def first_process(box: Record, now: State) -> int:
    """A pidfd of the container's first process, or -1 if it has ended.

    Raises:
        OSError: EMFILE.
    """
    if now.outlived:
        return -1
    start = now.pid_start or process.start_ticks(now.pid)
    descriptor = process.open_pidfd(now.pid, start) if start else -1
    if descriptor >= 0 and now.pid not in group.processes(now.cgroup):
        os.close(descriptor)  # its number was given to somebody else
        return -1
    return descriptor
