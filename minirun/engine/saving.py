"""Images go out, to archives and directories: the verb `save`."""

from __future__ import annotations

import os

from minirun import events
from minirun.engine import open_home, output
from minirun.errors import Attempt, BadInput, NotFound
from minirun.image import departure, savedlayers, savedlayout, savedlegacy, saving
from minirun.image.platform import Platform, describe
from minirun.image.reference import is_id, parse
from minirun.image.store import Images
from minirun.journal import Operation
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.home import Home
    from minirun.image.departure import Departure
    from minirun.image.reference import Reference
    from minirun.image.saving import Entries
    from minirun.image.source import Progress, Warn
    from minirun.image.store import Image

    # an image, and the names that it leaves with
    Chosen = list[tuple[Image, list[Reference]]]

FORMS = ("docker", "docker-legacy", "oci", "oci-dir", "docker-dir", "layers")
ALIASES = {"docker-archive": "docker", "oci-archive": "oci"}  # podman's
FOLDERS = ("oci-dir", "docker-dir", "layers")
SINGLE = ("docker-dir", "layers")
_ALL_COMPRESSIONS = ("none", "gzip", "zstd", "xz")


def save(
    names: Sequence[str], path: str | None, form: str = "docker", *, compression: str = "", platform: str | None = None,
    progress: Progress | None = None, warn: Warn | None = None,
) -> None:  # fmt: skip
    """Write images to an archive, or to a directory.

    Args:
        names: as `docker save` takes them: a name with a tag is that name, one without all its tags, an id no name.
        path: of a file, or of a directory that is empty or missing, as the form wants it; None is standard output.
        form: one of FORMS.
        compression: of every layer, ``gzip``, ``zstd`` or ``none``; empty: as they came, and gzip for those that have
            to be packed.
        platform: that the images must be for, as a user types it.
        progress: called for each layer that has to be packed or compressed: see image/source.py.
        warn: told what was left out of a layer, and of an image that leaves with another id.

    Raises:
        NotFound, Conflict: no image, or several, are meant; an image is for another platform.
        BadInput: the form is not for what was asked.
        MinirunError: something could not be read or written; where *path* is a file or a directory, nothing is there
            that was not there before.
    """
    _check(path, form, compression)
    home = open_home()
    with Attempt(f"save {' '.join(names)}"), Operation(home) as operation:
        lock = files.lock(home.lock, exclusive=False)
        try:
            chosen = _single(home, names, form) if form in SINGLE else _chosen(home, names)
            _check_platform(chosen, platform)
            departures = [
                departure.make_ready(
                    home, operation, image, tags, compression="none" if form == "docker-legacy" else compression,
                    accepted=_ALL_COMPRESSIONS if form == "layers" else tuple(departure.LAYER_TYPES),
                    progress=progress, warn=warn,
                )
                for image, tags in chosen
            ]  # fmt: skip
        finally:
            os.close(lock)
        entries = _entries(departures, form)
        if form in FOLDERS:
            assert path is not None
            with output.folder(home, path) as place:
                saving.write_folder(entries, place)
        else:
            with output.archive(home, path) as descriptor:
                saving.write_tar(entries, descriptor)
        departure.tidy(home, operation)
    for image, _ in chosen:
        events.emit(home, "image", "save", *image.told())


def _check(path: str | None, form: str, compression: str) -> None:
    if form in FOLDERS and path is None:
        raise BadInput(f"save in the form {form}", "it is a directory", "name it: `minirun save -o DIR …`")
    if form == "docker-legacy" and compression not in ("", "none"):
        raise BadInput(f"save in the form {form} by {compression}", "its layers are not compressed",
                       f"leave out --compression, or compress all of it: `minirun save … | {compression}`")  # fmt: skip


def _check_platform(chosen: Chosen, platform: str | None) -> None:
    wanted = Platform.parse(platform) if platform else None
    for image, _ in chosen:
        if wanted and not wanted.suits(image.config.raw):
            reason = f"it is for {describe(image.config.raw)}"
            raise NotFound(f"save image {image.short_id} for {wanted}", reason, "one image is for one platform here")


def _entries(departures: Sequence[Departure], form: str) -> Entries:
    if form == "docker":
        return savedlayout.docker(departures)
    if form == "docker-legacy":
        return savedlegacy.legacy(departures)
    if form == "docker-dir":
        return savedlayers.skopeo(departures[0])
    return savedlayers.layers(departures[0]) if form == "layers" else savedlayout.oci(departures)


def _single(home: Home, names: Sequence[str], form: str) -> Chosen:
    if len(names) > 1:
        raise BadInput(f"save {len(names)} images in the form {form}", "it holds one", "save each to its own directory")
    return [(Images(home).get(names[0]), [])]


def _chosen(home: Home, names: Sequence[str]) -> Chosen:
    images = Images(home)
    found: dict[str, tuple[Image, list[Reference]]] = {}
    for name in names:
        for image, tags in _meant(images, name):
            known = found.setdefault(image.id, (image, []))[1]
            known += [tag for tag in tags if tag not in known]
    return list(found.values())


def _meant(images: Images, name: str) -> Chosen:
    """What one argument means, as in Docker's image/tarexport/save.go."""
    digits = name.removeprefix("sha256:")
    if digits is not name or is_id(digits):
        return [(images.get(name), [])]
    reference = parse(name)
    if reference.digest:
        return [(images.get(name), [])]
    if name.rfind(":") > name.rfind("/"):
        return [(images.get(name), [reference])]
    # a name without a tag is all its tags
    named = [
        (image_id, tag)
        for image_id, tags in images.tags().items()
        for tag in map(parse, tags)
        if tag.name == reference.name
    ]
    if not named:
        return [(images.get(name), [])]
    return [(images.get(image_id), [tag]) for image_id, tag in sorted(named, key=lambda pair: pair[1].familiar)]
