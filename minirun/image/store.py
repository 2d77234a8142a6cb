"""The images of a store, and the names that point to them.

    tags/ubuntu:latest ─▶ ../images/<id>.json            a name is a symlink; reading an image by name is one open
    images/<id>.json    {"id", "created", "config": {…}, "layers": [ids of layers, bottom to top],
                         "stack": [names below diffs/, bottom to top, as the overlay takes them], "mounts": the last of
                         these or "", "size", "source", "digest", "media_type", "blobs", "repo_digests"}
    images/<id>.config  the config byte for byte as it came, where minirun would not write it the same
    images/<id>.alias ─▶ <id>.json     the id by which everybody else knows an image that was committed: see seal.py

An image's id is the sha256 of its OCI config, as everywhere, when the digests of all its layers are known. An image
that was committed has an id by chance: the digest of its top layer is taken when somebody needs it, long after.

Whoever uses the layers of an image, or puts an image, holds the store's lock shared; whoever removes images or layers
holds it exclusively. Both are the caller's to take (`Home.lock`). Tagging needs no lock.
"""

from __future__ import annotations

import os
from errno import EINVAL

from minirun.errors import LOOK_AT_STORE, BadInput, Conflict, MinirunError, NotFound
from minirun.image.record import Image, not_found, read
from minirun.image.reference import is_hex, is_id, of_file_name, parse
from minirun.kernel import files, jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from minirun.home import Home
    from minirun.image.reference import Reference

    # within Images, list is its method
    Listing = list[tuple["Image", list[str]]]
    Ids = list[str]

__all__ = ["Image", "Images"]


def check_name(reference: Reference) -> None:
    """Raise BadInput if *reference* has a digest, so that it is no name to be given."""
    if reference.digest:
        reason = "a digest names contents and cannot be given"
        raise BadInput(f"give an image the name {reference.familiar}", reason, "leave out what follows the @")


