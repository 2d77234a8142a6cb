"""The tree of layers, as text and as JSON.

    ├─ c53ad5257816  1.9MB of 1.9MB  ADD 00-base.tar /  3 images, 1 container       a layer: its bytes, all bytes
    │  19f8e8b26b51  12B of 1.9MB  ADD 01-change.tar /  3 images, 1 container       all that lies on the one above it
    │  ├─ image 0fb23295f857  busybox:latest  rmi frees 0B, after rm web            ends in the layer above it
    │  └─ 88c7bcecbb1c  6B of 1.9MB  sh -c echo happy  1 image
    │     └─ image 4c1f0b1dbf3c  demo:happy  rmi frees 6B
    └─ dde5cf586b02  …

An only one stands under its layer without an indent: trees are deep and terminals narrow.
"""

from __future__ import annotations

import shutil
from typing import Any

import click

from minirun.cli import complete, quantity, screen
from minirun.cli.command import Command
from minirun.cli.gotext import to_json
from minirun.engine.lineage import Node, Tip
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Paint = Callable[[str, str], str]

_BOLD = "1"
_LEAST_WIDTH = 12  # of what made a layer, however narrow the terminal
_GAP = "  "
_CONTINUED = {"├─ ": "│  ", "└─ ": "   ", "": ""}


@click.command(
    "image-tree",
    cls=Command,
    examples="""
minirun image tree                               layers as they lie on each other, and what rmi would free
minirun image tree my-image other                what these consist of, and what was made of them
minirun image tree --filter dangling=true
""",
)
@click.argument("images", metavar="[IMAGE...]", nargs=-1, shell_complete=complete.images)
@click.option("--no-trunc", is_flag=True, help="Whole ids, and lines longer than the terminal is wide.")
@click.option("-f", "--filter", "filters", metavar="NAME=VALUE", multiple=True,
              help="Only images that `images` lists with it, and what they consist of.")  # fmt: skip
@click.option("--format", "form", metavar="FORMAT", default="", help="json: each of the lowest layers on a line.")
def image_tree(*, images: Sequence[str], no_trunc: bool, filters: Sequence[str], form: str) -> None:
    """Draw the layers of images as they lie on each other, each once, with the images that end in them."""
    draw(images, filters, form, whole=no_trunc)


def draw(names: Sequence[str], filters: Sequence[str], form: str, *, whole: bool) -> None:
    """Print the layers of the images *names*, or of all, as text or as JSON.

    Raises:
        BadInput: another form was asked for.
    """
    from minirun.engine import lineage

    if form not in ("", "table", "json"):
        reason = "a tree has no columns for a format"
        raise BadInput("show the tree of images", reason, "`minirun image tree --format json` has every field")
    roots = lineage.tree(names, filters, screen.refuse)
    if form == "json":
        show_json(roots)
    else:
        show(roots, whole=whole)


def show(roots: Sequence[Node], *, whole: bool) -> None:
    """Print the forest; *whole*: with whole ids, and nothing cut to the width of a terminal."""
    width = 0 if whole or not screen.is_terminal() else shutil.get_terminal_size().columns
    paint = screen.paint if screen.colours() else _plain  # asked once, not for each of thousands of lines
    text = []
    for line, item in _drawn(roots):
        # words need the most of a terminal: of a deep drawing only the near end is shown
        drawing = line if not width or len(line) <= width // 3 else "…" + line[len(line) - width // 3 + 1 :]
        room = width - len(drawing) if width else 0
        if isinstance(item, Node):
            words = _layer(item, room, paint, whole=whole)
        else:
            words = _image(item, room, paint, whole=whole)
        text.append(f"{drawing}{words}\n")
    screen.write_styled("".join(text))


def show_json(roots: Sequence[Node]) -> None:
    """Print each root as an object on a line, with what lies on it inside."""
    for root in roots:
        screen.write("".join(_nested(root)) + "\n")


def _drawn(roots: Sequence[Node]) -> Iterator[tuple[str, Node | Tip]]:
    """Every layer and image with the drawing before it, from the top of the screen down."""
    pending: list[tuple[str, str, Node | Tip]] = []

    def put(before: str, items: Sequence[Node | Tip]) -> None:
        signs = ["├─ "] * (len(items) - 1) + ["└─ "]
        pending.extend(reversed([(before, sign, item) for sign, item in zip(signs, items, strict=True)]))

    if roots:
        put("", roots)
    while pending:
        before, sign, item = pending.pop()
        yield before + sign, item
        if isinstance(item, Node):
            inside = before + _CONTINUED[sign]
            if not item.tips and len(item.children) == 1:
                pending.append((inside, "", item.children[0]))
            elif item.tips or item.children:
                put(inside, [*item.tips, *item.children])


def _plain(text: str, _colour: str) -> str:
    return text


def _layer(node: Node, room: int, paint: Paint, *, whole: bool) -> str:
    if node.layer is None:
        return "no layer that is stored"
    size = f"{quantity.size(node.layer.size or 0)} of {quantity.size(node.virtual)}"
    counts = [(node.images, "image"), (node.containers, "container")]
    sharing = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts if count)
    before = f"{node.layer.id if whole else node.layer.id[:12]}{_GAP}{size}{_GAP}"
    after = sharing or "gc frees it"
    by = screen.clean(node.created_by)
    if room:
        by = _cut(by, max(_LEAST_WIDTH, room - len(before) - len(after) - len(_GAP)))
    return f"{before}{by}{_GAP if by else ''}{paint(after, screen.DIM)}"


def _image(tip: Tip, room: int, paint: Paint, *, whole: bool) -> str:
    image_id = tip.image.id if whole else tip.image.short_id
    after = f"rmi frees {quantity.size(tip.freed_bytes)}"
    if tip.users:
        after += f", after rm {tip.users[0]}" if len(tip.users) == 1 else f", after rm of {len(tip.users)} containers"
    tags = screen.clean(", ".join(tip.tags) or "<none>")
    if room:
        tags = _cut(tags, max(_LEAST_WIDTH, room - len(f"image {image_id}{_GAP}{_GAP}{after}")))
    names = paint(tags, _BOLD if not tip.tags else f"{_BOLD};{screen.GREEN}")
    return f"image {paint(image_id, _BOLD)}{_GAP}{names}{_GAP}{after}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _nested(root: Node) -> Iterator[str]:
    """The JSON of *root*: not by the json module, which recurses."""
    pending: list[Node | str] = [root]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            yield item
            continue
        yield to_json(_fields(item))[:-1] + ',"Children":['
        pending.append("]}")
        for number, child in enumerate(reversed(item.children)):
            pending += [",", child] if number else [child]


def _fields(node: Node) -> dict[str, Any]:
    layer = node.layer
    return {
        "Id": layer.id if layer else "",
        "Parent": (layer.parent or "") if layer else "",
        "DiffId": layer.diff_id if layer else None,
        "Size": (layer.size or 0) if layer else 0,
        "VirtualSize": node.virtual,
        "Created": (layer.created or "") if layer else "",
        "CreatedBy": node.created_by,
        "ImageCount": node.images,
        "ContainerCount": node.containers,
        "Images": [
            {
                "Id": f"sha256:{tip.image.id}",
                "Tags": list(tip.tags),
                "Created": tip.image.created,
                "Containers": tip.users,
                "FreedBytes": tip.freed_bytes,
                "FreedLayers": list(tip.freed),
                "Mounts": tip.image.mounts,
            }
            for tip in node.tips
        ],
    }
