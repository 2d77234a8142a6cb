"""`why`: why a container is told EPERM, and what lifts that."""

from __future__ import annotations

import click

from minirun.cli import complete, screen, table
from minirun.cli.command import Command

_TITLES = {"Kind": "ABOUT", "Name": "NAME", "State": "STATE", "Meaning": "WHY", "Change": "CHANGED BY"}
_COLOURS = {"State": {"allowed": screen.GREEN, "denied": screen.RED, "kills": screen.RED, "depends": screen.YELLOW}}


@click.command(
    "why",
    cls=Command,
    examples="""
minirun why web mount                          what becomes of a system call
minirun why web 'socket(AF_VSOCK)'             with some of its arguments
minirun why web 'ioctl(_, TIOCSTI)'            _ is whatever it is
minirun why web /proc/sys/kernel/hostname      what becomes of reading, writing and executing a file
minirun why -u 1000 web /etc/shadow            as another user
minirun why --format '{{.Name}}: {{.State}}' web /dev/fuse
""",
)
@click.option("-u", "--user", metavar="USER[:GROUP]", help="As whom; without it, as the container's own user.")
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template for each line.")
@click.argument("container", metavar="CONTAINER", shell_complete=complete.containers)
@click.argument("about", metavar="PATH|CALL", shell_complete=complete.calls)
def why(*, user: str | None, form: str, container: str, about: str) -> None:
    """Tell why a container's process is told EPERM, EACCES or EROFS, or that it is not, and what has it otherwise.

    The first lines are the answer, the others what it comes of. Of a system call: the container's filter is run for
    it, with the arguments that are given. Of a path, which has a slash in it: a process of minirun's goes into the
    container as `exec` would, and asks, without opening anything for writing and without opening devices.
    """
    from minirun.engine import why as verb

    found = verb.why(container, about, user)
    rows = [{title: getattr(part, title.lower()) for title in _TITLES} for part in found]
    table.show(rows, _TITLES, tuple(_TITLES), form, colours=_COLOURS)
