"""An image's way into the store and out of it, each whole or not at all.

    put                                               remove: written down as undos of one operation, then undone
    ------------------------------------------------  ------------------------------------------------------------
    mark                                              mark
    tmp/<key>/{mounts,config,record}                  tags/…          no name finds it any more
    mounts → diffs/<id>-mounts                        images/<id>.json
    config → images/<id>.config                       images/<id>.config, diffs/<id>-mounts
    record → link → images/<id>.json                  mark gone
    mark gone, tags/…

All that takes space happens in tmp/. The link is the moment at which the image is there; where another process put the
same image meanwhile, link(2) fails, its mount points are used, and nothing is missing. For that reason nobody undoes
the two steps before the link alone: `discard_image` does, when no record came of them and nobody reads the store.
"""

from __future__ import annotations

import os
from errno import EEXIST, ENOTEMPTY

from minirun.errors import MinirunError
from minirun.home import Home
from minirun.image import mountpoints, sources
from minirun.image.config import Config
from minirun.image.record import LENGTH, read
from minirun.image.reference import parse
from minirun.image.store import Images
from minirun.journal import Operation
from minirun.kernel import files, jsonfile, tree
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.reference import Reference
    from minirun.image.store import Image
    from minirun.layer.store import Layer

_FULL = "free some space: `minirun gc`, `minirun rm` and `minirun rmi` do"


def put(images: Images, image: Image, tags: Sequence[Reference], exact: bytes) -> Image:
    """Store *image* and tag it; see Images.put."""
    layers = Layers(images.home)
    chain = [layers.get(layer_id) for layer_id in image.layers]
    _identify(image, chain, exact)
    attempt = f"store image {image.id[:12]}"
    try:
        if not os.path.exists(images.home.image(image.id)):
            sizes = [layer.size for layer in chain if layer.size is not None]
            image.size = sum(sizes) if len(sizes) == len(chain) else None
            image.stack = [os.path.basename(path) for path in layers.stack(chain[-1].id)] if chain else []
            roots = [images.home.diff(layer.diff) for layer in chain if layer.has_root]
            _write(images, image, exact, roots[-1] if roots else None)
        for reference in tags:
            images.tag(image.id, reference)
    except OSError as error:
        raise MinirunError(attempt, error, _FULL) from None
    return read(images.home.image(image.id), image.id)


