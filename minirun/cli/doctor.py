"""`doctor`: whether containers run on this host, and what to do where they do not."""

from __future__ import annotations

import click

from minirun.cli import screen, table
from minirun.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.finding import Finding

_TITLES = {"What": "WHAT", "State": "STATE", "Meaning": "FOUND", "Remedy": "WHAT TO DO"}
_COLOURS = {"State": {"ok": screen.GREEN, "degraded": screen.YELLOW, "missing": screen.RED}}


@click.command(
    "doctor",
    cls=Command,
    examples="""
minirun doctor
minirun doctor --format json
minirun doctor --format '{{.State}}: {{.What}}'
""",
)
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
def doctor(*, form: str) -> int:
    """Try what containers need of this host; the exit code is 1 where something is missing without which none runs."""
    from minirun.engine import doctor as verb
    from minirun.engine.finding import MISSING

    found = verb.examine()
    rows = [{"What": one.what, "State": one.state, "Meaning": one.meaning, "Remedy": one.remedy} for one in found]
    table.show(rows, _TITLES, ("State", "What", "Meaning"), form, colours=_COLOURS)
    if form in ("", "table"):
        _advise(found)
    return int(any(one.state == MISSING for one in found))


def _advise(found: Sequence[Finding]) -> None:
    """What to do, once for all that the same helps."""
    remedies: dict[str, list[str]] = {}
    for one in found:
        if one.remedy:
            remedies.setdefault(one.remedy, []).append(one.what)
    for remedy, names in remedies.items():
        screen.write(f"\n{', '.join(names)}:\n  " + remedy.replace("\n", "\n  ") + "\n")