class Images:
    """The images of one home."""

    __slots__ = ("home",)

    def __init__(self, home: Home) -> None:
        self.home = home

    def get(self, text: str | Reference) -> Image:
        """The image that *text* names: a name, an id, the unambiguous beginning of an id, with ``sha256:`` or without.

        A name wins over the beginning of an id, as in Docker.

        Raises:
            NotFound: there is none.
            Conflict: several ids begin so.
            BadInput: it can be neither a name nor an id.
        """
        if isinstance(text, str):
            digits = text.removeprefix("sha256:")
            if is_id(digits):
                return read(self.home.image(self.stored_as(digits)), text)
            if digits is not text and is_hex(digits):
                return read(self.home.image(self._complete(digits, text)), text)
            reference = parse(text)
        else:
            reference, digits, text = text, "", text.familiar
        if reference.digest:
            return self._by_digest(reference)
        try:
            return read(f"{self.home.root}/tags/{reference.file_name}", text)
        except NotFound:
            if not is_hex(digits):
                raise
        return read(self.home.image(self._complete(digits, text)), text)

    def stored_as(self, image_id: str) -> str:
        """The id under which the store has the image *image_id*, which may be one by chance; else *image_id*."""
        alias = self.home.alias(image_id)
        if os.path.exists(self.home.image(image_id)) or not os.path.exists(alias):
            return image_id
        return os.path.basename(os.readlink(alias)).removesuffix(".json")

    def aliases(self) -> dict[str, Ids]:
        """The ids by which everybody else knows images that were committed, by those that the store has for them."""
        folder = self.home.folder("images")
        found: dict[str, Ids] = {}
        for name in os.listdir(folder):
            if name.endswith(".alias"):
                try:
                    target = os.readlink(f"{folder}/{name}")
                except OSError:
                    continue  # removed meanwhile, or no link: `system check` tells
                found.setdefault(os.path.basename(target).removesuffix(".json"), []).append(name.removesuffix(".alias"))
        return found

    def put(self, image: Image, tags: Iterable[Reference] = (), *, exact: bytes = b"") -> Image:
        """Store *image*, whose layers are stored, and let *tags* point to it.

        Args:
            image: its stack, its mount points, its size and, if it has none, its id are found here.
            tags: names that it gets, whatever had them before.
            exact: its config byte for byte, if it came from outside; *image* then has its sha256 as id.

        Returns:
            What is in the store now; that may have been there before this call.

        Raises:
            NotFound: one of its layers is not stored.
            MinirunError: the store could not be written; nothing changed but tags that were set already.
        """
        from minirun.image import lifecycle

        return lifecycle.put(self, image, list(tags), exact)

    def tag(self, image_id: str, reference: Reference) -> None:
        """Let the name *reference* point to the stored image *image_id*, whatever it pointed to before.

        Raises:
            BadInput: the name has a digest, so it is not ours to give.
            MinirunError: the store could not be written.
        """
        check_name(reference)
        from minirun.journal import Operation

        try:
            with Operation(self.home) as operation:
                temporary = self.home.temporary(operation.key)
                operation.will("remove_file", temporary)
                os.symlink(f"../images/{image_id}.json", temporary)
                os.rename(temporary, f"{self.home.folder('tags')}/{reference.file_name}")
                files.sync_folder(self.home.folder("tags"))
        except OSError as error:
            raise MinirunError(f"give an image the name {reference.familiar}", error, LOOK_AT_STORE) from None

    def untag(self, reference: Reference) -> None:
        """Take the name *reference* away from its image.

        Raises:
            NotFound: no image has it.
        """
        try:
            os.unlink(f"{self.home.folder('tags')}/{reference.file_name}")
        except FileNotFoundError:
            raise not_found(reference.familiar) from None
        except OSError as error:
            raise MinirunError(f"take the name {reference.familiar} from its image", error, "") from None

    def tags(self) -> dict[str, Ids]:
        """All names, sorted, by the id of the image that they point to."""
        folder = self.home.folder("tags")
        found: dict[str, Ids] = {}
        for name in sorted(os.listdir(folder)):
            try:
                target = os.readlink(f"{folder}/{name}")
            except FileNotFoundError:
                continue  # untagged meanwhile
            except OSError as error:
                if error.errno != EINVAL:
                    raise
                continue  # no link, and so no name of ours: `system check` tells
            found.setdefault(os.path.basename(target).removesuffix(".json"), []).append(of_file_name(name))
        return found

    def ids(self) -> Ids:
        """The ids of all images, in no order."""
        return [name[:-5] for name in os.listdir(self.home.folder("images")) if name.endswith(".json")]

    def list(self, warn: Callable[[MinirunError], object] | None = None) -> Listing:
        """Every image with its names, the youngest first; sizes that nobody has counted are None: see `size`.

        Args:
            warn: told of each record that cannot be read, which is left out; without it that is raised.
        """
        from minirun.image.history import seconds

        tags = self.tags()
        found = []
        for image_id in self.ids():
            try:
                image = read(self.home.image(image_id), image_id)
            except NotFound:
                continue  # removed meanwhile
            except MinirunError as error:
                if warn is None:
                    raise
                warn(error)
                continue
            found.append((image, tags.get(image_id, [])))
        return sorted(found, key=lambda pair: (-seconds(pair[0].created), pair[0].id))

    def remove(self, image_id: str) -> None:
        """Take the image out of the store with its names, and the layers and blobs that no other image needs.

        The caller holds the store's lock exclusively, and knows that no container needs any of it; see stock.py.
        Idempotent; if it is cut short, the next command ends it.

        Raises:
            MinirunError: the store could not be written.
        """
        from minirun.image.stock import Stock

        stock = Stock(self)
        stock.remove(stock.own(image_id))
        stock.close()

    def layers(self) -> set[str]:
        """The ids of all layers that images of the store consist of."""
        return {layer for image, _ in self.list() for layer in image.layers}

    def blobs(self) -> set[str]:
        """The digests of all blobs that images of the store need."""
        return {digest for image, _ in self.list() for digest in image.needs()}

    def kept_layers(self) -> dict[str, str]:
        """The digests of the blobs that are kept, by the ids of the layers that came in them.

        Those of an image whose record cannot be read are left out: without them a layer is packed, or read, again.
        """
        from minirun.layer.blobs import Blobs

        kept = Blobs(self.home)
        return {
            layer_id: digest
            for image, _ in self.list(lambda _error: None)
            for layer_id, digest in zip(image.layers, image.blobs, strict=False)
            if digest and kept.has(digest)
        }

    def size(self, image: Image) -> int:
        """Bytes of data in all layers of *image*; those that a commit made are counted the first time.

        The caller holds the store's lock shared.
        """
        if image.size is not None:
            return image.size
        from minirun.layer.store import Layers

        layers = Layers(self.home)
        return sum(layers.measure(layer).size or 0 for layer in image.layers)

    def exact(self, image: Image) -> bytes:
        """The config of *image* byte for byte: what its id is the sha256 of, unless it was committed."""
        try:
            with open(f"{self.home.folder('images')}/{image.id}.config", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return jsonfile.dumps(image.config.raw).encode()

    def _complete(self, digits: str, text: str) -> str:
        from minirun.image import lookup

        found = lookup.beginning(self, digits)
        if not found:
            raise not_found(text)
        if len(found) > 1:
            short = ", ".join(image_id[:12] for image_id in sorted(found)[:10])
            raise Conflict(f"find image {text}", f"{len(found)} ids begin so: {short}", "give more of its digits")
        return found.pop()

    def _by_digest(self, reference: Reference) -> Image:
        from minirun.image import lookup

        if os.path.exists(path := self.home.image(self.stored_as(reference.digest[7:]))):
            return read(path, reference.familiar)
        if image := lookup.by_digest(self, reference.digest):
            return image
        raise not_found(reference.familiar)
