"""stop, kill, restart, wait: what a person does to a container that runs.

    stop   mark "by hand" ─▶ its stop signal ─▶ wait ─▶ SIGKILL to its whole group ─▶ wait until its end is written down

Each acts on the container itself; nobody has to be asked. What its end leaves to do, the supervisor does, or the
`run` that it belongs to: see container/ending.py.
"""

from __future__ import annotations

import os

from minirun import events
from minirun.cgroup import group
from minirun.container import ending, kept, lifetime, options, state, watching
from minirun.container import record as records
from minirun.container.watching import Watched
from minirun.engine import background, open_home
from minirun.errors import Attempt, Conflict, MinirunError
from minirun.kernel import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home

_SIGKILL = 9


def stop(
    names: Sequence[str], *, seconds: int | None = None, signal: str | None = None
) -> Iterator[str | MinirunError]:
    """Stop containers one after the other; yields each name, or why it could not be stopped.

    Args:
        names: of containers; one that does not run is as it is to be.
        seconds: between the signal and SIGKILL; -1: for ever; None: as the container says, else ten.
        signal: in place of the container's own stop signal.

    Raises:
        BadInput: there is no such signal.
    """
    chosen = options.signal_number(signal) if signal is not None else None
    home = open_home()
    for name in names:
        try:
            box = records.find(home, name)
            with Attempt(f"stop container {box.name}"):
                _stop(home, box, seconds, chosen)
            yield name
        except MinirunError as error:
            yield error


def _stop(home: Home, box: Record, seconds: int | None, signal: int | None) -> None:
    number = signal or options.signal_number(box.options["stop_signal"])
    patience = lifetime.stop_seconds(box.options) if seconds is None else seconds
    while (now := _unless_restarting(home, box)).alive:
        kept.mark_by_hand(home, box.id)
        last = _end(home, box, now, number, patience)
        if last is None or last.status != "restarting":
            events.emit(home, "container", "stop", box.id, box.told())
            return
        # it had ended, and its restart policy was about to start it, when we marked it


def halt(home: Home, box: Record) -> None:
    """Stop a container because the host goes down; the caller sees to it that nobody starts it again: halting.py."""
    now = _unless_restarting(home, box, by_hand=False)
    if now.alive:
        number = options.signal_number(box.options["stop_signal"])
        _end(home, box, now, number, lifetime.stop_seconds(box.options))
        events.emit(home, "container", "stop", box.id, box.told())


def _unless_restarting(home: Home, box: Record, *, by_hand: bool = True) -> State:
    """What is true of a container; one that waits for its restart policy does no longer."""
    now = state.read(home, box)
    if now.status == "restarting":
        lock = records.hold(home, box)
        try:
            now = ending.give_up(home, box, by_hand=by_hand)
        finally:
            os.close(lock)
    return now


def _end(home: Home, box: Record, now: State, number: int, patience: int) -> State | None:
    """End a container that runs; returns its state afterwards, None if it was removed then."""
    first = watching.first_process(box, now)
    try:
        if first >= 0 and patience != 0:
            _send(home, box, first, number)
            group.thaw(now.cgroup)  # who stands still hears nothing
            if process.wait([first], None if patience < 0 else patience):
                return ending.wait_settled(home, box.id, first)
        if group.alive(now.cgroup):
            _tell_signal(home, box, _SIGKILL)
        group.kill(now.cgroup)
        return ending.wait_settled(home, box.id, first)
    finally:
        if first >= 0:
            os.close(first)


def _send(home: Home, box: Record, first: int, number: int) -> None:
    from _signal import pidfd_send_signal

    try:
        pidfd_send_signal(first, number)
    except ProcessLookupError:
        return  # it ended by itself
    _tell_signal(home, box, number)


def _tell_signal(home: Home, box: Record, number: int) -> None:
    events.emit(home, "container", "kill", box.id, box.told(signal=str(number)))


def kill(names: Sequence[str], signal: str = "KILL") -> Iterator[str | MinirunError]:
    """Send a signal to the first process of each container; yields each name, or why it could not be sent.

    Raises:
        BadInput: there is no such signal.
    """
    number = options.signal_number(signal)
    home = open_home()
    for name in names:
        try:
            box = records.find(home, name)
            with Attempt(f"kill container {box.name}"):
                _kill(home, box, number)
            yield name
        except MinirunError as error:
            yield error


def _kill(home: Home, box: Record, number: int) -> None:
    now = state.read(home, box)
    first = watching.first_process(box, now) if now.alive else -1
    if first < 0:
        raise Conflict(f"kill container {box.name}", f"it is not running: it is {now.status}")
    try:
        ends = number in (_SIGKILL, options.signal_number(box.options["stop_signal"]))
        if ends:
            kept.mark_by_hand(home, box.id)
        _send(home, box, first, number)
        if ends:
            group.thaw(now.cgroup)
        if number == _SIGKILL:
            process.wait([first])
            ending.wait_settled(home, box.id, first)
    finally:
        os.close(first)


def restart(
    names: Sequence[str], *, seconds: int | None = None, signal: str | None = None
) -> Iterator[str | MinirunError]:
    """Stop each container, if it runs, and start it again; the arguments are those of `stop`."""
    for name in names:
        (stopped,) = stop([name], seconds=seconds, signal=signal)
        outcome = stopped
        if not isinstance(stopped, MinirunError):
            (outcome,) = background.start_each([name])
        if not isinstance(outcome, MinirunError):
            home = open_home()
            box = records.find(home, name)
            events.emit(home, "container", "restart", box.id, box.told())
        yield outcome


def wait(names: Sequence[str]) -> Iterator[int | MinirunError]:
    """Wait until each container has ended; yields its exit code, or why there is none to know."""
    home = open_home()
    for name in names:
        try:
            box = records.find(home, name)
            with Attempt(f"wait for container {box.name}"):
                yield _wait(home, box)
        except MinirunError as error:
            yield error


def _wait(home: Home, box: Record) -> int:
    now = state.read(home, box)
    if not now.alive:
        return now.exit_code  # also of one that its restart policy starts again: it ended
    watched = Watched(home, box, now)
    try:
        watched.wait()
        return watched.code()
    finally:
        watched.close()
