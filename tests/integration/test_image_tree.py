"""`images --tree`: what it says of a store is so."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minirun.kernel import tree
from tests.command import Minirun
from tests.screen import on_terminal

COLUMNS = 80


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, busybox_layers: Path) -> Minirun:
    """busybox; `one` and `two` side by side on it, `three` on `one`, and an image without a name on `three`.

    Its layers have nothing of each other: copies that were made for a hard link into a lower layer are not in the size
    of a layer, which is that of what its tar holds.
    """
    home = tmp_path_factory.mktemp("tree")
    store = Minirun(home / "root", home / "runtime")
    (home / "layers/01-more").mkdir(parents=True)
    (home / "layers/01-more/more").write_text("m" * 50)
    shutil.copy(busybox_layers / "00-base.tar", home / "layers")
    store("import", home / "layers", "busybox", check=True)
    for image, name, size in (("busybox", "one", 1000), ("busybox", "two", 200), ("one", "three", 30)):
        store("run", "--name", "box", image, "sh", "-c", f"head -c {size} /dev/zero >/{name}", check=True)
        store("commit", "box", name, check=True)
        time.sleep(1)  # layers know the second in which they were made, and the older one comes first
        store("rm", "box", check=True)
    store("tag", "three", "third:time", check=True)
    store("run", "--name", "web", "three", "sh", "-c", "echo unnamed >/x", check=True)
    store("commit", "web", check=True)
    store("create", "--name", "base", "busybox", "true", check=True)
    return store


def test_it_is_a_command_of_its_own(full: Minirun) -> None:
    assert full("image", "tree", check=True).stdout == full("images", "--tree", check=True).stdout
    words = ["--no-trunc", "-f", "dangling=false", "two"]
    assert full("image", "tree", *words, check=True).stdout == full("images", "--tree", *words, check=True).stdout
    helped = full("image", "--help", check=True).stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in helped if line.split()[:1] == ["tree"]] == [
        "Draw layers as they lie on each other"
    ]
    refused = full("image", "tree", "--format", "{{.Id}}")
    assert (refused.returncode, "a tree has no columns for a format" in refused.stderr) == (125, True)


def roots(minirun: Minirun, *names: str) -> list[dict[str, Any]]:
    text = minirun("images", "--tree", "--format", "json", *names, check=True).stdout
    return [json.loads(line) for line in text.splitlines()]


def nodes(minirun: Minirun, *names: str) -> Iterator[dict[str, Any]]:
    pending = roots(minirun, *names)
    for node in pending:
        yield node
        pending += node["Children"]


def images(minirun: Minirun, *names: str) -> dict[str, dict[str, Any]]:
    """By their first name; the one without has an empty one."""
    found = [image for node in nodes(minirun, *names) for image in node["Images"]]
    return {(image["Tags"] or [""])[0]: image for image in found}


def test_the_tree_has_each_layer_once_with_its_sizes_and_users(full: Minirun) -> None:
    every = list(nodes(full))
    ids = [node["Id"] for node in every]
    assert sorted(ids) == sorted(path.stem for path in (full.root / "layers").iterdir())
    by_id = {node["Id"]: node for node in every}
    for node in every:
        contents = (node["DiffId"] or node["Id"]).removeprefix("sha256:")
        assert node["Size"] == tree.usage(str(full.root / "diffs" / contents))[0]
        below = by_id.get(node["Parent"])
        assert node["VirtualSize"] == node["Size"] + (below["VirtualSize"] if below else 0)
    (root,) = roots(full)
    assert (root["ImageCount"], root["ContainerCount"]) == (5, 2)
    sizes = {tag: node["Size"] for node in every for image in node["Images"] for tag in image["Tags"]}
    assert sizes == {"busybox:latest": 50, "one:latest": 1000, "two:latest": 200, "three:latest": 30, "third:time": 30}


def test_a_pipe_gets_whole_lines_drawn_by_the_layers_parents(full: Minirun) -> None:
    lines = full("images", "--tree", check=True).stdout.splitlines()
    words = [re.match(r"[ ─├└│]*(image )?", line)[0] for line in lines]  # type: ignore[index]  # it always matches
    assert words == [
        "└─ ",
        "   ",
        "   ├─ image ",
        "   ├─ ",
        "   │  ├─ image ",
        "   │  └─ ",
        "   │     ├─ image ",
        "   │     └─ ",
        "   │        └─ image ",
        "   └─ ",
        "      └─ image ",
    ]
    assert lines[2].endswith("  busybox:latest  rmi frees 0B, after rm base")
    assert lines[3].endswith("  1kB of 1.98MB  sh -c head -c 1000 /dev/zero >/one  3 images, 1 container")
    assert lines[6].endswith("  third:time, three:latest  rmi frees 0B, after rm web")
    assert lines[8].endswith("  <none>  rmi frees 0B")  # web needs the layer that it wrote
    assert lines[10].endswith("  two:latest  rmi frees 200B")


def test_a_terminal_gets_lines_of_its_width_in_colours(full: Minirun) -> None:
    shown = on_terminal(full, "images", "--tree", "one", columns=COLUMNS, colours=True)
    assert "\x1b[1;32mone:latest\x1b[0m" in shown
    assert "…" in shown
    plain = shown
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[1;32m"):
        plain = plain.replace(code, "")
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) == COLUMNS
    assert "…" not in on_terminal(full, "images", "--tree", "--no-trunc", "one", columns=COLUMNS, colours=True)


def test_names_and_filters_restrict_it(full: Minirun) -> None:
    assert set(images(full, "two")) == {"busybox:latest", "two:latest"}
    assert set(images(full, "one")) == {"busybox:latest", "one:latest", "third:time", ""}
    assert set(images(full, "one", "two")) == set(images(full)) == set(images(full, "busybox"))
    by_id = images(full)["two:latest"]["Id"]
    assert set(images(full, by_id)) == set(images(full, by_id[7:19])) == set(images(full, "tw*:latest"))
    assert set(images(full, "--filter", "dangling=true")) == set(images(full)) - {"two:latest"}
    assert full("images", "--tree", "--filter", "label=none").stdout == ""
    refused = full("images", "--tree", "nothing")
    assert (refused.returncode, "no image of that name or id is stored" in refused.stderr) == (125, True)


def test_the_longer_name_of_it_is_the_same(full: Minirun) -> None:
    text = full("images", "--tree", check=True).stdout
    assert full("image", "ls", "--tree", check=True).stdout == text


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-q"], "-q is for the list"),
        (["--digests"], "--digests is for the list"),
        (["--format", "{{.ID}}"], "a tree has no columns for a format"),
    ],
)
def test_what_is_for_the_list_is_refused(full: Minirun, arguments: list[str], reason: str) -> None:
    refused = full("images", "--tree", *arguments)
    assert (refused.returncode, refused.stdout) == (125, "")
    assert reason in refused.stderr


def test_the_list_takes_one_name(full: Minirun) -> None:
    refused = full("images", "a", "b")
    assert (refused.returncode, "more than one name was given" in refused.stderr) == (125, True)


def disk(root: Path) -> tuple[set[str], int]:
    """The names of all contents, and the bytes in them and in blobs."""
    return set(os.listdir(root / "diffs")), tree.usage(str(root / "diffs"))[0] + tree.usage(str(root / "blobs"))[0]


def test_rmi_frees_what_the_tree_said(full: Minirun) -> None:
    """The last test of this file: it takes the store to pieces, image by image."""
    full("rm", "web", "base", check=True)
    left = images(full)
    assert sorted(image["FreedBytes"] for image in left.values()) == [0, 0, 0, 8, 200]
    while left:
        name, image = max(left.items(), key=lambda pair: len(pair[1]["FreedLayers"]))
        before, size = disk(full.root)
        assert image["Containers"] == []
        printed = full("rmi", "-f", image["Id"], check=True).stdout.splitlines()
        layers = [line.removeprefix("Deleted: layer ") for line in printed if line.startswith("Deleted: layer ")]
        assert layers == image["FreedLayers"], name
        after, size_left = disk(full.root)
        assert image["Mounts"] in before - after
        assert size - size_left == image["FreedBytes"]
        left = images(full)
    assert disk(full.root) == (set(), 0)
