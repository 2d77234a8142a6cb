"""`ps` without click: its flags, and the lines that it prints. Importing click takes as long as 500 containers do."""

from __future__ import annotations

import time

from minirun.cli import quantity, screen, table
from minirun.cli.flags import Flag
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State

FLAGS = (
    Flag("all", "a", "", "Also those that do not run"),
    Flag(
        "filter", "f", "NAME=VALUE",
        "Only those with this id, name, status, exited, label, ancestor, before, since, volume, network, health, "
        "publish or expose", many=True,
    ),
    Flag("format", "", "FORMAT", "table, json, or a Go template"),
    Flag("last", "n", "N", "The N created last, running or not"),
    Flag("latest", "l", "", "The one created last, running or not"),
    Flag("no-trunc", "", "", "Whole ids and commands"),
    Flag("quiet", "q", "", "Ids only"),
    Flag("size", "s", "", "What each wrote, in bytes"),
)  # fmt: skip
_TITLES = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED",
    "State": "STATE", "Status": "STATUS", "Ports": "PORTS", "Names": "NAMES", "Labels": "LABELS", "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Size": "SIZE",
}  # fmt: skip
_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_COLOURS = {"Status": {"Up": screen.GREEN, "Exited": screen.DIM, "Restarting": screen.YELLOW}}
_COMMAND_WIDTH = 20


def show(values: Mapping[str, Any]) -> None:
    """Print the containers that *values*, flags by long name, ask for.

    Raises:
        BadInput: a flag, a filter or the format is none.
    """
    from minirun.engine import containers

    form = values.get("format") or ""
    last = _last(values)
    whole = bool(values.get("no-trunc"))
    found = containers.ps(
        everything=bool(values.get("all")) or last > 0, filters=values.get("filter") or (), last=last,
        warn=screen.refuse,
    )  # fmt: skip
    if values.get("quiet") and not form:
        screen.write("".join(f"{box.id if whole else box.id[:12]}\n" for box, _ in found))
        return
    size = bool(values.get("size"))
    words = containers.image_words([box for box, _ in found])
    if form in ("", "table"):
        rows = [_cells(box, now, word, whole=whole) for (box, now), word in zip(found, words, strict=True)]
    else:
        rows = [_row(box, now, word, whole=whole) for (box, now), word in zip(found, words, strict=True)]
    if size or ".Size" in form:
        for row, (box, _) in zip(rows, found, strict=True):
            written, virtual = containers.usage(box)
            row["Size"] = f"{quantity.size(written)} (virtual {quantity.size(virtual)})"
    table.show(rows, _TITLES, (*_COLUMNS, "Size") if size else _COLUMNS, form, colours=_COLOURS)


def _last(values: Mapping[str, Any]) -> int:
    """How many are wanted; -1: all."""
    if values.get("latest"):
        return 1
    text = values.get("last") or "-1"
    if not text.removeprefix("-").isdecimal():
        raise BadInput(f"list the last {text} containers", "it is not a number", "write -n 3")
    return int(text) if int(text) > 0 else -1


def _cells(box: Record, now: State, image: str, *, whole: bool) -> dict[str, Any]:
    """What the usual table shows of a container."""
    from minirun.engine.containers import command_line

    line = command_line(box)
    if not whole and len(line) > _COMMAND_WIDTH:
        line = line[: _COMMAND_WIDTH - 1] + "…"
    return {
        "ID": box.id if whole else box.id[:12],
        "Image": image,
        "Command": screen.quote(line),
        "RunningFor": quantity.ago(box.created),
        "Status": status(now, _health(box, now)),
        "Ports": _ports(box, now),
        "Names": box.name,
    }


def _row(box: Record, now: State, image: str, *, whole: bool) -> dict[str, Any]:
    """All that a format can show; in the order in which Docker's JSON has it."""
    from minirun.container.mounts import of as attached
    from minirun.engine.containerfilters import networks_of

    labels = box.options["labels"]
    mounts = attached(box.options)
    row = {
        **_cells(box, now, image, whole=whole),
        "CreatedAt": quantity.date(box.created),
        "Labels": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        "LocalVolumes": str(sum(mount.type == "volume" for mount in mounts)),
        "Mounts": ",".join(mount.name or mount.source for mount in mounts),
        "Networks": ",".join(networks_of(box)),
        "Size": "",  # measured where it is asked for
        "State": now.status,
    }
    return {**dict(sorted(row.items())), "Label": lambda key: labels.get(key, "")}


def _ports(box: Record, now: State) -> str:
    if "ports" not in box.options or not now.alive:
        return ""
    from minirun.engine import ports
    from minirun.home import Home

    return ports.column(Home.of_environment(), box, now)


def _health(box: Record, now: State) -> str:
    if "health" not in box.options or not now.alive:
        return ""
    from minirun.engine.containers import health

    return health(box, now)


def status(now: State, health: str = "") -> str:
    """What became of a container, in Docker's words; *health* is that of one that runs and is checked."""
    if now.status == "created":
        return "Created"
    if now.alive:
        up = f"Up {quantity.duration(time.time() - now.started)}"
        if now.status == "paused":
            return f"{up} (Paused)"
        if health:
            return f"{up} (health: starting)" if health == "starting" else f"{up} ({health})"
        return up
    word = "Restarting" if now.status == "restarting" else "Exited"
    return f"{word} ({now.exit_code}) {quantity.ago(now.finished)}"
