"""A container goes, and everything that was its own."""

from __future__ import annotations

import os
import time

from minirun import events
from minirun.cgroup import group
from minirun.container import kept, start, state
from minirun.container import record as records
from minirun.errors import Conflict
from minirun.journal import undo_all
from minirun.kernel import tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.journal import Operation

_KILLED = 128 + 9


def remove(home: Home, box: Record, operation: Operation, *, force: bool, volumes: bool = False) -> None:
    """Remove *box* from the disk.

    Args:
        home: the store.
        box: held by the caller.
        operation: once begun, whoever finds its mark goes on removing.
        force: kill it first if it runs.
        volumes: with its anonymous volumes, but for those that another container has.

    Raises:
        Conflict: it runs, and *force* is not given.
    """
    now = state.read(home, box)
    if (now.alive or now.status == "restarting") and not force:
        raise Conflict(
            f"remove container {box.name}", f"it is {now.status}", "let its command end, or kill it: `minirun rm -f`"
        )
    directory = home.container(box.id)
    temporary = home.temporary(operation.key)
    discards = start.volume_undos(home, box) if volumes or box.remove else []
    connections = [*start.network_undos(home, box), *start.range_undos(home, box)]
    # Removing is its own undo: half of it is worth nothing, so whoever recovers does the rest.
    operation.will_all(
        [
            *discards,
            *connections,
            ["remove_tree", temporary],
            ["remove_tree", directory],
            ["remove_name", home.name(box.name), box.id],
            *([["remove_cgroup", now.cgroup]] if now.cgroup else []),
            ["forget_kept", home.root, home.runtime, box.id],
        ]
    )
    kept.mark_by_hand(home, box.id)  # or the supervisor would start it again before it is gone
    if now.cgroup:
        kept_by = kept.read(home, box.id)
        group.remove(now.cgroup)
        if now.alive:
            events.emit(home, "container", "kill", box.id, box.told(signal="9"))
        if now.alive and kept_by:  # or the `run` that it belongs to tells
            seen = kept.ended(home, box.id)
            code = state.exit_code(seen[0]) if seen else _KILLED
            lasted_s = int(time.time() - now.started)
            events.emit(home, "container", "die", box.id, box.told(execDuration=str(lasted_s), exitCode=str(code)))
            state.tell_volumes(home, box, "unmount")
    records.release_name(home.name(box.name), box.id)
    kept.forget(home.root, home.runtime, box.id)
    # out of the way first: whoever still writes there (its parent, that it ended) finds no directory, and leaves none
    try:
        os.rename(directory, temporary)
    except FileNotFoundError:
        pass  # its parent was quicker, as --rm told it
    tree.remove(temporary)
    undo_all([*discards, *connections])
    events.emit(home, "container", "destroy", box.id, box.told())
