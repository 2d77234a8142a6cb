"""What is in a store and nothing leads to: room that `gc` gives back."""

from __future__ import annotations

import os
from collections.abc import Iterator

from minirun import jsonrecord
from minirun.engine.damage import GC, REMAINS, Damage, Stored
from minirun.engine.mountplace import places
from minirun.home import Home
from minirun.image import lookup
from minirun.image.store import Images
from minirun.kernel import files, jsonfile
from minirun.layer.store import Layers


def find(found: Stored) -> Iterator[Damage]:
    """Look for what nothing leads to; all records could be read."""
    home = found.home
    store = Layers(home)
    kept = {layer for image in found.images.values() for layer in image.layers}
    kept.update(layer for box in found.boxes.values() for layer in box.committed)
    for layer in store.unreferenced(kept):
        meaning = "no image and no container has it"
        yield Damage("layer that nothing needs", home.layer(layer), meaning, GC, REMAINS)
    needed = {layer.diff for layer in found.layers.values()}
    needed.update(name for image in found.images.values() for name in image.stack)
    needed.update(name for box in found.boxes.values() for name in box.stack)
    for name in sorted(set(os.listdir(home.folder("diffs"))) - needed):
        yield Damage(
            "contents that nothing names", home.diff(name), "no layer, image or container has them", GC, REMAINS
        )
    for name in sorted(os.listdir(home.folder("images"))):
        if name.endswith(".config") and name.removesuffix(".config") not in found.images:
            path = f"{home.folder('images')}/{name}"
            yield Damage("configuration without an image", path, "nobody reads it", GC, REMAINS)
    every = Images(home).aliases()
    for image_id, aliases in sorted(every.items()):
        if image_id not in found.images:
            for alias in aliases:
                yield Damage("id of an image that is not there", home.alias(alias), "it finds nothing", GC, REMAINS)
    own = [alias for image_id, aliases in every.items() if image_id in found.images for alias in aliases]
    for path in lookup.compare(home, found.images.values(), own)[0]:
        yield Damage("hint to an image that is not there", path, "it finds nothing", GC, REMAINS)
    for name in sorted(os.listdir(home.folder("sources"))):
        path = f"{home.folder('sources')}/{name}"
        try:
            lost = jsonfile.read(path)["image"] not in found.images
        except (OSError, ValueError, KeyError, TypeError):
            lost = True
        if lost:
            yield Damage("note of a directory whose image is not there", path, "it is read again, if used", GC, REMAINS)
    yield from _half_made(home)
    yield from _mounts(found)


def _half_made(home: Home) -> Iterator[Damage]:
    for name in sorted(os.listdir(home.folder("tmp"))):
        path = home.temporary(name)
        if jsonrecord.is_unfinished(name):
            if (descriptor := files.take_over(path)) < 0:
                continue  # somebody writes it now
            os.close(descriptor)
        elif os.path.exists(home.mark(name)):
            continue  # the operation's, which is told of
        yield Damage("half-made file", path, "its maker was killed", GC, REMAINS)


def _mounts(found: Stored) -> Iterator[Damage]:
    if not (there := places(found.home)):
        return
    lock = there[0].lock()  # or one is seen while it is unmounted
    try:
        for place in there:
            if place.is_there and not (place.is_mounted and place.holds):
                meaning = "it was unmounted by a boot or by hand, or its maker was killed"
                yield Damage("place of a mount that is none", place.path, meaning, GC, REMAINS)
            elif place.is_there and place.id not in found.images:
                remedy = f"`minirun image unmount -f {place.id[:12]}`"
                yield Damage(
                    "mount of an image that is not there", place.root, "it shows what is left", remedy, REMAINS
                )
    finally:
        os.close(lock)
