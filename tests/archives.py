"""Archives of images, written by hand in the forms that nobody's tool writes any more, or none that is here does.

save_legacy    docker save before 1.10: repositories, <id>/VERSION, <id>/json, <id>/layer.tar
save           docker save 1.10 to 24: manifest.json, <id>.json, <id>/layer.tar
save_today     docker save since 25: an OCI layout, and manifest.json for the same blobs
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests import tars

OCI = "application/vnd.oci.image."


@dataclass(frozen=True, slots=True)
class Saved:
    """An image to be saved: its names, its layers from the bottom up, and its config without them."""

    names: Sequence[str]
    layers: Sequence[bytes]
    config: Mapping[str, Any]

    def document(self) -> bytes:
        """Its config."""
        whole = {"architecture": "amd64", "os": "linux", "config": {}, **self.config}
        whole["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{digest(layer)}" for layer in self.layers]}
        return json.dumps(whole).encode()


def digest(data: bytes) -> str:
    """The sha256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def archive(files: Mapping[str, bytes]) -> bytes:
    """The tar of these files."""
    return tars.tar(*(tars.file(name.encode(), data) for name, data in files.items()))


def save(*images: Saved) -> bytes:
    """What docker save wrote from 1.10 to 24; a layer that repeats is a symlink."""
    entries: list[bytes] = []
    manifest = []
    first: dict[bytes, str] = {}
    for number, image in enumerate(images):
        config = image.document()
        paths = []
        for place, layer in enumerate(image.layers):
            folder = digest(b"%d %d" % (number, place))
            path = f"{folder}/layer.tar"
            entries += [tars.directory(f"{folder}/".encode()), tars.file(f"{folder}/VERSION".encode(), b"1.0")]
            if layer in first:
                entries.append(tars.symlink(path.encode(), f"../{first[layer]}".encode()))
            else:
                entries.append(tars.file(path.encode(), layer))
            first.setdefault(layer, path)
            paths.append(path)
        entries.append(tars.file(f"{digest(config)}.json".encode(), config))
        manifest.append({"Config": f"{digest(config)}.json", "RepoTags": list(image.names) or None, "Layers": paths})
    return tars.tar(*entries, tars.file(b"manifest.json", json.dumps(manifest).encode()))


def save_legacy(*images: Saved) -> bytes:
    """What docker save wrote before 1.10: ids are those that its images had, by chance."""
    files: dict[str, bytes] = {}
    repositories: dict[str, dict[str, str]] = {}
    for number, image in enumerate(images):
        parent = ""
        for place, layer in enumerate(image.layers):
            layer_id = digest(f"{parent} {number} {place}".encode())
            said: dict[str, Any] = {"id": layer_id, "created": f"2014-01-0{place + 1}T00:00:00Z", "os": "linux"}
            said["container_config"] = {"Cmd": ["/bin/sh", "-c", f"make {place}"]}
            if parent:
                said["parent"] = parent
            if place == len(image.layers) - 1:
                said |= {"architecture": "amd64", **image.config}
            files[f"{layer_id}/VERSION"] = b"1.0"
            files[f"{layer_id}/json"] = json.dumps(said).encode()
            files[f"{layer_id}/layer.tar"] = layer
            parent = layer_id
        for name in image.names:
            repository, _, tag = name.rpartition(":")
            repositories.setdefault(repository, {})[tag] = parent
    if repositories:
        files["repositories"] = json.dumps(repositories).encode()
    return archive(files)


def save_today(*images: Saved) -> bytes:
    """What docker save writes since 25."""
    blobs: dict[str, bytes] = {}
    index, manifest = [], []

    def blob(data: bytes, kind: str) -> dict[str, Any]:
        blobs[f"blobs/sha256/{digest(data)}"] = data
        return {"mediaType": f"{OCI}{kind}", "digest": f"sha256:{digest(data)}", "size": len(data)}

    for image in images:
        layers = [blob(layer, "layer.v1.tar") for layer in image.layers]
        config = blob(image.document(), "config.v1+json")
        whole = {"schemaVersion": 2, "mediaType": f"{OCI}manifest.v1+json", "config": config, "layers": layers}
        described = blob(json.dumps(whole).encode(), "manifest.v1+json")
        for name in image.names or [""]:
            annotations = {
                "io.containerd.image.name": f"docker.io/library/{name}",
                "org.opencontainers.image.ref.name": name.rpartition(":")[2],
            }
            index.append({**described, **({"annotations": annotations} if name else {})})
        paths = [f"blobs/sha256/{layer['digest'][7:]}" for layer in layers]
        manifest.append(
            {"Config": f"blobs/sha256/{config['digest'][7:]}", "RepoTags": list(image.names) or None, "Layers": paths}
        )
    return archive(
        {
            **blobs,
            "index.json": json.dumps({"schemaVersion": 2, "manifests": index}).encode(),
            "manifest.json": json.dumps(manifest).encode(),
            "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        }
    )
