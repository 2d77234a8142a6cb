"""rename: a container gets another name, also while it runs; see container/renaming.py."""

from __future__ import annotations

import os

from minirun import events
from minirun.container import record as records
from minirun.container import renaming
from minirun.engine import open_home
from minirun.errors import Attempt
from minirun.journal import Operation


def rename(name: str, new_name: str) -> None:
    """Give a container another name, also while it runs.

    Raises:
        NotFound, Conflict: no container, or several, are meant; another has the new name, or this one already.
        BadInput: the new name is none.
    """
    home = open_home()
    box, lock = records.find_and_hold(home, name)
    old = box.name
    try:
        with Attempt(f"rename container {old}"), Operation(home) as operation:
            renaming.rename(home, box, new_name.removeprefix("/"), operation)
    finally:
        os.close(lock)
    # with its slash, as Docker tells it
    events.emit(home, "container", "rename", box.id, box.told(oldName=f"/{old}"))
