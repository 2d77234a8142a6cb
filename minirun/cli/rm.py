"""`rm` and `rmi`: containers and images go."""

from __future__ import annotations

import click

from minirun.cli import complete
from minirun.cli.command import Command, each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "rm",
    cls=Command,
    examples="""
minirun rm web
minirun rm -f web                                end it first, if it runs
minirun rm $(minirun ps -aq --filter status=exited)
""",
)
@click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=complete.containers)
@click.option("-f", "--force", is_flag=True, help="End those that run, by SIGKILL.")
def rm(*, containers: Sequence[str], force: bool) -> int:
    """Remove containers, with all that they wrote."""
    from minirun.engine import containers as verbs

    return each(verbs.remove(containers, force=force), several=len(containers) > 1)


@click.command(
    "rmi",
    cls=Command,
    examples="""
minirun rmi my-web                               the name; the image too, if it has no other
minirun rmi -f 4f5e                              the image with all its names
minirun rmi $(minirun images -q --filter dangling=true)
""",
)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=complete.images)
@click.option("-f", "--force", is_flag=True, help="An image named by id goes though it has several names.")
def rmi(*, images: Sequence[str], force: bool) -> int:
    """Take names from images; those that have none left go, with the layers that nothing else needs."""
    from minirun.engine import images as verbs

    return each(verbs.remove(images, force=force), several=len(images) > 1)
