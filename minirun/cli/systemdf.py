"""`system df`: how much room is taken, and how much would come free."""

from __future__ import annotations

from typing import Any

import click

from minirun.cli import quantity, screen, table
from minirun.cli.command import Command
from minirun.cli.listing import status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.engine.diskusage import BlobUse, ImageUse, LayerUse, Total, Usage, VolumeUse

_TITLES = {
    "Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE",
}  # fmt: skip
_NONE = "<none>"
_COMMAND_WIDTH = 20  # as in `ps`
# what -v shows → (title of each column by its field)
_PARTS = {
    "Images": {
        "Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED", "Size": "SIZE",
        "SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE", "Containers": "CONTAINERS",
    },
    "Containers": {
        "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "Size": "SIZE", "RunningFor": "CREATED",
        "Status": "STATUS", "Names": "NAMES",
    },
    "Volumes": {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"},
    "Layers": {
        "ID": "LAYER ID", "DiffID": "DIFF ID", "Size": "SIZE", "Images": "IMAGES", "Containers": "CONTAINERS",
    },
    "Blobs": {"ID": "DIGEST", "Size": "SIZE", "Images": "IMAGES", "Containers": "CONTAINERS"},
}  # fmt: skip
_COLOURS = {"Status": {"Up": screen.GREEN, "Exited": screen.DIM}}


@click.command(
    "system-df",
    cls=Command,
    examples="""
minirun system df
minirun system df -v                             every image, container, volume, layer and blob
minirun system df --format '{{.Type}}: {{.Reclaimable}}'
minirun system df -v --format json
""",
)
@click.option("-v", "--verbose", is_flag=True, help="Every image, container, volume, layer and blob.")
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
def system_df(*, verbose: bool, form: str) -> None:
    """Show how much room images, containers and volumes take, and the blobs that they came in."""
    from minirun.engine import diskusage

    usage = diskusage.measure(screen.refuse)
    if not verbose:
        totals = {
            "Images": usage.images_total,
            "Containers": usage.containers_total,
            "Local Volumes": usage.volumes_total,
            "Blobs": usage.blobs_total,
        }
        rows = [_total(name, total) for name, total in totals.items()]
        table.show(rows, _TITLES, list(_TITLES), form)
        return
    parts = {
        "Images": [_image(use) for use in usage.images],
        "Containers": _containers(usage),
        "Volumes": [_volume(use) for use in usage.volumes],
        "Layers": [_layer(use) for use in usage.layers],
        "Blobs": [_blob(use) for use in usage.blobs],
    }
    if form not in ("", "table"):
        table.show_objects([parts], form)
        return
    for place, (name, titles) in enumerate(_PARTS.items()):
        screen.write(f"{chr(10) * (place > 0)}{name} space usage:\n\n")
        table.show([_short(row) for row in parts[name]], titles, list(titles), colours=_COLOURS)


def _total(name: str, total: Total) -> dict[str, Any]:
    share = f" ({total.reclaimable * 100 // total.size}%)" if total.size else ""
    return {
        "Type": name,
        "TotalCount": str(total.count),
        "Active": str(total.active),
        "Size": quantity.size(total.size),
        "Reclaimable": f"{quantity.size(total.reclaimable)}{share}",
    }


def _image(use: ImageUse) -> dict[str, Any]:
    from minirun.image.history import seconds

    created = seconds(use.image.created)
    # the first of its names, as Docker: a line for each would show its size as often
    repository, _, tag = (use.tags[0] if use.tags else f"{_NONE}:{_NONE}").rpartition(":")
    return {
        "Repository": repository,
        "Tag": tag,
        "ID": f"sha256:{use.image.id}",
        "Digest": use.image.digest or _NONE,
        "CreatedSince": quantity.ago(created),
        "CreatedAt": quantity.date(created),
        "Size": quantity.size(use.size),
        "SharedSize": quantity.size(use.shared),
        "UniqueSize": quantity.size(use.size - use.shared),
        "Containers": str(use.containers),
    }


def _containers(usage: Usage) -> list[dict[str, Any]]:
    from minirun.engine.containers import command_line, image_words

    words = image_words([use.box for use in usage.containers])
    return [
        {
            "ID": use.box.id,
            "Image": word,
            "Command": command_line(use.box),
            "Size": quantity.size(use.size),
            "RunningFor": quantity.ago(use.box.created),
            "CreatedAt": quantity.date(use.box.created),
            "State": use.now.status,
            "Status": status(use.now),
            "Names": use.box.name,
        }
        for use, word in zip(usage.containers, words, strict=True)
    ]


def _layer(use: LayerUse) -> dict[str, Any]:
    layer = use.layer
    return {
        "ID": layer.id,
        # of a layer that was committed it is taken when somebody needs it
        "DiffID": layer.diff_id or _NONE,
        "Contents": layer.diff,
        "Size": quantity.size(layer.size or 0),
        "Images": str(use.images),
        "Containers": str(use.containers),
    }


def _volume(use: VolumeUse) -> dict[str, Any]:
    volume = use.volume
    return {
        "Name": volume.name,
        "Driver": "local",
        "Links": str(use.containers),
        "Size": quantity.size(use.size),
        "Labels": ",".join(f"{key}={value}" for key, value in volume.labels.items()),
    }


def _blob(use: BlobUse) -> dict[str, Any]:
    return {
        "ID": use.digest,
        "Size": quantity.size(use.size),
        "Images": str(use.images),
        "Containers": str(use.containers),
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a table has it: ids of twelve digits, commands cut short."""
    short = {**row, **({"ID": row["ID"].removeprefix("sha256:")[:12]} if "ID" in row else {})}
    if "DiffID" in row and row["DiffID"] != _NONE:
        short["DiffID"] = row["DiffID"].removeprefix("sha256:")[:12]
    if "Command" in row:
        line = row["Command"]
        short["Command"] = screen.quote(line if len(line) <= _COMMAND_WIDTH else f"{line[: _COMMAND_WIDTH - 1]}…")
    return short
