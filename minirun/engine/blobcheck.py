"""Whether the blobs of a store are there, are needed, and are what their digests say.

    images/<id>.json ── digest, blobs ──▶ blobs/<hex>, blobs/<hex>.zst        missing: `save` and `push` fail
                                          blobs/…  ◀── nobody                 remains
                                          blobs/…  ── sha256 ──▶ another      altered

Blobs are read without the store's lock, for that may take minutes: one that is there is whole and is never changed, and
one that is removed meanwhile is no damage.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from minirun.engine.damage import GC, REMAINS, Damage, Stored, stray
from minirun.errors import MinirunError, NotFound, describe
from minirun.home import Home
from minirun.image.ocimanifest import MANIFEST_BYTES
from minirun.image.reference import is_id
from minirun.image.store import Images
from minirun.kernel import jsonfile
from minirun.layer.blobs import ZSTD, Blobs

_AGAIN_OF_IMAGE = "load or pull the image again"
_AGAIN = "remove that file, and load or pull the image again; `run` needs none of it"


def missing(found: Stored) -> Iterator[Damage]:
    """Look for blobs that images name and that are not there."""
    blobs = Blobs(found.home)
    for image in found.images.values():
        for digest in sorted(image.needs()):
            if not blobs.has(digest):
                meaning = f"{image.short_id} runs, and cannot be saved or pushed as it came"
                yield Damage("image without a blob", blobs.path(digest), meaning, _AGAIN_OF_IMAGE)


def manifests(found: Stored) -> Iterator[Damage]:
    """Look for images whose manifest is another image's."""
    home, blobs = found.home, Blobs(found.home)
    aliases = Images(home).aliases()
    for image in found.images.values():
        try:
            manifest = jsonfile.loads(blobs.read(image.digest, MANIFEST_BYTES).decode()) if image.digest else None
            says = manifest and manifest["config"]["digest"].removeprefix("sha256:")
        except MinirunError:
            continue  # missing or altered, which is told
        except (ValueError, LookupError, TypeError, AttributeError):
            says = "nothing"
        if says and says not in (image.id, *aliases.get(image.id, [])):
            meaning = f"{image.short_id} was altered, and would leave as another image"
            yield Damage("image with another one's manifest", home.image(image.id), meaning, _AGAIN_OF_IMAGE)


def remains(found: Stored) -> Iterator[Damage]:
    """Look for blobs that no image names, and for what is none; all records could be read."""
    folder = found.home.folder("blobs")
    needed = {digest[7:] for image in found.images.values() for digest in image.needs()}
    for name in sorted(os.listdir(folder)):
        digits = name.removesuffix(ZSTD)
        if not is_id(digits):
            yield stray(f"{folder}/{name}")
        elif digits not in needed:
            yield Damage("blob that nothing needs", f"{folder}/{name}", "no image came in it", GC, REMAINS)


def altered(home: Home) -> Iterator[Damage]:
    """Read every blob, and look for those that are not what their names say."""
    from hashlib import sha256  # `gc` needs none

    blobs = Blobs(home)
    for digest in blobs.list():
        try:
            hashed = sha256()
            for chunk in blobs.chunks(digest):
                hashed.update(chunk)
            reason = "" if hashed.hexdigest() == digest[7:] else "its bytes have another digest"
        except (NotFound, FileNotFoundError):
            continue  # removed meanwhile
        except (MinirunError, OSError) as error:
            reason = error.reason if isinstance(error, MinirunError) else describe(error)
        path = blobs.path(digest)
        where = path if os.path.exists(path) else path + ZSTD
        if reason and os.path.exists(where):
            meaning = f"images that came in it cannot be saved or pushed: {reason}"
            yield Damage("blob that is not what its name says", where, meaning, _AGAIN)
