"""How an image came to be: the history of its config laid beside the layers it has.

    config's history, oldest first             image's layers, bottom to top
    -----------------------------------------  ------------------------------
    {created_by: "ADD rootfs.tar /"}           layer 1
    {created_by: "CMD bash", empty_layer}      –
    {created_by: "apt-get install python3"}    layer 2

Where the entries that are not empty are not as many as the layers, the history tells of something else, and there is
one entry for each layer instead.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime

from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.image.store import Image
    from minirun.layer.record import Layer

EPOCH = "SOURCE_DATE_EPOCH"
_YEAR_10000 = 253_402_300_800


class Entry:
    """One step of an image's making.

    Attributes:
        layer: id of the layer that it made, or empty.
        created: RFC 3339, or empty.
        created_by: an instruction or a command, or empty.
        size: bytes of data in its layer.
        comment: what whoever made it said, or empty.
    """

    __slots__ = ("comment", "created", "created_by", "layer", "size")

    def __init__(self, layer: str, created: str, created_by: str, size: int, comment: str) -> None:
        self.layer = layer
        self.created = created
        self.created_by = created_by
        self.size = size
        self.comment = comment


def entries(image: Image, layers: Sequence[Layer]) -> list[Entry]:
    """The history of *image*, the latest step first, as `history` prints it.

    Args:
        image: from the store.
        layers: its layers, bottom to top.
    """
    told = image.config.raw.get("history") or []
    if sum(not entry.get("empty_layer") for entry in told) != len(layers):
        return [
            Entry(layer.id, layer.created or "", layer.created_by or "", layer.size or 0, layer.comment or "")
            for layer in reversed(layers)
        ]
    remaining = iter(layers)
    found = []
    for entry in told:
        layer = None if entry.get("empty_layer") else next(remaining)
        found.append(
            Entry(
                layer.id if layer else "",
                entry.get("created") or (layer.created or "" if layer else ""),
                entry.get("created_by") or (layer.created_by or "" if layer else ""),
                layer.size or 0 if layer else 0,
                entry.get("comment") or "",
            )
        )
    return found[::-1]


def extend(
    raw: dict[str, Any], *, created: str, created_by: str = "", author: str = "", comment: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A copy of the config *raw* for an image with one layer more, as commit makes it.

    The digests of layers are left out: `Images.put` adds them where all are known.

    Args:
        raw: the OCI image config to go on from.
        created: RFC 3339.
        created_by: the command that wrote the layer.
        author: kept from *raw* where empty.
        comment: free text.
    """
    entry = {"created": created, "created_by": created_by, "author": author, "comment": comment}
    changed = {**raw, "created": created, "history": [*(raw.get("history") or ()), entry]}
    changed.pop("rootfs", None)
    if author:
        changed["author"] = author
    return said(changed)


def of_layers(raw: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """The history in the config *raw*, to be extended; where it tells of something else, entries that say nothing.

    A further entry would be taken for that of a layer below otherwise, by everybody who counts from the first.

    Args:
        raw: an OCI image config.
        count: of the layers of its image.
    """
    told = raw.get("history") or []
    return told if sum(not entry.get("empty_layer") for entry in told) == count else [{}] * count


def said(raw: dict[str, Any]) -> dict[str, Any]:
    """A copy of the config *raw*, for an image that is made here, without what it does not say.

    Docker writes null for it in places where the OCI's config-schema.json has none, and a date must be one.
    """
    return {
        **_without(raw),
        **({"config": _without(raw["config"])} if raw.get("config") else {}),
        **({"history": [_without(entry, empty=("", None)) for entry in raw["history"]]} if raw.get("history") else {}),
    }


def _without(document: dict[str, Any], empty: Sequence[str | None] = (None,)) -> dict[str, Any]:
    return {key: value for key, value in document.items() if value not in empty and (key, value) != ("created", "")}


def epoch() -> int | None:
    """What SOURCE_DATE_EPOCH says is now, in seconds since 1970; None where it says nothing.

    See https://reproducible-builds.org/specs/source-date-epoch/.

    Raises:
        BadInput: it is no such number.
    """
    text = os.environ.get(EPOCH, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) < _YEAR_10000):
        raise BadInput(f"take {EPOCH}={text[:40]} for a time", "it is no number of seconds since 1970",
                       f"`{EPOCH}=$(git log -1 --format=%ct) minirun …`; or leave it unset")  # fmt: skip
    return int(text)


def now() -> str:
    """The time as RFC 3339: SOURCE_DATE_EPOCH, where that is set."""
    said = epoch()
    return date(time.time_ns() if said is None else said * 10**9)


def clamped(created: str) -> str:
    """RFC 3339 in UTC, to the second, but no later than SOURCE_DATE_EPOCH."""
    said = epoch()
    return created if said is None else min(created, date(said * 10**9))


def seconds(created: str) -> float:
    """RFC 3339 as seconds since 1970; 0.0 for what is empty or no date."""
    try:
        date = datetime.fromisoformat(created)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def date(time_ns: int) -> str:
    """Nanoseconds since 1970 as RFC 3339 in UTC, to the second."""
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
