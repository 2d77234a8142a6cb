"""`start`: the command of containers that are there runs again, or for the first time."""

from __future__ import annotations

import click

from minirun.cli import complete
from minirun.cli.command import Command
from minirun.cli.named import each
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "start",
    cls=Command,
    examples="""
minirun start web db              run their commands in the background
minirun start -a web              run its command; the exit code is the command's
minirun start -ai web             and let it read standard input (it was created with -i)
""",
)
@click.argument("containers", metavar="CONTAINER", nargs=-1, required=True, shell_complete=complete.stopped)
@click.option("-a", "--attach", is_flag=True, help="Stay until the command ends, and pass signals on to it.")
@click.option("-i", "--interactive", is_flag=True, help="The same, and let it read standard input.")
@click.option("--detach-keys", metavar="KEYS", default="", help="What leaves its terminal (ctrl-p,ctrl-q).")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on to the command (true).")
def start(*, containers: Sequence[str], attach: bool, interactive: bool, detach_keys: str, sig_proxy: bool) -> int:
    """Run the command of containers that were created, or that ended."""
    if not (attach or interactive):
        from minirun.engine import background

        return each(background.start_each(containers), several=len(containers) > 1)
    if len(containers) > 1:
        raise BadInput(f"start {' '.join(containers)}", "only one can be attached to", "start them one by one")
    from minirun.engine import run

    given = {"detach-keys": detach_keys, "sig-proxy": sig_proxy}
    return run.start_attached(containers[0], given, stdin=interactive)
