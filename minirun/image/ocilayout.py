"""An OCI image layout, as umoci, skopeo, buildah and `docker save` write it.

    oci-layout                {"imageLayoutVersion": "1.0.0"}
    index.json ──manifests──▶ descriptor ──▶ blobs/sha256/<manifest> ──config──▶ blobs/sha256/<config>, the id
                   │                                   └──layers─▶ blobs/sha256/<layer> …
                   └────────▶ descriptor of another index, nested, for several platforms

See image-spec, image-layout.md; what a manifest holds is in ocimanifest.py.
"""

from __future__ import annotations

from minirun.errors import BadInput, Unsupported
from minirun.image import ocimanifest, platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.folder import Folder
    from minirun.image.manifest import Manifest
    from minirun.image.ocimanifest import Descriptor


def is_layout(names: list[str]) -> bool:
    """Whether a directory with these entries is one."""
    return "oci-layout" in names and "index.json" in names


def read(folder: Folder) -> Manifest:
    """Read the one image in *folder* that this host can run.

    Raises:
        BadInput: there is none, or there are several.
        BadLayer: a file is damaged, missing, or not what its digest says.
        Unsupported: the layout is of a later version.
    """
    return _image(folder, _the_one(folder, _descriptors(folder)))


def _descriptors(folder: Folder) -> list[Descriptor]:
    said = ocimanifest.mapping(folder.read_json("oci-layout"), f"'oci-layout' in {folder.path}")
    version = said.get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise Unsupported(f"read {folder.path}", f"its oci-layout is of version {version!r}", "version 1 is known here")
    index = folder.read_json("index.json")
    return ocimanifest.manifests(index, f"'index.json' in {folder.path}", _fetching(folder))


def _the_one(folder: Folder, found: list[Descriptor]) -> Descriptor:
    chosen = platform.choose(found, None)
    if len(chosen) == 1:
        return chosen[0]
    attempt = f"use {folder.path} as an image"
    if not chosen:
        reason = f"none of its {len(found)} images is for this host" if found else "its index.json names no image"
        raise BadInput(attempt, reason, f"this host runs {platform.Platform.here()}")
    names = sorted(_called(descriptor) for descriptor in chosen)
    raise BadInput(attempt, f"it holds {len(names)} images: {', '.join(names[:20])}",
                   f"copy one to a layout of its own: `skopeo copy oci:{folder.path}:NAME oci:OTHER`")  # fmt: skip


def _called(descriptor: Descriptor) -> str:
    name = (descriptor.get("annotations") or {}).get(ocimanifest.NAME)
    digest: str = descriptor["digest"]
    return name if isinstance(name, str) else digest[:19]


def _image(folder: Folder, descriptor: Descriptor) -> Manifest:
    where = f"{descriptor['digest'][:19]} in {folder.path}"
    return ocimanifest.image(descriptor, where, _fetching(folder), _path)


def _fetching(folder: Folder) -> ocimanifest.Fetch:
    return lambda descriptor, limit_bytes: folder.read(_path(descriptor["digest"]), limit_bytes)


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest[7:]}"
