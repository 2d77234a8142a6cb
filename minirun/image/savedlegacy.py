"""What Docker wrote before OCI layouts: a directory for each layer. dockerlegacy.py and dockersave.py read it.

    <id>/VERSION       1.0
    <id>/json          {"id", "parent", "created", "container_config": {"Cmd"}}; the top layer's has the config too
    <id>/layer.tar     not compressed
    repositories       {"busybox": {"latest": "<id of the top layer>"}}: all that Docker before 1.10 reads
    manifest.json      ┐ what Docker since 1.10, podman and skopeo read instead, so that the image has its
    <image>.json       ┘ own id there; the older ones look at directories only

An id is the sha256 of the layer's json without it: the same layers on each other are there once. See docker/docker,
image/spec/v1.md.
"""

from __future__ import annotations

from hashlib import sha256

from minirun.image.savedlayout import document, repositories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.image.departure import Departure
    from minirun.image.leavingblobs import Blob

    Entries = dict[str, bytes | Blob]

_NO_DATE = "1970-01-01T00:00:00Z"


def legacy(departures: Sequence[Departure]) -> Entries:
    """A directory for each layer; the layers must not be compressed."""
    entries: Entries = {}
    images, tops = [], []
    for departure in departures:
        ids = _layers(departure, entries)
        tops.append(ids[-1] if ids else departure.id)
        entries[f"{departure.id}.json"] = departure.config
        images.append({
            "Config": f"{departure.id}.json",
            "RepoTags": [reference.familiar for reference in departure.tags] or None,
            "Layers": [f"{layer}/layer.tar" for layer in ids],
        })  # fmt: skip
    return entries | {"manifest.json": document(images), **repositories(departures, tops)}


def _layers(departure: Departure, entries: Entries) -> list[str]:
    """Add the layers of an image to *entries*; returns their ids, bottom to top."""
    raw = departure.image.config.raw
    told = [entry for entry in raw.get("history") or () if not entry.get("empty_layer")]
    ids: list[str] = []
    for number, layer in enumerate(departure.layers):
        said = told[number] if len(told) == len(departure.layers) else {}
        json: dict[str, Any] = {
            "created": said.get("created") or _NO_DATE,
            "container_config": {"Cmd": [said["created_by"]] if said.get("created_by") else None},
            "os": raw.get("os") or "linux",
            "layer_id": layer.diff_id,
        }
        if number == len(departure.layers) - 1:
            json |= {key: value for key, value in raw.items() if key not in ("rootfs", "history")}
        if ids:
            json["parent"] = ids[-1]
        ids.append(sha256(document(json)).hexdigest())
        entries[f"{ids[-1]}/VERSION"] = b"1.0"
        entries[f"{ids[-1]}/json"] = document({**json, "id": ids[-1]})
        entries[f"{ids[-1]}/layer.tar"] = layer
    return ids
