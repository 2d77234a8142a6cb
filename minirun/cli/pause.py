"""`pause` and `unpause`: the processes of containers stand still, and go on."""

from __future__ import annotations

import click

from minirun.cli import complete
from minirun.cli.command import Command
from minirun.cli.named import each

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "pause",
    cls=Command,
    examples="""
minirun pause web db
minirun ps --filter status=paused
""",
)
@click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=complete.going)
def pause(*, containers: Sequence[str]) -> int:
    """Have all processes of containers stand still: they use no processor, and keep their memory."""
    from minirun.engine import pausing

    return each(pausing.pause(containers), several=len(containers) > 1)


@click.command(
    "unpause",
    cls=Command,
    examples="""
minirun unpause web
minirun unpause $(minirun ps -q --filter status=paused)
""",
)
@click.argument("containers", metavar="CONTAINER...", nargs=-1, required=True, shell_complete=complete.paused)
def unpause(*, containers: Sequence[str]) -> int:
    """Let all processes of paused containers go on."""
    from minirun.engine import pausing

    return each(pausing.unpause(containers), several=len(containers) > 1)
