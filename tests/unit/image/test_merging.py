"""Several layers as one directory, against what the kernel shows of them one upon the other."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun.image import merging
from minirun.image.merging import Merged
from minirun.kernel import tree
from minirun.layer import stack
from tests.trees import Node, describe, mounted, put

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts and mounts need root")

BASE = {"etc/a": "1", "etc/b": "22", "lib/x/y": "333", "lib/z": "4", "l": "link:etc", "p": "fifo", "d": "device"}


class Workshop:
    """Makes layers, and merges them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.layers: list[str] = []

    def layer(self, **entries: str) -> Path:
        """Put a layer of entries on top."""
        layer = self.place / f"layer{len(self.layers)}"
        layer.mkdir()
        for path, what in sorted(entries.items()):
            put(layer, path, what)
        self.layers.append(str(layer))
        return layer

    def merge(self, first: int = 0) -> tuple[Path, Merged]:
        """Merge all layers from number *first*, from 0, to the top."""
        target = self.place / f"merged{first}"
        upper = self.layers[first:]
        return target, merging.merge(upper, self.layers[:first], str(target), upper[-1])

    def compare(self, first: int = 0) -> dict[bytes, Node]:
        """Merge, and compare with what the kernel shows of the layers; returns the directory as it is."""
        target, _ = self.merge(first)
        with mounted(self.layers, self.place) as view:
            expected = describe(view)
        with mounted([*self.layers[:first], str(target)], self.place) as view:
            assert describe(view) == expected
        return describe(target, overlay=True)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def kinds(nodes: dict[bytes, Node]) -> dict[str, str]:
    """What each entry is, but for the root."""
    return {
        path.decode(): "whiteout" if node.kind == "character" else "opaque" if node.xattrs else node.kind
        for path, node in nodes.items()
        if path
    }


def test_nothing_is_left_of_whiteouts_and_opaque_directories_where_no_layer_is_below(workshop: Workshop) -> None:
    workshop.layer(**BASE)
    workshop.layer(**{"etc/b": "whiteout", "lib": "opaque", "lib/n": "new", "l": "whiteout", "l/x": "5"} | {"l": "dir"})
    assert kinds(workshop.compare()) == {
        "d": "block", "etc": "directory", "etc/a": "file", "l": "directory", "l/x": "file", "lib": "directory",
        "lib/n": "file", "p": "fifo",
    }  # fmt: skip


def test_what_hides_something_of_a_layer_below_is_kept_and_nothing_else(workshop: Workshop) -> None:
    workshop.layer(**BASE, **{"only/f": "x"})
    workshop.layer(**{"mine/f": "1", "lib/z": "other", "etc/a": "whiteout"})
    workshop.layer(**{"mine/f": "whiteout", "lib/z": "whiteout", "only": "opaque", "fresh": "opaque", "mine/g": "2"})
    found = workshop.compare(1)
    assert kinds(found) == {
        "etc": "directory", "etc/a": "whiteout", "fresh": "directory", "lib": "directory", "lib/z": "whiteout",
        "mine": "directory", "mine/g": "file", "only": "opaque",
    }  # fmt: skip
    _, merged = workshop.merge(2)
    assert (merged.whiteouts, merged.opaque) == (True, False)


def test_a_directory_over_a_file_that_hid_a_directory_hides_it_still(workshop: Workshop) -> None:
    workshop.layer(**{"a/x": "1", "b/x": "1"})
    workshop.layer(a="a file", b="whiteout")
    workshop.layer(**{"a/y": "2", "b/y": "2"})
    assert kinds(workshop.compare(1)) == {"a": "opaque", "a/y": "file", "b": "opaque", "b/y": "file"}


def test_a_whiteout_in_a_hidden_directory_is_left_out(workshop: Workshop) -> None:
    workshop.layer(**{"a/x": "1", "a/y": "1"})
    workshop.layer(**{"a": "opaque", "a/x": "2"})
    workshop.layer(**{"a/x": "whiteout"})
    assert kinds(workshop.compare(1)) == {"a": "opaque"}


def test_an_opaque_root_hides_all_that_is_below(workshop: Workshop) -> None:
    workshop.layer(**BASE)
    top = workshop.layer(n="1")
    os.setxattr(top, stack.OPAQUE, b"y")
    workshop.layer(m="2")
    target, merged = workshop.merge(1)
    assert merged.opaque
    assert stack.is_opaque(str(target))
    assert sorted(os.listdir(target)) == ["m", "n"]
    target, merged = workshop.merge(0)
    assert not merged.opaque
    assert not stack.is_opaque(str(target))


