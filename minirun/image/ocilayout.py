"""An OCI image layout, as umoci, skopeo, buildah and `docker save` write it, unpacked or in a tar.

    oci-layout                {"imageLayoutVersion": "1.0.0"}
    index.json ──manifests──▶ descriptor ──▶ blobs/sha256/<manifest> ──config──▶ blobs/sha256/<config>, the id
                   │                                   └──layers─▶ blobs/sha256/<layer> …
                   └────────▶ descriptor of another index, nested, for several platforms

What stands in index.json is an image, or an index of one image for several platforms. Descriptors with the same name
are one image, too: of these and of an index those count that are for the platform. A layout need not have all the blobs
that it names: `docker save` leaves out those of platforms that were never pulled.

See image-spec, image-layout.md; what a manifest holds is in ocimanifest.py.
"""

from __future__ import annotations

from minirun.errors import BadInput, Unsupported
from minirun.image import ocimanifest, platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.contents import Contents
    from minirun.image.manifest import Manifest
    from minirun.image.ocimanifest import Descriptor
    from minirun.image.platform import Platform

_SAVE = "save it again, with an image in it"


def is_layout(names: list[str]) -> bool:
    """Whether a directory with these entries is one."""
    return "oci-layout" in names and "index.json" in names


def read(contents: Contents) -> Manifest:
    """Read the one image in *contents* that this host can run.

    Raises:
        BadInput: there is none, or there are several.
        BadLayer: a file is damaged, missing, or not what its digest says.
        Unsupported: the layout is of a later version.
    """
    return _image(contents, _the_one(contents, _descriptors(contents)))


def images(contents: Contents, wanted: Platform | None) -> list[tuple[Descriptor, list[str]]]:
    """The images in *contents* that are for a platform, each with its names.

    Args:
        contents: a layout.
        wanted: the platform; None is this host's, and then an image that is alone is taken whatever it is for.

    Raises:
        BadInput: there is none, or one of them is for other platforms.
        BadLayer: an index is damaged or missing.
        Unsupported: the layout is of a later version.
    """
    groups: dict[int | str, list[Descriptor]] = {}
    where = f"'index.json' in {contents.path}"
    for number, entry in enumerate(ocimanifest.entries(_index(contents), where)):
        groups.setdefault(number if ocimanifest.is_index(entry) else _annotated(entry), []).append(entry)
    found: dict[str, tuple[Descriptor, list[str]]] = {}
    for key, entries in groups.items():
        below = ocimanifest.manifests({"manifests": entries}, where, _fetching(contents))
        suited = _suited(contents, below, wanted, _called(entries[0]))
        # of those in an index the first is the one that suits best
        for described in suited[:1] if isinstance(key, int) else suited:
            _described, names = found.setdefault(described["digest"], (described, []))
            names += [name for name in ocimanifest.names(entries[0]) if name not in names]
    if not found:
        raise BadInput(f"use {contents.path} as an image", "its index.json names no image", _SAVE)
    return list(found.values())


def names(contents: Contents) -> list[str]:
    """What its index calls them all; see `images`."""
    entries = ocimanifest.entries(_index(contents), f"'index.json' in {contents.path}")
    return [name for entry in entries for name in ocimanifest.names(entry)]


def read_image(contents: Contents, described: Descriptor, names: list[str]) -> Manifest:
    """Read one of `images`.

    Raises:
        BadLayer: a file is damaged, missing, or not what its digest says.
    """
    manifest = _image(contents, described)
    manifest.names = names
    return manifest


def _suited(contents: Contents, below: list[Descriptor], wanted: Platform | None, name: str) -> list[Descriptor]:
    there = [described for described in below if contents.kind(_path(described["digest"]))] or below
    suited = platform.choose(there, wanted)
    if not suited and below:
        has = ", ".join(sorted({platform.describe(described.get("platform")) for described in there}))
        reason = f"it is not there for {wanted or platform.Platform.here()}"
        raise BadInput(
            f"load {name[:80]} from {contents.path}", reason, f"it is for {has[:200]}: `minirun load --platform …`"
        )
    return suited


def _annotated(entry: Descriptor) -> str:
    annotations = entry.get("annotations") or {}
    return str(annotations.get(ocimanifest.CONTAINERD_NAME) or annotations.get(ocimanifest.NAME) or "")


def _descriptors(contents: Contents) -> list[Descriptor]:
    return ocimanifest.manifests(_index(contents), f"'index.json' in {contents.path}", _fetching(contents))


def _index(contents: Contents) -> object:
    said = ocimanifest.mapping(contents.read_json("oci-layout"), f"'oci-layout' in {contents.path}")
    version = said.get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        reason = f"its oci-layout is of version {str(version)[:20]!r}"
        raise Unsupported(f"read {contents.path}", reason, "version 1 is known here")
    return contents.read_json("index.json")


def _the_one(contents: Contents, found: list[Descriptor]) -> Descriptor:
    chosen = platform.choose(found, None)
    if len(chosen) == 1:
        return chosen[0]
    attempt = f"use {contents.path} as an image"
    if not chosen:
        reason = f"none of its {len(found)} images is for this host" if found else "its index.json names no image"
        raise BadInput(attempt, reason, f"this host runs {platform.Platform.here()}")
    names = sorted(_called(descriptor) for descriptor in chosen)
    remedy = f"`minirun load -i {contents.path}` takes them all, with their names; run one of these"
    raise BadInput(attempt, f"it holds {len(names)} images: {', '.join(names[:20])}", remedy)


def _called(descriptor: Descriptor) -> str:
    digest: str = descriptor["digest"]
    return _annotated(descriptor) or digest[:19]


def _image(contents: Contents, descriptor: Descriptor) -> Manifest:
    where = f"{descriptor['digest'][:19]} in {contents.path}"
    return ocimanifest.image(descriptor, where, _fetching(contents), _path)


def _fetching(contents: Contents) -> ocimanifest.Fetch:
    return lambda descriptor, limit_bytes: contents.read(_path(descriptor["digest"]), limit_bytes)


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest[7:]}"
