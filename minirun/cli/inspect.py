"""`inspect`: all that is known of containers, images, volumes and networks, as Docker's JSON has it."""

from __future__ import annotations

import json
from typing import Any

import click

from minirun.cli import complete, screen, table
from minirun.cli.command import Command
from minirun.errors import BadInput, MinirunError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "inspect",
    cls=Command,
    examples="""
minirun inspect web
minirun inspect -f '{{.State.Pid}}' web
minirun inspect -f '{{range .Mounts}}{{.Source}} {{end}}' web
minirun inspect --type image -f '{{json .Config}}' my-web
minirun image inspect --platform linux/arm64 my-web
""",
)
@click.argument("names", metavar="NAME|ID...", nargs=-1, required=True, shell_complete=complete.both)
@click.option("-f", "--format", "form", metavar="FORMAT", default="", help="json, or a Go template.")
@click.option("-s", "--size", is_flag=True, help="Also measure containers: SizeRw, SizeRootFs.")
@click.option("--type", "kind", type=click.Choice(["container", "image", "network", "volume"]),
              help="Look among these only.")  # fmt: skip
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Look among images, and refuse one for another platform.")
def inspect(*, names: Sequence[str], form: str, size: bool, kind: str | None, platform: str | None) -> int:
    """Show everything about containers, images, volumes and networks."""
    if platform and kind == "container":
        raise BadInput("inspect a container by --platform", "images are for platforms", "leave it or --type out")
    kind = "image" if platform else kind
    found, code = [], 0
    for name in names:
        try:
            found.append(_find(name, kind, platform, size=size))
        except MinirunError as error:
            if len(names) == 1:
                raise
            code = screen.refuse(error)
    if form:
        table.show_objects(found, form)
    else:
        text = json.dumps(found, indent=4, ensure_ascii=False)
        screen.write(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") + "\n")
    return code


def _find(name: str, kind: str | None, platform: str | None, *, size: bool) -> dict[str, Any]:
    from minirun.engine import containers

    if kind == "volume":
        return _volume(name)
    if kind == "network":
        return _network(name)
    if kind != "image":
        try:
            return containers.inspect(name, size=size)
        except NotFound:
            if kind:
                raise
    from minirun.engine import images

    try:
        return images.inspect(name, platform)
    except NotFound:
        if kind:
            raise
    for look in (_volume, _network):
        try:
            return look(name)
        except NotFound:
            continue
    raise NotFound(f"inspect {name}", "there is no container, image, volume or network of that name or id",
                   "`minirun ps -a`, `images`, `volume ls` and `network ls` list them")  # fmt: skip


def _network(name: str) -> dict[str, Any]:
    from minirun.engine import networks

    return networks.inspect(name)


def _volume(name: str) -> dict[str, Any]:
    from minirun.engine import volumes

    return volumes.inspect(name)
