"""rename: a container gets another name; at no moment has it none.

names/old → id          names/old → id          names/old → id
                  ─▶    names/new → id    ─▶    names/new → id    ─▶    names/new → id
record: old             record: old             record: new             record: new

Whoever finds this unfinished looks at the record, and takes away the name that it does not have.
"""

from __future__ import annotations

from minirun.container import record as records
from minirun.errors import Conflict, NotFound
from minirun.home import Home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.journal import Operation


def rename(home: Home, box: Record, name: str, operation: Operation) -> None:
    """Give *box*, which the caller holds, the name *name*.

    Raises:
        BadInput: that is none.
        Conflict: another container has it, or this one already.
    """
    records.check_name(name)
    old = box.name
    if name == old:
        raise Conflict(f"rename container {old}", "that is its name", "choose another one")
    operation.will("settle_name", home.root, box.id, old, name)
    records.reserve_name(home, name, box.id)
    box.name = name
    records.write(home, box)
    records.release_name(home.name(old), box.id)


def settle(root: str, container_id: str, old: str, new: str) -> None:
    """Take the name away that a container does not have. An undo of the journal: idempotent."""
    home = Home(root, root)
    try:
        name = records.read(home, container_id).name
    except NotFound:
        name = ""
    for other in {old, new} - {name}:
        records.release_name(home.name(other), container_id)
