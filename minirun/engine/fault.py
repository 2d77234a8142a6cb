"""Something that is wrong with networks, and what mends it: found by networkcheck.py and linkcheck.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minirun.container.record import Record
from minirun.engine.damage import GC, REMAINS, Damage
from minirun.home import Home
from minirun.network.record import Network


class OfNetworks(Damage):
    """Something that is wrong with networks: nothing of the store's may have needed it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong, and its end.

    Attributes:
        damage: as `system check` tells it.
        mend: mends it; None where only a person can.
    """

    damage: OfNetworks
    mend: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is on disk about networks.

    Attributes:
        home: the store.
        networks: those whose records can be read.
        boxes: the containers whose records can be read.
        whole: whether all records can be read, so that what none names is nobody's.
    """

    home: Home
    networks: list[Network]
    boxes: list[Record]
    whole: bool


def free(what: str, where: str, meaning: str, mend: Callable[[], object]) -> Fault:
    """Something that is left over."""
    return Fault(OfNetworks(what, where, meaning, GC, REMAINS), mend)
