"""`start`: the command of a container that is there runs again, or for the first time."""

from __future__ import annotations

import click

from minirun.cli import complete
from minirun.cli.command import Command
from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "start",
    cls=Command,
    examples="""
minirun start -a web              run its command; the exit code is the command's
minirun start -ai web             and let it read standard input (it was created with -i)
""",
)
@click.argument("containers", metavar="CONTAINER", nargs=-1, required=True, shell_complete=complete.containers)
@click.option("-a", "--attach", is_flag=True, help="Stay until the command ends, and pass signals on to it.")
@click.option("-i", "--interactive", is_flag=True, help="The same, and let it read standard input.")
def start(*, containers: Sequence[str], attach: bool, interactive: bool) -> int:
    """Run the command of a container that was created, or that ended."""
    attempt = f"start {' '.join(containers)}"
    if not (attach or interactive):
        raise Unsupported(attempt, "detached containers are not built in this version",
                          f"`minirun start -a {containers[0]}` stays until it ends")  # fmt: skip
    if len(containers) > 1:
        raise BadInput(attempt, "only one can be attached to", "start them one by one")
    from minirun.engine import run

    return run.start_attached(containers[0], stdin=interactive)
