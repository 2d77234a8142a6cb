"""`logout`: what `login` remembered is forgotten."""

from __future__ import annotations

import sys

import click

from minirun.cli import screen
from minirun.cli.command import Command


@click.command("logout", cls=Command, examples="\nminirun logout localhost:5000\n")
@click.argument("server", metavar="[SERVER]", default="")
def logout(*, server: str) -> None:
    """Forget who you are to a registry; without SERVER, to docker.io."""
    from minirun.engine import login

    name, was, left = login.log_out(server)
    screen.write(f"Removing login credentials for {name}\n" if was else f"Not logged in to {name}\n")
    for path in left:
        sys.stderr.write(f"minirun: warning: {screen.clean(path)} has an account for {name}, too, of another tool's\n")