def _identify(image: Image, chain: Sequence[Layer], exact: bytes) -> None:
    """Give *image* the digests of its layers, where all are known, and an id where it has none."""
    if image.id:
        return
    from hashlib import sha256

    raw = {key: value for key, value in image.config.raw.items() if key != "rootfs"}
    diff_ids = [layer.diff_id for layer in chain]
    if None in diff_ids:
        image.id = os.urandom(32).hex()
    else:
        raw["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
        image.id = sha256(exact or jsonfile.dumps(raw).encode()).hexdigest()
    if not exact:
        image.config = Config(raw)


def _write(images: Images, image: Image, exact: bytes, root: str | None) -> None:
    home = images.home
    with Operation(home) as operation:
        folder = home.temporary(operation.key)
        operation.will_all([["discard_image", home.root, image.id], ["remove_tree", folder]])
        os.mkdir(folder, 0o700)
        if mountpoints.create(image.paths(home), f"{folder}/mounts", root):
            image.mounts = f"{image.id}-mounts"
            image.stack = [*image.stack, image.mounts]
        if exact and exact != jsonfile.dumps(image.config.raw).encode():
            files.replace(f"{folder}/config", exact)
            os.rename(f"{folder}/config", f"{home.folder('images')}/{image.id}.config")
        jsonfile.write(f"{folder}/record", image.record())
        if image.mounts:
            _adopt(f"{folder}/mounts", home.diff(image.mounts))
            files.sync_folder(home.folder("diffs"))
        try:
            os.link(f"{folder}/record", home.image(image.id))
        except FileExistsError:
            pass  # the same image by another process
        files.sync_folder(home.folder("images"))
        tree.remove(folder)


def _adopt(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno not in (EEXIST, ENOTEMPTY):
            raise
        # the same mount points by another process, or by one that was killed before it had written its record


def discard_image(root: str, image_id: str) -> None:
    """Remove what a process left that was killed while it put the image *image_id*; the undo of `put`.

    Nothing is removed where the image is there all the same, or while somebody reads the store: `prune` ends it then.
    """
    home = Home(root, root)
    descriptor = exclusive(home)
    if descriptor >= 0:
        try:
            if not os.path.exists(home.image(image_id)):
                files.remove(f"{home.folder('images')}/{image_id}.config")
                tree.remove(home.diff(f"{image_id}-mounts"))
        finally:
            os.close(descriptor)


def discard_layer(root: str, layer_id: str) -> None:
    """Remove a layer that was added for an image which never came to be, and those above it, unless an image has it.

    Above it can only be layers that were added for the same image: one by a process that was killed before it could
    write that down. As with `discard_image`, nothing is removed while somebody reads the store.
    """
    home = Home(root, root)
    descriptor = exclusive(home)
    if descriptor >= 0:
        try:
            layers = Layers(home)
            if layer_id not in Images(home).layers():
                for loose in _with_those_above(layer_id, layers):
                    layers.remove(loose)
        finally:
            os.close(descriptor)


def _with_those_above(layer_id: str, layers: Layers) -> list[str]:
    """The ids of a layer and of all that lie on it, topmost first."""
    children: dict[str | None, list[str]] = {}
    for layer in layers.list():
        children.setdefault(layer.parent, []).append(layer.id)
    found = [layer_id]
    for above in found:
        found += children.get(above, [])
    return found[::-1]


def exclusive(home: Home) -> int:
    """The store's lock, held exclusively, or -1 if anybody else holds it, this process included."""
    try:
        return files.lock(home.lock, exclusive=True, wait=False)
    except BlockingIOError:
        return -1


def prune(images: Images) -> int:
    """Remove what no image needs: mount points and configs without a record, names and directories that lead nowhere.

    The caller holds the store's lock exclusively. Layers are not looked at.

    Returns:
        How many things were removed.
    """
    home, ids = images.home, set(images.ids())
    diffs, configs = os.listdir(home.folder("diffs")), os.listdir(home.folder("images"))
    stale = [home.diff(name) for name in diffs if name.endswith("-mounts") and name[:-7] not in ids]
    stale += [
        f"{home.folder('images')}/{name}" for name in configs if name.endswith(".config") and name[:-7] not in ids
    ]
    for image_id, tags in images.tags().items():
        if image_id not in ids:
            stale += [f"{home.folder('tags')}/{parse(tag).file_name}" for tag in tags]
    for path in stale:
        tree.remove(path)
    return len(stale) + sources.prune(home, ids)


def remove(images: Images, image_id: str) -> None:
    """Take an image and its names out of the store; see Images.remove."""
    home = images.home
    folder = home.folder("images")
    undos = [["remove_file", f"{folder}/{image_id}.config"]]
    try:
        record = jsonfile.read(home.image(image_id), LENGTH)
        if record["mounts"]:
            undos.append(["remove_tree", home.diff(record["mounts"])])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        pass  # removed already, or damaged: what is left of it goes all the same
    undos.append(["remove_file", home.image(image_id)])
    undos += [
        ["remove_file", f"{home.folder('tags')}/{parse(tag).file_name}"] for tag in images.tags().get(image_id, [])
    ]
    try:
        operation = Operation(home)
        operation.will_all(undos)
        operation.undo()
        sources.prune(home, set(images.ids()))
    except OSError as error:
        raise MinirunError(f"remove image {image_id[:12]}", error, "look whether the store's disk is sound") from None
