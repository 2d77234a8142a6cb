"""What is done with images that are there, and with directories and archives that become some."""

from __future__ import annotations

import os

from minirun import events
from minirun.engine import open_home
from minirun.errors import Attempt, MinirunError
from minirun.image.reference import parse
from minirun.image.store import Images
from minirun.kernel import files
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirun.home import Home
    from minirun.image.difference import Change
    from minirun.image.history import Entry
    from minirun.image.source import Progress, Warn
    from minirun.image.store import Image
    from minirun.layer.record import Layer


def images(
    filters: Sequence[str] = (), warn: Callable[[MinirunError], object] | None = None
) -> list[tuple[Image, list[str]]]:
    """Every image with its names, the youngest first.

    Args:
        filters: Docker's, ``dangling=true``; see engine/filters.py.
        warn: told of each record that cannot be read, which is left out.

    Raises:
        BadInput: a filter that is none.
        NotFound, Conflict: a filter names no image, or several.
    """
    home = open_home()
    found = Images(home).list(warn)
    if filters:
        from minirun.engine import filters as filtering

        found = filtering.images(home, found, filters)
    if any(image.size is None for image, _ in found):
        _count(home, [image for image, _ in found])
    return found


def _count(home: Home, images: Sequence[Image]) -> None:
    """Count the bytes of images that end in a layer which a commit took by renaming."""
    store = Images(home)
    lock = files.lock(home.lock, exclusive=False)
    try:
        for image in images:
            try:
                image.size = store.size(image)
            except MinirunError:
                image.size = 0  # removed meanwhile, or damaged
    finally:
        os.close(lock)


def inspect(name: str, platform: str | None = None) -> dict[str, Any]:
    """Everything about one image, as Docker's JSON has it: see engine/description.py.

    Args:
        name: of the image.
        platform: that it must be for, as a user types it.

    Raises:
        NotFound, Conflict, BadInput: no image, or several, are meant; it is for another platform.
    """
    from minirun.engine import description
    from minirun.image import platform as platforms

    home = open_home()
    image = Images(home).get(name)
    platforms.check(f"inspect {name}", image.config.raw, platform)
    return description.image(home, image, Images(home).tags().get(image.id, []), _layers(home, image))


def history(name: str, platform: str | None = None) -> tuple[Image, list[Entry]]:
    """An image, and how it came to be, the latest step first.

    Args:
        name: of the image.
        platform: that it must be for, as a user types it.

    Raises:
        NotFound, Conflict, BadInput: no image, or several, are meant; it is for another platform.
    """
    from minirun.image import platform as platforms
    from minirun.image.history import entries

    home = open_home()
    image = Images(home).get(name)
    platforms.check(f"show the history of {name}", image.config.raw, platform)
    return image, entries(image, _layers(home, image))


def _layers(home: Home, image: Image) -> list[Layer]:
    """The layers of an image, bottom to top; those that a commit took by renaming are measured now, once."""
    layers = Layers(home)
    found = [layers.get(layer) for layer in image.layers]
    if all(layer.size is not None for layer in found):
        return found
    lock = files.lock(home.lock, exclusive=False)
    try:
        return [layers.measure(layer.id) for layer in found]
    finally:
        os.close(lock)


def diff(old: str, new: str) -> list[Change]:
    """What differs between the root file systems of two images, sorted by path; see image/difference.py.

    Mount points that minirun adds to an image are no part of it.

    Raises:
        NotFound, Conflict, BadInput: no image, or several, are meant.
    """
    from minirun.image import difference

    home = open_home()
    lock = files.lock(home.lock, exclusive=False)
    try:
        pair = [Images(home).get(name) for name in (old, new)]
        with Attempt(f"compare image {old} with {new}"):
            chains = [[Layers(home).get(layer) for layer in image.layers] for image in pair]
            found = difference.changes(*(Layers(home).stack(chain[-1].id) if chain else [] for chain in chains))
            if all(chains):
                # an overlay takes the root directory from its topmost layer, which need not say what it is like
                said = [[layer for layer in chain if layer.has_root] or chain for chain in chains]
                root = difference.root(*(home.diff(chain[-1].diff) for chain in said))
                found[:0] = [root] if root else []
            return found
    finally:
        os.close(lock)


def import_(
    source: str,
    name: str | None,
    *,
    changes: Sequence[str] = (),
    message: str = "",
    progress: Progress | None = None,
    warn: Warn | None = None,
) -> Image:
    """Make an image of a directory, a tar file, or (``-``) of the tar on standard input.

    Args:
        source: in one of the forms that image/source.py draws.
        name: what to call it; None leaves it without a name.
        changes: Dockerfile instructions for its config.
        message: for its history.
        progress: told of what is unpacked: see image/source.py.
        warn: told what was left out of a layer.

    Raises:
        MinirunError: nothing was stored.
    """
    from minirun.image import mistaken
    from minirun.image import source as sources

    wanted = sources.Wanted(changes, message, [parse(name)] if name else [])
    home = open_home()
    with Attempt(f"import {source}"):
        if source == "-":
            mistaken.refuse(0, "standard input", "… | minirun load")
        else:
            mistaken.refuse_file(source)
        if source == "-":
            made = sources.load_stream(home, 0, wanted, progress=progress, warn=warn)
        else:
            made = sources.load(home, source, wanted, progress=progress, warn=warn)
    events.emit(home, "image", "import", *made.told())
    return made


def tag(name: str, new_name: str) -> None:
    """Give an image another name, whatever had it before.

    Raises:
        NotFound, Conflict, BadInput: no image, or several, are meant, or the name is none.
    """
    home = open_home()
    with Attempt(f"give image {name} the name {new_name}"):
        lock = files.lock(home.lock, exclusive=False)
        try:
            store = Images(home)
            reference = parse(new_name)
            image = store.get(name)
            store.tag(image.id, reference)
            events.emit(home, "image", "tag", *image.told(reference.familiar))
        finally:
            os.close(lock)
