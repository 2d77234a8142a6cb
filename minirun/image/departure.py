"""An image on its way out of the store: what leaves by `save` and by `push`, ready to be copied.

    kept blob                  ──▶ link ─────────────────────▶ tmp/<key>/<digest>       config    exact, or with the
    kept, in another form      ──▶ compressed anew ──────────▶ tmp/<key>/<digest>                 diff ids found now
    none (a tree, a commit)    ──▶ packed ──▶ kept ──▶ link ─▶ tmp/<key>/<digest>       manifest  the kept one, if that
    none (a tar, not kept)     ──▶ packed; if it is another tar, the image                        leaves, or composed
                                   leaves with another id, and a warning

Links: whoever removes the image meanwhile takes nothing away from us, so the store's lock is held until all is ready
and not while it is copied, which may be to somebody slow. What is in tmp/ is of the caller's operation.
"""

from __future__ import annotations

import os
from functools import cached_property, partial
from hashlib import sha256

from minirun.errors import MinirunError
from minirun.image import seal
from minirun.image.leavingblobs import Blob, LeavingBlobs
from minirun.image.ocimanifest import CONFIGS, MANIFEST_BYTES, MANIFEST_TYPES
from minirun.image.store import Images
from minirun.kernel import jsonfile, tree
from minirun.layer import compression as compressions
from minirun.layer import pack
from minirun.layer.blobs import Blobs
from minirun.layer.field import Malformed
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from minirun.home import Home
    from minirun.image.reference import Reference
    from minirun.image.source import Progress, Warn
    from minirun.image.store import Image
    from minirun.journal import Operation
    from minirun.layer.blobs import Kept
    from minirun.layer.record import Layer

