"""`attach`: our terminal, or our standard streams, and those of a container in the background."""

from __future__ import annotations

import click

from minirun.cli import complete
from minirun.cli.command import Command


@click.command(
    "attach",
    cls=Command,
    examples="""
minirun attach web                see what it prints; Ctrl-C goes to it
minirun attach shell              the terminal of a `run -dit`; ctrl-p ctrl-q leaves it running
""",
)
@click.argument("container", metavar="CONTAINER", shell_complete=complete.containers)
@click.option("--detach-keys", metavar="KEYS", default="", help="What is typed to leave it running (ctrl-p,ctrl-q).")
@click.option("--no-stdin", is_flag=True, help="Do not let it read standard input.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on to it (true).")
def attach(*, container: str, detach_keys: str, no_stdin: bool, sig_proxy: bool) -> int:
    """Show what a container in the background prints, and let it read what is typed."""
    from minirun.engine import attach as verb

    return verb.attach(container, stdin=not no_stdin, proxy=sig_proxy, keys=detach_keys)
