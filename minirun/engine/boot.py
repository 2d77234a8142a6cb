"""The host starts, and goes down: what becomes of containers then. `minirun system install-unit` has systemd do this.

boot        ended by the reboot ─▶ exited, 255 ─▶ with --rm: removed
                                      └─ its restart policy wants it ─▶ started
shutdown    stop signal to each at once ─▶ wait, each for its own time ─▶ SIGKILL ─▶ as they were, for the next boot
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from minirun.container import ending, halting, restart, state
from minirun.container import record as records
from minirun.engine import background, lifecycle, open_home
from minirun.errors import MinirunError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home

_AT_ONCE = 64
_ROUNDS = 3  # one that a restart policy was just starting is there in the next


def boot(warn: Callable[[MinirunError], object]) -> Iterator[str | MinirunError]:
    """Write down what a reboot ended, and start what starts with the host; once a boot.

    Args:
        warn: told of each record that cannot be read.

    Yields:
        The name of each container that was started, or why it was not.
    """
    home = open_home()
    if halting.is_booted(home):
        return
    wanted = []
    held = halting.hold(home)
    try:
        for box in reversed(records.list_all(home, warn)):
            try:
                last = _settle(home, box)
            except NotFound:
                continue
            except MinirunError as error:
                warn(error)
                continue
            policy: list[str | int] = box.options.get("restart") or restart.NO
            if last is not None and not box.remove and restart.at_boot(policy, last):
                wanted.append(box.name)
    finally:
        os.close(held)
    yield from background.start_each(wanted)
    halting.mark_booted(home)


def _settle(home: Home, box: Record) -> State | None:
    """Write down the end of a container that nobody could see; returns what it was before, None if it runs."""
    lock = records.hold(home, box)
    try:
        box = records.read(home, box.id)
        last = state.written(home, box)
        if state.read(home, box).alive:
            return None
        if last.status == "running":
            if not last.outlived and os.path.exists(home.kept(box.id)):
                return None  # it has just ended, and whoever looks after it knows how
            ending.finish(home, box)
        elif last.status == "restarting":
            ending.give_up(home, box, by_hand=False)
    finally:
        os.close(lock)
    if box.remove and last.status != "created":
        background.remove(home, box)
    return last


def shutdown(warn: Callable[[MinirunError], object]) -> Iterator[str | MinirunError]:
    """Stop all containers because the host goes down; those that start with it start at the next boot.

    Args:
        warn: told of each record that cannot be read.

    Yields:
        The name of each container that was stopped, or why it could not be.
    """
    home = open_home()
    held = halting.hold(home)
    try:
        for _ in range(_ROUNDS):
            boxes = [box for box in records.list_all(home, warn) if _goes_on(home, box)]
            if not boxes:
                break
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                yield from pool.map(lambda box: _stop(home, box), boxes)
    finally:
        os.close(held)
    halting.forget_boot(home)


def _goes_on(home: Home, box: Record) -> bool:
    now = state.read(home, box)
    return now.alive or now.status == "restarting"


def _stop(home: Home, box: Record) -> str | MinirunError:
    try:
        lifecycle.halt(home, box)
    except NotFound:
        pass  # it was removed
    except MinirunError as error:
        return error
    return box.name


def install() -> None:
    """Have what runs now count as started with the host: the unit, when it begins, starts nothing."""
    halting.mark_booted(open_home())
