"""`image squash`: an image whose upper layers are one; see image/merging.py.

layers    1  2  3  4       --from 3      layers    1  2  5
history   a  b  c  –  d                  history   a  b  c  –  d  5       c and d are empty layers now
"""

from __future__ import annotations

import os

from minirun import events
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput
from minirun.image import history, merging
from minirun.image.config import Config
from minirun.image.reference import parse
from minirun.image.store import Image, Images
from minirun.journal import Operation
from minirun.kernel import files, tree
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.home import Home
    from minirun.image.reference import Reference
    from minirun.layer.record import Layer


def squash(name: str, new_name: str | None = None, *, first: int = 1) -> Image:
    """Make an image that shows what *name* shows, with its layers from *first* to the top as one. It stays itself.

    Args:
        name: of the image.
        new_name: what to call the new one; None leaves it without a name.
        first: number of the lowest layer that goes into the one, from 1, the bottom.

    Raises:
        NotFound, Conflict: no image, or several, are meant.
        BadInput: there is no such layer, or only one.
        MinirunError: nothing was made.
    """
    tags = [parse(new_name)] if new_name else []
    home = open_home()
    # Should it fail, the lock is let go before it is undone: an undo takes it itself, as a dead owner's does.
    with Attempt(f"squash image {name}"), Operation(home) as operation:
        lock = files.lock(home.lock, exclusive=False)
        try:
            image = Images(home).get(name)
            count = len(image.layers)
            if not 1 <= first < count:
                raise _refusal(name, first, count)
            made = _squash(home, operation, image, first, tags)
            events.emit(home, "image", "create", *made.told(new_name or ""))
            return made
        finally:
            os.close(lock)


def _refusal(name: str, first: int, count: int) -> BadInput:
    if count < 2:
        return BadInput(f"squash image {name}", f"it has {count} layer{'s' * (count != 1)}: there is nothing to merge")
    reason = f"from layer {first} on there is nothing to merge: it has {count}, and 1 is the bottom"
    return BadInput(f"squash image {name}", reason, f"--from takes 1 to {count - 1}; `minirun history {name}` has them")


def _squash(home: Home, operation: Operation, image: Image, first: int, tags: Sequence[Reference]) -> Image:
    layers = Layers(home)
    chain = [layers.get(layer) for layer in image.layers]
    rest, upper = chain[: first - 1], chain[first - 1 :]
    layer_id, temporary = os.urandom(32).hex(), home.temporary(operation.key)
    operation.will_all([["discard_layer", home.root, layer_id, layer_id], ["remove_tree", temporary]])
    said = [layer for layer in upper if layer.has_root] or upper
    merged = merging.merge(
        [home.diff(layer.diff) for layer in upper],
        layers.stack(rest[-1].id) if rest else [],
        temporary,
        home.diff(said[-1].diff),
    )
    tree.sync(temporary)
    entry = {
        "created": history.now(),
        "created_by": f"squash {len(upper)} layers of {image.short_id}",
        "comment": f"merge sha256:{image.id}" if rest else f"create new from sha256:{image.id}",
    }
    layer = layers.adopt(temporary, rest[-1] if rest else None, layer_id, **entry)
    # as far as it is known: an upper's could have anything
    layers.write(
        layer.but(
            size=merged.size,
            opaque=merged.opaque,
            whiteouts=merged.whiteouts,
            has_root=any(one.has_root for one in upper),
        )
    )
    config = Config(_config(image, chain, first, entry))
    blobs = [*image.blobs[: len(rest)], ""] if image.blobs else []
    return Images(home).put(Image(config, [*(one.id for one in rest), layer_id], blobs=blobs), tags)


def _config(image: Image, chain: Sequence[Layer], first: int, entry: dict[str, str]) -> dict[str, Any]:
    """The image's config, in whose history the layers from *first* on are empty, and *entry* has what was in them."""
    told = [dict(one) for one in image.config.raw.get("history") or ()]
    if sum(not one.get("empty_layer") for one in told) != len(chain):
        told = [{"created": one.created, "created_by": one.created_by, "comment": one.comment} for one in chain]
    number = 0
    for one in told:
        number += not one.get("empty_layer")
        if number >= first:
            one["empty_layer"] = True
    return history.extend({**image.config.raw, "history": told}, **entry)
