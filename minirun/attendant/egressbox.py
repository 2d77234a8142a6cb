"""A container with an allow-list, as the attendant knows it: what it may ask for, what it was told, what it was not.

names{n}_4, names{n}_6    the sets of the n-th service of its list: see network/egressrules.py
"""

from __future__ import annotations

import dns.name

from minirun.attendant import message
from minirun.network import address, egressrules
from minirun.network.egresslist import GATEWAY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from minirun.attendant.loop import Timer
    from minirun.network.egresslist import Element

FOR_EVER = float("inf")
_MOST_REFUSED = 256  # names between two looks
_MOST_KNOWN = egressrules.NAMED


class Box:
    """A container.

    Attributes:
        id: of the container.
        ends: (set, address) → when it is to end there, by the monotonic clock; FOR_EVER, where it is a neighbour's.
        names: of addresses that it was told, whether they are let in or not.
        refused: names that were not to be asked for since the last look, and how often.
        network: of which events tell: see egressclaim.py.
        full: whether it was said that one of its sets is.
        patience: until when there were looks at what it was denied, had they been a second apart.
        next: the next look; None if there is nothing to see.
    """

    __slots__ = ("_groups", "_resolver", "ends", "full", "id", "names", "network", "next", "patience", "refused")

    def __init__(
        self, container_id: str, groups: Sequence[Sequence[Element]], resolver: str, network: dict[str, Any]
    ) -> None:
        """Know its list.

        Args:
            container_id: whose.
            groups: the elements of the list by service, in the order of the sets.
            resolver: its resolv.conf.
            network: of which events tell.
        """
        self.id = container_id
        self._groups = groups
        self._resolver = resolver
        self.ends: dict[tuple[str, str], float] = {}
        self.names: dict[str, str] = {}
        self.refused: dict[str, int] = {}
        self.network = network
        self.patience = 0.0
        self.full = False
        self.next: Timer | None = None

    @property
    def places(self) -> list[str]:
        """All its sets, also those that have no names."""
        return [egressrules.named(place, bits) for place in range(len(self._groups)) for bits in (32, 128)]

    def places_of(self, names: Sequence[str], bits: int) -> list[str]:
        """The sets that addresses go into that have one of these names."""
        return [
            egressrules.named(place, bits)
            for place, group in enumerate(self._groups)
            if any(element.means(name) for element in group for name in names)
        ]

    def may_ask(self, name: str) -> bool:
        """Whether a name is in the list, or stands for an address that is."""
        return self._means(name) or self._holds(_reversed(name))

    def _means(self, name: str) -> bool:
        return any(element.means(name) for group in self._groups for element in group if element.name != GATEWAY)

    def _holds(self, where: str) -> bool:
        if not where:
            return False
        number, bits = address.parse(where), address.width(where)
        blocks = (element.block for group in self._groups for element in group if element.block)
        return any(block.holds(number, bits) for block in blocks) or any(known == where for _, known in self.ends)

    def refuse(self, name: str) -> bool:
        """Count a name that was not to be asked for; whether it is one to tell of.

        Resolvers ask for a short name that is in the list with each of their domains behind it, too.
        """
        if any(
            name.endswith(f".{one}") and self._means(name.removesuffix(f".{one}")) for one in _domains(self._resolver)
        ):
            return False
        if name in self.refused or len(self.refused) < _MOST_REFUSED:
            self.refused[name] = self.refused.get(name, 0) + 1
        return True

    def forget(self, now: float) -> None:
        """Forget what has ended, where it is getting much."""
        if len(self.ends) > _MOST_KNOWN:
            self.ends = {key: end for key, end in self.ends.items() if end > now}
        for where in [*self.names][: max(0, len(self.names) - _MOST_KNOWN)]:
            del self.names[where]


def _reversed(name: str) -> str:
    """The address that a name of in-addr.arpa or ip6.arpa stands for."""
    if not name.endswith(".arpa") or not message.is_name(name):
        return ""
    return message.reverse(dns.name.from_text(name))


def _domains(path: str) -> list[str]:
    """Those that a resolv.conf says are to be put behind names."""
    try:
        with open(path, errors="replace") as file:
            lines: Iterable[list[str]] = [line.split() for line in file]
    except OSError:
        return []
    return [domain.lower().strip(".") for words in lines if words[:1] == ["search"] for domain in words[1:]]
