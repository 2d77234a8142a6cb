"""`port`: which ports of the host lead to a container."""

from __future__ import annotations

import click

from minirun.cli import complete, screen
from minirun.cli.command import Command


@click.command(
    "port",
    cls=Command,
    examples="""
minirun port web
minirun port web 80/tcp
""",
)
@click.argument("container", metavar="CONTAINER", shell_complete=complete.containers)
@click.argument("private", metavar="[PORT[/PROTOCOL]]", required=False, default="")
def port(*, container: str, private: str) -> None:
    """Show which ports of the host lead to a container."""
    from minirun.engine import ports

    screen.write("".join(f"{line}\n" for line in ports.port(container, private)))
