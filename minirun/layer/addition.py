"""A layer that is ready takes its place in the store, once, whoever else adds it at the same time.

    staged in tmp/, and synced ─▶ completed from the layers below ─▶ renamed to diffs/… ─▶ record
    see staging.py                                                   ╰ home.lock held shared: see Layers.remove

Contents are whole before a record names them, and durable before that record is, so a power cut leaves at worst a
directory that no record names.
"""

from __future__ import annotations

import errno
import os

from minirun.errors import MinirunError
from minirun.journal import Operation
from minirun.kernel import files, tree
from minirun.layer import borrowing, staging, unpack
from minirun.layer.needs import Needs
from minirun.layer.record import Layer, chain_id, hexadecimal
from minirun.layer.unpack import Unpacked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from minirun.layer.staging import Staged
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
    if expected_diff_id is not None:
        shared = share(layers, expected_diff_id, parent, said=said, whole=whole)
        if shared is not None:
            return shared
    with Operation(layers.home) as operation:
        temporary = layers.home.temporary(operation.key)
        operation.will("remove_tree", temporary)
        staged = staging.stage(
            lambda: os.dup(source) if isinstance(source, int) else source,
            temporary,
            expected_digest=expected_digest,
            expected_diff_id=expected_diff_id,
            progress=progress,
            what=what,
        )
        tree.sync(temporary)
        added = settle(layers, staged, parent, said=said, what=what, whole=whole)
        tree.remove(temporary)
    return added


def settle(
    layers: Layers, staged: Staged, parent: Layer | None, *, said: dict[str, Any], what: str, whole: Operation | None
) -> tuple[Layer, Unpacked | None]:
    """Give contents that are staged, and on the disk, their place on top of *parent*.

    Args:
        layers: of the store.
        staged: with contents; another process may have stored the same meanwhile, and then nothing becomes of them.
        parent: the layer below.
        said: created, created_by and comment.
        what: the layer in the words of whoever asked, for refusals.
        whole: see Layers.add.

    Returns:
        The layer, and what was unpacked for it; None where the layer was there.

    Raises:
        BadLayer: what it needs of the layers below is not there.
        OSError: the store could not be written.
    """
    unpacked, temporary = staged.unpacked, staged.contents
    assert unpacked is not None
    below = layers.stack(parent.id) if parent else []
    size = unpacked.size
    # What a base leaves to the layers below it, there being none, another parent would have to give.
    bound = bool(unpacked.needs) | unpack.complete(unpacked, temporary, below, what=what)
    if bound:
        size = tree.usage(temporary)[0]  # with the files that it took from below
        tree.sync(temporary)
    layer_id = chain_id(parent, unpacked.diff_id)
    layer = Layer(
        id=layer_id,
        parent=parent.id if parent else None,
        diff_id=unpacked.diff_id,
        diff=f"{layer_id}-bound" if bound else hexadecimal(unpacked.diff_id),
        size=size,
        opaque=unpacked.opaque,
        has_root=unpacked.has_root,
        whiteouts=bool(unpacked.needs.whiteouts),
        **said,
    )
    return (layer, unpacked) if _publish(layers, layer, temporary, whole) else (layers.get(layer.id), None)


def is_stored(layers: Layers, layer: Layer) -> bool:
    """Whether the contents of *layer* are there, as far as a look at their directory tells."""
    return os.path.isdir(layers.home.diff(layer.diff))


def like(layers: Layers, diff_id: str) -> Layer | None:
    """A stored layer of the contents *diff_id* that took nothing from those below it, with its contents; or None."""
    # one whose record cannot be read is none that is like it
    for layer in layers.list(lambda _error: None):
        if layer.diff_id == diff_id and not layer.is_bound and is_stored(layers, layer):
            return layer
    return None


def share(
    layers: Layers, diff_id: str, parent: Layer | None, *, said: dict[str, Any], whole: Operation | None,
    other: Layer | None = None,
) -> tuple[Layer, Unpacked | None] | None:  # fmt: skip
    """Let contents that are stored already be the layer on *parent*, if they mean the same there.

    Args:
        layers: of the store.
        diff_id: of the contents.
        parent: the layer below.
        said: created, created_by and comment.
        whole: see Layers.add.
        other: what `like` found; it is asked where this is None.

    Returns:
        The layer, and where it is new an Unpacked of zero entries; None: the contents must be unpacked.
    """
    try:
        layer = layers.get(chain_id(parent, diff_id))
        if is_stored(layers, layer):
            return layer, None
        # its contents were lost, and will be there again
    except MinirunError:
        pass  # it is not there, or its record cannot be read, and will be written again
    other = other or like(layers, diff_id)
    if other is None:
        return None
    below = layers.stack(parent.id) if parent else []
    if other.whiteouts and borrowing.stray_whiteouts(layers.home.diff(other.diff), below):
        return None
    layer = other.but(id=chain_id(parent, diff_id), parent=parent.id if parent else None, **said)
    if not _publish(layers, layer, None, whole):
        return None
    nothing_read = Unpacked("", 0, diff_id, "", 0, 0, layer.opaque, layer.has_root, Needs(), ())
    return layer, nothing_read


def _publish(layers: Layers, layer: Layer, contents: str | None, whole: Operation | None) -> bool:
    """Put *contents* in their place and write the record; False: there is one already, or nothing to share."""
    lock = files.lock(layers.home.lock, exclusive=False)
    try:
        target = layers.home.diff(layer.diff)
        if layers.is_known(layer.id) and os.path.isdir(target):
            return False
        if whole is not None:
            whole.will("discard_layer", layers.home.root, layer.id, layer.diff)
        if contents is None:
            if not os.path.isdir(target):
                return False
        else:
            try:
                os.rename(contents, target)
            except NotADirectoryError:
                files.remove(target)  # whatever it is, contents it is not
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
