"""The blobs that leave: links to kept ones, and files that were written for this, in one directory of tmp/."""

from __future__ import annotations

import os

from minirun.layer.blobs import ZSTD, Blobs, Keeper, Kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.home import Home
    from minirun.layer.pack import Packed


class Blob:
    """A layer as it leaves.

    Attributes:
        digest: ``sha256:…`` of what leaves.
        diff_id: ``sha256:…`` of the tar in it.
        size: bytes of what leaves.
        compression: ``none``, ``gzip``, ``zstd`` or ``xz``.
    """

    __slots__ = ("_blobs", "compression", "diff_id", "digest", "size")

    def __init__(self, blobs: Blobs, digest: str, diff_id: str, compression: str) -> None:
        self._blobs = blobs
        self.digest = digest
        self.diff_id = diff_id
        self.size = blobs.size(digest)
        self.compression = compression

    def open(self) -> int | Iterator[bytes]:
        """The bytes: a descriptor of a regular file, which the caller closes, or in chunks."""
        return self._blobs.open(self.digest)


class LeavingBlobs(Blobs):
    """The blobs of one departure.

    Attributes:
        folder: the directory that they are in.
    """

    __slots__ = ("folder",)

    def __init__(self, home: Home, folder: str) -> None:
        super().__init__(home)
        self.folder = folder

    def path(self, digest: str) -> str:
        """Where the blob is."""
        return f"{self.folder}/{digest[7:]}"

    def link(self, kept: Blobs, digest: str, diff_id: str, compression: str) -> Blob:
        """Have the blob *digest* of *kept* here, whatever becomes of it there."""
        for form in ("", ZSTD):
            try:
                os.link(kept.path(digest) + form, self.path(digest) + form)
            except (FileNotFoundError, FileExistsError):
                pass  # it is kept in the other form; it leaves already, with another image or twice in this one
        return Blob(self, digest, diff_id, compression)

    def write(self, compression: str, make: Callable[[Callable[[bytes], object]], Packed]) -> tuple[Packed, Kept]:
        """Have *make* write a blob to a file, for `place`, or for the store to adopt.

        Args:
            compression: of the blob.
            make: is given what takes the blob in pieces.
        """
        keeper = Keeper(f"{self.folder}/part")
        try:
            keeper.begin(compression)
            packed = make(keeper.write)
            return packed, keeper.finish(packed.digest)
        finally:
            keeper.close()

    def place(self, kept: Kept, diff_id: str, compression: str) -> Blob:
        """Have here what was written."""
        os.rename(kept.path, self.path(kept.digest) + (ZSTD if kept.packed else ""))
        return Blob(self, kept.digest, diff_id, compression)
