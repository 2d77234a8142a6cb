"""Outcomes as tables: RESULTS.md, what the README shows between its markers, and the samples as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.contest import Outcome, quartiles

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


class Row(NamedTuple):
    """A line of the README's table, and a bar of its picture."""

    job: str
    name: str  # of the contestant
    shown: str  # what it took
    times: str = ""  # how many times the first one's that is
    seconds: float = 0  # 0: no bar


class Part(NamedTuple):
    """What one part has to say."""

    text: str  # its section of RESULTS.md
    rows: list[Row]
    samples: dict[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def times(outcome: Outcome, ours: str, unit_s: float, unit: str) -> str:
    """The contestants of *outcome*, each with its times and with ours divided by its.

    Args:
        outcome: of one contest.
        ours: the contestant that the others are compared with.
        unit_s: how long a *unit* is.
        unit: that of the table: ms or s.
    """
    rows = []
    for name in outcome.samples:
        low, middle, high = (f"{value / unit_s:.{_digits(unit)}f}" for value in quartiles(outcome.wall_s(name)))
        cpu = f"{quartiles(outcome.cpu_s(name))[1] / unit_s:.{_digits(unit)}f}"
        ratio = "" if name == ours or ours not in outcome.samples else ratios(outcome, ours, name)
        rows.append([name, middle, f"{low}–{high}", cpu, ratio])
    head = ["", f"median, {unit}", "middle half", "processor time", f"{ours} ÷ this"]
    return table(head, rows) + "".join(f"\nLeft out: {name}: {why}.\n" for name, why in outcome.left_out.items())


def ratios(outcome: Outcome, ours: str, other: str) -> str:
    """The median of the quotients, and the middle half of them."""
    low, middle, high = quartiles(outcome.ratios(ours, other))
    return f"**{middle:.2f}** ({low:.2f}–{high:.2f})"


def targets(outcome: Outcome, ours: str, wanted: Iterable[tuple[str, float]]) -> str:
    """A line for each (other, at most): whether ours ÷ other, pair by pair, is that in the median."""
    lines = []
    for other, at_most in wanted:
        if ours not in outcome.samples or other not in outcome.samples:
            lines.append(f"- not known: at most {at_most:.2f} of `{other}`\n")
            continue
        middle = quartiles(outcome.ratios(ours, other))[1]
        word = "met" if middle <= at_most else "**missed**"
        lines.append(f"- {word}: at most {at_most:.2f} of `{other}`: {middle:.2f}\n")
    return "".join(lines)


def short(outcome: Outcome, job: str, unit_s: float, unit: str) -> list[Row]:
    """Rows for the README: each contestant, its median, and how many times the first one's that is."""
    rows = []
    first = next(iter(outcome.samples))
    for name in outcome.samples:
        middle = quartiles(outcome.wall_s(name))[1]
        times_ours = "" if name == first else f"× {1 / quartiles(outcome.ratios(first, name))[1]:.1f}"
        rows.append(Row(job, name, f"{middle / unit_s:.{_digits(unit)}f} {unit}", times_ours, middle))
    return rows


def summary(rows: Iterable[Row]) -> str:
    """They as a table, which names each job once."""
    said, lines = "", []
    for row in rows:
        lines.append(["" if row.job == said else row.job, row.name, row.shown, row.times])
        said = row.job
    return table(["", "", "median", ""], lines)


def samples(outcome: Outcome) -> dict[str, Any]:
    """Everything measured, in seconds."""
    return {
        "wall_s": {name: outcome.wall_s(name) for name in outcome.samples},
        "cpu_s": {name: outcome.cpu_s(name) for name in outcome.samples},
        "left_out": outcome.left_out,
    }


def write(path: Path, text: str) -> None:
    """Replace the file *path*, which then belongs to whoever its directory belongs to, not to sudo's root."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text)
    owner = path.parent.stat()
    os.chown(temporary, owner.st_uid, owner.st_gid)
    temporary.rename(path)


def show_in(readme: Path, text: str) -> bool:
    """Put *text* between the markers of *readme*; say whether it has them."""
    if not readme.exists():
        return False
    before, begin, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return False
    write(readme, f"{before}{BEGIN}\n{text}{END}{after}")
    return True


def _digits(unit: str) -> int:
    return 1 if unit == "ms" else 2
