"""`image diff`: what is not the same in the root file systems of two images.

line                                 means
-----------------------------------  --------------------------------------------------
A /new  12B                          added, with its length if it is a regular file
C /etc                               something in it is another
C /etc/passwd  1.2kB → 1.3kB         changed, with both lengths
C /srv  mode, owner                  changed in something else than contents
D /usr/share/doc/c  2B               deleted
"""

from __future__ import annotations

import shutil
from typing import Any

import click

from minirun.cli import complete, quantity, screen, table
from minirun.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.image.difference import Change

_COLOURS = {"A": screen.GREEN, "C": screen.YELLOW, "D": screen.RED}
_TITLES = {
    "Kind": "KIND", "Path": "PATH", "OldSize": "OLD SIZE", "NewSize": "NEW SIZE", "Differs": "DIFFERS IN",
    "OldBytes": "OLD BYTES", "NewBytes": "NEW BYTES",
}  # fmt: skip
_LEAST_WIDTH = 20  # of a path, however narrow the terminal


@click.command(
    "image-diff",
    cls=Command,
    examples="""
minirun image diff debian:12 my-image            A: added, C: changed, D: deleted
minirun image diff one two | grep '^D'
minirun image diff --format '{{.NewBytes}} {{.Path}}' one two | sort -n
""",
)
@click.argument("old", metavar="IMAGE", shell_complete=complete.images)
@click.argument("new", metavar="IMAGE", shell_complete=complete.images)
@click.option("--no-trunc", is_flag=True, help="Whole paths, also where they are longer than a line of the terminal.")
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
def image_diff(*, old: str, new: str, no_trunc: bool, form: str) -> None:
    """Show what differs between two images: what the second has, and the first had not."""
    from minirun.engine import images

    found = images.diff(old, new)
    if form not in ("", "table"):
        table.show(map(_row, found), _TITLES, [], form)
        return
    person = screen.is_terminal()
    width = shutil.get_terminal_size().columns if person and not no_trunc else 0
    for change in found:
        line = _line(change, width, clean=person)
        screen.write_styled(screen.paint(line, _COLOURS[change.kind]) + "\n")
    if person:
        screen.write_styled(screen.paint(_summary(found), screen.DIM) + "\n")


def _row(change: Change) -> dict[str, Any]:
    return {
        "Kind": change.kind,
        "Path": change.path,
        "OldSize": _size(change.old),
        "NewSize": _size(change.new),
        "Differs": ", ".join(change.differs),
        "OldBytes": change.old,
        "NewBytes": change.new,
    }


def _line(change: Change, width: int, *, clean: bool) -> str:
    sizes = " → ".join(_size(size) for size in (change.old, change.new) if size is not None)
    others = ", ".join(word for word in change.differs if word != "contents")
    after = "".join(f"  {words}" for words in (sizes, others) if words)
    # a pipe gets names as they are, whatever bytes they have; a terminal none that would command it
    path = screen.clean(change.path) if clean else change.path
    room = max(_LEAST_WIDTH, width - len("C ") - len(after))
    if width and len(path) > room:
        # the beginning says where, the end says what
        end = room * 2 // 3
        path = f"{path[: room - end - 1]}…{path[-end:]}"
    return f"{change.kind} {path}{after}"


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else quantity.size(size_bytes)


def _summary(found: Sequence[Change]) -> str:
    kinds = [change.kind for change in found]
    grown = sum((change.new or 0) - (change.old or 0) for change in found)
    sign = "+" if grown > 0 else "-" if grown < 0 else "±"
    counts = f"{kinds.count('A')} added, {kinds.count('C')} changed, {kinds.count('D')} deleted"
    return f"{counts}, {sign}{quantity.size(abs(grown))}"
