"""A container that runs while a test looks at it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from minirun.cgroup import group
from minirun.container import record, state
from minirun.container.state import State
from minirun.errors import NotFound
from minirun.home import Home
from tests.command import Minirun

PATIENCE_S = 20.0


@contextmanager
def running(minirun: Minirun, name: str, *command: str, flags: Sequence[str] = (), count: int = 1) -> Iterator[State]:
    """Run *command* in a container of the image `busybox` until the block ends.

    Args:
        minirun: with which store.
        name: of the container, which is removed in the end.
        command: what runs.
        flags: of `run`.
        count: how many processes it has when the block begins.
    """
    with minirun.start("run", "--name", name, *flags, "busybox", *command) as process:
        try:
            end = time.monotonic() + PATIENCE_S
            while (now := state_of(minirun, name)) is None or len(group.processes(now.cgroup)) < count:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < end, f"{name} does not run"
                time.sleep(0.01)
            yield now
        finally:
            minirun("rm", "-f", name)
            process.communicate(timeout=PATIENCE_S)


def state_of(minirun: Minirun, name: str) -> State | None:
    """The state of a container that runs; None if it does not, or is not there."""
    home = Home(str(minirun.root), str(minirun.runtime))
    try:
        now = state.read(home, record.find(home, name))
    except (NotFound, FileNotFoundError):
        return None  # or not yet: its name is there before it is, and the store before both
    return now if now.alive else None
