"""OCI image layouts, held against the schemas of the image-spec, and what their descriptors say against what is there.

    oci-layout            image-layout-schema.json
    index.json            image-index-schema.json      ┐ and every blob that a descriptor names is there, of that size
    blobs/…  index        the same                     │ and digest, and none besides; a layer is compressed as its
             manifest     image-manifest-schema.json   │ media type says, and its tar is the one of the config's
             config       config-schema.json           ┘ rootfs.diff_ids

The schemas are those of Debian's package golang-github-opencontainers-image-spec-dev.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import zstandard
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4, Schema

SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")
OCI, DOCKER = "application/vnd.oci.image.", "application/vnd.docker."
# Docker's documents have the form of OCI's, which were made of them
KINDS = {
    f"{OCI}index.v1+json": "image-index-schema.json",
    f"{DOCKER}distribution.manifest.list.v2+json": "image-index-schema.json",
    f"{OCI}manifest.v1+json": "image-manifest-schema.json",
    f"{DOCKER}distribution.manifest.v2+json": "image-manifest-schema.json",
    f"{OCI}config.v1+json": "config-schema.json",
    f"{DOCKER}container.image.v1+json": "config-schema.json",
}
LAYERS = {
    f"{OCI}layer.v1.tar": "none",
    f"{OCI}layer.v1.tar+gzip": "gzip",
    f"{OCI}layer.v1.tar+zstd": "zstd",
    f"{DOCKER}image.rootfs.diff.tar.gzip": "gzip",
}
MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_FORMATS = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    # fromisoformat takes more than RFC 3339, and says whether there is such a day
    if not isinstance(value, str):
        return True
    return _RFC_3339.fullmatch(value) is not None and bool(datetime.fromisoformat(value))


def _retrieve(address: str) -> Resource[Schema]:
    # an address there never exists; its last part is the name of the file
    document = json.loads((SCHEMAS / address.rpartition("/")[2]).read_text())
    return Resource.from_contents(document, default_specification=DRAFT4)


def validate(document: object, schema: str) -> None:
    """Hold a document against a schema.

    Raises:
        jsonschema.ValidationError: it does not fit.
    """
    whole = json.loads((SCHEMAS / schema).read_text())
    del whole["$schema"]  # draft 4, under https, where nobody knows it
    registry: Registry[Schema] = Registry(retrieve=_retrieve)  # type: ignore[call-arg] # of attrs, by an alias
    jsonschema.Draft4Validator(whole, registry=registry, format_checker=_FORMATS).validate(document)


def schemas() -> None:
    """Skip a test where the schemas are not installed."""
    if not SCHEMAS.is_dir():
        pytest.skip("golang-github-opencontainers-image-spec-dev is not installed")


@dataclass
class Layout:
    """What was found in a layout, in the order of its index.

    Attributes:
        manifests: their digests, ``sha256:…``.
        names: the annotations of each, where it has any.
        configs: the digests of the configs.
        layers: the digests of the layers of each manifest.
        diff_ids: of each config.
    """

    manifests: list[str] = field(default_factory=list)
    names: list[dict[str, str]] = field(default_factory=list)
    configs: list[str] = field(default_factory=list)
    layers: list[list[str]] = field(default_factory=list)
    diff_ids: list[list[str]] = field(default_factory=list)


def check(folder: Path) -> Layout:
    """Check all of the layout *folder*.

    Raises:
        jsonschema.ValidationError: a document does not fit its schema.
        AssertionError: a descriptor does not tell the truth, or a blob is there that none names.
    """
    validate(json.loads((folder / "oci-layout").read_text()), "image-layout-schema.json")
    index = json.loads((folder / "index.json").read_text())
    validate(index, "image-index-schema.json")
    found, named = Layout(), set[str]()
    waiting = list(index["manifests"])
    while waiting:
        described = waiting.pop(0)
        document = json.loads(_blob(folder, described, named))
        kind = KINDS[described["mediaType"]]
        validate(document, kind)
        if kind == "image-index-schema.json":
            waiting[:0] = document["manifests"]
            continue
        assert kind == "image-manifest-schema.json", described
        assert document.get("mediaType", described["mediaType"]) == described["mediaType"]
        _manifest(folder, document, described, found, named)
    assert {f"sha256:{path.name}" for path in (folder / "blobs/sha256").iterdir()} == named
    return found


def _manifest(
    folder: Path, manifest: dict[str, Any], described: dict[str, Any], found: Layout, named: set[str]
) -> None:
    config = json.loads(_blob(folder, manifest["config"], named))
    validate(config, KINDS[manifest["config"]["mediaType"]])
    platform = described.get("platform", {})
    assert platform.items() <= config.items(), "an image is for the platform that its descriptor says"
    layers = manifest["layers"]
    for layer, diff_id in zip(layers, config["rootfs"]["diff_ids"], strict=True):
        validate(layer, "content-descriptor.json")
        data = _blob(folder, layer, named)
        assert MAGIC.get(data[:2], "none") == LAYERS[layer["mediaType"]]
        assert digest(unpacked(data)) == diff_id
    if "history" in config:
        assert sum(not entry.get("empty_layer") for entry in config["history"]) == len(layers)
    found.manifests.append(described["digest"])
    found.names.append(described.get("annotations", {}))
    found.configs.append(manifest["config"]["digest"])
    found.layers.append([layer["digest"] for layer in layers])
    found.diff_ids.append(config["rootfs"]["diff_ids"])


def _blob(folder: Path, described: dict[str, Any], named: set[str]) -> bytes:
    validate(described, "content-descriptor.json")
    data = blob(folder, described["digest"])
    assert (digest(data), len(data)) == (described["digest"], described["size"])
    named.add(described["digest"])
    return data


def blob(folder: Path, name: str) -> bytes:
    """What is in the layout *folder* under the digest *name*."""
    return (folder / "blobs" / name.replace(":", "/")).read_bytes()


def unpacked(data: bytes) -> bytes:
    """The tar in a layer."""
    kind = MAGIC.get(data[:2])
    if kind == "zstd":
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as tar:
            return bytes(tar.read())
    return gzip.decompress(data) if kind else data


def digest(data: bytes) -> str:
    """``sha256:…``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
