"""Layers that are being made ready: unpacked, compared with their digests, and in tmp/ until they have a place.

folder/0/         contents            each is made by a worker of its own, see kernel/workers.py, so that
folder/0.blob     the blob            several processors have something to do
folder/1/ …
"""

from __future__ import annotations

import os

from minirun.layer import unpack
from minirun.layer.blobs import Keeper, Kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from minirun.layer.unpack import Progress, Unpacked


class Staged:
    """A layer that was made ready.

    Attributes:
        contents: the directory that has them; empty where only the blob was wanted.
        unpacked: what is known of them; None where only the blob was wanted.
        kept: the blob; None where only the contents were wanted.
    """

    __slots__ = ("contents", "kept", "unpacked")

    def __init__(self, contents: str, unpacked: Unpacked | None, kept: Kept | None) -> None:
        self.contents = contents
        self.unpacked = unpacked
        self.kept = kept


def stage(
    source: Callable[[], int | Iterable[bytes]],
    place: str,
    *,
    contents: bool = True,
    keep: bool = False,
    expected_digest: str | None = None,
    expected_diff_id: str | None = None,
    progress: Progress | None = None,
    what: str = "the layer",
) -> Staged:
    """Read a blob once, and make of it what is wanted.

    Args:
        source: opens it: see `unpack.unpack`; closed here.
        place: path, of which nothing is there yet: becomes the directory of the contents, and with ``.blob`` the blob.
        contents: whether they are wanted.
        keep: whether the blob is.
        expected_digest: ``sha256:…`` that the blob must have.
        expected_diff_id: ``sha256:…`` that the tar must have.
        progress: called now and then with how many bytes of the blob have been read.
        what: the layer in the words of whoever asked, for refusals.

    Raises:
        BadLayer: it is damaged, hostile, of an unknown form or not the expected one.
        OSError: it could not be read or written. After either, what is at *place* is worth nothing.
    """
    keeper = Keeper(place + ".blob") if keep else None
    opened = source()
    try:
        if contents:
            os.mkdir(place, 0o700)
            unpacked = unpack.unpack(
                opened, place, expected_digest=expected_digest, expected_diff_id=expected_diff_id, progress=progress,
                keeper=keeper, what=what,
            )  # fmt: skip
            return Staged(place, unpacked, keeper.finish(unpacked.blob_digest) if keeper else None)
        assert keeper is not None
        digest = unpack.read(
            opened, expected_digest=expected_digest, expected_diff_id=expected_diff_id, progress=progress,
            keeper=keeper, what=what,
        )  # fmt: skip
        return Staged("", None, keeper.finish(digest))
    finally:
        if isinstance(opened, int):
            os.close(opened)
        elif (close := getattr(opened, "close", None)) is not None:
            close()
        if keeper:
            keeper.close()
