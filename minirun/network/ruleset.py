"""What is in minirun's own table of nftables now, as nft(8) tells it; and the table's end.

nft -j list table inet minirun    libnftables-json(5)
  {"set": {"name": "bridges", "elem": ["minirun0", …]}}                     a bridge
  {"set": {"name": "same", "elem": [{"concat": ["minirun0", "minirun0"]}]}}
  {"map": {"name": "published4", "elem": [[{"elem": {"val": …, "comment": "4f…"}}, …]]}}     its container
  {"chain": {"name": "masquerade-minirun0", …}}, {"rule": {"chain": "user", …}}         somebody's own
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from errno import ENOENT, ERESTART
from struct import pack, unpack_from

from minirun.errors import MinirunError, Unsupported
from minirun.network.firewall import TABLE
from minirun.network.portelements import answers, attribute, message, speak

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MASQUERADE = "masquerade-"
# chains whose rules are the same whatever networks there are
CHAINS = ("forward", "publish", "publish_raw", "publish_prerouting", "publish_output", "publish_postrouting")
# sets whose elements name a bridge, by itself, twice, or with a subnet
OF_BRIDGES = ("bridges", "internal", "same", "apart", "publishing", "hairpin4", "hairpin6")
_REQUEST, _ACK = 0x1, 0x4
_BATCH_BEGIN, _BATCH_END = 16, 17
_NFTABLES, _INET = 10, 1
_DELETE_TABLE, _GET_GENERATION = _NFTABLES << 8 | 2, _NFTABLES << 8 | 16
_TABLE_NAME, _GENERATION, _BATCH_GENERATION = 1, 1, 1
_HEADER = 20  # nlmsghdr and nfgenmsg


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What is in the table.

    Attributes:
        bridges: set → the interfaces that its elements name.
        published: comment → how many elements of the maps of published ports have it.
        masqueraded: interfaces that have a chain for what leaves them.
        others: chains and sets with something in them that none of the above is, the user's own among them.
    """

    bridges: dict[str, set[str]] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    masqueraded: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    @property
    def interfaces(self) -> set[str]:
        """Every interface that something in the table is of."""
        return self.masqueraded.union(*self.bridges.values())

    @property
    def passing_on(self) -> set[str]:
        """The bridges that need the host to pass packets on."""
        return self.bridges.get("bridges", set()) - self.bridges.get("internal", set())


def read() -> Ruleset | None:
    """What is in the table; None if there is none.

    Raises:
        Unsupported: nft is not installed.
        MinirunError: it fails.
    """
    import subprocess

    attempt = "read minirun's rules"
    words = ["nft", "-j", "list", "table", "inet", TABLE]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unsupported(attempt, "nft is not there", "install it: `apt-get install nftables`") from None
    if done.returncode:
        if os.strerror(ENOENT) in done.stderr:
            return None
        said = done.stderr.strip().splitlines()
        raise MinirunError(attempt, f"nft says: {said[0] if said else f'status {done.returncode}'}")
    found = Ruleset()
    for entry in json.loads(done.stdout)["nftables"]:
        ((kind, told),) = entry.items()
        if kind in ("set", "map"):
            _note_elements(found, told["name"], told.get("elem", []))
        elif kind == "chain" and told["name"].startswith(MASQUERADE):
            found.masqueraded.add(told["name"].removeprefix(MASQUERADE))
        elif kind == "rule" and told["chain"] not in CHAINS and not told["chain"].startswith(MASQUERADE):
            found.others.add(told["chain"])
    return found


def _note_elements(found: Ruleset, name: str, elements: list[Any]) -> None:
    if name in OF_BRIDGES:
        found.bridges[name] = {_first(element) for element in elements}
    elif name.startswith("published"):
        for comment in _comments(elements):
            found.published[comment] = found.published.get(comment, 0) + 1
    elif elements:
        found.others.add(name)


def _first(element: Any) -> str:
    """The interface that an element begins with."""
    value = element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element
    return str(value["concat"][0] if isinstance(value, dict) else value)


def _comments(elements: list[Any]) -> Iterator[str]:
    for key, _data in elements:
        if isinstance(key, dict) and "elem" in key:
            yield key["elem"].get("comment", "")


def leave() -> bool:
    """Remove the table, if nothing is in it that is anybody's; whether it is gone.

    It is removed as it was when that was seen, or not at all: a batch can name the generation of the ruleset that it
    is meant for. See NFNL_BATCH_GENID in include/uapi/linux/netfilter/nfnetlink.h.

    Raises:
        MinirunError, OSError: it could not be read, or the kernel refused.
    """
    speaker = speak()
    try:
        speaker.send(message(_GET_GENERATION, _REQUEST, 0, b""))
        (generation,) = unpack_from(">I", answers(speaker), _HEADER + 4)
        now = read()
        if now is None:
            return True
        if now.interfaces or now.published or now.others:
            return False
        begin = message(
            _BATCH_BEGIN, _REQUEST, 0, attribute(_BATCH_GENERATION, pack(">I", generation)), resource=_NFTABLES
        )
        name = attribute(_TABLE_NAME, TABLE.encode() + b"\0")
        end = message(_BATCH_END, _REQUEST, 0, b"", resource=_NFTABLES)
        speaker.send(begin + message(_DELETE_TABLE, _REQUEST | _ACK, _INET, name) + end)
        try:
            answers(speaker)
        except OSError as error:
            if error.errno not in (ENOENT, ERESTART):
                raise
            return error.errno == ENOENT
    finally:
        speaker.close()
    return True
