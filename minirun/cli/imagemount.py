"""`image mount` and `image unmount`: a look into images from the host."""

from __future__ import annotations

from typing import Any

import click

from minirun.cli import complete, screen, table
from minirun.cli.command import Command
from minirun.cli.named import each
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.imagemounts import Mounted

_NONE = "<none>"
_TITLES = {"ID": "IMAGE ID", "Names": "NAMES", "Count": "COUNT", "MountPoint": "MOUNT POINT"}
_FORCE_HELP = "Whoever else has mounted them, and though files in them are in use."


@click.command(
    "image-mount",
    cls=Command,
    examples="""
minirun image mount debian:12
minirun image mount                              what is mounted, and where
minirun image mount --format '{{.ID}} {{.MountPoint}}'
diff -r "$(minirun image mount one)" "$(minirun image mount two)"
""",
)
@click.argument("images", metavar="[IMAGE...]", nargs=-1, shell_complete=complete.images)
@click.option("-a", "--all", "everything", is_flag=True, help="Every image.")
@click.option("--no-trunc", is_flag=True, help="Whole ids.")
@click.option("--format", "form", metavar="FORMAT", default="",
              help="Of the list of what is mounted: table, json, or a Go template.")  # fmt: skip
def image_mount(*, images: Sequence[str], everything: bool, no_trunc: bool, form: str) -> int:
    """Mount the root file systems of images on the host, read-only, and print where; without images, list them.

    An image that is mounted already is mounted no second time, but has to be unmounted once more. What an image has
    cannot be removed meanwhile. A boot forgets all mounts.
    """
    from minirun.engine import imagemounts

    if images and (everything or form or no_trunc):
        what = "--all" if everything else "--format" if form else "--no-trunc"
        reason = "images were named, and it is for all" if everything else "it is for the list of what is mounted"
        raise BadInput(f"mount images with {what}", reason, "`minirun image mount` without a name prints that")
    if images:
        return each(imagemounts.mount(images), several=len(images) > 1)
    code = 0
    if everything:
        for refusal in imagemounts.mount_all():
            code = screen.refuse(refusal)
    rows = [_row(one, whole=no_trunc) for one in imagemounts.mounted()]
    table.show(rows, _TITLES, list(_TITLES), form)
    return code


@click.command(
    "image-unmount",
    cls=Command,
    examples="""
minirun image unmount debian:12
minirun image umount --all
minirun image unmount -f 4f5e                    though a shell is in it
""",
)
@click.argument("images", metavar="[IMAGE...]", nargs=-1, shell_complete=complete.images)
@click.option("-a", "--all", "everything", is_flag=True, help="Everything that is mounted.")
@click.option("-f", "--force", is_flag=True, help=_FORCE_HELP)
def image_unmount(*, images: Sequence[str], everything: bool, force: bool) -> int:
    """Unmount images, each as often as it was mounted; print the ids of those that were."""
    from minirun.engine import imagemounts

    if bool(images) == everything:
        reason = "images were named, and --all was given" if everything else "no image was named"
        raise BadInput("unmount images", reason, "name some, or use --all; `minirun image mount` lists what is mounted")
    outcomes = imagemounts.unmount_all(force=force) if everything else imagemounts.unmount(images, force=force)
    return each(outcomes, several=everything or len(images) > 1)


def _row(one: Mounted, *, whole: bool) -> dict[str, Any]:
    return {
        "ID": f"sha256:{one.id}" if whole else one.id[:12],
        "Names": ", ".join(one.tags) or _NONE,
        "Count": str(one.count),
        "MountPoint": one.path,
    }
