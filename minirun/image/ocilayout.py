"""An OCI image layout, as umoci, skopeo, buildah and `docker save` write it.

    oci-layout                {"imageLayoutVersion": "1.0.0"}
    index.json ──manifests──▶ descriptor ──▶ blobs/sha256/<manifest> ──config──▶ blobs/sha256/<config>, the id
                   │                                   └──layers─▶ blobs/sha256/<layer> …
                   └────────▶ descriptor of another index, nested, for several platforms

A descriptor is {"mediaType", "digest": "sha256:…", "size", "platform"?, "annotations"?}. Each digest is checked for its
form before it becomes a path, and against the contents while they are read. See image-spec, image-layout.md.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, BadLayer, Unsupported
from minirun.image import foreign
from minirun.image.folder import CONFIG_BYTES, MANIFEST_BYTES
from minirun.image.manifest import LAYERS, Manifest, Part, describe_layers
from minirun.image.reference import is_digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.image.folder import Folder

DEPTH = 4  # of an index in an index
MANIFESTS = 1000  # in all of them

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
_NAME = "org.opencontainers.image.ref.name"
_DAMAGED = "the layout is damaged; copy it again"


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
    version = _object(folder, "oci-layout", folder.read_json("oci-layout")).get("imageLayoutVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise Unsupported(f"read {folder.path}", f"its oci-layout is of version {version!r}", "version 1 is known here")
    found = _manifests(folder, "index.json", folder.read_json("index.json"), 0)
    return _read_image(folder, _choose(folder, found))


def _choose(folder: Folder, found: list[dict[str, Any]]) -> dict[str, Any]:
    different = {descriptor["digest"]: descriptor for descriptor in reversed(found)}
    if len(different) > 1:
        here = {"os": "linux", "architecture": foreign.architecture()}
        different = {
            digest: descriptor
            for digest, descriptor in different.items()
            if all((descriptor.get("platform") or here).get(key) == value for key, value in here.items())
        }
    if len(different) == 1:
        return next(iter(different.values()))
    attempt = f"use {folder.path} as an image"
    if not different:
        reason = f"none of its {len(found)} images is for this host" if found else "its index.json names no image"
        raise BadInput(attempt, reason, f"this host runs linux/{foreign.architecture()}")
    names = sorted(_called(descriptor) for descriptor in different.values())
    raise BadInput(attempt, f"it holds {len(names)} images: {', '.join(names[:20])}",
                   f"copy one to a layout of its own: `skopeo copy oci:{folder.path}:NAME oci:OTHER`")  # fmt: skip


def _called(descriptor: dict[str, Any]) -> str:
    name = (descriptor.get("annotations") or {}).get(_NAME)
    digest: str = descriptor["digest"]
    return name if isinstance(name, str) else digest[:19]


def _manifests(folder: Folder, name: str, index: object, depth: int) -> list[dict[str, Any]]:
    """Descriptors of the images in an index and in those it names."""
    entries = _object(folder, name, index).get("manifests")
    if not isinstance(entries, list) or len(entries) > MANIFESTS:
        raise BadLayer(f"read {name!r} in {folder.path}", f"manifests is no list of at most {MANIFESTS}", _DAMAGED)
    found: list[dict[str, Any]] = []
    for entry in entries:
        descriptor = _descriptor(folder, name, entry)
        if descriptor.get("mediaType") in _INDEXES:
            if depth == DEPTH:
                raise BadLayer(f"read {name!r} in {folder.path}", f"more than {DEPTH} indexes are nested", _DAMAGED)
            blob, data = _blob(folder, descriptor, MANIFEST_BYTES)
            found += _manifests(folder, blob, folder.parse(blob, data), depth + 1)
        elif not _is_attestation(descriptor):
            found.append(descriptor)
        if len(found) > MANIFESTS:
            raise BadLayer(f"read {folder.path}", f"it holds more than {MANIFESTS} images", _DAMAGED)
    return found


def _is_attestation(descriptor: dict[str, Any]) -> bool:
    # BuildKit's statements about an image stand beside it, as images for a platform that nobody has
    return "vnd.docker.reference.type" in (descriptor.get("annotations") or {})


def _read_image(folder: Folder, descriptor: dict[str, Any]) -> Manifest:
    name, data = _blob(folder, descriptor, MANIFEST_BYTES)
    manifest = _object(folder, name, folder.parse(name, data))
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) > LAYERS:
        raise BadLayer(f"read {name!r} in {folder.path}", f"layers is no list of at most {LAYERS}", _DAMAGED)
    described = _descriptor(folder, name, manifest.get("config"))
    if described.get("mediaType") not in (*_CONFIGS, None):
        reason = f"it holds {str(described['mediaType'])[:80]!r}, which is no container's image"
        raise BadInput(f"use {folder.path} as an image", reason, f"an image's config is of type {_CONFIGS[0]}")
    config_name, exact = _blob(folder, described, CONFIG_BYTES)
    config = foreign.read(folder.parse(config_name, exact), f"{folder.path}/{config_name}")
    if len(config.diff_ids) != len(layers):
        reason = f"its manifest has {len(layers)} layers and its config {len(config.diff_ids)}"
        raise BadLayer(f"use {folder.path} as an image", reason, _DAMAGED)
    parts = []
    for layer, diff_id in zip(layers, config.diff_ids, strict=True):
        blob = _descriptor(folder, name, layer)
        parts.append(Part(_path(blob["digest"]), digest=blob["digest"], diff_id=diff_id))
    describe_layers(config, parts)
    called = (descriptor.get("annotations") or {}).get(_NAME)
    return Manifest(config, parts, exact=exact, digest=descriptor["digest"],
                    names=[called] if isinstance(called, str) else [])  # fmt: skip


def _object(folder: Folder, name: str, document: object) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise BadLayer(f"read {name!r} in {folder.path}", "it is not a JSON object", _DAMAGED)
    return document


def _descriptor(folder: Folder, name: str, document: object) -> dict[str, Any]:
    descriptor = _object(folder, name, document)
    attempt = f"read {name!r} in {folder.path}"
    if not is_digest(descriptor.get("digest")):
        shown = repr(descriptor.get("digest"))[:90]
        raise BadLayer(attempt, f"a digest is {shown}, not sha256: and 64 hexadecimal digits", _DAMAGED)
    size = descriptor.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BadLayer(attempt, f"the size of {descriptor['digest']} is no number of bytes", _DAMAGED)
    for key in ("platform", "annotations"):
        if not isinstance(descriptor.get(key, {}), dict | None):
            raise BadLayer(attempt, f"{key} of {descriptor['digest']} is no object", _DAMAGED)
    return descriptor


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest[7:]}"


def _blob(folder: Folder, descriptor: dict[str, Any], limit_bytes: int) -> tuple[str, bytes]:
    """Read a manifest, an index or a config, and hold it against its descriptor."""
    from hashlib import sha256

    name = _path(descriptor["digest"])
    data = folder.read(name, limit_bytes)
    if len(data) != descriptor["size"] or sha256(data).hexdigest() != descriptor["digest"][7:]:
        raise BadLayer(f"read {os.path.join(folder.path, name)}", "its contents are not those its digest names",
                       _DAMAGED)  # fmt: skip
    return name, data
