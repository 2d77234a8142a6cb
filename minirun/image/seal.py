"""What is not known of a committed image until its layers are packed, and what is kept of that.

    commit                             sealed
    ---------------------------------  ---------------------------------------------------------------------------
    layers/<l>.json   diff_id null     diff_id sha256 of its tar
    images/<r>.json   blobs ""         blobs the packed layers, in blobs/
      r by chance                      r as before; t, the sha256 of the config with rootfs.diff_ids and all keys
                                       sorted, is the id by which everybody else will know it
                                       images/<t>.alias ─▶ <r>.json

So a second time nothing is packed, and what was saved and is loaded again is known. Other layers without a blob, which
came as directories, get one likewise.
"""

from __future__ import annotations

import os
from hashlib import sha256

from minirun import jsonrecord
from minirun.image import lookup
from minirun.image.record import read
from minirun.journal import Operation
from minirun.kernel import files, jsonfile
from minirun.layer.blobs import Blobs
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirun.image.store import Image, Images
    from minirun.layer.blobs import Kept
    from minirun.layer.record import Layer


class Seal:
    """What becomes known of one image while its layers are packed.

    Args:
        images: of the store; the caller holds its lock shared.
        image: from it.
    """

    def __init__(self, images: Images, image: Image) -> None:
        self.images = images
        self.home = images.home
        self.image = image

    def layer(self, number: int, layer: Layer, diff_id: str, kept: Kept | None) -> bool:
        """Write down what the tar of a layer is, and keep its blob.

        Args:
            number: of the layer in the image, from the bottom.
            layer: of which no blob was kept.
            diff_id: of the tar that was packed.
            kept: the blob, if it is to be kept.

        Returns:
            Whether it was; not if the layer is known to have been another tar.

        Raises:
            OSError: the store could not be written.
        """
        if layer.diff_id is None:
            Layers(self.home).write(layer.but(diff_id=diff_id))
        elif layer.diff_id != diff_id:
            return False
        if kept is None:
            return False
        sync(kept.path)
        with Operation(self.home) as operation:
            operation.will("discard_blob", self.home.root, kept.digest)
            Blobs(self.home).adopt(kept)
            self.blob(number, kept.digest)
        return True

    def blob(self, number: int, digest: str) -> None:
        """Write down that a layer came in a blob which is kept already.

        Args:
            number: of the layer in the image, from the bottom.
            digest: of the blob.

        Raises:
            OSError: the store could not be written.
        """
        self._change(lambda image: _set_blob(image, number, digest))

    def config(self, diff_ids: Sequence[str]) -> bytes:
        """The config of the image with the digests of its layers, by which it is found from now on if it was committed.

        Args:
            diff_ids: of all its layers, bottom to top.

        Returns:
            The config byte for byte: as it came, if these digests are in it.

        Raises:
            OSError: the store could not be written.
        """
        if self.image.config.diff_ids == diff_ids:
            return self.images.exact(self.image)
        exact = config(self.image.config.raw, diff_ids)
        true_id = sha256(exact).hexdigest()
        if not self.image.config.diff_ids and self.images.stored_as(true_id) == true_id:
            self._alias(true_id)
        return exact

    def _change(self, change: Callable[[Image], None]) -> None:
        # as it is now: another process may have changed it since we read it
        self.image = read(self.home.image(self.image.id), self.image.id)
        change(self.image)
        jsonrecord.write(self.home, self.home.image(self.image.id), self.image.record())

    def _alias(self, true_id: str) -> None:
        if os.path.exists(self.home.image(true_id)):
            return  # another image that is the same, and was not committed here
        with Operation(self.home) as operation:
            temporary = self.home.temporary(operation.key)
            operation.will_all([["settle_lookup", self.home.root, true_id], ["remove_file", temporary]])
            os.symlink(f"{self.image.id}.json", temporary)
            lookup.note(self.home, true_id)
            os.rename(temporary, self.home.alias(true_id))
            files.sync_folder(self.home.folder("images"))


def digest(image: Image, layers: Sequence[Layer]) -> str | None:
    """``sha256:…`` of an image's config with the digests of its layers; None while one of them is not known.

    Args:
        image: from the store.
        layers: its layers, bottom to top.
    """
    if image.config.diff_ids or not layers:
        return f"sha256:{image.id}"
    diff_ids = [layer.diff_id for layer in layers]
    if None in diff_ids:
        return None
    return f"sha256:{sha256(config(image.config.raw, diff_ids)).hexdigest()}"


def config(raw: dict[str, Any], diff_ids: Sequence[str | None]) -> bytes:
    """An OCI image config with the digests of its layers, the same bytes for the same contents."""
    return jsonfile.dumps(ordered({**raw, "rootfs": {"type": "layers", "diff_ids": list(diff_ids)}})).encode()


def ordered(value: Any) -> Any:
    """A JSON value with the keys of all its objects sorted."""
    if isinstance(value, dict):
        return {key: ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [ordered(entry) for entry in value]
    return value


def sync(path: str) -> None:
    """Write what is cached of the file *path* to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _set_blob(image: Image, number: int, digest: str) -> None:
    blobs = [*image.blobs, *[""] * len(image.layers)][: len(image.layers)]
    blobs[number] = digest
    image.blobs = blobs
