"""The README's rows as a picture: for each job a bar a contestant, ours in colour, one below the other.

    start `/bin/true`
      minirun run --rm  ████ 21 ms
             runc run   ██████ 33 ms  × 1.6

Bars of one job have one scale; jobs have each their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from xml.sax.saxutils import escape

from bench.report import Row

OURS = "minirun"
WIDTH, NAMES, LONGEST = 760, 260, 340  # the picture, the column of names, the longest bar
LINE, GAP, BAR = 20, 18, 12
# readable on a light page and on a dark one
_STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.job { font-weight: 600 }
.name { text-anchor: end }
.ours { fill: #1f78c1 }
.other { fill: #a8b0b8 }
@media (prefers-color-scheme: dark) { text { fill: #d0d7de } .other { fill: #57606a } }"""


def draw(rows: Iterable[Row]) -> str:
    """An SVG of all rows that have a time."""
    groups = [list(group) for _, group in groupby((row for row in rows if row.seconds), key=lambda row: row.job)]
    parts, y = [], GAP
    for group in groups:
        parts.append(f'<text class="job" x="8" y="{y}">{escape(group[0].job.replace("`", ""))}</text>')
        y += LINE
        for row in group:
            parts += _bar(row, group, y)
            y += LINE
        y += GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}">'
    return "\n".join([head, f"<style>\n{_STYLE}\n</style>", *parts, "</svg>\n"])


def _bar(row: Row, group: Sequence[Row], y: int) -> list[str]:
    length = max(2.0, LONGEST * row.seconds / max(other.seconds for other in group))
    said = f"{row.shown}  {row.times}".strip()
    place = f'x="{NAMES}" y="{y - BAR + 2}" width="{length:.1f}" height="{BAR}"'
    return [
        f'<text class="name" x="{NAMES - 8}" y="{y}">{escape(row.name)}</text>',
        f'<rect class="{"ours" if row.name.startswith(OURS) else "other"}" {place}/>',
        f'<text x="{NAMES + length + 6:.1f}" y="{y}">{escape(said)}</text>',
    ]
