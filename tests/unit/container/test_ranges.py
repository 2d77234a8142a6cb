"""Ranges of ids: what there is to give, and that nobody gets what another has."""

from __future__ import annotations

import shutil
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from minirun.container import ranges
from minirun.container.ranges import Range
from minirun.errors import BadInput, Conflict, NotFound
from minirun.home import Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(f"{tmp_path}/root", f"{tmp_path}/run")
    home.create()
    return home


def box(home: Home, name: str) -> str:
    Path(home.container(name)).mkdir()
    return name


def test_without_a_line_of_ours_it_is_a_block_that_no_convention_gives_away(tmp_path: Path) -> None:
    found = ranges.pool(f"{tmp_path}")
    assert (found.uid, found.gid, found.size) == (1879048192, 1879048192, 4094 * 65536)


@pytest.mark.parametrize(
    ("users", "groups", "expected"),
    [
        ("minirun:600000:1000\ncontainers:9:9\n", "containers:700000:5000\n", (600000, 700000, 1000)),
        ("containers:5:10\ncontainers:50:100\n", "minirun:7:99\n", (50, 7, 99)),
        ("other:1:65536\n", "minirun:7:99\n", (1879048192, 1879048192, 4094 * 65536)),
    ],
)
def test_subuid_and_subgid_say_what_is_ours(
    tmp_path: Path, users: str, groups: str, expected: tuple[int, int, int]
) -> None:
    (tmp_path / "subuid").write_text(users)
    (tmp_path / "subgid").write_text(groups)
    found = ranges.pool(f"{tmp_path}")
    assert (found.uid, found.gid, found.size) == expected


def test_a_line_of_ours_that_is_no_range_is_refused(tmp_path: Path) -> None:
    (tmp_path / "subuid").write_text("minirun:many\n")
    with pytest.raises(BadInput, match="no NAME:FIRST:COUNT"):
        ranges.pool(f"{tmp_path}")


def test_ranges_are_given_in_turn_and_come_round_again(home: Home) -> None:
    given = Range(1000, 5000, 40)
    first, second, third = (ranges.take(home, box(home, name), 10, given) for name in "abc")
    assert [str(one) for one in (first, second, third)] == ["1000-5000-10", "1010-5010-10", "1020-5020-10"]
    ranges.release(home.root, "a")
    assert str(ranges.take(home, box(home, "d"), 10, given)) == "1030-5030-10"  # not what has just been given back
    assert str(ranges.take(home, box(home, "e"), 10, given)) == "1000-5000-10"
    with pytest.raises(Conflict, match="no 10 of 40 in a row are free"):
        ranges.take(home, box(home, "f"), 10, given)
    ranges.release(home.root, "c")
    assert ranges.take(home, "f", 4, given).uid == 1020
    assert ranges.take(home, box(home, "g"), 6, given).uid == 1024


def test_what_a_container_had_that_is_gone_is_free(home: Home) -> None:
    given = Range(1000, 1000, 10)
    ranges.take(home, box(home, "a"), 10, given)
    shutil.rmtree(home.container("a"))
    ranges.take(home, box(home, "b"), 10, given)
    assert [str(Path(link).readlink()) for link in ranges.of(home, "b")] == ["../containers/b"]
    assert not ranges.of(home, "a")


def test_another_subuid_does_not_give_what_is_still_in_use(home: Home) -> None:
    ranges.take(home, box(home, "a"), 10, Range(1000, 2000, 10))
    # now the groups lie where the users did
    assert ranges.take(home, box(home, "b"), 10, Range(995, 995, 40)).uid == 1010
    assert ranges.take(home, box(home, "c"), 10, Range(1985, 1985, 40)).uid == 2010


def test_a_range_that_another_shares_is_free_when_both_are_gone(home: Home) -> None:
    given = Range(1000, 1000, 10)
    own = ranges.take(home, box(home, "a"), 10, given)
    ranges.share(home, box(home, "b"), own)
    ranges.release(home.root, "a")
    shutil.rmtree(home.container("a"))
    with pytest.raises(Conflict):
        ranges.take(home, box(home, "c"), 10, given)
    ranges.release(home.root, "b")
    with pytest.raises(NotFound, match="it was removed meanwhile"):
        ranges.share(home, "c", own)
    assert ranges.take(home, "c", 10, given).uid == 1000


def test_to_give_back_twice_or_what_nobody_has_is_no_error(home: Home) -> None:
    ranges.release(home.root, "nobody")
    ranges.take(home, box(home, "a"), 10, Range(1000, 1000, 10))
    ranges.release(home.root, "a")
    ranges.release(home.root, "a")
    assert not ranges.of(home, "a")


def take_and_give_back(root: str, runtime: str, worker: int) -> list[tuple[int, int]]:
    """Take and give back ranges of several sizes; returns those kept: (first, behind)."""
    home, given, kept = Home(root, runtime), Range(1000, 1000, 1000), []
    for turn in range(20):
        name = box(home, f"{worker}-{turn}")
        one = ranges.take(home, name, 1 + (worker + turn) % 7, given)
        if turn % 2:
            ranges.release(root, name)
        else:
            kept.append((one.uid, one.uid + one.size))
    return kept


def test_many_at_once_never_get_what_another_has(home: Home) -> None:
    with ProcessPoolExecutor(8) as pool:
        runs = [pool.submit(take_and_give_back, home.root, home.runtime, worker) for worker in range(8)]
        kept = sorted(one for run in runs for one in run.result())
    assert len(kept) == 80
    assert all(before[1] <= after[0] for before, after in pairwise(kept))
