"""`import` and `export`: a directory or a tar becomes an image, a container's root file system a tar."""

from __future__ import annotations

import os
import stat
import sys

import click

from minirun.cli import complete, fast, screen
from minirun.cli.command import INSTRUCTIONS, Command
from minirun.errors import BadInput, MinirunError, Unsupported

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
    from minirun.engine import containers

    if output is None:
        if screen.is_terminal():
            raise BadInput(f"export container {container}", "standard output is a terminal, and a tar is no text",
                           "use -o FILE, or a pipe")  # fmt: skip
        containers.export(container, sys.stdout.fileno())
        return
    descriptor, temporary = _open(output)
    try:
        containers.export(container, descriptor)
        if temporary:
            os.rename(temporary, output)
    except BaseException:
        if temporary:
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def _open(output: str) -> tuple[int, str]:
    """Open what will be *output*.

    Returns:
        A descriptor, and the path of a file beside it that is renamed when it is whole; empty for a device or a pipe.
    """
    try:
        if os.path.exists(output) and not stat.S_ISREG(os.stat(output).st_mode):
            return os.open(output, os.O_WRONLY | os.O_CLOEXEC), ""
        output = os.path.realpath(output)
        temporary = f"{output}.{os.getpid()}.tmp"
        return os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), temporary
    except OSError as error:
        raise MinirunError(f"write {output}", error, "name a file in a directory that can be written") from None
