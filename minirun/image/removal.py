"""An image's way out of the store, with all that is its own: written down as undos of one operation, then undone.

    mark
    tags/…                                    no name finds it any more
    images/<id>.json
    images/<alias>.alias images/<id>.config diffs/<id>-mounts lookup/…
    layers/…, diffs/… ─▶ tmp/<key>/…          layers that nothing else needs; contents that no other layer has
    blobs/…                                   those that no other image needs
    mark gone

Whoever dies on the way has the next command end it. That looks again whether a layer or a blob is needed: in between an
image may have come that has it.
"""

from __future__ import annotations

import os

from minirun.errors import MinirunError
from minirun.image import lookup, sources
from minirun.image.reference import parse
from minirun.journal import Operation, undo_all
from minirun.kernel import files, tree
from minirun.layer.blobs import Blobs
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from minirun.home import Home
    from minirun.image.store import Images
    from minirun.layer.record import Layer


class Own:
    """What goes with an image.

    Attributes:
        id: of the image.
        tags: its names.
        aliases: ids that others know it by.
        mounts: the contents that hold its mount points, or empty.
        layers: those that nothing else needs, topmost first.
        contents: names below diffs/ that no other layer has.
        blobs: digests of those that no other image needs.
        hints: paths of what leads to it in lookup/.
    """

    __slots__ = ("aliases", "blobs", "contents", "hints", "id", "layers", "mounts", "tags")

    def __init__(
        self, image_id: str, *, tags: Sequence[str] = (), aliases: Sequence[str] = (), mounts: str = "",
        layers: Sequence[Layer] = (), contents: Sequence[str] = (), blobs: Collection[str] = (),
        hints: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.id = image_id
        self.tags = tags
        self.aliases = aliases
        self.mounts = mounts
        self.layers = layers
        self.contents = contents
        self.blobs = blobs
        self.hints = hints


def remove(images: Images, gone: Own) -> None:
    """Take an image and what is its own out of the store. Idempotent; if it is cut short, the next command ends it.

    The caller holds the store's lock exclusively.

    Raises:
        MinirunError: the store could not be written.
    """
    home = images.home
    folder = home.folder("images")
    undos = [["remove_file", path] for path in (*gone.hints, f"{folder}/{gone.id}.config")]
    if gone.mounts:
        undos.append(["remove_tree", home.diff(gone.mounts)])
    undos += [["remove_file", home.alias(alias)] for alias in gone.aliases]
    undos.append(["remove_file", home.image(gone.id)])
    undos += [["remove_file", f"{home.folder('tags')}/{parse(tag).file_name}"] for tag in gone.tags]
    try:
        operation = Operation(home, frees=True)
        temporary = home.temporary(operation.key)
        # in one mark: layers and blobs are looked at again when the image is gone
        operation.will_all(
            [["discard_blob", home.root, digest] for digest in gone.blobs]
            + [["discard_layer", home.root, layer.id, layer.diff] for layer in reversed(gone.layers)]
            + [["remove_tree", temporary]]
            + undos
        )
        undo_all(undos)
        for layer in gone.layers:
            files.remove(home.layer(layer.id))
        _discard(home, gone.contents, temporary)
        for digest in gone.blobs:
            Blobs(home).remove(digest)
        operation.done()
    except OSError as error:
        raise MinirunError(f"remove image {gone.id[:12]}", error, "look whether the store's disk is sound") from None


def remove_layers(home: Home, layers: Iterable[str], contents: Sequence[str]) -> None:
    """Remove layers, by their ids, and *contents*, names below diffs/ that no other layer has; idempotent.

    The caller holds the store's lock exclusively, and knows that nothing needs them.

    Raises:
        OSError: the store could not be written.
    """
    with Operation(home, frees=True) as operation:
        temporary = home.temporary(operation.key)
        operation.will("remove_tree", temporary)
        for layer_id in layers:
            files.remove(home.layer(layer_id))
        _discard(home, contents, temporary)


def _discard(home: Home, contents: Sequence[str], temporary: str) -> None:
    """Remove *contents* by way of tmp/, so that half of them is never taken for all of them."""
    if not contents:
        return
    os.mkdir(temporary, 0o700)
    for name in contents:
        try:
            os.rename(home.diff(name), f"{temporary}/{name}")
        except FileNotFoundError:
            continue  # lost before: the image was damaged
    tree.remove(temporary)


def prune(images: Images, kept: Collection[str] = ()) -> int:
    """Remove what no image needs: blobs, mount points and configs without a record, names that lead nowhere.

    The caller holds the store's lock exclusively. Layers are not looked at.

    Args:
        images: of the store.
        kept: names below diffs/ that containers stand on, whatever became of their images.

    Returns:
        How many things were removed.
    """
    home, ids = images.home, set(images.ids())
    diffs, configs = os.listdir(home.folder("diffs")), os.listdir(home.folder("images"))
    mounts = [name for name in diffs if name.endswith("-mounts") and name[:-7] not in ids and name not in kept]
    stale = [f"{home.folder('images')}/{name}" for name in configs if name.endswith(".config") and name[:-7] not in ids]
    for image_id, aliases in images.aliases().items():
        if image_id not in ids:
            stale += [home.alias(alias) for alias in aliases]
    for image_id, tags in images.tags().items():
        if image_id not in ids:
            stale += [f"{home.folder('tags')}/{parse(tag).file_name}" for tag in tags]
    listed = [image for image, _ in images.list()]
    aliases = [alias for image_id, own in images.aliases().items() for alias in own if image_id in ids]
    needed = {digest for image in listed for digest in image.needs()}
    loose = [digest for digest in Blobs(home).list() if digest not in needed]
    for name in mounts:
        Layers(home).discard(name)
    for path in stale:
        files.remove(path)
    for digest in loose:
        Blobs(home).remove(digest)
    lookup.mend(home, listed, aliases)
    return len(mounts) + len(stale) + len(loose) + sources.prune(home, ids)