def test_what_a_file_is_goes_with_it(workshop: Workshop) -> None:
    base = workshop.layer(**BASE, f="1" * 5000)
    (base / "f").chmod(0o6755)
    os.chown(base / "etc/a", 5, 6)
    os.setxattr(base / "f", "trusted.mark", b"yes")
    os.setxattr(base / "f", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    os.setxattr(base / "f", "trusted.overlay.origin", b"gone")
    os.setxattr(base / "lib", "user.mark", b"yes")
    os.utime(base / "f", ns=(1, 1_234_567_891))
    with (base / "holes").open("wb") as file:
        file.truncate(64 << 20)
    workshop.layer(**{"etc/new": "1"})
    for path in ("lib", "etc"):
        os.utime(base / path, ns=(9, 99))
    found = workshop.compare()
    assert dict(found[b"f"].xattrs).keys() == {"security.capability", "trusted.mark"}
    assert (workshop.place / "merged0/holes").stat().st_blocks < 100
    assert (workshop.place / "merged0/lib").stat().st_mtime_ns == 99


def test_names_of_one_file_stay_names_of_one_file_and_others_get_none(workshop: Workshop) -> None:
    base = workshop.layer(**{"a/one": "1", "single": "1"})
    os.link(base / "a/one", base / "two")
    os.link(base / "a/one", base / "three")
    workshop.layer(three="whiteout")
    target, merged = workshop.merge()
    assert workshop.place.joinpath("merged0/a/one").stat().st_nlink == 2
    assert (base / "single").stat().st_nlink == (target / "single").stat().st_nlink == 1
    assert merged.size == 2
    assert tree.usage(str(target))[0] == 2


def test_its_size_is_what_counting_finds(workshop: Workshop) -> None:
    workshop.layer(**BASE)
    workshop.layer(**{"etc/a": "a longer one", "lib/z": "whiteout"})
    target, merged = workshop.merge()
    assert merged.size == tree.usage(str(target))[0] == len("a longer one") + 2 + 3


def test_the_root_is_like_the_layer_that_says_what_it_is_like(workshop: Workshop) -> None:
    base = workshop.layer(a="1")
    base.chmod(0o711)
    os.utime(base, ns=(3, 4))
    workshop.layer(b="2")
    target = workshop.place / "merged"
    merging.merge(workshop.layers, [], str(target), str(base))
    status = target.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o711, 4)


def test_a_deep_tree_and_odd_names_are_merged(workshop: Workshop) -> None:
    odd = os.fsdecode(b"\xff\x1b[2J\n")
    base = workshop.layer(**{odd: "1", f"{odd}d/f": "2"})
    subprocess.run(["mkdir", "-p", f"{base}/{'/'.join(['d'] * 1500)}"], check=True)
    workshop.layer(**{odd: "whiteout"})
    target, _ = workshop.merge()
    try:
        assert sorted(os.listdir(target)) == sorted([f"{odd}d", "d"])
        assert tree.usage(str(target))[1] == 1502
    finally:
        tree.remove(str(base))  # pytest's own way of removing it recurses
        tree.remove(str(target))


NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/b/a", "b/b"])
WHATS = st.sampled_from(["whiteout", "dir", "opaque", "mode", "link:a", "link:b", "content", "other", "fifo", "device"])
LAYERS = st.lists(st.dictionaries(NAMES, WHATS, max_size=6), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LAYERS, st.integers(0, 3))
def test_any_layers_show_the_same_when_they_are_merged(
    tmp_path_factory: pytest.TempPathFactory, contents: list[dict[str, str]], first: int
) -> None:
    workshop = Workshop(tmp_path_factory.mktemp("merging"))
    for entries in contents:
        workshop.layer(**usual(workshop.layers, entries))
    first = min(first, len(contents) - 1)
    found = workshop.compare(first)
    assert first or not {"whiteout", "opaque"} & set(kinds(found).values())


def usual(below: list[str], entries: dict[str, str]) -> dict[str, str]:
    """*entries* without what no layer of the store has: a whiteout where no directory below merges."""
    kept = {}
    for path, what in entries.items():
        above = [path[:cut] for cut in (1, 3) if len(path) > cut]
        inside = all(entries.get(one, "dir") in ("dir", "opaque", "mode") for one in above)
        hides = any(entries.get(one) == "opaque" for one in above)
        if inside and not (what == "whiteout" and (hides or not stack.merged(below, path.rpartition("/")[0]))):
            kept[path] = what
    return kept
