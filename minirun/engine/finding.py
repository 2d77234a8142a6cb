"""What a probe of the host finds, and what probes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from minirun.home import Home
from minirun.journal import Operation

OK, DEGRADED, MISSING = "ok", "degraded", "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found.

    Attributes:
        what: the thing.
        state: OK, DEGRADED or MISSING.
        meaning: what is there, or what is refused or slower without it.
        remedy: what to do about it; empty where it is ok.
    """

    what: str
    state: str
    meaning: str
    remedy: str = ""


@dataclass(slots=True)
class Patient:
    """What probes share.

    Attributes:
        home: the store.
        group: the directory of a group below minirun's own, which is there while probes run; empty where none can be.
    """

    home: Home
    group: str = ""


@contextmanager
def operation(home: Home) -> Iterator[Operation | None]:
    """An operation that is undone at the end; None where the store takes none, which a probe will say."""
    try:
        home.create()
        made = Operation(home)
    except OSError:
        yield None
        return
    try:
        yield made
    finally:
        made.undo()
