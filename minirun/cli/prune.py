"""`container`, `image`, `network`, `volume` and `system prune`: what nobody needs goes, after a question."""

from __future__ import annotations

import sys

import click

from minirun.cli import quantity, screen
from minirun.cli.command import Command
from minirun.errors import MinirunError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.prune import Pruned

_ANSWER_BYTES = 100
_FORCE = click.option("-f", "--force", is_flag=True, help="Do not ask.")
_FILTER = click.option(
    "--filter", "filters", metavar="NAME=VALUE", multiple=True,
    help="Only those with this label, without it (label!=), or made before a time (until).",
)  # fmt: skip
_STOPPED = "all containers that do not run"
_DANGLING = "all images without a name, of which there is no container"
_ANONYMOUS = "all anonymous volumes that no container has"
_LONELY = "all networks that no running container is on"
_IDLE = "all volumes that no container has"
_UNUSED = "all images of which there is no container"
# gc's word → what a person reads
_REMAINS = {
    "OperationsUndone": "operations that were cut short",
    "LayersRemoved": "layers without an image",
    "OthersRemoved": "other remains",
    "BridgesRemoved": "bridges of the default network",
}


@click.command(
    "container-prune",
    cls=Command,
    examples="""
minirun container prune
minirun container prune -f --filter until=24h    those made more than a day ago
""",
)
@_FORCE
@_FILTER
def container_prune(*, force: bool, filters: Sequence[str]) -> int:
    """Remove all containers that do not run, with all that they wrote."""
    from minirun.engine import prune

    chosen = prune.choose(filters)
    if not force:
        _confirm("prune containers", f"remove {_STOPPED}.")
    return _tell(prune.containers(chosen))


@click.command(
    "image-prune",
    cls=Command,
    examples="""
minirun image prune
minirun image prune -a --filter label!=keep      also those with a name, but for those with the label
""",
)
@click.option("-a", "--all", "everything", is_flag=True, help="Also images that have a name.")
@_FORCE
@_FILTER
def image_prune(*, everything: bool, force: bool, filters: Sequence[str]) -> int:
    """Remove images without a name of which there is no container, with the layers that nothing else needs."""
    from minirun.engine import prune

    chosen = prune.choose(filters)
    if not force:
        _confirm("prune images", f"remove {_UNUSED if everything else _DANGLING}.")
    return _tell(prune.images(chosen, named=everything))


@click.command(
    "system-prune",
    cls=Command,
    examples="""
minirun system prune
minirun system prune -af                         everything that no running container needs
""",
)
@click.option("-a", "--all", "everything", is_flag=True, help="Also images that have a name.")
@click.option("--volumes", "with_volumes", is_flag=True, help="Also anonymous volumes that no container has.")
@_FORCE
@_FILTER
def system_prune(*, everything: bool, with_volumes: bool, force: bool, filters: Sequence[str]) -> int:
    """Remove containers that do not run, networks and images that none needs, and what `gc` frees."""
    from minirun.engine import prune

    chosen = prune.choose(filters)
    if not force:
        lines = [_STOPPED, _LONELY, _UNUSED if everything else _DANGLING, "what `minirun gc` frees"]
        if with_volumes:
            lines.insert(2, _ANONYMOUS)
        text = "remove:" + "".join(f"\n  - {line}" for line in lines)
        if filters:
            text += "\n\n  Containers and images are filtered with:" + "".join(f"\n  - {one}" for one in filters)
        _confirm("prune the store", f"{text}\n")
    return _tell(prune.everything(chosen, named=everything, with_volumes=with_volumes))


@click.command(
    "volume-prune",
    cls=Command,
    examples="""
minirun volume prune
minirun volume prune -a --filter label!=keep     also those with a name, but for those with the label
""",
)
@click.option("-a", "--all", "everything", is_flag=True, help="Also volumes that somebody gave a name.")
@_FORCE
@_FILTER
def volume_prune(*, everything: bool, force: bool, filters: Sequence[str]) -> int:
    """Remove anonymous volumes that no container has, with all that is in them."""
    from minirun.engine import prune

    chosen = prune.choose(filters)
    if not force:
        _confirm("prune volumes", f"remove {_IDLE if everything else _ANONYMOUS}.")
    return _tell(prune.volumes(chosen, named=everything))


@click.command("network-prune", cls=Command, examples="minirun network prune --filter until=24h")
@_FORCE
@_FILTER
def network_prune(*, force: bool, filters: Sequence[str]) -> int:
    """Remove networks that no running container is on; the default one stays."""
    from minirun.engine import prune

    chosen = prune.choose(filters)
    if not force:
        _confirm("prune networks", f"remove {_LONELY}.")
    return _tell(prune.networks(chosen))


def _confirm(attempt: str, warning: str) -> None:
    """Ask; an end of file is no yes.

    Raises:
        MinirunError: the answer was not y.
    """
    screen.write(f"WARNING! This will {warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    try:
        answer = sys.stdin.buffer.readline(_ANSWER_BYTES)
    except OSError:
        answer = b""
    if not answer.endswith(b"\n"):
        screen.write("\n")
    if answer.strip().lower() != b"y":
        raise MinirunError(attempt, "the answer was not y; nothing was removed", "`-f` does not ask")


def _tell(pruned: Pruned) -> int:
    parts = {
        "Deleted Containers": pruned.containers,
        "Deleted Networks": pruned.networks,
        "Deleted Volumes": pruned.volumes,
        "Deleted Images": [f"{line[0].lower()}{line[1:]}" for line in pruned.images],
        "Deleted Remains": [f"{_REMAINS[word]}: {count}" for word, count in pruned.remains.items()],
    }
    text = "".join(
        f"{title}:\n" + "".join(f"{line}\n" for line in lines) + "\n" for title, lines in parts.items() if lines
    )
    screen.write(f"{text}Total reclaimed space: {quantity.size(pruned.freed_bytes)}\n")
    code = 0
    for refusal in (*pruned.unread, *pruned.refusals):
        code = screen.refuse(refusal)
    return code
