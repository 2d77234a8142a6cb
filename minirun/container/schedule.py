"""What the supervisor does for a container because of the time: its health checks, and --timeout.

    started ── interval ── check ── interval ── check …       a child each, one at a time for a container
       └────── timeout ─▶ SIGKILL to all of it

Nothing of it is kept in memory alone: when a check is due follows from the results on disk (health.py), the end of its
time from state.json. So the next supervisor goes on where one was killed.
"""

from __future__ import annotations

import os
import time

from minirun.container import deadline, health, kept, state
from minirun.container.children import Children
from minirun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from minirun.container.children import Watch
    from minirun.container.kept import Kept
    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home

    class Loop(Watch, Protocol):
        """The supervisor's loop."""

        home: Home
        timers: dict[str, tuple[float, Callable[[], None]]]

        def later(self, key: str, seconds: float, action: Callable[[], None]) -> None:
            """Do *action* in *seconds*, in place of what was to be done later under the same key."""

    class Verbs(Protocol):
        """What the engine does in a child of the supervisor."""

        @staticmethod
        def check(home: Home, container_id: str) -> None:
            """Check the health of a container, write down what came of it, and do what is asked for then."""

        @staticmethod
        def expire(home: Home, container_id: str) -> None:
            """Kill a container whose --timeout is over."""


class Schedule:
    """When what is due, for all containers.

    Args:
        loop: has the timers.
        verbs: what is done by children.

    Attributes:
        children: that check, or kill; those that start and remove are others, which do not wait for these.
    """

    def __init__(self, loop: Loop, verbs: type[Verbs]) -> None:
        self._loop = loop
        self._verbs = verbs
        self._companions: dict[str, int] = {}  # container → pidfd
        self.children = Children(loop, self._checked)

    def begin(self, box: Record, now: State) -> None:
        """Do for a container that runs what is due from now on; once more does no harm."""
        if box.options.get("timeout"):
            self._loop.later(f"{box.id}:timeout", deadline.left(box, now), lambda: self._expire(box.id))
        self._begin_checks(box, now)

    def accompany(self, box: Record, now: State, parent: Kept) -> None:
        """Check the health of a container that a `run` in the foreground looks after otherwise, until it ends."""
        if health.of(box.options) is None or box.id in self._companions:
            return
        pidfd = process.open_pidfd(parent.pid, parent.start)
        if pidfd >= 0:
            self._companions[box.id] = pidfd
            self._loop.watch(pidfd, lambda: self.leave(box.id))
            self._begin_checks(box, now)

    def leave(self, container_id: str) -> None:
        """Undo `accompany`. Idempotent."""
        pidfd = self._companions.pop(container_id, -1)
        if pidfd >= 0:
            self._loop.unwatch(pidfd)
            os.close(pidfd)
            self._loop.timers.pop(f"{container_id}:health", None)

    def _begin_checks(self, box: Record, now: State) -> None:
        check = health.of(box.options)
        if check is None or self.children.works_for(box.id):
            return
        found = health.load(self._loop.home, box.id)
        started = now.started if now.status == "running" else time.time()  # it is just about to
        seconds = min(health.due(check, started, found, time.time()), check["interval"])  # the clock may be set
        self._loop.later(f"{box.id}:health", seconds, lambda: self._begin_check(box.id))

    def _begin_check(self, container_id: str) -> None:
        self.children.begin(container_id, lambda: self._verbs.check(self._loop.home, container_id))

    def _checked(self, container_id: str, _succeeded: bool) -> None:
        """Plan the next check, of a container that runs still."""
        from minirun.container import record as records
        from minirun.errors import MinirunError

        home = self._loop.home
        if kept.ended(home, container_id) is not None or not os.path.exists(home.kept(container_id)):
            return
        try:
            box = records.read(home, container_id)
        except MinirunError:
            return
        now, check = state.written(home, box), health.of(box.options)
        if now.status == "running" and check is not None:
            seconds = health.pause(check, now.started, health.load(home, container_id), time.time())
            self._loop.later(f"{container_id}:health", seconds, lambda: self._begin_check(container_id))

    def _expire(self, container_id: str) -> None:
        self.children.begin(container_id, lambda: self._verbs.expire(self._loop.home, container_id))
