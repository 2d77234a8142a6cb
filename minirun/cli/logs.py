"""`logs`: what a container printed, as it printed it: its standard output to ours, its standard error to ours."""

from __future__ import annotations

import os
import sys
from urllib.parse import quote_plus

import click

from minirun.cli import complete
from minirun.cli.command import Command
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from minirun.log.entries import Entry

_DESCRIPTORS = {"stdout": 1, "stderr": 2}


@click.command(
    "logs",
    cls=Command,
    examples="""
minirun logs web                            all that is kept
minirun logs -f --tail 20 web               the last 20 lines, and what comes
minirun logs --since 10m -t web             of the last ten minutes, with times
minirun logs --since 2026-01-31T12:00:00 --until 2026-01-31T13:00:00 web
minirun logs web 2> errors.txt              what it wrote to standard error, apart
""",
)
@click.option("--details", is_flag=True, help="Show the labels and variables that --log-opt chose.")
@click.option("-f", "--follow", is_flag=True, help="Show what comes, too, until the container ends.")
@click.option("--since", metavar="TIME", default="", help="Only from then on: 10m ago, 2026-01-31T12:00.")
@click.option("-n", "--tail", metavar="N", default="all", help="Only the last N lines (all).")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was printed.")
@click.option("--until", metavar="TIME", default="", help="Only until then.")
@click.argument("container", shell_complete=complete.containers)
def logs(
    *, container: str, details: bool, follow: bool, since: str, tail: str, timestamps: bool, until: str
) -> None:  # fmt: skip
    """Show what a container printed."""
    from minirun.engine import logs as engine
    from minirun.log.follower import together

    lines = _Lines(details=details, timestamps=timestamps)
    found = engine.read(
        container, follow=follow, since=since, until=until, tail=tail, listeners=[1],
        warn=lambda text: print(f"minirun: {text}", file=sys.stderr),
    )  # fmt: skip
    for some in found:
        for stream, data in together(lines.dress(some) if details or timestamps else some):
            # in order, where both are one terminal
            _write(_DESCRIPTORS.get(stream, 1), data)


def _write(descriptor: int, data: bytes) -> None:
    while True:
        try:
            files.write_all(descriptor, data)
        except BlockingIOError:
            os.set_blocking(descriptor, True)
        else:
            return


class _Lines:
    """Puts before each line what is to be told of it; a line can be of many entries."""

    def __init__(self, *, details: bool, timestamps: bool) -> None:
        self._details = details
        self._timestamps = timestamps
        self._inside: set[str] = set()  # streams in the middle of a line

    def dress(self, found: Sequence[Entry]) -> list[Entry]:
        """The same entries, with that before each that begins a line."""
        return [
            (stream, time, data if self._is_inside(stream, data) else self._before(time, attributes) + data, attributes)
            for stream, time, data, attributes in found
        ]

    def _is_inside(self, stream: str, data: bytes) -> bool:
        was = stream in self._inside
        if data.endswith(b"\n"):
            self._inside.discard(stream)
        else:
            self._inside.add(stream)
        return was

    def _before(self, time: str, attributes: Mapping[str, str]) -> bytes:
        words = [time] if self._timestamps else []
        if self._details:
            pairs = (f"{_escape(name)}={_escape(value)}" for name, value in sorted(attributes.items()))
            words.append(",".join(pairs))
        return f"{' '.join(words)} ".encode()


def _escape(text: str) -> str:
    return quote_plus(text, errors="surrogateescape")  # Docker's url.QueryEscape
