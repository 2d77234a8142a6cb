"""What a directory or an archive holds, told by what it has at its top.

    oci-layout, index.json     OCI layout: umoci, skopeo, buildah, `docker save` since version 25
    manifest.json, version     dir: of skopeo
    manifest.json              docker-save
    repositories, <id>/json    docker-save before Docker 1.10
    NN-name…                   layers
    bin/ or usr/               a root file system

The first that applies counts; only a root file system may have a manifest.json of its own. `docker save` writes an OCI
layout and, for the same blobs, a manifest.json. The layout has the digests, and counts if it is whole; both have names.
"""

from __future__ import annotations

from hashlib import sha256

from minirun.errors import BadInput
from minirun.image import dockerlegacy, dockersave, layerdir, ocilayout, skopeodir
from minirun.image.platform import describe, is_for
from minirun.image.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from minirun.image.contents import Contents
    from minirun.image.folder import Folder
    from minirun.image.manifest import Manifest
    from minirun.image.ocimanifest import Descriptor
    from minirun.image.platform import Platform

_FORMS = """\
looked for: layers NN-name.tar[.gz|.zst|.xz] or NN-name/ (NN: digits),
bin/ or usr/ of a root file system, oci-layout and index.json, manifest.json or repositories of docker save"""


def recognise(folder: Folder) -> Manifest:
    """Find out which one image *folder* holds, and check all that can be checked without unpacking it.

    Raises:
        BadInput: it holds no image, or several.
        BadLayer: what it holds is damaged or hostile.
    """
    names = folder.names()
    if ocilayout.is_layout(names):
        return ocilayout.read(folder)
    if not layerdir.is_root(folder):
        if skopeodir.is_dir(folder, names):
            return skopeodir.read(folder)
        if dockersave.is_saved(names):
            return dockersave.read(folder)
        if dockerlegacy.is_saved(folder, names):
            return dockerlegacy.read(folder)
    if layerdir.is_layers(names):
        return layerdir.read_layers(folder)
    if layerdir.is_root(folder):
        return layerdir.read_root(folder)
    raise _nothing(folder, names)


def recognise_all(contents: Contents, platform: Platform | None) -> Iterator[Manifest]:
    """Find out which images *contents* holds, and check all that can be checked without unpacking them.

    Args:
        contents: a directory or an archive.
        platform: for which they are to be; None is this host's, and takes an image that is for one other alone.

    Yields:
        Each image, read when it is asked for: a thousand of them have room in no memory.

    Raises:
        BadInput: it holds none, or one that is for other platforms.
        BadLayer: what it holds is damaged or hostile.
    """
    for manifest in _all(contents, platform):
        raw = manifest.config.raw
        if platform and not is_for(raw, platform):
            called = manifest.names[0][:80] if manifest.names else "an image"
            raise BadInput(f"load {called} from {contents.path}", f"it is not there for {platform}",
                           f"it is there for {describe({'os': 'linux', **raw})}")  # fmt: skip
        yield manifest


def _all(contents: Contents, platform: Platform | None) -> Iterator[Manifest]:
    names = contents.names()
    is_root = layerdir.is_root(contents)
    saved = dockersave.is_saved(names) and not is_root
    if ocilayout.is_layout(names):
        yield from _both(contents, platform) if saved else _layout(contents, ocilayout.images(contents, platform))
    elif saved and skopeodir.is_dir(contents, names):
        yield skopeodir.read(contents, platform)
    elif saved:
        for entry in dockersave.entries(contents):
            yield dockersave.read_image(contents, entry)
    elif not is_root and dockerlegacy.is_saved(contents, names):
        for top, called in dockerlegacy.images(contents).items():
            yield dockerlegacy.read_image(contents, top, called)
    elif layerdir.is_layers(names):
        yield layerdir.read_layers(contents)
    elif is_root:
        raise BadInput(f"load {contents.path}", "it is the root file system of an image, not an image",
                       f"`minirun import {contents.path} NAME` makes an image of it")  # fmt: skip
    else:
        raise _nothing(contents, names)


def _layout(contents: Contents, images: list[tuple[Descriptor, list[str]]]) -> Iterator[Manifest]:
    for described, names in images:
        yield ocilayout.read_image(contents, described, names)


def _both(contents: Contents, platform: Platform | None) -> Iterator[Manifest]:
    """The images of a layout, with the names that its manifest.json has for them; and those that only this has."""
    entries = dockersave.entries(contents)
    tags = [dockersave.tags(contents, entry) for entry in entries]
    named: set[str] = set()
    try:
        named = _familiar(ocilayout.names(contents))
        images = ocilayout.images(contents, platform)
        for manifest in _layout(contents, images):
            for part in manifest.parts:
                contents.look(part)
    except BadInput:
        # a layout that is not whole, and that knows of no image which manifest.json does not know
        if not entries or not named <= _familiar(name for names in tags for name in names):
            raise
        images = []
    configs = [dockersave.promised(dockersave.config_path(contents, entry)) for entry in entries]
    known: set[str] = set()
    for manifest in _layout(contents, images):
        digest = sha256(manifest.exact).hexdigest()
        more = [name for config, names in zip(configs, tags, strict=True) if config == digest for name in names]
        manifest.names = [*manifest.names, *more]
        known |= {digest, *_familiar(manifest.names)}
        yield manifest
    for entry, config, names in zip(entries, configs, tags, strict=True):
        # the same name with another config: the image for another platform
        if config not in known and not (names and _familiar(names) <= known):
            yield dockersave.read_image(contents, entry)


def _familiar(names: Iterable[str]) -> set[str]:
    found = set()
    for name in names:
        try:
            found.add(parse(name).familiar)
        except BadInput:
            found.add(name)  # refused, or left out, by whoever gives names
    return found


def _nothing(contents: Contents, names: list[str]) -> BadInput:
    reason = "it holds no image" if names else f"the {contents.whole} is empty"
    return BadInput(f"use {contents.path} as an image", reason, _FORMS)
