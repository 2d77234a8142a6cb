"""`diff`: what a container changed since its image, a line each."""

from __future__ import annotations

import click

from minirun.cli import complete, screen
from minirun.cli.command import Command

_COLOURS = {"A": screen.GREEN, "C": screen.YELLOW, "D": screen.RED}


@click.command(
    "diff",
    cls=Command,
    examples="""
minirun diff web                  A: added, C: changed, D: deleted
minirun diff web | grep '^A'
""",
)
@click.argument("container", shell_complete=complete.containers)
def diff(*, container: str) -> None:
    """Show what a container changed since its image."""
    from minirun.engine import containers

    person = screen.is_terminal()
    for kind, path in containers.diff(container):
        line = f"{kind} {path}"
        # a pipe gets names as they are, whatever bytes they have; a terminal none that would command it
        screen.write_styled(screen.paint(screen.clean(line), _COLOURS[kind]) + "\n" if person else line + "\n")
