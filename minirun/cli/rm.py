"""`rm` and `rmi`: containers and images go."""

from __future__ import annotations

import click

from minirun.cli import complete, fast
from minirun.cli.command import Command
from minirun.cli.named import each, found

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "rm",
    cls=Command,
    examples="""
minirun rm web
minirun rm -f web                                end it first, if it runs
minirun rm -v web                                with the volumes that have no name
minirun rm $(minirun ps -aq --filter status=exited)
""",
)
@click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=complete.containers)
@click.option(
    "-f", "--force", is_flag=True, help="End those that run, by SIGKILL; that there is none of a name is no failure."
)
@click.option("-v", "--volumes", is_flag=True, help="With anonymous volumes that no other container has.")
def rm(*, containers: Sequence[str], force: bool, volumes: bool) -> int:
    """Remove containers, with all that they wrote."""
    from minirun.engine import containers as verbs

    return each(found(verbs.remove(containers, force=force, volumes=volumes), force), several=len(containers) > 1)


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
@click.option("-f", "--force", is_flag=True,
              help="An image named by id goes with several names; that there is none is no failure.")  # fmt: skip
@click.option("--no-prune", is_flag=True, help="Leave layers that nothing needs any more to `gc`.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Leave an image that is for another one.")
def rmi(*, images: Sequence[str], force: bool, no_prune: bool, platform: str | None) -> int:
    """Take names from images; those that have none left go, with the layers that nothing else needs."""
    from minirun.engine import imageremoval

    outcomes = imageremoval.remove(images, force=force, leave_layers=no_prune, platform=platform, warn=fast.warn)
    return each(found(outcomes, force), several=len(images) > 1)
