"""Children of the supervisor: what takes long, or imports much, is done by them, a few at a time.

A child is a fork without anything of ours but standard error: it has none of our locks when we are gone.
"""

from __future__ import annotations

import os
import time

from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, Protocol

    class Watch(Protocol):
        """What tells of their ends: the supervisor's loop."""

        def watch(self, descriptor: int, handler: Callable[[], None]) -> None:
            """Call *handler* when something is to be read from *descriptor*."""

        def unwatch(self, descriptor: int) -> None:
            """Undo `watch`."""


_AT_ONCE = 8


class Children:
    """Those that are at work, and what waits for one of them to end.

    Args:
        loop: tells of their ends.
        ended: called with the container's id and whether all went well, when a child has ended.
    """

    __slots__ = ("_ended", "_loop", "_queue", "_working")

    def __init__(self, loop: Watch, ended: Callable[[str, bool], None]) -> None:
        self._loop = loop
        self._ended = ended
        self._working: dict[int, str] = {}  # pidfd → container
        self._queue: list[tuple[str, Callable[[], None]]] = []

    def __len__(self) -> int:
        """How many are at work, or wait for that."""
        return len(self._working) + len(self._queue)

    def begin(self, container_id: str, action: Callable[[], None]) -> None:
        """Do something for a container in a child, as soon as there are few enough."""
        if len(self._working) >= _AT_ONCE:
            self._queue.append((container_id, action))
            return
        child = os.fork()
        if not child:
            _be(action)
        pidfd = os.pidfd_open(child)
        self._working[pidfd] = container_id
        self._loop.watch(pidfd, lambda: self._has_ended(child, pidfd))

    def works_for(self, container_id: str) -> bool:
        """Whether one does something for a container, or is going to."""
        return container_id in self._working.values() or any(name == container_id for name, _ in self._queue)

    def _has_ended(self, child: int, pidfd: int) -> None:
        pid, status = os.waitpid(child, os.WNOHANG)
        if not pid:
            return  # the event was one of a descriptor that had the same number before
        container_id = self._working.pop(pidfd)
        self._loop.unwatch(pidfd)
        os.close(pidfd)
        if self._queue:
            self.begin(*self._queue.pop(0))
        self._ended(container_id, status == 0)


def _be(action: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        os.closerange(3, 1 << 20)  # or it would hold our locks when we are gone
        action()
        status = 0
    except BaseException as error:  # noqa: BLE001 - it is a process of its own, and this is its last line of defence
        say(str(error) or repr(error))
    finally:
        os._exit(status)


def say(text: str) -> None:
    """Tell something where it can be read: the supervisor's standard error is its log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    files.write_all(2, f"{stamp} {text}\n".encode(errors="surrogateescape"))
