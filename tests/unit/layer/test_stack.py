"""Reading a stack of layer directories without mounting it, against what the kernel shows of the same stack."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun.layer import stack
from minirun.layer.lookup import Lookup
from tests.trees import describe, mounted, put

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="whiteouts and mounts need root")


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("bottom", "middle", "top")]
    for layer in made:
        layer.mkdir()
    return made


def content(layers: list[Path], path: str | bytes) -> str | None:
    found = stack.find(list(map(str, layers)), path)
    return None if found is None else Path(found.path).read_text()


def test_the_topmost_entry_is_found_and_whiteouts_hide(layers: list[Path]) -> None:
    bottom, middle, top = layers
    put(bottom, "etc/a", "1")
    put(bottom, "etc/b", "1")
    put(middle, "etc/b", "2")
    put(top, "etc/a", "whiteout")
    put(bottom, "etc/c", "1")
    put(middle, "etc/c", "whiteout")
    put(top, "etc/c", "3")
    assert content(layers, "/etc/a") is None
    assert content(layers, "etc/b") == "2"
    assert content(layers, b"//etc/./c") == "3"
    assert content(layers[:2], "/etc/a") == "1"
    assert content(layers[:2], "/etc/c") is None
    assert content(layers, "/etc/../../etc/b") == "2"


def test_what_is_no_directory_and_opaque_ones_hide_what_is_below(layers: list[Path]) -> None:
    bottom, middle, top = layers
    put(bottom, "a/x", "1")
    put(middle, "a", "a file")
    put(top, "a/y", "3")
    put(bottom, "b/x", "1")
    put(middle, "b", "opaque")
    put(bottom, "d/x", "1")
    put(middle, "d", "whiteout")
    put(top, "d/y", "3")
    for path in ("a/x", "b/x", "d/x"):
        assert content(layers, path) is None
        assert content(layers[:1], path) == "1"
    assert content(layers, "a/y") == "3"
    assert stack.merged(list(map(str, layers)), "a") == [str(top / "a")]
    assert stack.merged(list(map(str, layers)), "b") == [str(middle / "b")]
    assert stack.merged(list(map(str, layers)), "a/y") == []


def test_a_symlink_is_found_and_never_followed(layers: list[Path]) -> None:
    put(layers[0], "etc/passwd", "root")
    put(layers[1], "link", "link:etc")
    put(layers[2], "etc/passwd2", "link:passwd")
    found = stack.find(list(map(str, layers)), "link")
    assert found is not None
    assert stat.S_ISLNK(found.stat.st_mode)
    assert stack.find(list(map(str, layers)), "link/passwd") is None
    found = stack.find(list(map(str, layers)), "etc/passwd2")
    assert found is not None
    assert found.path == str(layers[2] / "etc/passwd2")


def test_the_root_is_the_top_layers_and_an_opaque_root_ends_the_stack(layers: list[Path]) -> None:
    put(layers[0], "a", "1")
    put(layers[1], "b", "2")
    os.setxattr(layers[1], stack.OPAQUE, b"y")
    found = stack.find(list(map(str, layers)), "/")
    assert found is not None
    assert found.path == str(layers[2])
    assert content(layers, "a") is None
    assert content(layers, "b") == "2"
    assert stack.find([], "/") is None


def test_a_walk_keeps_whiteouts_and_says_what_is_opaque(layers: list[Path]) -> None:
    bottom, middle, top = layers
    put(bottom, "a/x", "1")
    put(middle, "a", "opaque")
    put(middle, "a/y", "2")
    put(top, "a/z", "3")
    put(top, "b", "whiteout")
    put(bottom, "b/x", "1")
    put(bottom, "c/x", "1")
    put(middle, "c", "whiteout")
    put(top, "c/w", "3")
    put(bottom, "a-b", "1")
    seen = [(path, stack.is_whiteout(found.stat), opaque) for path, found, opaque in stack.walk(list(map(str, layers)))]
    assert seen == [
        (b"a", False, True),
        (b"a/y", False, False),
        (b"a/z", False, False),
        (b"a-b", False, False),
        (b"b", True, False),
        (b"c", False, True),
        (b"c/w", False, False),
    ]


NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/b/a", "b/b"])
WHATS = st.sampled_from(["whiteout", "dir", "opaque", "link:a", "content"])


def test_a_walk_passes_over_what_goes_meanwhile(tmp_path: Path) -> None:
    for folder in ("a", "b/deep", "c"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").touch()
    walk = stack.walk([str(tmp_path)])
    assert [next(walk)[0], next(walk)[0]] == [b"a", b"a/file"]
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "b").touch()
    (tmp_path / "c/file").unlink()
    assert [path for path, _, _ in walk] == [b"b", b"c"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(NAMES, WHATS, max_size=6), min_size=1, max_size=4), st.randoms())
def test_any_stack_reads_as_the_kernel_merges_it(
    tmp_path_factory: pytest.TempPathFactory, contents: list[dict[str, str]], chance: Random
) -> None:
    scratch = tmp_path_factory.mktemp("stack")
    # A whiteout in a directory that nothing merges with shows up in listings: no layer of the store has one.
    made: list[str] = []
    for number, entries in enumerate(contents):
        layer = scratch / str(number)
        layer.mkdir()
        for path, what in sorted(entries.items()):
            if all(entries.get(path[:cut], "dir") in ("dir", "opaque") for cut in (1, 3) if len(path) > cut) and not (
                what == "whiteout" and (not stack.merged(made, path.rpartition("/")[0]) or hidden(entries, path))
            ):
                put(layer, path, what)
        made.append(str(layer))
    with mounted(made, scratch) as view:
        shown = describe(view).keys() - {b""}
    assert {path for path, found, _ in stack.walk(made) if not stack.is_whiteout(found.stat)} == shown
    names = ["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/b/a", "b/b", "c", "a/c", "c/a"]
    with Lookup(made) as lookup:
        assert lookup.directory(b"") is not None
        for name in chance.sample(2 * names, 2 * len(names)):  # the way from any to any other
            found, merged = stack.find(made, name), stack.merged(made, name)
            assert (found is not None) == (name.encode() in shown)
            again = lookup.find(name.encode())
            assert (again and inode(again[1])) == (found and inode(found.stat))
            if again is not None:
                assert inode(os.stat(Path(name).name, dir_fd=again[0], follow_symlinks=False)) == inode(again[1])
            place = lookup.directory(name.encode())
            assert (place and inode(os.fstat(place))) == (inode(Path(merged[-1]).stat()) if merged else None)
    with Lookup([]) as nothing:
        assert nothing.find(b"a") is None
        assert nothing.directory(b"") is None


def inode(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def hidden(entries: dict[str, str], path: str) -> bool:
    """Whether *path* is in an opaque directory of the same layer."""
    return any(entries.get(path[:cut]) == "opaque" for cut in (1, 3) if len(path) > cut)
