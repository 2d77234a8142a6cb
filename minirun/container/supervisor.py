"""The supervisor: one process for all containers that have a keeper, there while there are such containers.

    <runtime>/containers/<id>/ ─┬─ FIFOs    ─▶ its log                        (output.py)
                                ├─ pidfd    ─▶ it ended: state, events        (ending.py)
                                ├─ time     ─▶ its restart policy, --timeout, its health
                                └─ ended, and --rm: it goes

It is told nothing and asked nothing. What it looks after is in the runtime directory; a byte in its FIFO says that
there may be more of it. Whoever holds `lock` in a container's directory takes its output, so it leaves alone what a
foreground `run` looks after itself. Killed at any moment it loses nothing, and a keeper starts the next one at once.

What takes long, or imports much, is done by a child (children.py): starting a container again, removing one.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from minirun.container import ending, kept, output, state, supervision
from minirun.container import record as records
from minirun.container.children import Children, say
from minirun.container.schedule import Schedule
from minirun.errors import MinirunError, NotFound
from minirun.home import Home
from minirun.kernel import descriptors, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from minirun.container.attendance import Guard
    from minirun.container.kept import Kept
    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.log.pump import Pump

    class Verbs(Protocol):
        """What the engine does in a child of the supervisor."""

        @staticmethod
        def start_again(home: Home, container_id: str) -> None:
            """Start a container whose restart policy wants it, unless that has changed meanwhile."""

        @staticmethod
        def remove(home: Home, box: Record) -> None:
            """Remove a container that ended and was made with --rm."""

        @staticmethod
        def check(home: Home, container_id: str) -> None:
            """Check the health of a container, write down what came of it, and do what is asked for then."""

        @staticmethod
        def expire(home: Home, container_id: str) -> None:
            """Kill a container whose --timeout is over."""


_AT_ONCE_S = 0.002  # until a keeper has written, or init has reaped
_SOON_S = 0.02  # until a look at what somebody else is just doing
_LATER_S = 1.0
_LONGEST_S = 10.0  # until somebody may have come further, or what failed is tried again: each time twice as long
_EVENTS = 64
_SIGHUP, _SIGTERM = 1, 15
_LOG_BYTES = 1 << 20


class Ward:
    """A container that the supervisor looks after.

    Attributes:
        box: its record, as it was when it was taken on.
        taker: what takes its output.
        pidfd: of its first process; -1 when it has ended.
    """

    __slots__ = ("box", "pidfd", "taker")

    def __init__(self, box: Record, taker: output.Taker, pidfd: int) -> None:
        self.box = box
        self.taker = taker
        self.pidfd = pidfd


class Supervisor:
    """Everything that the supervisor knows; all of it can be found out again.

    Args:
        home: the store.
        lock: the descriptor that holds home.supervisor_lock.
        verbs: what is done by children.
    """

    def __init__(self, home: Home, lock: int, verbs: type[Verbs]) -> None:
        self.home = home
        self.lock = lock
        self.verbs = verbs
        self.wards: dict[str, Ward] = {}
        self.epoll = select.epoll()
        self.owned: dict[str, int] = {}  # what somebody else looks after → his pidfd; no reason for us to stay
        self.handlers: dict[int, Callable[[], None]] = {}
        # by container, and by container:what; the time is of the clock that nobody sets
        self.timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self.pauses: dict[str, float] = {}  # how long we waited the last time for whoever makes a container
        self.children = Children(self, self.child_ended)
        self.schedule = Schedule(self, verbs)
        self.guard: Guard | None = None
        self.program = os.stat(__file__)

    def run(self) -> None:
        """Look after containers until there are none."""
        # edges only: without a writer it hangs up, and would do so for ever
        wake = os.open(self.home.supervisor_wake, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.watch(wake, lambda: self.look(wake), select.EPOLLIN | select.EPOLLET)
        self.look(wake)
        while self.wards or self.timers or self.children or self.schedule.children:
            for descriptor, _ in self.epoll.poll(self.patience(), _EVENTS):
                if handler := self.handlers.get(descriptor):
                    _attempt(handler)
            now = time.monotonic()
            for key, (due, action) in list(self.timers.items()):
                # an action before may have put it off, or taken it away
                if due <= now and self.timers.get(key) == (due, action):
                    del self.timers[key]
                    _attempt(action)

    def watch(self, descriptor: int, handler: Callable[[], None], events: int = select.EPOLLIN) -> None:
        """Call *handler* when something is to be read from *descriptor*."""
        self.handlers[descriptor] = handler
        self.epoll.register(descriptor, events)

    def unwatch(self, descriptor: int) -> None:
        """Undo `watch`. Idempotent."""
        if self.handlers.pop(descriptor, None):
            self.epoll.unregister(descriptor)

    def patience(self) -> float:
        """Seconds until the next thing is due."""
        now = time.monotonic()
        return max(0, min((due for due, _ in self.timers.values()), default=now + 60) - now)

    def later(self, key: str, seconds: float, action: Callable[[], None]) -> None:
        """Do *action* in *seconds*, in place of what was to be done later under the same key."""
        self.timers[key] = (time.monotonic() + seconds, action)

    def look(self, wake: int) -> None:
        """Take on what is new."""
        try:
            while os.read(wake, 4096):
                pass
        except BlockingIOError:
            pass
        self._renew()
        self._guard_attendant()
        try:
            found = os.listdir(f"{self.home.runtime}/containers")
        except OSError as error:
            say(f"cannot look for containers: {error}")  # EMFILE
            self.later("", _LATER_S, lambda: self.look(wake))
            return
        for container_id in found:
            if not self.knows(container_id):
                self.attempt_for(container_id, self.take_on)

    def _guard_attendant(self) -> None:
        if self.guard is None and os.path.exists(self.home.attendant):
            from minirun.container import attendance

            self.guard = attendance.Guard(self.home, self)
        if self.guard:
            self.guard.look()

    def knows(self, container_id: str) -> bool:
        """Whether there is nothing to look at: a container is looked after, or is to be started again later."""
        waits = container_id in self.timers and container_id not in self.pauses
        looked_after = container_id in self.wards or container_id in self.owned
        return waits or looked_after or self.children.works_for(container_id)

    def _renew(self) -> None:
        """Go on as what is installed now, if that is not what we are."""
        try:
            now = os.stat(__file__)
        except FileNotFoundError:
            return  # just being replaced
        busy = self.children or self.schedule.children
        if (now.st_ino, now.st_mtime_ns) != (self.program.st_ino, self.program.st_mtime_ns) and not busy:
            from minirun.container.keeping import supervisor

            os.set_inheritable(self.lock, True)  # it is at 3, where a supervisor expects it
            command = supervisor()
            os.execv(command[0], command)

    def attempt_for(self, container_id: str, action: Callable[[str], None]) -> None:
        """Do something for a container; if it fails, look at that container again later."""
        if not _attempt(lambda: action(container_id)):
            self.drop(container_id)
            self.later(container_id, _LATER_S, lambda: self.attempt_for(container_id, self.take_on))

    def take_on(self, container_id: str) -> None:
        """Look after a container from now on, if it is for us to."""
        try:
            box = records.read(self.home, container_id)
            now = state.written(self.home, box)
        except NotFound:
            self._orphan(container_id)
            return
        except MinirunError:
            return  # a damaged record: `ps` tells
        if now.status == "restarting":
            seconds = min(now.next_start - time.time(), now.delay)  # the clock may have been set since
            self.later(container_id, seconds, lambda: self.start_again(container_id))
            return
        parent = kept.read(self.home, container_id)
        if now.status != "running" and (parent is None or process.start_ticks(parent.pid) != parent.start):
            self._unfinished(box)
            return
        if parent is None:
            return  # a `run` of which nothing stays: its parent looks after it
        if process.runs(parent.owner, parent.owner_start):
            self.schedule.accompany(box, now, parent)  # its own `run` does the rest, whose end the keeper will tell
            self._leave_to(parent, container_id)
            return
        try:
            taker = output.Taker(self.home, box)
        except BlockingIOError:
            self._look_again(container_id)  # somebody else is just finishing it
            return
        except FileNotFoundError:
            return  # it is gone
        self.schedule.leave(container_id)
        self.timers.pop(container_id, None)
        self.pauses.pop(container_id, None)
        ward = self.wards[container_id] = Ward(box, taker, process.open_pidfd(parent.pid, parent.start))
        for pump in taker.pumps:
            self.listen(container_id, pump)
        if ward.pidfd >= 0:
            self.watch(ward.pidfd, lambda: self.ended(container_id))
            self.schedule.begin(box, now)
        else:
            self.ended(container_id)

    def _leave_to(self, parent: Kept, container_id: str) -> None:
        """Look at a container again when whoever started it, and stays with it, is gone."""
        owner = process.open_pidfd(parent.owner, parent.owner_start)
        if owner < 0:
            self._look_again(container_id)
            return

        def gone() -> None:
            if process.wait([owner], 0):
                self.unwatch(owner)
                os.close(owner)
                del self.owned[container_id]
                self.attempt_for(container_id, self.take_on)

        self.owned[container_id] = owner
        self.watch(owner, gone)

    def listen(self, container_id: str, pump: Pump) -> None:
        """Take what comes from one stream of a container."""

        def ready() -> None:
            pump.ready()
            if pump.ended:
                # a terminal that nobody has open; should somebody open it again, it is heard with a little delay
                self.unwatch(pump.source)
                self.later(f"{container_id}:{pump.stream}", _LATER_S, lambda: self.listen(container_id, pump))

        self.watch(pump.source, ready)

    def _orphan(self, container_id: str) -> None:
        """A directory without a container: whoever removed it was killed, and the next command goes on with that."""
        parent = kept.read(self.home, container_id)
        if parent is None or process.start_ticks(parent.pid) != parent.start:
            if os.path.exists(self.home.container(container_id)):
                self._look_again(container_id)
            else:
                kept.forget(self.home.root, self.home.runtime, container_id)

    def _unfinished(self, box: Record) -> None:
        """A container that has a directory here and does not run: it is just being started, or whoever did is gone."""
        try:
            lock = records.hold(self.home, box, wait=False)
        except BlockingIOError:
            self._look_again(box.id)
            return
        except NotFound:
            self._orphan(box.id)
            return
        try:
            box = records.read(self.home, box.id)
            now = state.written(self.home, box)
            if now.status != "running":  # or it was started after all, and its output is to be taken first
                now = ending.finish(self.home, box)
        finally:
            os.close(lock)
        self._go_on(box, now)

    def _look_again(self, container_id: str) -> None:
        """Look at a container again when somebody may have come further with it, or when we are woken up."""
        pause = self.pauses[container_id] = min(2 * self.pauses.get(container_id, _SOON_S / 2), _LONGEST_S)
        self.later(container_id, pause, lambda: self.attempt_for(container_id, self.take_on))

    def ended(self, container_id: str) -> None:
        """Take the last output of a container whose first process has ended, and write down how it did."""
        self.attempt_for(container_id, self._settle)

    def _settle(self, container_id: str) -> None:
        ward = self.wards[container_id]
        if ward.pidfd >= 0:
            if not process.wait([ward.pidfd], 0):
                return  # the event was one of a descriptor that had the same number before
            self.unwatch(ward.pidfd)
        if not ending.is_known(self.home, container_id, ward.pidfd):
            self.later(container_id, _AT_ONCE_S, lambda: self.ended(container_id))
            return
        ward.taker.drain()
        try:
            lock = records.hold(self.home, ward.box, wait=False)
        except BlockingIOError:
            self.later(container_id, _SOON_S, lambda: self.ended(container_id))
            return
        except NotFound:
            self.drop(container_id)
            self._orphan(container_id)
            return
        try:
            box = records.read(self.home, container_id)
            self.drop(container_id)
            now = ending.finish(self.home, box)
        finally:
            os.close(lock)
        self._go_on(box, now)

    def _go_on(self, box: Record, now: State) -> None:
        """What comes after the end of a container."""
        if now.status == "exited" and box.remove:
            self.children.begin(box.id, lambda: self.verbs.remove(self.home, box))
        elif os.path.exists(self.home.kept(box.id)):  # it is started again, by us or by somebody who was quicker
            self.take_on(box.id)

    def drop(self, container_id: str) -> None:
        """Look after a container no longer."""
        for key in [key for key in self.timers if key.startswith(container_id)]:
            del self.timers[key]
        self.pauses.pop(container_id, None)
        ward = self.wards.pop(container_id, None)
        if ward is None:
            return
        for pump in ward.taker.pumps:
            self.unwatch(pump.source)
        ward.taker.close()
        if ward.pidfd >= 0:
            self.unwatch(ward.pidfd)
            os.close(ward.pidfd)

    def start_again(self, container_id: str) -> None:
        """Start a container whose restart policy wants it."""
        self.children.begin(container_id, lambda: self.verbs.start_again(self.home, container_id))

    def child_ended(self, container_id: str, succeeded: bool) -> None:
        """Go on with a container for which a child did something."""
        if container_id in self.wards or not os.path.exists(self.home.kept(container_id)):
            return
        if succeeded:
            self.attempt_for(container_id, self.take_on)
        else:
            self._look_again(container_id)


def _attempt(action: Callable[[], None]) -> bool:
    """Do something for one container; what goes wrong with it does not concern the others. Whether it went well."""
    try:
        action()
    except NotFound:
        return False  # removed meanwhile
    except MinirunError as error:
        say(str(error))
        return False
    except Exception:  # noqa: BLE001 - told where it can be read, and a later look tries again
        import traceback

        say(traceback.format_exc())
        return False
    return True


def main(lock: int, verbs: type[Verbs]) -> None:
    """Be the supervisor of the home that the environment names.

    Args:
        lock: the descriptor that holds its lock.
        verbs: what is done by children; of the engine, which knows us.
    """
    home = Home.of_environment()
    os.set_inheritable(lock, False)
    os.chdir("/")
    log = os.open(f"{home.runtime}/supervisor.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.fstat(log).st_size > _LOG_BYTES:
        os.ftruncate(log, 0)
    os.dup2(log, 2)
    os.close(log)
    _signal.signal(_SIGHUP, _signal.SIG_IGN)
    descriptors.allow_many()
    Supervisor(home, lock, verbs).run()
    supervision.leave(home.runtime)
