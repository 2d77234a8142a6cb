"""An OCI image layout as it is written, with what Docker adds to it; ocilayout.py and dockersave.py read them.

    oci-layout       {"imageLayoutVersion": "1.0.0"}
    index.json       a descriptor of the manifest for each name, or one where an image leaves without
    blobs/sha256/…   manifests, configs, layers, each once
    manifest.json    what every Docker since 1.10 reads, and podman and skopeo as "docker-archive"    ┐ `docker save`
    repositories     what those before read first                                                     ┘ since version 25

                                          in an OCI layout       in Docker's archive
    io.containerd.image.name              docker.io/library/busybox:latest, both
    org.opencontainers.image.ref.name     busybox:latest         latest

The second is what `skopeo copy oci:DIR:NAME` and umoci select by; several images in one layout need whole names there.
"""

from __future__ import annotations

from minirun.image.departure import descriptor
from minirun.image.ocimanifest import CONTAINERD_NAME, NAME
from minirun.image.seal import ordered
from minirun.kernel import jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirun.image.departure import Departure
    from minirun.image.leavingblobs import Blob
    from minirun.image.reference import Reference

    Entries = dict[str, bytes | Blob]

_INDEX = "application/vnd.oci.image.index.v1+json"


def oci(departures: Sequence[Departure]) -> Entries:
    """An OCI layout."""
    return _layout(departures, lambda reference: reference.familiar)


def docker(departures: Sequence[Departure]) -> Entries:
    """What `docker save` writes."""
    return _layout(departures, lambda reference: reference.tag) | {
        "manifest.json": document([
            {
                "Config": _path(departure.id),
                "RepoTags": [reference.familiar for reference in departure.tags] or None,
                "Layers": [_path(layer.digest) for layer in departure.layers],
            }
            for departure in departures
        ]),
        **repositories(departures, [(departure.layers[-1].digest[7:] if departure.layers else departure.id)
                                    for departure in departures]),
    }  # fmt: skip


def repositories(departures: Sequence[Departure], tops: Sequence[str]) -> Entries:
    """Docker's file of names; none where no image leaves with one.

    Args:
        departures: the images.
        tops: what the names of each lead to.
    """
    named: dict[str, dict[str, str]] = {}
    for departure, top in zip(departures, tops, strict=True):
        for reference in departure.tags:
            named.setdefault(reference.name, {})[reference.tag] = top
    return {"repositories": document(named)} if named else {}


def document(value: Any) -> bytes:
    """A JSON document, the same bytes for the same contents."""
    return jsonfile.dumps(ordered(value)).encode() + b"\n"


def _layout(departures: Sequence[Departure], called: Callable[[Reference], str]) -> Entries:
    entries: Entries = {"oci-layout": jsonfile.dumps({"imageLayoutVersion": "1.0.0"}).encode()}
    manifests = []
    for departure in departures:
        entries[_path(departure.id)] = departure.config
        entries[_path(departure.digest)] = departure.document
        entries |= {_path(layer.digest): layer for layer in departure.layers}
        described = descriptor(departure.media_type, departure.digest, len(departure.document))
        described["platform"] = _platform(departure)
        names = [{CONTAINERD_NAME: qualified(reference), NAME: called(reference)} for reference in departure.tags]
        manifests += [{**described, "annotations": name} for name in names] or [described]
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    return entries | {"index.json": document(index)}


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _platform(departure: Departure) -> dict[str, Any]:
    raw = departure.image.config.raw
    return {key: raw[key] for key in ("os", "architecture", "variant") if raw.get(key)}


def qualified(reference: Reference) -> str:
    """The name with its registry: ``docker.io/library/busybox:latest``."""
    host, slash, _ = reference.name.partition("/")
    if slash and (host == "localhost" or "." in host or ":" in host):
        return reference.familiar
    return f"docker.io/{'' if slash else 'library/'}{reference.familiar}"
