"""`volume create`, `ls`, `inspect`, `rm`, `export`, `import`, `clone`; `volume prune` is with its like in prune.py."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from minirun.cli import complete, fast, screen, table
from minirun.cli.archive import refuse_terminal
from minirun.cli.command import Command
from minirun.cli.named import each
from minirun.errors import BadInput, MinirunError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.container.volumes import Volume

_TITLES = {
    "Driver": "DRIVER", "Name": "VOLUME NAME", "Scope": "SCOPE", "Mountpoint": "MOUNTPOINT", "Labels": "LABELS",
    "Links": "LINKS", "CreatedAt": "CREATED AT",
}  # fmt: skip
_NAMES = click.argument("names", metavar="VOLUME...", nargs=-1, required=True, shell_complete=complete.volumes)
_NAME = click.argument("name", metavar="VOLUME", shell_complete=complete.volumes)


@click.command(
    "volume-create",
    cls=Command,
    examples="""
minirun volume create db
minirun volume create --label team=red db
minirun volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=64m,mode=1770 scratch
minirun volume create --opt type=none --opt o=bind --opt device=/srv/data data
""",
)
@click.argument("name", metavar="[VOLUME]", required=False)
@click.option("-d", "--driver", metavar="DRIVER", default="local", help="Who keeps it: local is the only one.")
@click.option("--label", "labels", metavar="KEY[=VALUE]", multiple=True, help="Put a label on it.")
@click.option("-o", "--opt", "options", metavar="KEY=VALUE", multiple=True,
              help="Be something else than a directory of the store: type=tmpfs, or o=bind of a device.")  # fmt: skip
def volume_create(*, name: str | None, driver: str, labels: Sequence[str], options: Sequence[str]) -> None:
    """Make a volume, and print its name; without one it is anonymous, and has a random name."""
    from minirun.engine import volumes

    made = volumes.create(name, driver=driver, labels=_pairs("--label", labels), options=_pairs("--opt", options))
    screen.write(f"{made}\n")


def _pairs(flag: str, given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        key, _, value = text.partition("=")
        if not key:
            raise BadInput(f"read {flag} {text!r}", "it has no name", f"write it as {flag} NAME=VALUE")
        pairs[key] = value
    return pairs


@click.command(
    "volume-ls",
    cls=Command,
    examples="""
minirun volume ls
minirun volume ls -q --filter dangling=true      those that no container has
minirun volume ls --format '{{.Name}}: {{.Mountpoint}}'
""",
)
@click.option("-q", "--quiet", is_flag=True, help="Names only.")
@click.option("-f", "--filter", "filters", metavar="NAME=VALUE", multiple=True,
              help="Only those with this dangling, driver, label or name.")  # fmt: skip
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
def volume_ls(*, quiet: bool, filters: Sequence[str], form: str) -> None:
    """List volumes."""
    from minirun.engine import volumes

    found = volumes.listed(filters, screen.refuse)
    if quiet and not form:
        screen.write("".join(f"{volume.name}\n" for volume, _ in found))
        return
    table.show([_row(volume, count) for volume, count in found], _TITLES, ("Driver", "Name"), form)


def _row(volume: Volume, count: int) -> dict[str, Any]:
    from minirun.cli import quantity
    from minirun.container.volumes import data
    from minirun.engine.volumes import labels
    from minirun.home import Home

    named = labels(volume)
    return {
        "Driver": "local",
        "Name": volume.name,
        "Scope": "local",
        "Mountpoint": data(Home.of_environment(), volume.name),
        "Labels": ",".join(f"{key}={value}" for key, value in named.items()),
        "Label": lambda key: named.get(key, ""),
        "Links": str(count),
        "CreatedAt": quantity.date(volume.created),
    }


@click.command(
    "volume-inspect",
    cls=Command,
    examples="""
minirun volume inspect db
minirun volume inspect -f '{{.Mountpoint}}' db
""",
)
@_NAMES
@click.option("-f", "--format", "form", metavar="FORMAT", default="", help="json, or a Go template.")
def volume_inspect(*, names: Sequence[str], form: str) -> int:
    """Show everything about volumes as JSON."""
    from minirun.engine import volumes

    found, code = [], 0
    for name in names:
        try:
            found.append(volumes.inspect(name))
        except MinirunError as error:
            if len(names) == 1:
                raise
            code = screen.refuse(error)
    if form:
        table.show_objects(found, form)
    else:
        screen.write(json.dumps(found, indent=4, ensure_ascii=False) + "\n")
    return code


@click.command(
    "volume-rm",
    cls=Command,
    examples="""
minirun volume rm db
minirun volume rm $(minirun volume ls -q --filter dangling=true)
""",
)
@_NAMES
@click.option("-f", "--force", is_flag=True, help="That there is none of a name is no failure.")
def volume_rm(*, names: Sequence[str], force: bool) -> int:
    """Remove volumes, with all that is in them; never one that a container has."""
    from minirun.engine import volumes

    outcomes = []
    for outcome in volumes.remove(names):
        if force and isinstance(outcome, NotFound):
            screen.refuse(outcome)
        else:
            outcomes.append(outcome)
    return each(outcomes, several=len(names) > 1)


@click.command(
    "volume-export",
    cls=Command,
    examples="""
minirun volume export -o db.tar db
minirun volume export db | zstd >db.tar.zst
""",
)
@_NAME
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Write it there, not to standard output.")
def volume_export(*, name: str, output: str | None) -> None:
    """Write what is in a volume as a tar."""
    from minirun.engine import open_home, volumetar
    from minirun.engine.output import archive

    if output is None:
        refuse_terminal(f"export volume {name}", "a tar")
    with archive(open_home(), output) as descriptor:
        volumetar.export(name, descriptor)


@click.command(
    "volume-import",
    cls=Command,
    examples="""
minirun volume import db db.tar
tar -C dir -c . | minirun volume import db
""",
)
@_NAME
@click.argument("source", metavar="[FILE|-]", default="-", type=click.Path(allow_dash=True))
def volume_import(*, name: str, source: str) -> None:
    """Put what is in a tar into a volume, beside what is there; of what has the same name the tar's wins.

    A damaged tar changes nothing.
    """
    if source == "-" and sys.stdin.isatty():
        raise BadInput("import from standard input", "it is a terminal, and no tar will come from it",
                       f"pipe one in: `tar -C DIR -c . | minirun volume import {name}`")  # fmt: skip
    from minirun.engine import volumetar

    if source == "-":
        volumetar.import_(name, 0, fast.warn)
        return
    try:
        file = open(source, "rb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise BadInput(f"import {source}", error) from None
    with file:
        volumetar.import_(name, file.fileno(), fast.warn)


@click.command("volume-clone", cls=Command, examples="minirun volume clone db db-before-upgrade")
@_NAME
@click.argument("new_name", metavar="NEW")
def volume_clone(*, name: str, new_name: str) -> None:
    """Make a volume with the same in it, and print its name; files share their data where the file system can."""
    from minirun.engine import volumetar

    screen.write(f"{volumetar.clone(name, new_name)}\n")
