"""`system warm`: a process stays that starts containers sooner."""

from __future__ import annotations

import sys

import click

from minirun.cli import screen
from minirun.cli.command import Command


@click.command(
    "system-warm",
    cls=Command,
    examples="""
minirun system warm           from now on `run` and `exec` start sooner
minirun system warm --stop    and as before
MINIRUN_WARM=0 minirun run …  this one as before
""",
)
@click.option("--stop", is_flag=True, help="End it; containers go on.")
def warm(*, stop: bool) -> None:
    """Keep a process that starts containers sooner, and print its pid.

    It has imported what starts a container, and is forked for each `run` and `exec`. It stays until it is stopped, or
    the host goes down. Nothing depends on it.
    """
    from minirun.engine import warming

    if stop:
        warming.stop()
        return
    screen.write(f"{warming.start(sys.argv[0])}\n")
