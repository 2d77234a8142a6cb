"""`ps`: the containers, a line each."""

from __future__ import annotations

import time
from typing import Any

import click

from minirun.cli import quantity, screen, table
from minirun.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.container.record import Record
    from minirun.container.state import State

_TITLES = {
    "ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "CreatedAt": "CREATED AT", "RunningFor": "CREATED",
    "State": "STATE", "Status": "STATUS", "Ports": "PORTS", "Names": "NAMES", "Labels": "LABELS", "Mounts": "MOUNTS",
    "Networks": "NETWORKS", "Size": "SIZE",
}  # fmt: skip
_COLUMNS = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")
_COLOURS = {"Status": {"Up": screen.GREEN, "Exited": screen.DIM}}
_COMMAND_WIDTH = 20


@click.command(
    "ps",
    cls=Command,
    examples="""
minirun ps                                       those that run
minirun ps -a --filter exited=1                  those that failed
minirun ps -a --format 'table {{.Names}}\\t{{.Status}}'
minirun rm $(minirun ps -aq)                     remove all that do not run
""",
)
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that do not run.")
@click.option("-q", "--quiet", is_flag=True, help="Ids only.")
@click.option("--no-trunc", is_flag=True, help="Whole ids and commands.")
@click.option("-f", "--filter", "filters", metavar="NAME=VALUE", multiple=True,
              help="Only those with this id, name, status, exited, label, ancestor, before or since.")  # fmt: skip
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
@click.option("-n", "--last", type=int, default=-1, metavar="N", help="The N created last, running or not.")
@click.option("-l", "--latest", is_flag=True, help="The one created last, running or not.")
@click.option("-s", "--size", is_flag=True, help="What each wrote, in bytes.")
def ps(
    *,
    everything: bool,
    quiet: bool,
    no_trunc: bool,
    filters: Sequence[str],
    form: str,
    last: int,
    latest: bool,
    size: bool,
) -> None:
    """List containers."""
    from minirun.engine import containers

    last = 1 if latest else last
    found = containers.ps(everything=everything or last > 0, filters=filters, last=last, warn=screen.refuse)
    if quiet and not form:
        screen.write("".join(f"{box.id if no_trunc else box.id[:12]}\n" for box, _ in found))
        return
    measured = size or ".Size" in form
    words = containers.image_words([box for box, _ in found])
    rows = [_row(box, now, word, whole=no_trunc) for (box, now), word in zip(found, words, strict=True)]
    if measured:
        for row, (box, _) in zip(rows, found, strict=True):
            written, virtual = containers.usage(box)
            row["Size"] = f"{quantity.size(written)} (virtual {quantity.size(virtual)})"
    columns = (*_COLUMNS, "Size") if size else _COLUMNS
    table.show(rows, _TITLES, columns, form, colours=_COLOURS)


def _row(box: Record, now: State, image: str, *, whole: bool) -> dict[str, Any]:
    from minirun.engine.containers import command_line

    line = command_line(box)
    if not whole and len(line) > _COMMAND_WIDTH:
        line = line[: _COMMAND_WIDTH - 1] + "…"
    labels = box.options["labels"]
    mounts = [source for source, _, _ in box.options["volumes"]]
    return {
        "ID": box.id if whole else box.id[:12],
        "Image": image,
        "Command": screen.quote(line),
        "CreatedAt": quantity.date(box.created),
        "RunningFor": quantity.ago(box.created),
        "State": now.status,
        "Status": status(now),
        "Ports": "",
        "Names": box.name,
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "Label": lambda key: labels.get(key, ""),
        "Mounts": ",".join(mounts),
        "Networks": box.options["network"],
        "Size": "",  # measured where it is asked for
    }


def status(now: State) -> str:
    """What became of a container, in Docker's words."""
    if now.status == "created":
        return "Created"
    if now.alive:
        up = f"Up {quantity.duration(time.time() - now.started)}"
        return f"{up} (Paused)" if now.status == "paused" else up
    return f"Exited ({now.exit_code}) {quantity.ago(now.finished)}"
