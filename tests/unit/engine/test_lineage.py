"""Layers put on each other, and what `rmi` of an image would free."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

from minirun.container.record import Record
from minirun.engine import lineage
from minirun.engine.lineage import Node
from minirun.image.config import Config
from minirun.image.store import Image
from minirun.layer.record import Layer

Listed = tuple[Image, list[str]]


def layer(name: str, parent: str | None = None, size: int = 1, *, diff: str = "", by: str = "made") -> Layer:
    return Layer(
        id=name, parent=parent, diff_id=None, diff=diff or name, size=size, created=f"2026-01-01T00:00:{size % 60:02}Z",
        created_by=by, comment="", opaque=False, has_root=True, whiteouts=False,
    )  # fmt: skip


def image(name: str, *layers: str, told: tuple[str, ...] = ()) -> Listed:
    history = [{"created_by": words} for words in told]
    return Image(Config({"history": history} if told else {}), list(layers), id=name), [f"{name}:latest"]


def box(name: str, image_id: str, *committed: str) -> Record:
    return Record(
        id=name, name=name, created=0.0, image=image_id, image_name=image_id, stack=[], committed=list(committed),
        options={}, remove=False,
    )  # fmt: skip


def nodes(roots: list[Node]) -> Iterator[Node]:
    pending = list(roots)
    for node in pending:
        yield node
        pending += node.children


def shape(roots: list[Node]) -> list[tuple[str, int, int, int]]:
    """Id, virtual size, images, containers of every node, level by level."""
    return [(node.layer.id if node.layer else "", node.virtual, node.images, node.containers) for node in nodes(roots)]


def freed(roots: list[Node]) -> dict[str, tuple[list[str], int]]:
    return {tip.image.id: (list(tip.freed), tip.freed_bytes) for node in nodes(roots) for tip in node.tips}


# a ─┬─ b ─── c      X ends in c, Y and Z in d, B in a
#    └─ d
LAYERS = [layer("a", None, 100), layer("b", "a", 20), layer("c", "b", 3), layer("d", "a", 5)]
IMAGES = [image("X", "a", "b", "c"), image("Y", "a", "d"), image("Z", "a", "d"), image("B", "a")]


def test_each_layer_is_there_once_with_what_shares_it() -> None:
    roots, _ = lineage.forest(LAYERS, IMAGES, [box("one", "X"), box("two", "B")])
    assert shape(roots) == [("a", 100, 4, 2), ("d", 105, 2, 0), ("b", 120, 1, 1), ("c", 123, 1, 1)]
    assert [tip.users for node in nodes(roots) for tip in node.tips] == [["two"], [], [], ["one"]]


def test_rmi_frees_what_nothing_else_needs() -> None:
    roots, _ = lineage.forest(LAYERS, IMAGES, [])
    assert freed(roots) == {"X": (["c", "b"], 23), "Y": ([], 0), "Z": ([], 0), "B": ([], 0)}
    alone, _ = lineage.forest(LAYERS[:3], IMAGES[:1], [])
    assert freed(alone) == {"X": (["c", "b", "a"], 123)}


def test_a_layer_that_a_container_wrote_stays_with_the_container() -> None:
    layers = [*LAYERS, layer("w", "d", 7)]
    images = [*IMAGES[1:], image("W", "a", "d", "w")]
    roots, _ = lineage.forest(layers, images, [box("web", "Y", "w")])
    assert freed(roots)["W"] == ([], 0)
    assert [row for row in shape(roots) if row[0] == "w"] == [("w", 112, 1, 1)]
    without, _ = lineage.forest(layers, images, [])
    assert freed(without)["W"] == (["w"], 7)


def test_contents_on_two_parents_come_free_with_the_last_of_them() -> None:
    layers = [layer("a"), layer("b"), layer("c", "a", 50, diff="same"), layer("d", "b", 50, diff="same")]
    roots, _ = lineage.forest(layers, [image("X", "a", "c"), image("Y", "b", "d")], [])
    assert freed(roots) == {"X": (["c", "a"], 1), "Y": (["d", "b"], 1)}


def test_thousands_of_layers_on_each_other_are_no_recursion() -> None:
    names = [f"{number:05}" for number in range(5 * sys.getrecursionlimit())]
    layers = [layer(name, below) for below, name in zip([None, *names[:-1]], names, strict=True)]
    roots, known = lineage.forest(layers, [image("X", *names)], [])
    assert len(list(nodes(roots))) == len(names)
    assert known[names[-1]].virtual == len(names)
    assert freed(roots)["X"][1] == len(names)
    assert len(list(nodes(lineage.restrict(roots, known, {"X"})))) == len(names)


def test_an_image_without_a_stored_layer_is_not_lost() -> None:
    roots, _ = lineage.forest(LAYERS[:1], [image("E"), image("M", "gone"), image("B", "a")], [box("one", "M")])
    assert shape(roots) == [("a", 100, 1, 0), ("", 0, 2, 1)]
    assert [tip.image.id for tip in roots[-1].tips] == ["E", "M"]


def test_a_damaged_store_has_no_end_of_roots_and_cycles() -> None:
    layers = [layer("a", "gone"), layer("b", "c"), layer("c", "b"), layer("d", "d")]
    roots, known = lineage.forest(layers, [image("A", "a"), image("C", "b", "c"), image("D", "d")], [])
    assert [one.layer.id for one in roots if one.layer] == ["a"]
    assert lineage.restrict(roots, known, {"C", "D"}) == []


def test_a_name_leaves_what_its_image_consists_of_and_what_lies_on_it() -> None:
    layers = [*LAYERS, layer("other"), layer("e", "b", 9), layer("f", "e", 9)]
    images = [*IMAGES, image("O", "other"), image("F", "a", "b", "e", "f"), image("b", "a", "b")]

    def left(*wanted: str) -> set[str]:
        roots, known = lineage.forest(layers, images, [])
        return {row[0] for row in shape(lineage.restrict(roots, known, set(wanted)))}

    assert left("X") == {"a", "b", "c"}
    assert left("b") == {"a", "b", "c", "e", "f"}
    assert left("B") == {"a", "b", "c", "d", "e", "f"}
    assert left("Y", "O") == {"a", "d", "other"}
    assert left() == set()
    for several in itertools.permutations(("F", "b", "X")):
        assert left(*several) == {"a", "b", "c", "e", "f"}


def test_what_a_layer_does_not_say_an_images_history_does() -> None:
    layers = [layer("a", by=""), layer("b", "a", by="its own word"), layer("c", "b", by="")]
    roots, _ = lineage.forest(layers, [image("X", "a", "b", told=("ADD base /", "RUN b"))], [])
    assert [node.created_by for node in nodes(roots)] == ["ADD base /", "its own word", ""]


def test_the_oldest_come_first() -> None:
    layers = [layer("z", None, 1), layer("a", None, 2), layer("m", "z", 9), layer("n", "z", 8)]
    roots, _ = lineage.forest(layers, [], [])
    assert [row[0] for row in shape(roots)] == ["z", "a", "n", "m"]
