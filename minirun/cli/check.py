"""`system check`: whether the store is sound, and what to do where it is not."""

from __future__ import annotations

import click

from minirun.cli import screen, table
from minirun.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.check import Examined
    from minirun.engine.damage import Damage

_TITLES = {"State": "STATE", "What": "WHAT", "Where": "WHERE", "Meaning": "MEANING", "Remedy": "WHAT TO DO"}
_COLUMNS = ("State", "What", "Where", "Meaning")
_COLOURS = {"State": {"mended": screen.GREEN, "remains": screen.YELLOW, "damaged": screen.RED}}


@click.command(
    "system-check",
    cls=Command,
    examples="""
minirun system check
minirun system check --repair                    mend what can be mended without losing anything
minirun system check -q                          without reading all that images came in
minirun system check --format '{{.State}}: {{.Where}}'
""",
)
@click.option("--repair", is_flag=True, help="Mend what can be mended without losing anything, and free remains.")
@click.option("-q", "--quick", is_flag=True, help="Do not read what images came in, to compare it with its digests.")
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
def system_check(*, repair: bool, quick: bool, form: str) -> int:
    """Look for what is damaged or left over in the store; the exit code is 1 where something is."""
    from minirun.engine import check

    checked = check.check(repair=repair, quick=quick)
    left = checked.now.damage
    rows = [_row(one, "mended") for one in checked.mended] + [_row(one, one.state) for one in left]
    if form not in ("", "table") or rows:
        table.show(rows, _TITLES, _COLUMNS, form, colours=_COLOURS)
    if form in ("", "table"):
        _advise(left)
        if not left:
            screen.write(f"{chr(10) * bool(rows)}{_sound(checked.now)}\n")
    if checked.refusal:
        screen.refuse(checked.refusal)
    return int(bool(left))


def _row(one: Damage, state: str) -> dict[str, str]:
    return {"State": state, "What": one.what, "Where": one.where, "Meaning": one.meaning, "Remedy": one.remedy}


def _sound(store: Examined) -> str:
    counts = {"image": store.images, "layer": store.layers, "container": store.containers}
    words = [f"{count} {word}{'s' * (count != 1)}" for word, count in counts.items()]
    return f"{words[0]}, {words[1]} and {words[2]}: sound"


def _advise(left: Sequence[Damage]) -> None:
    """What to do, once for all that the same helps."""
    remedies: dict[str, list[str]] = {}
    for one in left:
        whats = remedies.setdefault(one.remedy, [])
        if one.what not in whats:
            whats.append(one.what)
    for remedy, whats in remedies.items():
        screen.write(f"\n{', '.join(whats)}:\n  " + remedy.replace("\n", "\n  ") + "\n")
