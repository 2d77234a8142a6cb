"""What waits for descriptors and for times, and calls whoever asked for that: one thread, one thing after the other.

    watch(descriptor, handler)   handler(events) each time there is something: EPOLLIN, EPOLLOUT, EPOLLHUP …
    later(seconds, action)       action() once, unless the timer that this returns is cancelled

What goes wrong in one of them concerns none of the others: it is said in the log, and the loop goes on.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
import traceback

from minirun.container.children import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = Callable[[int], None]

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
_EVENTS = 64
_LONGEST_S = 3600.0


class Timer:
    """Something that is to be done later.

    Attributes:
        due: when, by the monotonic clock.
        action: what; None once it was done, or was cancelled.
    """

    __slots__ = ("action", "due")

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action: Callable[[], None] | None = action

    def cancel(self) -> None:
        """Have it not be done. Idempotent."""
        self.action = None


class Loop:
    """The loop; `stop` ends it."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False

    def watch(self, descriptor: int, handler: Handler, events: int = READ) -> None:
        """Call *handler* with what happened whenever one of *events* does, until `unwatch`.

        Called again for a descriptor that is watched, it changes that.
        """
        if descriptor in self._handlers:
            self._epoll.modify(descriptor, events)
        else:
            self._epoll.register(descriptor, events)
        self._handlers[descriptor] = handler

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch`, before the descriptor is closed. Idempotent."""
        if self._handlers.pop(descriptor, None):
            self._epoll.unregister(descriptor)

    def later(self, seconds: float, action: Callable[[], None]) -> Timer:
        """Do *action* in *seconds*."""
        timer = Timer(time.monotonic() + seconds, action)
        heapq.heappush(self._timers, (timer.due, next(self._order), timer))
        return timer

    def run(self) -> None:
        """Wait and call until somebody calls `stop`."""
        while not self._stopped:
            for descriptor, events in self._epoll.poll(self._patience(), _EVENTS):
                # whoever was called before may have closed it
                if handler := self._handlers.get(descriptor):
                    attempt(lambda handler=handler, events=events: handler(events))  # type: ignore[misc]
            self._do_what_is_due()

    def stop(self) -> None:
        """End `run` once it is through with what has happened."""
        self._stopped = True

    def _patience(self) -> float:
        if self._stopped:
            return 0
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else _LONGEST_S

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if action := timer.action:
                timer.action = None
                attempt(action)


def attempt(action: Callable[[], None]) -> None:
    """Do something that must not end us, whatever goes wrong with it."""
    try:
        action()
    except Exception:  # noqa: BLE001 - told where it can be read; others are still to be attended to
        say(traceback.format_exc())
