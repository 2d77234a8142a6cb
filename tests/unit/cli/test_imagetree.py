"""The tree of layers, drawn and as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from minirun.cli import imagetree, screen
from minirun.container.record import Record
from minirun.engine import lineage
from minirun.image.config import Config
from minirun.image.store import Image
from minirun.layer.record import Layer


def layer(name: str, parent: str | None, size: int, by: str) -> Layer:
    return Layer(
        id=name * 64, parent=parent and parent * 64, diff_id=None, diff=name, size=size, created="", created_by=by,
        comment="", opaque=False, has_root=True, whiteouts=False,
    )  # fmt: skip


def image(name: str, *tags: str, layers: str = "") -> tuple[Image, list[str]]:
    return Image(Config({}), [one * 64 for one in layers], id=name * 64), list(tags)


def box(name: str, image_id: str, committed: str = "") -> Record:
    return Record(
        id=name, name=name, created=0.0, image=image_id * 64, image_name="x", stack=[],
        committed=[one * 64 for one in committed], options={}, remove=False,
    )  # fmt: skip


LAYERS = [
    layer("a", None, 2_000_000, "ADD base.tar /"),
    layer("b", "a", 500, "RUN one"),
    layer("c", "b", 20, "RUN two \x1b[2J\nand more"),
    layer("d", "b", 30, ""),
    layer("e", None, 7, "ADD other.tar /"),
    layer("f", "e", 0, "RUN nothing"),
]
IMAGES = [
    image("1", "base:1", "base:latest", layers="ab"),
    image("2", "two:latest", layers="abc"),
    image("3", layers="abd"),
    image("4", "empty:latest"),
]
BOXES = [box("web", "1"), box("db", "1"), box("job", "3")]
DRAWN = """\
├─ aaaaaaaaaaaa  2MB of 2MB  ADD base.tar /  3 images, 3 containers
│  bbbbbbbbbbbb  500B of 2MB  RUN one  3 images, 3 containers
│  ├─ image 111111111111  base:1, base:latest  rmi frees 0B, after rm of 2 containers
│  ├─ cccccccccccc  20B of 2MB  RUN two \\x1b[2J\\nand more  1 image
│  │  └─ image 222222222222  two:latest  rmi frees 20B
│  └─ dddddddddddd  30B of 2MB  1 image, 1 container
│     └─ image 333333333333  <none>  rmi frees 30B, after rm job
├─ eeeeeeeeeeee  7B of 7B  ADD other.tar /  gc frees it
│  ffffffffffff  0B of 7B  RUN nothing  gc frees it
└─ no layer that is stored
   └─ image 444444444444  empty:latest  rmi frees 0B
"""


def forest() -> list[lineage.Node]:
    return lineage.forest(LAYERS, IMAGES, BOXES)[0]


def chain(length: int) -> list[lineage.Node]:
    """A chain of *length* layers, each with an image of its own: the deepest drawing there is."""
    names = [f"{number:03x}" + 61 * "0" for number in range(length)]
    layers = [
        layer("a", None, 1, "x").but(id=name, parent=below, diff=name)
        for below, name in zip([None, *names[:-1]], names, strict=True)
    ]
    images = [(Image(Config({}), names[: number + 1], id=name), [f"t:{number}"]) for number, name in enumerate(names)]
    return lineage.forest(layers, images, [])[0]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 60 columns that shows no colours."""
    monkeypatch.setattr(screen, "is_terminal", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size((60, 20)))


def shown(capfdbinary: pytest.CaptureFixture[bytes], roots: list[lineage.Node], *, whole: bool = False) -> str:
    imagetree.show(roots, whole=whole)
    sys.stdout.flush()
    return capfdbinary.readouterr().out.decode()


def test_a_forest_is_drawn_with_what_everything_is(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert shown(capfdbinary, forest()) == DRAWN
    assert shown(capfdbinary, []) == ""


@pytest.mark.usefixtures("terminal")
def test_what_made_a_layer_is_cut_to_the_terminal(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    lines = shown(capfdbinary, forest()).splitlines()
    assert lines[3] == "│  ├─ cccccccccccc  20B of 2MB  RUN two \\x1b[2J\\na…  1 image"
    assert len(lines[3]) == 60
    whole = shown(capfdbinary, forest(), whole=True)
    assert f"├─ {'c' * 64}  20B of 2MB  RUN two \\x1b[2J\\nand more  1 image\n" in whole


@pytest.mark.usefixtures("terminal")
def test_five_hundred_levels_leave_room_for_words(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    lines = shown(capfdbinary, chain(500)).splitlines()
    assert len(lines) == 1000
    assert lines[-1].startswith("…")
    assert lines[-1].endswith("└─ image 1f3000000000  t:499  rmi frees 1B")
    assert max(line.index("image") for line in lines if "└─ image" in line) <= 20
    assert "".join(lines).count("rmi frees ") == 500


def test_colours_are_for_terminals(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(screen, "is_terminal", lambda: True)
    text = shown(capfdbinary, forest(), whole=True)
    assert f"image \x1b[1m{'2' * 64}\x1b[0m  \x1b[1;32mtwo:latest\x1b[0m  rmi" in text
    assert "\x1b[2J" not in text


def test_the_json_is_nested_as_the_layers_are(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    imagetree.show_json(forest())
    first, second, loose = map(json.loads, capfdbinary.readouterr().out.splitlines())
    (below,) = first["Children"]
    assert [child["Id"][0] for child in below["Children"]] == ["c", "d"]
    assert below["Children"][0] == {
        "Id": "c" * 64, "Parent": "b" * 64, "DiffId": None, "Size": 20, "VirtualSize": 2_000_520, "Created": "",
        "CreatedBy": "RUN two \x1b[2J\nand more", "ImageCount": 1, "ContainerCount": 0, "Children": [],
        "Images": [
            {
                "Id": "sha256:" + "2" * 64, "Tags": ["two:latest"], "Created": "", "Containers": [], "FreedBytes": 20,
                "FreedLayers": ["c" * 64], "Mounts": "",
            }
        ],
    }  # fmt: skip
    assert second["Children"][0]["Children"] == []
    assert (loose["Id"], loose["Images"][0]["Tags"]) == ("", ["empty:latest"])


def test_json_has_no_limit_of_depth(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    imagetree.show_json(chain(500))
    text = capfdbinary.readouterr().out
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)  # that of who reads it
    try:
        node: dict[str, Any] = json.loads(text)
    finally:
        sys.setrecursionlimit(limit)
    depth = 1
    while node["Children"]:
        (node,) = node["Children"]
        depth += 1
    assert (depth, node["VirtualSize"]) == (500, 500)