LAYER_TYPES = {
    "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
_DAMAGED = "`minirun system check` tells what else is; load or pull the image again"


class Departure:
    """An image as it leaves.

    Attributes:
        image: as the store has it.
        tags: the names that it leaves with.
        config: byte for byte.
        layers: bottom to top.
        media_type: of its manifest.
    """

    def __init__(
        self, image: Image, tags: Sequence[Reference], config: bytes, layers: Sequence[Blob], manifest: bytes
    ) -> None:
        self.image = image
        self.tags = tags
        self.config = config
        self.layers = layers
        self.media_type = image.media_type if manifest else MANIFEST_TYPES[0]
        self._manifest = manifest

    @cached_property
    def document(self) -> bytes:
        """The manifest, byte for byte: that which the image came with, or an OCI manifest."""
        return self._manifest or _manifest(self.config, self.layers)

    @property
    def id(self) -> str:
        """64 hexadecimal digits: those of the config."""
        return sha256(self.config).hexdigest()

    @property
    def digest(self) -> str:
        """``sha256:…`` of the manifest."""
        return f"sha256:{sha256(self.document).hexdigest()}"


def make_ready(
    home: Home, operation: Operation, image: Image, tags: Sequence[Reference] = (), *, compression: str = "",
    accepted: Collection[str] = tuple(LAYER_TYPES), progress: Progress | None = None, warn: Warn | None = None,
) -> Departure:  # fmt: skip
    """Get *image* ready to leave.

    Args:
        home: the store; the caller holds its lock shared until this returns.
        operation: what is in tmp/ is its; `tidy` removes that, and so does its undo.
        image: from the store.
        tags: the names that it leaves with.
        compression: of every layer; empty: as they are kept, and gzip where they have to be packed.
        accepted: compressions that layers may have where none was asked for, unless the kept manifest is what leaves.
        progress: called for each layer that is packed or compressed, as for one that is unpacked: see image/source.py.
        warn: told what was left out of a layer, and that the image leaves with another id.

    Raises:
        MinirunError: a blob is damaged.
        OSError: contents could not be read, or the store not be written.
    """
    folder = home.temporary(operation.key)
    if not os.path.isdir(folder):
        operation.will("remove_tree", folder)
        os.mkdir(folder, 0o700)
    try:
        return _Preparation(home, folder, image, compression, accepted, progress, warn).depart(tags)
    finally:
        if progress:
            progress("", 0)


def tidy(home: Home, operation: Operation) -> None:
    """Remove what `make_ready` made; idempotent."""
    tree.remove(home.temporary(operation.key))


class _Preparation:
    """One image while it is got ready."""

    def __init__(
        self, home: Home, folder: str, image: Image, compression: str, accepted: Collection[str],
        progress: Progress | None, warn: Warn | None,
    ) -> None:  # fmt: skip
        self.image = image
        self.kept = Blobs(home)
        self.leaving = LeavingBlobs(home, folder)
        self.layers = Layers(home)
        self.images = Images(home)
        self.compression = compression
        self.accepted = accepted
        self.progress = progress or (lambda _name, _bytes: lambda _far: None)
        self.warn = warn or (lambda _sentence: None)

    def depart(self, tags: Sequence[Reference]) -> Departure:
        manifest = self._kept_manifest()
        chain = [self.layers.get(layer_id) for layer_id in self.image.layers]
        digests = [*self.image.blobs, *[""] * len(chain)][: len(chain)]
        sealing = seal.Seal(self.images, self.image)
        leaving = []
        for number, (layer, own) in enumerate(zip(chain, digests, strict=True)):
            digest = own if own and self.kept.has(own) else self._of_others.get(layer.id, "")
            if digest:
                if layer.diff_id is None:
                    layer = self.layers.get(layer.id)  # noqa: PLW2901 - packed by another process since we looked
                if digest != own:
                    sealing.blob(number, digest)
                leaving.append(self._again(layer, digest, as_it_is=bool(manifest)))
            else:
                leaving.append(self._pack(layer, partial(sealing.layer, number)))
        config = sealing.config([layer.diff_id for layer in leaving])
        if any(known.diff_id not in (None, layer.diff_id) for known, layer in zip(chain, leaving, strict=True)):
            self.warn(
                f"image {self.image.short_id} leaves with the id {sha256(config).hexdigest()[:12]}: tars of its layers "
                "were not kept, and packed again they are others"
            )
        return Departure(sealing.image, tags, config, leaving, manifest)

    @cached_property
    def _of_others(self) -> dict[str, str]:
        """Kept blobs by the layers that came in them, of all images: looked through when one of ours is missing."""
        return self.images.kept_layers()

    def _kept_manifest(self) -> bytes:
        """The manifest that the image came with, if it can leave with it; or nothing."""
        image = self.image
        if self.compression or not all(digest and self.kept.has(digest) for digest in (image.digest, *image.blobs)):
            return b""
        document = self.kept.read(image.digest, MANIFEST_BYTES)
        named = [layer["digest"] for layer in jsonfile.loads(document.decode())["layers"]]
        return document if named == list(image.blobs) else b""

    def _again(self, layer: Layer, digest: str, *, as_it_is: bool) -> Blob:
        """A layer whose blob is kept."""
        try:
            found = compressions.detect(next(self.kept.chunks(digest), b""))
        except Malformed as error:
            raise MinirunError(f"read blob {digest[:19]}", f"it is damaged: {error}", _DAMAGED) from None
        wanted = self.compression or (found if as_it_is or found in self.accepted else "gzip")
        if wanted == found:
            return self.leaving.link(self.kept, digest, layer.diff_id or "", found)
        told = self.progress(layer.id[:12], self.kept.size(digest))
        chunks = self.kept.chunks(digest)
        try:
            packed, kept = self.leaving.write(
                wanted, lambda write: pack.recompress(chunks, write, compression=wanted, progress=told)
            )
        except Malformed as error:
            raise MinirunError(f"read blob {digest[:19]}", f"it is damaged: {error}", _DAMAGED) from None
        if packed.diff_id != layer.diff_id:
            raise MinirunError(f"read blob {digest[:19]}", "the tar in it is not the layer's", _DAMAGED)
        return self.leaving.place(kept, packed.diff_id, wanted)

    def _pack(self, layer: Layer, keep: Callable[[Layer, str, Kept | None], bool]) -> Blob:
        """A layer of which the store has nothing but the contents."""
        wanted = self.compression or "gzip"
        told = self.progress(layer.id[:12], layer.size or 0)
        most = layer.size or 0
        packed, kept = self.leaving.write(
            wanted,
            lambda write: pack.pack(
                self.layers.home.diff(layer.diff), write, compression=wanted,
                progress=lambda far: told(min(far, most) if most else far),
            ),
        )  # fmt: skip
        for warning in packed.warnings:
            self.warn(f"layer {layer.id[:12]}: {warning}")
        # by gzip alone, or what the image leaves as by default would depend on what was asked for before
        if keep(layer, packed.diff_id, kept if wanted == "gzip" else None):
            return self.leaving.link(self.kept, kept.digest, packed.diff_id, wanted)
        return self.leaving.place(kept, packed.diff_id, wanted)


def _manifest(config: bytes, layers: Sequence[Blob]) -> bytes:
    """An OCI manifest, the same bytes for the same contents."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPES[0],
        "config": descriptor(CONFIGS[0], f"sha256:{sha256(config).hexdigest()}", len(config)),
        "layers": [descriptor(LAYER_TYPES[layer.compression], layer.digest, layer.size) for layer in layers],
    }
    return jsonfile.dumps(seal.ordered(document)).encode()


def descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    """What names a blob in a manifest or an index."""
    return {"mediaType": media_type, "digest": digest, "size": size}
