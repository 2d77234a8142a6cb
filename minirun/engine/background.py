"""Containers in the background: run -d, start, and what a restart policy starts again."""

from __future__ import annotations

import os

from minirun import events
from minirun.container import keeping, kept, start, state
from minirun.container import record as records
from minirun.engine import open_home
from minirun.engine import run as foreground
from minirun.errors import Attempt, MinirunError
from minirun.journal import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.engine.run import Fetch
    from minirun.home import Home
    from minirun.image.source import Progress, Warn


def run(
    flags: Mapping[str, Any],
    image_name: str,
    command: Sequence[str],
    progress: Progress | None = None,
    warn: Warn | None = None,
    fetch: Fetch | None = None,
) -> str:
    """Make a container and start its command, as `docker run -d` does; the arguments are those of engine.run.run.

    A container whose command could not begin leaves nothing behind.

    Returns:
        Its id.

    Raises:
        MinirunError: anything that kept its command from beginning.
    """
    foreground.protect_interpreter()
    home = open_home()
    with Attempt(f"run {image_name}"), Operation(home) as operation:
        box = foreground.make(home, operation, flags, image_name, command, None, progress, warn, fetch)
        lock = records.hold(home, box)
        try:
            _start(home, box, operation, state.State())
        finally:
            os.close(lock)
    kept.wake(home)
    return box.id


def start_each(names: Sequence[str]) -> Iterator[str | MinirunError]:
    """Start containers one after the other; yields each name, or why it was not started."""
    foreground.protect_interpreter()
    home = open_home()
    for name in names:
        try:
            box, lock = records.find_and_hold(home, name)
            try:
                _start_held(home, box)
            finally:
                os.close(lock)
            yield name
        except MinirunError as error:
            yield error


def _start_held(home: Home, box: Record) -> None:
    """Start a container that the caller holds, if it does not run: one that does is as it was to be."""
    before = settled(home, box)
    if before.alive:
        return
    with Attempt(f"start container {box.name}"), Operation(home) as operation:
        # by a person: what its restart policy counted is over
        _start(home, box, operation, state.State(before.status if before.status == "created" else "exited"))
    kept.wake(home)


def start_again(home: Home, container_id: str) -> None:
    """Start a container whose restart policy wants it, unless that has changed meanwhile."""
    box = records.read(home, container_id)
    lock = records.hold(home, box)
    try:
        box = records.read(home, container_id)
        before = state.written(home, box)
        if before.status != "restarting":
            return
        try:
            with Attempt(f"start container {box.name}"), Operation(home) as operation:
                _start(home, box, operation, before)
        except MinirunError as error:
            # Docker gives up, too: what cannot begin now does not begin in a minute
            now = state.written(home, box)
            state.failed(home, box, now, error.exit_code, str(error))
            kept.forget(home.root, home.runtime, box.id)
    finally:
        os.close(lock)
    kept.wake(home)


def settled(home: Home, box: Record) -> state.State:
    """What is true of a container that the caller holds; had it ended without anybody's noticing, it is noticed."""
    from minirun.container import ending

    now = state.read(home, box)
    if not now.alive and state.written(home, box).status == "running":
        return ending.finish(home, box)
    return ending.give_up(home, box) if now.status == "restarting" else now


def _start(home: Home, box: Record, operation: Operation, before: state.State) -> None:
    path = start.cgroup(box.id, box.options)
    if before.status != "created":
        operation.will("settle", home.root, box.id, path)
    operation.carry_out([*start.steps(home, box, path), *keeping.steps(home, box)])
    parent = keeping.launch(home, box, path)
    state.running(home, box, before, parent.pid, path)
    events.emit(home, "container", "start", box.id, box.told())
