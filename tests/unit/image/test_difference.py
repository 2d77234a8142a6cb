"""What differs between two stacks of layers, against what the kernel shows of the same stacks."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun.image import difference
from minirun.kernel import tree
from minirun.layer import stack
from tests.trees import Node, describe, mounted, put

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts and mounts need root")


Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a layer of entries, and return its path."""
    made: list[Path] = []

    def layer(**entries: str) -> str:
        place = tmp_path / f"layer{len(made)}"
        made.append(place)
        place.mkdir()
        for path, what in entries.items():
            put(place, path, what)
        return str(place)

    return layer


def lines(old: Sequence[str], new: Sequence[str]) -> list[str]:
    return [" ".join([one.kind, one.path, *one.differs]) for one in difference.changes(old, new)]


def sizes(old: Sequence[str], new: Sequence[str]) -> dict[str, tuple[int | None, int | None]]:
    return {one.path: (one.old, one.new) for one in difference.changes(old, new)}


BASE = {"etc/a": "1", "etc/b": "22", "lib/x/y": "333", "lib/z": "4", "l": "link:etc", "p": "fifo", "d": "device"}


def test_the_same_stack_does_not_differ(make: Make) -> None:
    base = make(**BASE)
    assert lines([base], [base]) == []
    assert lines([base], [make(**BASE)]) == []
    assert lines([], []) == []


def test_what_a_layer_adds_changes_and_takes_away(make: Make) -> None:
    base = make(**BASE)
    top = make(**{"etc/a": "changed", "etc/b": "whiteout", "etc/n": "new", "srv/deep/f": "x"})
    assert lines([base], [base, top]) == [
        "C /etc",
        "C /etc/a contents",
        "D /etc/b",
        "A /etc/n",
        "A /srv",
        "A /srv/deep",
        "A /srv/deep/f",
    ]
    assert sizes([base], [base, top]) == {
        "/etc": (None, None), "/etc/a": (1, 7), "/etc/b": (2, None), "/etc/n": (None, 3), "/srv": (None, None),
        "/srv/deep": (None, None), "/srv/deep/f": (None, 1),
    }  # fmt: skip


def test_all_that_was_in_a_directory_goes_with_it(make: Make) -> None:
    base = make(**BASE)
    gone = ["D /lib", "D /lib/x", "D /lib/x/y", "D /lib/z"]
    assert lines([base], [base, make(lib="whiteout")]) == gone
    assert lines([base], []) == ["D /d", "D /etc", "D /etc/a", "D /etc/b", "D /l", *gone, "D /p"]
    assert lines([base], [base, make(lib="opaque")]) == ["C /lib", *gone[1:]]
    assert lines([base], [base, make(lib="a file")]) == ["C /lib type", *gone[1:]]
    assert lines([base, make(lib="a file")], [base]) == ["C /lib type", *(line.replace("D", "A") for line in gone[1:])]


def test_kinds_modes_owners_and_targets_differ_in_a_word(make: Make) -> None:
    base = make(**BASE)
    top = Path(make(**{"etc/a": "1", "etc/b": "22", "lib/z": "link:4", "l": "link:lib", "lib/x": "mode"}))
    (top / "etc/a").chmod(0o4755)
    os.chown(top / "etc/b", 5, 0)
    os.mknod(top / "d", stat.S_IFBLK | 0o600, os.makedev(7, 2))
    os.mkfifo(top / "p")
    os.setxattr(top / "p", "trusted.mark", b"1", follow_symlinks=False)
    assert lines([base], [base, str(top)]) == [
        "C /d device",
        "C /etc",
        "C /etc/a mode",
        "C /etc/b owner",
        "C /l target",
        "C /lib",
        "C /lib/x mode",
        "C /lib/z type",
        "C /p xattrs",
    ]


def test_times_and_attributes_of_overlayfs_are_no_difference(make: Make) -> None:
    base, top = make(**BASE), Path(make(**BASE))
    os.utime(top / "etc/a", ns=(0, 0))
    os.utime(top / "etc", ns=(0, 0))
    os.setxattr(top / "etc", "trusted.overlay.impure", b"y")
    assert lines([base], [str(top)]) == lines([base], [base, str(top)]) == []


def test_bytes_are_compared_to_the_last(make: Make) -> None:
    long = "x" * (3 << 20)
    base = make(f=long)
    assert lines([base], [make(f=long)]) == []
    assert lines([base], [make(f=long[:-1] + "y")]) == ["C /f contents"]


def test_one_inode_is_not_read_and_a_large_file_only_where_its_time_is_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def noted(path: str, *arguments: Any, **options: Any) -> Any:
        read.append(path.rpartition("/")[2])
        return Path(path).open(*arguments, **options)

    monkeypatch.setattr(difference, "open", noted, raising=False)
    monkeypatch.setattr(difference, "LARGE", 10)
    one, other = (Path(make(same="1234", early="e" * 11, late="l" * 11, small="s" * 10)) for _ in range(2))
    (other / "same").unlink()
    os.link(one / "same", other / "same")
    for path in (one / "early", one / "late", other / "late", one / "small"):
        os.utime(path, ns=(1, 1))
    assert lines([str(one)], [str(other)]) == ["C /early contents"]
    assert sorted(read) == ["late", "late", "small", "small"]


