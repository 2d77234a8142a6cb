"""`explain`: what keeps a container apart from the host, and what changes that."""

from __future__ import annotations

from typing import Any

from minirun.cli import fast, flags, screen, table
from minirun.cli.flags import Flag
from minirun.cli.run import TableCommand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.explaining import Part

_TITLES = {"Kind": "KIND", "Name": "NAME", "State": "STATE", "Meaning": "WHAT IT IS", "Change": "CHANGED BY"}
_COLOURS = {"State": {"denied": "32", "own": "32", "hidden": "32", "read-only": "32", "shared": "31"}}


def _explain(*, values: dict[str, Any], image: str, command: list[str]) -> None:
    from minirun.engine import explaining

    form = values.pop("format", "")
    found = explaining.explain(image, fast.order(values, image, command))
    if form:
        table.show(map(_row, found), _TITLES, tuple(_TITLES)[1:], form)
        return
    kinds = list(dict.fromkeys(part.kind for part in found))
    for kind in kinds:
        screen.write_styled(f"{screen.paint(kind.upper(), 'bold')}\n")
        rows = [_row(part) for part in found if part.kind == kind]
        table.show(rows, _TITLES, tuple(_TITLES)[1:], colours=_COLOURS)
        screen.write("\n" if kind != kinds[-1] else "")


def _row(part: Part) -> dict[str, str]:
    return {title: getattr(part, title.lower()) for title in _TITLES}


class _Explain(TableCommand):
    """Its flags are those of `run`."""

    missing = ("nothing was named", "`{0} CONTAINER`, or `{0} IMAGE` with the flags of run")


_FLAGS: Sequence[Flag] = (*flags.CREATE, Flag("format", "", "FORMAT", "json, table, or a Go template for each line"))
explain = _Explain(
    "explain",
    _FLAGS,
    callback=_explain,
    help="Tell what keeps a container apart from the host: of one that is there, or of one that `run` would make of an "
    "image with these flags. Each part with its state, what it is for, and the flag that makes it otherwise.",
    examples="""
minirun explain web
minirun explain --cap-drop ALL --read-only ubuntu
minirun explain --format '{{.Kind}} {{.Name}}: {{.State}}' web
""",
)
