"""`cp`: how far a copy is, on standard error where that is a terminal, as Docker shows it.

Copying from container - 1.2MB                drawn again where it is
Successfully copied 2.05kB to web:/tmp
"""

from __future__ import annotations

import sys
import time

import click

from minirun.cli import complete, fast, quantity, screen
from minirun.cli.archive import refuse_terminal
from minirun.cli.command import Command
from minirun.errors import BadInput

_EVERY_S = 0.075


@click.command(
    "cp",
    cls=Command,
    examples="""
minirun cp page.html web:/srv/              into the directory /srv
minirun cp web:/etc ./                      ./etc, and all that is in it
minirun cp ./site/. web:/srv                what is in site
minirun cp -a web:/data backup:/            owners as they are
minirun cp web:/srv - | tar -t              a tar on standard output; from standard input: minirun cp - web:/srv
""",
)
@click.argument("source", metavar="CONTAINER:PATH|PATH|-", shell_complete=complete.container_paths)
@click.argument("target", metavar="CONTAINER:PATH|PATH|-", shell_complete=complete.container_paths)
@click.option("-a", "--archive", is_flag=True,
              help="Keep owners, which else become root or you; and let device nodes out.")  # fmt: skip
@click.option("-L", "--follow-link", is_flag=True, help="Of a source that is a symlink, copy what it leads to.")
@click.option("-q", "--quiet", is_flag=True, help="Do not show how far it is.")
def cp(*, source: str, target: str, archive: bool, follow_link: bool, quiet: bool) -> None:
    """Copy files between a container, running or not, and the host, or another container."""
    if target == "-":
        refuse_terminal(f"copy {source} to standard output", "a tar")
    if source == "-" and sys.stdin.isatty():
        raise BadInput(f"copy standard input to {target}", "it is a terminal, and no tar will come from it",
                       f"pipe one in: `tar -c FILE | minirun cp - {target}`")  # fmt: skip
    from minirun.engine import cp as copying
    from minirun.engine.copypaths import split

    shown = _Shown(into=bool(split(target)[0]), is_quiet=quiet or target == "-" or not sys.stderr.isatty())
    try:
        size = copying.copy(source, target, archive=archive, follow=follow_link, told=shown.far, warn=shown.warn)
    finally:
        shown.erase()
    shown.done(size, target)


class _Shown:
    """The line that says how far it is."""

    def __init__(self, *, into: bool, is_quiet: bool) -> None:
        self._header = "Copying to container - " if into else "Copying from container - "
        self._is_quiet = is_quiet
        self._drawn_at = 0.0
        self._text = ""

    def far(self, size_bytes: int) -> None:
        if self._is_quiet or (now := time.monotonic()) - self._drawn_at < _EVERY_S:
            return
        self._drawn_at = now
        text = self._header + quantity.size(size_bytes)
        if text != self._text:
            self._text = text
            self._write(f"\r{text}\x1b[K")

    def warn(self, sentence: str) -> None:
        self.erase()
        fast.warn(sentence)

    def erase(self) -> None:
        if self._text:
            self._text = ""
            self._write("\r\x1b[K")

    def done(self, size_bytes: int, target: str) -> None:
        if not self._is_quiet:
            self._write(f"Successfully copied {quantity.size(size_bytes)} to {screen.clean(target)}\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
