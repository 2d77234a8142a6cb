"""update: limits and restart policies of containers change, of those that run at once, and for every later start."""

from __future__ import annotations

import os

from minirun import events
from minirun.cgroup import absent, control, group, limits, memory
from minirun.container import ending, place, restart, state
from minirun.container import record as records
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, Conflict, MinirunError
from minirun.journal import Operation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from minirun.cgroup.control import Setting
    from minirun.container.record import Record
    from minirun.home import Home


def update(names: Sequence[str], flags: Mapping[str, Any]) -> Iterator[str | MinirunError]:
    """Change containers, one after the other; yields each name, or why nothing of it was changed.

    Args:
        names: of containers.
        flags: by long name: ``restart``, and those of limits.FLAGS that are to change; the others stay.

    Raises:
        BadInput: a flag means nothing, or there is none.
    """
    policy = restart.read(flags["restart"]) if "restart" in flags else None
    changed = limits.read_apart({name: value for name, value in flags.items() if name != "restart"})
    if not changed and policy is None:
        raise BadInput(f"update {' '.join(names)}", "nothing to change was given", "`minirun update --help` lists it")
    home = open_home()
    for name in names:
        try:
            box, lock = records.find_and_hold(home, name)
            try:
                with Attempt(f"update container {box.name}"), Operation(home) as operation:
                    if policy is not None:
                        _check(box, policy)
                    if changed:
                        _limit(home, box, changed, operation)
                    if policy is not None:
                        box.options["restart"] = policy
                    records.write(home, box)
                    if policy is not None:
                        _apply_policy(home, box, policy)
            finally:
                os.close(lock)
            events.emit(home, "container", "update", box.id, box.told())
            yield name
        except MinirunError as error:
            yield error


def _check(box: Record, policy: list[str | int]) -> None:
    if box.remove and policy != restart.NO:
        raise Conflict(
            f"update container {box.name}", "it is removed at its end, for it was run with --rm",
            "what is removed is not started again: run it without --rm",
        )  # fmt: skip


def _apply_policy(home: Home, box: Record, policy: list[str | int]) -> None:
    """A container that waits to be started again does so no longer, if *policy* does not want it."""
    now = state.written(home, box)
    if now.status == "restarting" and restart.delay(policy, now, now.exit_code, now.finished, by_hand=False) is None:
        ending.give_up(home, box, by_hand=False)


def _limit(home: Home, box: Record, changed: Mapping[str, Any], operation: Operation) -> None:
    wanted = limits.merge(box.options["limits"], changed)
    limits.check(wanted)
    now = state.read(home, box)
    if now.alive:
        settings = limits.settings(wanted)
        absent.refuse(f"limit container {box.name}", now.cgroup)
        place.enable(limits.needed(wanted), os.path.dirname(now.cgroup))
        operation.will("settle_limits", home.root, box.id, now.cgroup, *control.before(now.cgroup, settings))
        _apply(now.cgroup, settings, operation, attempt=f"update container {box.name}")
    else:
        place.find(box.id, box.options["cgroup_parent"], limits.needed(wanted))
    box.options["limits"] = wanted


def _apply(path: str, settings: Sequence[Setting], operation: Operation, *, attempt: str) -> None:
    """Write *settings*; the container stands still meanwhile if one of them could have it killed."""
    most = next((int(text) for _, name, text in reversed(settings) if name == "memory.max" and text.isdigit()), None)
    if most is None or group.frozen(path):
        _refuse_to_kill(path, most, attempt)
        place.apply(path, settings)
        return
    operation.will("thaw", path)
    group.freeze(path)
    try:
        _refuse_to_kill(path, most, attempt)
        place.apply(path, settings)
    finally:
        group.thaw(path)


def _refuse_to_kill(path: str, most: int | None, attempt: str) -> None:
    if most is None:
        return
    held = memory.unreclaimable(path)
    if held > most:
        from minirun.cgroup.amount import show_bytes

        mib = -(-held // (1 << 20))
        raise Conflict(
            attempt,
            f"it holds {mib}m of memory that it cannot give back, and the kernel would kill it at {show_bytes(most)}",
            f"give it more than {mib}m, or let it free some first: `minirun stats`",
        )  # fmt: skip
