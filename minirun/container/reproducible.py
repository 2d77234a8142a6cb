"""A commit whose result depends on nothing but what it is made of: SOURCE_DATE_EPOCH.

    contents ─▶ packed, nothing younger than the epoch ─▶ digest of the tar ┐
    config with the epoch for "now", keys sorted ───────────────────────────┴─▶ the image's id, known at once

The same contents give the same id and the same archive, on any host and at any time. It takes a pass over all that was
written, which a commit is spared otherwise. What is on the disk gets the same times afterwards, so that the image is
the same here as everywhere else. See https://reproducible-builds.org/specs/source-date-epoch/: later times are
clamped, earlier ones stay.
"""

from __future__ import annotations

import os

from minirun.image.config import Config
from minirun.image.store import Image
from minirun.kernel import descent, jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home
    from minirun.journal import Operation

SECOND_NS = 10**9


def foresee(home: Home, operation: Operation, contents: str, image: Image, epoch: int) -> tuple[Image, str]:
    """Find out which image a commit will give, and keep the blob of its topmost layer.

    Args:
        home: the store; the caller holds its lock shared.
        operation: its directory in tmp/ is there.
        contents: the directory that will be the topmost layer.
        image: as it would be by chance, without that layer; those whose tar is not known are packed.
        epoch: seconds since 1970.

    Returns:
        The image with the id that it will have, still without the layer, and the digest of the layer's tar.

    Raises:
        OSError: something could not be read, or the store not be written.
    """
    # not for every commit: the compressors take longer to import than a commit
    from hashlib import sha256

    from minirun.image import seal
    from minirun.layer import pack
    from minirun.layer.blobs import Blobs, Keeper
    from minirun.layer.store import Layers

    keeper = Keeper(f"{home.temporary(operation.key)}/part")
    try:
        keeper.begin("gzip")
        packed = pack.pack(contents, keeper.write, compression="gzip", latest_ns=epoch * SECOND_NS)
        kept = keeper.finish(packed.digest)
    finally:
        keeper.close()
    if not Blobs(home).has(kept.digest):
        operation.will("discard_blob", home.root, kept.digest)
        seal.sync(kept.path)
        Blobs(home).adopt(kept)
    diff_ids = [Layers(home).seal(layer).diff_id or "" for layer in image.layers]
    exact = seal.config(image.config.raw, [*diff_ids, packed.diff_id])
    config = Config(jsonfile.loads(exact.decode()))
    blobs = [*image.blobs[: len(image.layers)], kept.digest]
    return Image(config, image.layers, id=sha256(exact).hexdigest(), blobs=blobs), packed.diff_id


def clamp(path: str, epoch: str) -> None:
    """Give everything below the directory *path* that is younger than *epoch* that time; idempotent.

    Args:
        path: absolute; where it is missing there is nothing to do.
        epoch: seconds since 1970.
    """
    latest_ns = int(epoch) * SECOND_NS
    try:
        root = os.open(path, descent.DIRECTORY)
    except FileNotFoundError:
        return
    try:
        for event, directory, name, stat in descent.walk(root):
            if stat.st_mtime_ns <= latest_ns:
                continue
            if event == descent.ENTRY:
                os.utime(name, ns=(stat.st_atime_ns, latest_ns), dir_fd=directory, follow_symlinks=False)
            elif event == descent.LEAVE:
                os.utime(directory, ns=(stat.st_atime_ns, latest_ns))
        stat = os.fstat(root)
        if stat.st_mtime_ns > latest_ns:
            os.utime(root, ns=(stat.st_atime_ns, latest_ns))
    finally:
        os.close(root)
