"""A blob becomes a stored layer, once, whoever else adds it at the same time.

    mark ─▶ tmp/<key> unpacked ─▶ synced ─▶ renamed to diffs/… ─▶ record ─▶ mark gone
                                            ╰ home.lock held shared: see Layers.remove

Contents are whole before a record names them, and durable before that record is, so a power cut leaves at worst a
directory that no record names.
"""

from __future__ import annotations

import errno
import os

from minirun.errors import NotFound
from minirun.journal import Operation
from minirun.kernel import files, tree
from minirun.layer import borrowing, unpack
from minirun.layer.needs import Needs
from minirun.layer.record import Layer, chain_id, hexadecimal
from minirun.layer.unpack import Unpacked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from minirun.layer.store import Layers
    from minirun.layer.unpack import Progress


def add(
    layers: Layers,
    source: int | Iterable[bytes],
    parent: Layer | None,
    *,
    said: dict[str, Any],
    expected_digest: str | None,
    expected_diff_id: str | None,
    progress: Progress | None,
    what: str,
    whole: Operation | None,
) -> tuple[Layer, Unpacked | None]:
    """Store the layer whose blob is *source*; see Layers.add. *said* is created, created_by and comment."""
    below = layers.stack(parent.id) if parent else []
    if expected_diff_id is not None:
        shared = _share(layers, expected_diff_id, parent, below, said, whole)
        if shared is not None:
            return shared
    with Operation(layers.home) as operation:
        temporary = layers.home.temporary(operation.key)
        operation.will("remove_tree", temporary)
        os.mkdir(temporary, 0o700)
        unpacked = unpack.unpack(
            source,
            temporary,
            expected_digest=expected_digest,
            expected_diff_id=expected_diff_id,
            progress=progress,
            what=what,
        )
        # What a base leaves to the layers below it, there being none, another parent would have to give.
        bound = bool(unpacked.needs) | unpack.complete(unpacked, temporary, below, what=what)
        layer_id = chain_id(parent, unpacked.diff_id)
        layer = Layer(
            id=layer_id,
            parent=parent.id if parent else None,
            diff_id=unpacked.diff_id,
            diff=f"{layer_id}-bound" if bound else hexadecimal(unpacked.diff_id),
            size=unpacked.size,
            opaque=unpacked.opaque,
            has_root=unpacked.has_root,
            whiteouts=bool(unpacked.needs.whiteouts),
            **said,
        )
        tree.sync(temporary)
        stored = _publish(layers, layer, temporary, whole)
        tree.remove(temporary)
    return (layer, unpacked) if stored else (layers.get(layer.id), None)


def _share(
    layers: Layers,
    diff_id: str,
    parent: Layer | None,
    below: Sequence[str],
    said: dict[str, Any],
    whole: Operation | None,
) -> tuple[Layer, Unpacked | None] | None:
    """Take contents that are stored already, if they mean the same on *parent*."""
    layer_id = chain_id(parent, diff_id)
    try:
        return layers.get(layer_id), None
    except NotFound:
        pass
    for other in layers.list():
        if other.diff != hexadecimal(diff_id):
            continue
        if other.whiteouts and borrowing.stray_whiteouts(layers.home.diff(other.diff), below):
            return None
        layer = other.but(id=layer_id, parent=parent.id if parent else None, **said)
        if not _publish(layers, layer, None, whole):
            return None
        nothing_read = Unpacked("", 0, diff_id, "", 0, 0, layer.opaque, layer.has_root, Needs(), ())
        return layer, nothing_read
    return None


def _publish(layers: Layers, layer: Layer, contents: str | None, whole: Operation | None) -> bool:
    """Put *contents* in their place and write the record; False: there is one already, or nothing to share."""
    lock = files.lock(layers.home.lock, exclusive=False)
    try:
        target = layers.home.diff(layer.diff)
        if os.path.exists(layers.home.layer(layer.id)) and os.path.isdir(target):
            return False
        if whole is not None:
            whole.will("discard_layer", layers.home.root, layer.id, layer.diff)
        if contents is None:
            if not os.path.isdir(target):
                return False
        else:
            try:
                os.rename(contents, target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                # the same contents: by another process, on another parent, or left by a power cut
            files.sync_folder(layers.home.folder("diffs"))
        layers.write(layer)
    finally:
        os.close(lock)
    return True
