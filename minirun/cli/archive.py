"""`import` and `export`: a directory or a tar becomes an image, a container's root file system a tar."""

from __future__ import annotations

import sys

import click

from minirun.cli import complete, fast, screen
from minirun.cli.command import INSTRUCTIONS, Command
from minirun.cli.screen import refuse_terminal as refuse_terminal
from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command(
    "import",
    cls=Command,
    examples="""
minirun import ubuntu-layers/ ubuntu             a directory of layers, an OCI layout, a root file system …
minirun import -c 'CMD ["/bin/sh"]' rootfs.tar.gz my-image
debootstrap --variant=minbase bookworm root && tar -C root -c . | minirun import - debian
""",
)
@click.argument("source", metavar="DIR|FILE|-", type=click.Path(allow_dash=True))
@click.argument("name", metavar="[NAME[:TAG]]", required=False, shell_complete=complete.images)
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION",
              help=f"A Dockerfile instruction for the image: {INSTRUCTIONS}.")  # fmt: skip
@click.option("-m", "--message", default="", metavar="TEXT", help="What for; `minirun history` shows it.")
def import_(*, source: str, name: str | None, changes: Sequence[str], message: str) -> None:
    """Make an image of a directory or a tar.

    A directory has layers, an OCI layout, an unpacked docker-save archive, or is itself a root file system. A tar is
    that of a root file system; - reads one from standard input.
    """
    if source == "-" and sys.stdin.isatty():
        raise BadInput("import from standard input", "it is a terminal, and no tar will come from it",
                       "pipe one in: `tar -C DIR -c . | minirun import - NAME`")  # fmt: skip
    if source.startswith(("http://", "https://")):
        raise Unsupported(f"import {source}", "fetching is not built in this version",
                          f"`curl -L {source} | minirun import - NAME`")  # fmt: skip
    from minirun.engine import images

    made = images.import_(source, name, changes=changes, message=message, progress=fast.show_layer, warn=fast.warn)
    screen.write(f"sha256:{made.id}\n")


@click.command(
    "export",
    cls=Command,
    examples="""
minirun export -o web.tar web
minirun export web | tar -t
""",
)
@click.argument("container", shell_complete=complete.containers)
@click.option("-o", "--output", metavar="FILE", type=click.Path(), help="Write it there, not to standard output.")
def export(*, container: str, output: str | None) -> None:
    """Write a container's root file system, image and all, as a tar."""
    from minirun.engine import containers, open_home
    from minirun.engine.output import archive

    if output is None:
        refuse_terminal(f"export container {container}", "a tar")
    with archive(open_home(), output) as descriptor:
        containers.export(container, descriptor)
