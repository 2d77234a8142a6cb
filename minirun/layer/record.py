"""The record of a layer, and what it is called.

layers/<id>.json    {"id", "parent", "diff_id", "diff", "size", "created", "created_by", "comment", "opaque", …}
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Layer:
    """The record of a layer.

    Attributes:
        id: 64 hex digits.
        parent: id of the layer it lies on; None for a base.
        diff_id: ``sha256:…`` of its tar; None while nobody asked.
        diff: the name of its contents below diffs/.
        size: bytes of file data; None while nobody counted.
        created: RFC 3339.
        created_by: the command that made it.
        comment: of whoever made it.
        opaque: it hides everything below.
        has_root: it says what the root directory itself is like.
        whiteouts: it takes names away, or may do.
    """

    __slots__ = (
        "comment", "created", "created_by", "diff", "diff_id", "has_root", "id", "opaque", "parent", "size",
        "whiteouts",
    )  # fmt: skip

    id: str
    parent: str | None
    diff_id: str | None
    diff: str
    size: int | None
    created: str
    created_by: str
    comment: str
    opaque: bool
    has_root: bool
    whiteouts: bool

    def __init__(self, **fields: Any) -> None:
        """Take every attribute by keyword.

        Raises:
            KeyError: one is missing.
        """
        for slot in self.__slots__:
            setattr(self, slot, fields[slot])

    def __eq__(self, other: object) -> bool:
        """Whether both say the same."""
        return isinstance(other, Layer) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        """By the id, which no two layers share."""
        return hash(self.id)

    def __repr__(self) -> str:
        """Every attribute."""
        return f"Layer({self.to_json()})"

    @property
    def is_bound(self) -> bool:
        """Whether its contents took something from the layers below it, and so mean nothing on others."""
        return self.diff.endswith("-bound")

    def to_json(self) -> dict[str, Any]:
        """The attributes, as the record keeps them."""
        return {slot: getattr(self, slot) for slot in self.__slots__}

    def but(self, **changes: Any) -> Layer:
        """The same layer with some attributes changed."""
        return Layer(**{**self.to_json(), **changes})


def chain_id(parent: Layer | None, diff_id: str) -> str:
    """The id of the layer *diff_id* on *parent*: 64 hex digits.

    It is OCI's ChainID without its prefix, as long as no layer below was made by a commit. See "Layer ChainID" in the
    OCI image specification, config.md.
    """
    return _chain_id(parent.id if parent else None, diff_id)


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The ids of the layers *diff_ids*, bottom to top; empty from the first on whose digest is not known."""
    ids: list[str] = []
    parent = None
    for diff_id in diff_ids:
        parent = _chain_id(parent, diff_id) if diff_id and (parent or not ids) else ""
        ids.append(parent)
    return ids


def _chain_id(parent: str | None, diff_id: str) -> str:
    if parent is None:
        return hexadecimal(diff_id)
    from hashlib import sha256

    return sha256(f"sha256:{parent} {diff_id}".encode()).hexdigest()


def now() -> str:
    """The time as RFC 3339, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def hexadecimal(digest: str) -> str:
    """The digits of ``sha256:…``."""
    return digest.removeprefix("sha256:")
