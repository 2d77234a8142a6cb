"""An image's way into the store, whole or not at all; how it goes out again see removal.py.

    mark
    tmp/<key>/{mounts,config,record,tag0…}
    mounts → diffs/<id>-mounts
    config → images/<id>.config
    record → link → images/<id>.json
    tags/…
    mark gone

All that takes space happens in tmp/. The link is the moment at which the image is there; where another process put the
same image meanwhile, link(2) fails, its mount points are used, and nothing is missing. For that reason nobody undoes
the two steps before the link alone: `discard_image` does, when no record came of them and nobody reads the store.
Who dies after the link has left an image, and `set_tags` gives it its names.
"""

from __future__ import annotations

import os
from errno import EEXIST, ENOTEMPTY
from itertools import zip_longest

from minirun import jsonrecord
from minirun.errors import LOOK_AT_STORE, MinirunError
from minirun.home import Home
from minirun.image import lookup, mountpoints
from minirun.image.config import Config
from minirun.image.record import read
from minirun.image.reference import parse
from minirun.image.store import Images, check_name
from minirun.journal import Operation
from minirun.kernel import files, jsonfile, tree
from minirun.layer.blobs import Blobs
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.reference import Reference
    from minirun.image.store import Image
    from minirun.layer.record import Layer


def put(images: Images, image: Image, tags: Sequence[Reference], exact: bytes) -> Image:
    """Store *image* and tag it; see Images.put."""
    for reference in tags:
        check_name(reference)
    layers = Layers(images.home)
    chain = [layers.get(layer_id) for layer_id in image.layers]
    _identify(image, chain, exact)
    image.id = images.stored_as(image.id)
    attempt = f"store image {image.id[:12]}"
    try:
        if not os.path.exists(images.home.image(image.id)):
            sizes = [layer.size for layer in chain if layer.size is not None]
            image.size = sum(sizes) if len(sizes) == len(chain) else None
            image.stack = [os.path.basename(path) for path in layers.stack(chain[-1].id)] if chain else []
            roots = [images.home.diff(layer.diff) for layer in chain if layer.has_root]
            _write(images, image, tags, exact, roots[-1] if roots else None)
        else:
            _renew(images, image)
            set_tags(images.home.root, image.id, *(reference.familiar for reference in tags))
    except OSError as error:
        raise MinirunError(attempt, error, LOOK_AT_STORE) from None
    return read(images.home.image(image.id), image.id)


def _renew(images: Images, image: Image) -> None:
    """Let what is said of the blobs of an image that is there be what *image* says of them, as far as it says more.

    An image is the same with other blobs, since its id is that of its config: with those it came with last.
    """
    stored = read(images.home.image(image.id), image.id)
    before, known = stored.record(), lookup.digests(stored)
    if image.digest:
        stored.digest, stored.media_type, stored.blobs = image.digest, image.media_type, image.blobs
    elif not stored.digest:
        stored.blobs = [new or old for new, old in zip_longest(image.blobs, stored.blobs, fillvalue="")]
    stored.repo_digests = list(dict.fromkeys([*stored.repo_digests, *image.repo_digests]))
    if stored.record() != before:
        lookup.note(images.home, image.id, lookup.digests(stored))
        jsonrecord.write(images.home, images.home.image(image.id), stored.record())
        lookup.forget(images.home, image.id, known - lookup.digests(stored))


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


def _write(images: Images, image: Image, tags: Sequence[Reference], exact: bytes, root: str | None) -> None:
    home = images.home
    names = [reference.familiar for reference in tags]
    with Operation(home) as operation:
        folder = home.temporary(operation.key)
        operation.will_all([
            ["settle_lookup", home.root, image.id, *lookup.digests(image)], ["discard_image", home.root, image.id],
            ["set_tags", home.root, image.id, *names], ["remove_tree", folder],
        ])  # fmt: skip
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
        for number in range(len(tags)):
            os.symlink(f"../images/{image.id}.json", f"{folder}/tag{number}")
        lookup.note(home, image.id, lookup.digests(image))
        try:
            os.link(f"{folder}/record", home.image(image.id))
        except FileExistsError:
            pass  # the same image by another process
        files.sync_folder(home.folder("images"))
        for number, reference in enumerate(tags):
            os.rename(f"{folder}/tag{number}", f"{home.folder('tags')}/{reference.file_name}")
        if tags:
            files.sync_folder(home.folder("tags"))
        tree.remove(folder)


def _adopt(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno not in (EEXIST, ENOTEMPTY):
            raise
        # the same mount points by another process, or by one that was killed before it had written its record


def set_tags(root: str, image_id: str, *names: str) -> None:
    """Let *names* point to an image, if it is there: the last step of `put`, by whoever gets to it."""
    images = Images(Home(root, root))
    if os.path.exists(images.home.image(image_id)):
        for name in names:
            images.tag(image_id, parse(name))


def discard_image(root: str, image_id: str) -> None:
    """Remove what a process left that was killed while it put the image *image_id*; the undo of `put`.

    Nothing is removed where the image is there all the same.

    Raises:
        BlockingIOError: somebody reads the store.
    """
    home = Home(root, root)
    if os.path.exists(home.image(image_id)):
        return
    descriptor = files.lock(home.lock, exclusive=True, wait=False)
    try:
        if not os.path.exists(home.image(image_id)):
            files.remove(f"{home.folder('images')}/{image_id}.config")
            Layers(home).discard(f"{image_id}-mounts")
    finally:
        os.close(descriptor)


def discard_layer(root: str, layer_id: str, diff: str) -> None:
    """Remove a layer that was added for an image which never came to be, and those above it, unless an image has it.

    Above it can only be layers that were added for the same image.

    Args:
        root: of the store.
        layer_id: the layer.
        diff: the name of its contents, of which perhaps no record came.

    Raises:
        BlockingIOError: somebody reads the store.
    """
    home = Home(root, root)
    descriptor = files.lock(home.lock, exclusive=True, wait=False)
    try:
        layers = Layers(home)
        if layer_id not in Images(home).layers():
            for loose in _with_those_above(layer_id, layers):
                layers.remove(loose)
            layers.discard(diff)
    finally:
        os.close(descriptor)


def discard_blob(root: str, digest: str) -> None:
    """Remove a blob that was kept for an image which never came to be, or which is gone, unless an image needs it.

    Args:
        root: of the store.
        digest: of the blob.

    Raises:
        BlockingIOError: somebody reads the store.
    """
    home = Home(root, root)
    descriptor = files.lock(home.lock, exclusive=True, wait=False)
    try:
        if Blobs(home).has(digest) and digest not in Images(home).blobs():
            Blobs(home).remove(digest)
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
