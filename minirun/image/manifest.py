"""What a source holds, once it was recognised and before anything is unpacked: a config and the layers, bottom to top.

    OCI layout ─┐
    docker-save ┼─▶ Manifest(config, parts) ─▶ source.load: layer by layer into the store ─▶ image
    directory ──┘              │
                               ├── a file:       the tar of one layer, perhaps compressed, with the digests it must have
                               └── a directory:  the contents of one layer

Nothing here was unpacked, and everything was checked that can be checked without that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Protocol

    from minirun.image.config import Config

    class Holder(Protocol):
        """What holds the blobs of a manifest: a directory, an archive, a registry."""

        path: str  # for refusals

        def look(self, part: Part) -> None:
            """Tell *part* its size, and when it was made, as far as its manifest did not; before `blob` is called.

            Raises:
                BadLayer, MinirunError: as `blob`.
            """

        def blob(self, part: Part) -> int | Iterator[bytes]:
            """The bytes of *part* from their beginning: a descriptor, which the caller closes, or in chunks.

            Called in the process that unpacks the part, which is perhaps not the one that read the manifest.

            Raises:
                BadLayer: it is missing, or not what it should be.
                MinirunError: it could not be read.
            """


LAYERS = 499  # an overlay has 500 lower layers at most, one of which may be the mount points; see overlayfs.rst


class Part:
    """One layer of a source.

    Attributes:
        name: path relative to the source, or what else its holder calls it.
        is_tree: whether it is a directory of the layer's contents, rather than an archive of them.
        digest: what the file must hash to, ``sha256:…``, or empty.
        diff_id: what its uncompressed tar must hash to, or empty.
        size: bytes of the file; 0 where nobody said.
        media_type: what the manifest calls it, or empty.
        created: RFC 3339, or empty.
        created_by: the instruction that made it, or empty.
    """

    __slots__ = ("created", "created_by", "diff_id", "digest", "is_tree", "media_type", "name", "size")

    def __init__(
        self, name: str, *, is_tree: bool = False, digest: str = "", diff_id: str = "", size: int = 0,
        media_type: str = "", created: str = "", created_by: str = "",
    ) -> None:  # fmt: skip
        self.name = name
        self.is_tree = is_tree
        self.digest = digest
        self.diff_id = diff_id
        self.size = size
        self.media_type = media_type
        self.created = created
        self.created_by = created_by


class Manifest:
    """An image that has not been unpacked yet.

    Attributes:
        config: checked; its digests of layers, where it came with them, are those of *parts*.
        exact: the config byte for byte, where its digest is the image's id; empty where minirun composes the config.
        parts: bottom to top.
        digest: of the OCI or Docker manifest that *document* is; empty where the source has none.
        document: that manifest, byte for byte.
        media_type: of it.
        names: what the source calls the image; nobody is bound to use them.
        repo_digests: ``localhost:5000/app@sha256:…``, by which a registry knows it.
    """

    __slots__ = ("config", "digest", "document", "exact", "media_type", "names", "parts", "repo_digests")

    def __init__(
        self, config: Config, parts: Sequence[Part], *, exact: bytes = b"", digest: str = "", document: bytes = b"",
        media_type: str = "", names: Sequence[str] = (), repo_digests: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.config = config
        self.parts = parts
        self.exact = exact
        self.digest = digest
        self.document = document
        self.media_type = media_type
        self.names = names
        self.repo_digests = repo_digests


def describe_layers(config: Config, parts: Sequence[Part]) -> None:
    """Tell *parts* when and by what each was made, where the history in *config* says so for every one of them."""
    entries = [entry for entry in config.raw.get("history") or () if not entry.get("empty_layer")]
    if len(entries) == len(parts):
        for part, entry in zip(parts, entries, strict=True):
            part.created = entry.get("created") or ""
            part.created_by = entry.get("created_by") or ""
