r"""Lists of things: as a table, as JSON, or in a format of the user's; the forms of `--format` are Docker's.

    (nothing), table                  columns with titles, as wide as their widest cell and three spaces
    table {{.ID}}\t{{.Names}}         the same with columns of one's own
    json                              an object a line
    {{.ID}}: {{.Names}}               a line each

Text that came out of an image is cleaned in a table always, and elsewhere where a person reads: see screen.py.
"""

from __future__ import annotations

from minirun.cli import screen
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from minirun.cli.template import Template

    Row = Mapping[str, Any]

_LEAST_WIDTH = 10  # Docker's: narrower columns are made so wide, with the space behind them
_GAP = 3


def show(
    rows: Iterable[Row],
    titles: Mapping[str, str],
    columns: Sequence[str],
    form: str = "",
    *,
    colours: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Print *rows*.

    Args:
        rows: field → text; what is callable is for templates only.
        titles: of every field that a row has.
        columns: fields of the table that nobody chose otherwise.
        form: the user's --format.
        colours: field → beginning of its text → colour, for that table.

    Raises:
        BadInput: the format is none, or takes a field that rows do not have.
    """
    word, _, rest = form.partition(" ")
    if form == "json":
        from minirun.cli.gotext import to_json  # not needed for the usual table, and it takes longer than that

        screen.write("".join(f"{to_json(dict(row))}\n" for row in rows))
    elif form in ("", "table"):
        cells = [[str(row[field]) for field in columns] for row in rows]
        _align([[titles[field] for field in columns], *cells], [(colours or {}).get(field, {}) for field in columns])
    elif word == "table":
        template = _template(rest.strip(), titles)
        head = {**titles, "Label": lambda key: key}
        lines = [template.render(head, header=True), *(template.render(row) for row in rows)]
        _align([line.split("\t") for line in lines], [])
    else:
        template = _template(form, titles)
        screen.write("".join(f"{template.render(row)}\n" for row in rows))


def show_objects(objects: Iterable[Any], form: str) -> None:
    """Print each of *objects* in the user's --format, as `inspect` does."""
    if form == "json":
        from minirun.cli.gotext import to_json

        screen.write("".join(f"{to_json(one)}\n" for one in objects))
        return
    from minirun.cli.template import Template

    template = Template(form)
    for one in objects:
        screen.write(f"{template.render(one)}\n")


def _template(form: str, titles: Mapping[str, str]) -> Template:
    from minirun.cli.template import Template

    template = Template(form)
    for field in sorted(template.fields - {*titles, "Label"}):
        # found here, for where there are no rows nothing would be rendered
        raise BadInput(f"use the format {form!r}", f"there is no field {field!r}", f"these are: {', '.join(titles)}")
    return template


def _align(lines: Sequence[Sequence[str]], colours: Sequence[Mapping[str, str]]) -> None:
    cleaned = [[screen.clean(cell) for cell in line] for line in lines]
    widths: dict[int, int] = {}
    for line in cleaned:
        for place, cell in enumerate(line[:-1]):
            widths[place] = max(widths.get(place, 0), len(cell) + _GAP, _LEAST_WIDTH)
    painting = screen.colours()
    for number, line in enumerate(cleaned):
        text = ""
        for place, cell in enumerate(line):
            padding = " " * (widths[place] - len(cell)) if place < len(line) - 1 else ""
            colour = _colour(cell, colours[place]) if painting and number and place < len(colours) else ""
            text += screen.paint(cell, colour) + padding
        screen.write_styled(f"{text}\n")


def _colour(cell: str, colours: Mapping[str, str]) -> str:
    return next((colour for beginning, colour in colours.items() if cell.startswith(beginning)), "")
