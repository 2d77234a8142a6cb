"""`image squash`: several layers of an image become one."""

from __future__ import annotations

import click

from minirun.cli import complete, screen
from minirun.cli.command import Command


@click.command(
    "image-squash",
    cls=Command,
    examples="""
minirun image squash my-web my-web:flat          all layers become one
minirun image squash --from 3 my-web my-web      the third and those above it; the lowest two stay shared
minirun image diff my-web my-web:flat            nothing
""",
)
@click.argument("image", shell_complete=complete.images)
@click.argument("name", metavar="[NAME[:TAG]]", required=False, shell_complete=complete.images)
@click.option("--from", "first", type=int, default=1, metavar="N", show_default=True,
              help="The lowest layer that goes into the one; 1 is the bottom.")  # fmt: skip
def image_squash(*, image: str, name: str | None, first: int) -> None:
    """Make an image with the same root file system, in which several layers are one; print its id.

    The image that it is made of stays. Its history has all steps; those whose layers were merged have none any more.
    """
    from minirun.engine import squash

    made = squash.squash(image, name, first=first)
    screen.write(f"sha256:{made.id}\n")
