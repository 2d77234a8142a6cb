"""`save`: images go out, as archives and directories that others read."""

from __future__ import annotations

import click

from minirun.cli import complete, direct
from minirun.cli.command import Command
from minirun.engine.saving import ALIASES, FORMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "save",
    cls=Command,
    examples="""
minirun save -o web.tar web:1 web:2                  what `docker load`, `podman load` and skopeo read
minirun save web | ssh elsewhere docker load
minirun save --format oci-dir -o layout/ web         an OCI layout
minirun save --format layers -o web-layers/ web      a directory of layers, for `minirun run web-layers/`
minirun save --compression zstd -o web.tar web
""",
)
@click.argument("names", metavar="IMAGE...", nargs=-1, required=True, shell_complete=complete.images)
@click.option("-o", "--output", metavar="FILE|DIR", type=click.Path(), help="Write it there, not to standard output.")
@click.option("--format", "form", type=click.Choice([*FORMS, *ALIASES]), default="docker", show_default=True,
              help="An archive (docker, docker-legacy, oci) or a directory (oci-dir, docker-dir, layers).")  # fmt: skip
@click.option("--compression", type=click.Choice(direct.COMPRESSIONS),
              help="Of all layers; without it they leave as they came, and by gzip what was never packed.")  # fmt: skip
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Refuse an image that is not for this platform.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def save(
    *, names: Sequence[str], output: str | None, form: str, compression: str | None, platform: str | None, quiet: bool
) -> None:
    """Write images to an archive, or to a directory.

    What was loaded, pulled or imported leaves with the digests that it came with.
    """
    direct.save(names, output, form, compression, platform, quiet=quiet)
