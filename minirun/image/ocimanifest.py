"""OCI's and Docker's manifests and indexes, from the bytes that hold them: in layouts, archives and registries alike.

    index     {"manifests": [descriptor of a manifest, or of another index, nested, for several platforms …]}
    manifest  {"config": descriptor of the config, "layers": [descriptor of a blob, bottom to top …]}

A descriptor is {"mediaType", "digest": "sha256:…", "size", "platform"?, "annotations"?}. Each digest is checked for its
form before anything is named by it, and against the contents that are read. See image-spec, manifest.md and
image-index.md, and distribution's "Image Manifest V 2, Schema 2".
"""

from __future__ import annotations

from minirun.errors import BadInput, BadLayer
from minirun.image import foreign, jsondocument
from minirun.image.manifest import LAYERS, Manifest, Part, describe_layers
from minirun.image.reference import is_digest, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Descriptor = dict[str, Any]
    # reads what a descriptor names, at most so many bytes; digest and size are checked here
    Fetch = Callable[[Descriptor, int], bytes]

DEPTH = 4  # of an index in an index
MANIFESTS = 1000  # in all of them
MANIFEST_BYTES = 4 << 20
CONFIG_BYTES = 4 << 20  # as podman and skopeo have it; 8 MiB of text took more than 100 MB to read

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
CONFIGS = ("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"
_DAMAGED = "it is damaged; copy it again"


def entries(index: object, where: str) -> list[Descriptor]:
    """The descriptors that an index has, but for those of statements about its images.

    Args:
        index: the parsed document.
        where: what it is, for refusals.

    Raises:
        BadLayer: it is no index, or has too many.
    """
    found = mapping(index, where).get("manifests")
    if not isinstance(found, list) or len(found) > MANIFESTS:
        raise BadLayer(f"read {where}", f"manifests is no list of at most {MANIFESTS}", _DAMAGED)
    return [described for entry in found if not _is_attestation(described := descriptor(entry, where))]


def is_index(described: Descriptor) -> bool:
    """Whether a descriptor names another index."""
    return described.get("mediaType") in INDEXES


def manifests(index: object, where: str, fetch: Fetch) -> list[Descriptor]:
    """The descriptors of the images in an index and in those it names, in their order.

    Args:
        index: the parsed document.
        where: what it is, for refusals.
        fetch: reads the indexes that it names.

    Raises:
        BadLayer: one of them is damaged, or there are too many.
    """
    found: list[Descriptor] = []
    # what is still to be looked at, the next last: with the depth at which it lies
    waiting = [(described, 1) for described in reversed(entries(index, where))]
    seen = len(waiting)
    while waiting:
        described, depth = waiting.pop()
        if not is_index(described):
            found.append(described)
            continue
        if depth > DEPTH:
            raise BadLayer(f"read {where}", f"more than {DEPTH} indexes are nested", _DAMAGED)
        below = f"{described['digest'][:19]} in {where}"
        inner = entries(jsondocument.parse(blob(fetch, described, MANIFEST_BYTES, below), below), below)
        seen += len(inner) + 1
        if seen > MANIFESTS:
            raise BadLayer(f"read {where}", f"it holds more than {MANIFESTS} images", _DAMAGED)
        waiting += [(inside, depth + 1) for inside in reversed(inner)]
    return found


def _is_attestation(described: Descriptor) -> bool:
    # BuildKit's statements about an image stand beside it, as images for a platform that nobody has
    return "vnd.docker.reference.type" in (described.get("annotations") or {})


def image(described: Descriptor, where: str, fetch: Fetch, name: Callable[[str], str]) -> Manifest:
    """The image that a descriptor names.

    Args:
        described: from `manifests` or `descriptor`.
        where: what holds it, for refusals.
        fetch: reads its manifest and its config.
        name: gives the name of a `Part` from its digest.

    Raises:
        BadInput: it is no container's image.
        BadLayer: it is damaged.
    """
    document = blob(fetch, described, MANIFEST_BYTES, where)
    manifest = mapping(jsondocument.parse(document, where), where)
    layers = manifest.get("layers")
    if not isinstance(layers, list) or len(layers) > LAYERS:
        raise BadLayer(f"read {where}", f"layers is no list of at most {LAYERS}", _DAMAGED)
    configured = descriptor(manifest.get("config"), where)
    if configured.get("mediaType") not in (*CONFIGS, None):
        reason = f"it holds {str(configured['mediaType'])[:80]!r}, which is no container's image"
        raise BadInput(f"use {where} as an image", reason, f"an image's config is of type {CONFIGS[0]}")
    within = f"{configured['digest'][:19]} in {where}"
    exact = blob(fetch, configured, CONFIG_BYTES, within)
    config = foreign.read(jsondocument.parse(exact, within), within)
    if len(config.diff_ids) != len(layers):
        reason = f"its manifest has {len(layers)} layers and its config {len(config.diff_ids)}"
        raise BadLayer(f"use {where} as an image", reason, _DAMAGED)
    parts = [_part(descriptor(layer, where), diff_id, where, name)
             for layer, diff_id in zip(layers, config.diff_ids, strict=True)]  # fmt: skip
    describe_layers(config, parts)
    said = described.get("mediaType") or manifest.get("mediaType")
    return Manifest(
        config, parts, exact=exact, digest=described["digest"], document=document,
        media_type=said if said in MANIFEST_TYPES else MANIFEST_TYPES[0], names=names(described),
    )  # fmt: skip


def names(described: Descriptor) -> list[str]:
    """What an index calls the image, or the index, that it describes; none where that is no name of an image.

    containerd's annotation is a whole name. OCI's is whatever the user of a tool typed: most often only a tag, which
    says nothing without a repository; `podman save` puts a whole name there.
    """
    annotations = described.get("annotations") or {}
    whole, typed = annotations.get(CONTAINERD_NAME), annotations.get(NAME)
    called = whole or (typed if isinstance(typed, str) and (":" in typed or "/" in typed) else None)
    if not isinstance(called, str):
        return []
    try:
        reference = parse(called)
    except BadInput:
        return []
    return [f"{reference.name}:{reference.tag}"] if reference.tag else []


def _part(described: Descriptor, diff_id: str, where: str, name: Callable[[str], str]) -> Part:
    kind = described.get("mediaType")
    if not isinstance(kind, str | None):
        raise BadLayer(f"read {where}", f"mediaType of {described['digest']} is no string", _DAMAGED)
    if kind and "encrypted" in kind:
        raise BadInput(f"use {where} as an image", f"its layer {described['digest'][:19]} is encrypted",
                       "`skopeo copy --decryption-key KEY` writes one that is not")  # fmt: skip
    digest = described["digest"]
    return Part(name(digest), digest=digest, diff_id=diff_id, size=described["size"], media_type=kind or "")


def mapping(document: object, where: str) -> dict[str, Any]:
    """*document*, which must be a JSON object."""
    if not isinstance(document, dict):
        raise BadLayer(f"read {where}", "it is not a JSON object", _DAMAGED)
    return document


def descriptor(document: object, where: str) -> Descriptor:
    """*document* as a descriptor: the digest has its form, the size is a number, the rest is of its type.

    Raises:
        BadLayer: it is none.
    """
    described = mapping(document, where)
    if not is_digest(described.get("digest")):
        shown = repr(described.get("digest"))[:90]
        raise BadLayer(f"read {where}", f"a digest is {shown}, not sha256: and 64 hexadecimal digits", _DAMAGED)
    size = described.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BadLayer(f"read {where}", f"the size of {described['digest']} is no number of bytes", _DAMAGED)
    for key in ("platform", "annotations"):
        if not isinstance(described.get(key, {}), dict | None):
            raise BadLayer(f"read {where}", f"{key} of {described['digest']} is no object", _DAMAGED)
    return described


def blob(fetch: Fetch, described: Descriptor, limit_bytes: int, where: str) -> bytes:
    """Read a manifest, an index or a config, and hold it against its descriptor.

    Raises:
        BadLayer: it is not what the descriptor names.
    """
    from hashlib import sha256

    if described["size"] > limit_bytes:
        raise BadLayer(
            f"read {where}", f"it is said to have {described['size']} bytes", f"at most {limit_bytes} are read"
        )
    data = fetch(described, limit_bytes)
    if len(data) != described["size"] or sha256(data).hexdigest() != described["digest"][7:]:
        raise BadLayer(f"read {where}", "its contents are not those its digest names", _DAMAGED)
    return data
