"""`rename`: a container gets another name."""

from __future__ import annotations

import click

from minirun.cli import complete
from minirun.cli.command import Command


@click.command(
    "rename",
    cls=Command,
    examples="""
minirun rename web old-web        also while it runs
""",
)
@click.argument("container", metavar="CONTAINER", shell_complete=complete.containers)
@click.argument("name", metavar="NEW_NAME")
def rename(*, container: str, name: str) -> None:
    """Give a container another name."""
    from minirun.engine import renaming

    renaming.rename(container, name)
