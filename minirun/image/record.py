"""The record of one image, and the one open that reads it by its name.

    tags/ubuntu:latest ─▶ ../images/<id>.json            a name is a symlink; "/" in it is "%2F"
    images/<id>.json    {"id", "created", "config": {…}, "layers": [ids of layers, bottom to top],
                         "stack": [names below diffs/, bottom to top, as the overlay takes them], "mounts": the last of
                         these or "", "size", "source", "digest", "media_type", "blobs", "repo_digests"}

What is not on the way of every `run` is in store.py.
"""

from __future__ import annotations

from minirun.errors import MinirunError, NotFound
from minirun.image.config import Config
from minirun.kernel import jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.home import Home

LENGTH = 64 << 20  # of a record, in bytes; a config of 8 MiB, written in ASCII, is at most six times as long


class Image:
    """An image, in the store or about to be put there.

    Attributes:
        id: 64 hexadecimal digits; empty for `Images.put` to give one.
        config: what it says about processes.
        layers: ids of its layers, bottom to top.
        created: RFC 3339, or empty.
        size: bytes of data in all its layers, shared or not; None while one of them was not counted (`Images.size`).
        source: the path it was first made from, or empty.
        digest: of the OCI or Docker manifest it came with, which is among the blobs; or empty.
        media_type: of that manifest, or empty.
        blobs: ``sha256:…`` of the blob that each layer came in, if it is kept, or empty; as many as *layers*, or none.
        repo_digests: ``localhost:5000/app@sha256:…``, what registries call it.
        stack: names below diffs/ as an overlay takes them, bottom to top; `Images.put` finds them.
        mounts: the one of *stack* that holds mount points which the image lacks, or empty.
    """

    __slots__ = (
        "blobs", "config", "created", "digest", "id", "layers", "media_type", "mounts", "repo_digests", "size",
        "source", "stack",
    )  # fmt: skip

    def __init__(
        self, config: Config, layers: Sequence[str], *, id: str = "", created: str = "", size: int | None = 0,  # noqa: A002
        source: str = "", digest: str = "", stack: Sequence[str] = (), mounts: str = "", media_type: str = "",
        blobs: Sequence[str] = (), repo_digests: Sequence[str] = (),
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
        self.media_type = media_type
        self.blobs = blobs
        self.repo_digests = repo_digests

    @property
    def short_id(self) -> str:
        """The first twelve digits, as Docker shows them."""
        return self.id[:12]

    def told(self, name: str = "") -> tuple[str, dict[str, str]]:
        """What events tell of it (see events.py): its id, and its labels with its name, or its id again."""
        return f"sha256:{self.id}", {**self.config.labels, "name": name or f"sha256:{self.id}"}

    def needs(self) -> set[str]:
        """The digests of all blobs that it needs."""
        return {digest for digest in (self.digest, *self.blobs) if digest}

    def paths(self, home: Home) -> list[str]:
        """The directories of *stack*, absolute."""
        return [home.diff(name) for name in self.stack]

    def record(self) -> dict[str, Any]:
        """What is written to disk."""
        return {
            "id": self.id, "created": self.created, "config": self.config.raw, "layers": list(self.layers),
            "stack": list(self.stack), "mounts": self.mounts, "size": self.size, "source": self.source,
            "digest": self.digest, "media_type": self.media_type, "blobs": list(self.blobs),
            "repo_digests": list(self.repo_digests),
        }  # fmt: skip


def by_name(home: Home, text: str) -> Image | None:
    """The image whose name is exactly *text*, with ``:latest`` added where it has no tag; None if there is none.

    No grammar is needed for that: only names have files, and no text becomes a path that leaves their folder.
    """
    name = (text if text.rfind(":") > text.rfind("/") else f"{text}:latest").replace("/", "%2F")
    if len(name) > 255 or "%" in text or "\0" in text or not text.isascii():
        return None
    try:
        return read(f"{home.root}/tags/{name}", text)
    except NotFound:
        return None


def read(path: str, text: str) -> Image:
    """The image in the file *path*, which the user called *text*.

    Raises:
        NotFound: there is none.
        MinirunError: it cannot be read, or is damaged.
    """
    try:
        record = jsonfile.read(path, LENGTH)
        return Image(Config(record.pop("config")), record.pop("layers"), **record)
    except FileNotFoundError:
        raise not_found(text) from None
    except OSError as error:
        raise MinirunError(f"read image {text}", error, "look whether the store's disk is sound") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        remedy = "remove that file, and make the image again from its source"
        raise MinirunError(f"read image {text}", f"its record {path} is damaged", remedy) from None


def not_found(text: str) -> NotFound:
    """The refusal of an image that is not stored."""
    reason = "no image of that name or id is stored"
    return NotFound(f"find image {text}", reason, "`minirun images` lists those that are")
