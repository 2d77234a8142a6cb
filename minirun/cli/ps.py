"""`ps`: the containers, a line each; click shows its help, and answers what listing.py does not understand."""

from __future__ import annotations

from typing import Any

import click

from minirun.cli import listing
from minirun.cli.command import Command, option


@click.command(
    "ps",
    cls=Command,
    params=[option(flag) for flag in listing.FLAGS],
    examples="""
minirun ps                                       those that run
minirun ps -a --filter exited=1                  those that failed
minirun ps -a --format 'table {{.Names}}\\t{{.Status}}'
minirun rm $(minirun ps -aq)                     remove all that do not run
""",
)
def ps(**given: Any) -> None:
    """List containers."""
    listing.show({name.replace("_", "-"): value for name, value in given.items()})
