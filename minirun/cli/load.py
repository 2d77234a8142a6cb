"""`load`: images come in from archives, with their names."""

from __future__ import annotations

import click

from minirun.cli import direct
from minirun.cli.command import Command


@click.command(
    "load",
    cls=Command,
    examples="""
minirun load -i images.tar.gz                what `docker save`, `podman save` or `skopeo copy` wrote
minirun load -i layout/                      an OCI layout, or an unpacked archive
ssh elsewhere docker save web | minirun load
""",
)
@click.option("-i", "--input", "path", default="-", metavar="FILE|DIR", type=click.Path(allow_dash=True),
              help="Read it from there, not from standard input.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]",
              help="Of images that are there for several platforms take this one, not this host's.")  # fmt: skip
def load(*, path: str, quiet: bool, platform: str | None) -> None:
    """Store every image of an archive or a directory, with its names.

    What it is shows in what it holds: an archive of docker save, of any version, an OCI archive or layout, a directory
    of layers; compressed by gzip, zstd or xz, or not.
    """
    direct.load(path, platform, quiet=quiet)
