"""`top`: the processes of a container, as `ps` shows them."""

from __future__ import annotations

import click

from minirun.cli import complete, screen
from minirun.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "top",
    cls=Command,
    # what follows the container is for ps, flags and all
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    examples="""
minirun top web                   as `ps -ef` shows them; PID and PPID are the host's
minirun top web aux               with what each uses
minirun top web -o pid,stat,wchan:20,cmd
minirun top web -ef --forest      who started whom
""",
)
@click.argument("container", shell_complete=complete.running)
@click.argument("options", metavar="[PS OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def top(*, container: str, options: Sequence[str]) -> None:
    """Show the processes of a container by the host's ps; its options can be given, -ef is the default."""
    from minirun.engine import processes

    lines = processes.top(container, options or processes.DEFAULT)
    screen.write("".join(f"{line}\n" for line in lines))