def test_paths_are_sorted_by_their_bytes_and_names_may_be_any(make: Make) -> None:
    odd = os.fsdecode(b"\xff\x1b[2J\n")
    top = make(**{"a/b": "1", "a-b": "2", f"a/{odd}": "3", "é": "4"})
    assert lines([], [top]) == ["A /a", "A /a-b", "A /a/b", f"A /a/{odd}", "A /é"]


def test_shared_layers_at_the_bottom_are_not_read(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make(**{f"usr/{number}/f": "x" for number in range(50)}, **BASE)
    tops = make(**{"etc/a": "1"}), make(**{"etc/a": "2", "opt/x": "3"})
    listed: list[str] = []
    real = os.listdir

    def noted(path: str) -> list[str]:
        listed.append(path)
        return real(path)

    monkeypatch.setattr(os, "listdir", noted)
    assert lines([base, tops[0]], [base, tops[1]]) == ["C /etc", "C /etc/a contents", "A /opt", "A /opt/x"]
    assert {path.partition(base)[2] for path in listed if path.startswith(base)} == {"", "/etc"}


def test_a_path_as_deep_as_a_path_can_be_is_no_recursion(make: Make) -> None:
    top = make()
    subprocess.run(["mkdir", "-p", f"{top}/{'/'.join(['d'] * 1500)}"], check=True)
    try:
        assert len(lines([], [top])) == 1500
    finally:
        tree.remove(top)  # pytest's own way of removing it recurses


def test_the_root_differs_in_what_it_is_like(make: Make) -> None:
    one, other = make(a="1"), make(b="2")
    assert difference.root(one, other) is None
    Path(other).chmod(0o711)
    change = difference.root(one, other)
    assert change is not None
    assert (change.kind, change.path, change.differs) == ("C", "/", ["mode"])


NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/b/a", "b/b"])
WHATS = st.sampled_from(["whiteout", "dir", "opaque", "mode", "link:a", "link:b", "content", "other", "fifo", "device"])
LAYERS = st.lists(st.dictionaries(NAMES, WHATS, max_size=6), max_size=3)


def build(scratch: Path, name: str, below: list[str], contents: list[dict[str, str]]) -> list[str]:
    """Layers of *contents* on *below*, without whiteouts of what is not there, as no layer of the store has one."""
    made = list(below)
    for number, entries in enumerate(contents):
        layer = scratch / f"{name}{number}"
        layer.mkdir()
        for path, what in sorted(entries.items()):
            above = [path[:cut] for cut in (1, 3) if len(path) > cut]
            inside = all(entries.get(one, "dir") in ("dir", "opaque", "mode") for one in above)
            hides = any(entries.get(one) == "opaque" for one in above)
            if inside and not (what == "whiteout" and (hides or not stack.merged(made, path.rpartition("/")[0]))):
                put(layer, path, what)
        made.append(str(layer))
    return made


def shown(layers: Sequence[str], scratch: Path) -> dict[bytes, Node]:
    if not layers:
        return {}
    with mounted(layers, scratch) as view:
        return describe(view)


def essence(node: Node) -> tuple[Any, ...]:
    return node.kind, node.mode, node.uid, node.gid, node.content, node.device, node.xattrs


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LAYERS, LAYERS, LAYERS)
def test_any_two_stacks_differ_as_the_kernel_shows_them(
    tmp_path_factory: pytest.TempPathFactory,
    shared: list[dict[str, str]],
    ones: list[dict[str, str]],
    others: list[dict[str, str]],
) -> None:
    scratch = tmp_path_factory.mktemp("difference")
    base = build(scratch, "shared", [], shared)
    old, new = build(scratch, "one", base, ones), build(scratch, "other", base, others)
    before, after = shown(old, scratch), shown(new, scratch)
    expected = dict.fromkeys(after.keys() - before.keys(), "A") | dict.fromkeys(before.keys() - after.keys(), "D")
    changed = [path for path in before.keys() & after.keys() if essence(before[path]) != essence(after[path])]
    for path in [*changed, *expected]:
        for cut in [path, *(path[:cut] for cut in (1, 3) if len(path) > cut)]:
            expected.setdefault(cut, "C")
    expected.pop(b"", None)
    found = difference.changes(old, new)
    assert [(os.fsencode(one.path)[1:], one.kind) for one in found] == sorted(expected.items())
    mirrored = {(one.path, one.kind.translate(str.maketrans("AD", "DA")), one.new, one.old) for one in found}
    assert {(one.path, one.kind, one.old, one.new) for one in difference.changes(new, old)} == mirrored
