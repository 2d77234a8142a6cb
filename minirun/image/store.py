"""The images of a store, and the names that point to them.

    tags/ubuntu:latest ─▶ ../images/<id>.json            a name is a symlink; reading an image by name is one open
    images/<id>.json    {"id", "created", "config": {…}, "layers": [ids of layers, bottom to top],
                         "stack": [names below diffs/, bottom to top, as the overlay takes them], "mounts": the last of
                         these or "", "size", "source", "digest"}
    images/<id>.config  the config byte for byte as it came, where minirun would not write it the same

An image's id is the sha256 of its OCI config, as everywhere, when the digests of all its layers are known. An image
that was committed has an id by chance: the digest of its top layer is taken when somebody needs it, long after.

Whoever uses the layers of an image, or puts an image, holds the store's lock shared; whoever removes images or layers
holds it exclusively. Both are the caller's to take (`Home.lock`). Tagging needs no lock.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, Conflict, MinirunError, NotFound
from minirun.image.config import Config
from minirun.image.reference import is_hex, is_id, of_file_name, parse
from minirun.kernel import files, jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from minirun.home import Home
    from minirun.image.reference import Reference

    # within Images, list is its method
    Listing = list[tuple["Image", list[str]]]
    Ids = list[str]

_FULL = "free some space: `minirun gc`, `minirun rm` and `minirun rmi` do"


class Image:
    """An image, in the store or about to be put there.

    Attributes:
        id: 64 hexadecimal digits; empty for `Images.put` to give one.
        config: what it says about processes.
        layers: ids of its layers, bottom to top.
        created: RFC 3339, or empty.
        size: bytes of data in all its layers, shared or not.
        source: the path it was first made from, or empty.
        digest: of the OCI manifest it came with, or empty.
        stack: names below diffs/ as an overlay takes them, bottom to top; `Images.put` finds them.
        mounts: the one of *stack* that holds mount points which the image lacks, or empty.
    """

    __slots__ = ("config", "created", "digest", "id", "layers", "mounts", "size", "source", "stack")

    def __init__(
        self, config: Config, layers: Sequence[str], *, id: str = "", created: str = "", size: int = 0,  # noqa: A002
        source: str = "", digest: str = "", stack: Sequence[str] = (), mounts: str = "",
    ) -> None:  # fmt: skip
        self.id = id
        self.config = config
        self.layers = layers
        self.created = created or config.created
        self.size = size
        self.source = source
        self.digest = digest
        self.stack = stack
        self.mounts = mounts

    @property
    def short_id(self) -> str:
        """The first twelve digits, as Docker shows them."""
        return self.id[:12]

    def paths(self, home: Home) -> list[str]:
        """The directories of *stack*, absolute."""
        return [home.diff(name) for name in self.stack]

    def record(self) -> dict[str, Any]:
        """What is written to disk."""
        return {
            "id": self.id, "created": self.created, "config": self.config.raw, "layers": list(self.layers),
            "stack": list(self.stack), "mounts": self.mounts, "size": self.size, "source": self.source,
            "digest": self.digest,
        }  # fmt: skip


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
                return self._read(self.home.image(digits), text)
            if digits is not text and is_hex(digits):
                return self._read(self.home.image(self._complete(digits, text)), text)
            reference = parse(text)
        else:
            reference, digits, text = text, "", text.familiar
        if reference.digest:
            return self._by_digest(reference)
        try:
            return self._read(f"{self.home.root}/tags/{reference.file_name}", text)
        except NotFound:
            if not is_hex(digits):
                raise
        return self._read(self.home.image(self._complete(digits, text)), text)

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
        if reference.digest:
            reason = "a digest names contents and cannot be given"
            raise BadInput(f"give an image the name {reference.familiar}", reason, "leave out what follows the @")
        from minirun.journal import Operation

        try:
            with Operation(self.home) as operation:
                temporary = self.home.temporary(operation.key)
                operation.will("remove_file", temporary)
                os.symlink(f"../images/{image_id}.json", temporary)
                os.rename(temporary, f"{self.home.folder('tags')}/{reference.file_name}")
                files.sync_folder(self.home.folder("tags"))
        except OSError as error:
            raise MinirunError(f"give an image the name {reference.familiar}", error, _FULL) from None

    def untag(self, reference: Reference) -> None:
        """Take the name *reference* away from its image.

        Raises:
            NotFound: no image has it.
        """
        try:
            os.unlink(f"{self.home.folder('tags')}/{reference.file_name}")
        except FileNotFoundError:
            raise _not_found(reference.familiar) from None
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
            found.setdefault(os.path.basename(target).removesuffix(".json"), []).append(of_file_name(name))
        return found

    def ids(self) -> Ids:
        """The ids of all images, in no order."""
        return [name[:-5] for name in os.listdir(self.home.folder("images")) if name.endswith(".json")]

    def list(self) -> Listing:
        """Every image with its names, the youngest first."""
        from minirun.image.history import seconds

        tags = self.tags()
        found = []
        for image_id in self.ids():
            try:
                image = self._read(self.home.image(image_id), image_id)
            except NotFound:
                continue  # removed meanwhile
            found.append((image, tags.get(image_id, [])))
        return sorted(found, key=lambda pair: (-seconds(pair[0].created), pair[0].id))

    def remove(self, image_id: str) -> None:
        """Take the image out of the store, and its names; its layers stay for whoever asks what they are for.

        The caller holds the store's lock exclusively. Idempotent; if it is cut short, the next command ends it.

        Raises:
            MinirunError: the store could not be written.
        """
        from minirun.image import lifecycle

        lifecycle.remove(self, image_id)

    def layers(self) -> set[str]:
        """The ids of all layers that images of the store consist of."""
        return {layer for image, _ in self.list() for layer in image.layers}

    def exact(self, image: Image) -> bytes:
        """The config of *image* byte for byte: what its id is the sha256 of, unless it was committed."""
        try:
            with open(f"{self.home.folder('images')}/{image.id}.config", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return jsonfile.dumps(image.config.raw).encode()

    def _read(self, path: str, text: str) -> Image:
        try:
            record = jsonfile.read(path, 64 << 20)
            return Image(Config(record.pop("config")), record.pop("layers"), **record)
        except FileNotFoundError:
            raise _not_found(text) from None
        except OSError as error:
            raise MinirunError(f"read image {text}", error, "") from None
        except (ValueError, KeyError, TypeError):
            raise MinirunError(f"read image {text}", f"its record {path} is damaged", "remove that file, and make the "
                               "image again from its source") from None  # fmt: skip

    def _complete(self, digits: str, text: str) -> str:
        found = [image_id for image_id in self.ids() if image_id.startswith(digits)]
        if not found:
            raise _not_found(text)
        if len(found) > 1:
            short = ", ".join(image_id[:12] for image_id in sorted(found)[:10])
            raise Conflict(f"find image {text}", f"{len(found)} ids begin so: {short}", "give more of its digits")
        return found[0]

    def _by_digest(self, reference: Reference) -> Image:
        if os.path.exists(path := self.home.image(reference.digest[7:])):
            return self._read(path, reference.familiar)
        for image, _ in self.list():
            if image.digest == reference.digest:
                return image
        raise _not_found(reference.familiar)


def _not_found(text: str) -> NotFound:
    return NotFound(
        f"find image {text}", "no image of that name or id is stored", "`minirun images` lists those that are"
    )
