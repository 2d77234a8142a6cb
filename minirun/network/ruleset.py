"""What is in minirun's own table of nftables now, as nft(8) tells it; what nobody needs of it goes, and at last all.

nft -j list table inet minirun    libnftables-json(5)
  {"set": {"name": "bridges", "elem": ["minirun0", …]}}                     a bridge
  {"set": {"name": "hairpin4", "elem": [{"concat": ["minirun0", {"prefix": {"addr": "10.90.0.0", "len": 16}}]}]}}
  {"map": {"name": "published4", "elem": [[{"elem": {"val": {"concat": ["tcp", "127.0.0.1", 81]}, "comment": "4f…"}},
                                           {"concat": ["10.90.0.2", 80]}], …]}}
  {"chain": {"name": "masquerade-minirun0", …}}, {"rule": {"chain": "user", …}}         somebody's own
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from errno import ENOENT, ERESTART
from struct import pack, unpack_from
from typing import Any, NamedTuple

from minirun.errors import MinirunError, Unsupported
from minirun.network.firewall import TABLE, change
from minirun.network.portelements import ANY, Element, answers, attribute, message, speak

MASQUERADE = "masquerade-"
# chains whose rules are the same whatever networks there are
CHAINS = ("forward", "publish", "publish_raw", "publish_prerouting", "publish_output", "publish_postrouting")
# sets whose elements name a bridge, by itself, twice, or with a subnet
OF_BRIDGES = ("bridges", "internal", "names", "asking", "same", "apart", "publishing", "hairpin4", "hairpin6")
_REQUEST, _ACK = 0x1, 0x4
_BATCH_BEGIN, _BATCH_END = 16, 17
_NFTABLES, _INET = 10, 1
_DELETE_TABLE, _GET_GENERATION = _NFTABLES << 8 | 2, _NFTABLES << 8 | 16
_TABLE_NAME, _GENERATION, _BATCH_GENERATION = 1, 1, 1
_HEADER = 20  # nlmsghdr and nfgenmsg


class Published(NamedTuple):
    """An element of a map of published ports.

    Attributes:
        element: what leads where.
        owner: the beginning of its container's id.
    """

    element: Element
    owner: str


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What is in the table.

    Attributes:
        elements: (set, the interface that it is of, the element as nft takes it) of OF_BRIDGES.
        published: ports.
        masqueraded: interfaces that have a chain for what leaves them.
        others: chains and sets with something in them that none of the above is, the user's own among them.
    """

    elements: list[tuple[str, str, str]] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    masqueraded: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    @property
    def interfaces(self) -> set[str]:
        """Every interface that something in the table is of."""
        return self.masqueraded | {interface for _, interface, _ in self.elements}

    def of(self, name: str) -> set[str]:
        """The interfaces in one of the sets OF_BRIDGES."""
        return {interface for where, interface, _ in self.elements if where == name}

    @property
    def passing_on(self) -> set[str]:
        """The bridges that need the host to pass packets on."""
        return self.of("bridges") - self.of("internal")


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
        for element in elements:
            parts = _parts(element)
            rest = [f'"{part}"' if isinstance(part, str) else _block(part) for part in parts]
            found.elements.append((name, parts[0], " . ".join(rest)))
    elif name.startswith("published"):
        found.published.extend(_published(name, *element) for element in elements)
    elif elements:
        found.others.add(name)


def _parts(element: Any) -> list[Any]:
    value = element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element
    return list(value["concat"]) if isinstance(value, dict) and "concat" in value else [value]


def _block(part: Any) -> str:
    return f"{part['prefix']['addr']}/{part['prefix']['len']}"


def _published(name: str, key: Any, data: Any) -> Published:
    protocol, *address, port = _parts(key)
    to, to_port = _parts(data)
    element = Element(protocol, address[0] if address else ANY["6" in name], port, to, to_port)
    return Published(element, key["elem"].get("comment", "") if "elem" in key else "")


def forget(now: Ruleset, interface: str) -> None:
    """Remove all that is of a bridge that is not there any more. Idempotent.

    Args:
        now: what is in the table.
        interface: the bridge.

    Raises:
        MinirunError: the kernel refused.
    """
    lines = [
        f"delete element inet {TABLE} {name} {{ {text} }}" for name, whose, text in now.elements if whose == interface
    ]
    if interface in now.masqueraded:
        lines.append(f"delete chain inet {TABLE} {MASQUERADE}{interface}")
    if lines:
        change("\n".join(lines) + "\n", f"take the rules of {interface} away")


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
