"""A container's group on the real hierarchy: made with its parent, frozen, killed, removed, all of it twice."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.cgroup import group, hierarchy, requirement
from minirun.errors import BadInput, Unsupported

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="groups are made by root"),
    pytest.mark.usefixtures("leaves_nothing"),
]


@pytest.fixture
def path() -> Iterator[str]:
    """A group of this test's."""
    path = hierarchy.path(f"test-{os.urandom(8).hex()}")
    group.create(path)
    yield path
    group.remove(path)


@pytest.fixture
def member(path: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process in it."""
    with subprocess.Popen(["sleep", "60"]) as process:
        Path(path, "cgroup.procs").write_text(str(process.pid))
        yield process
        process.kill()


def test_it_is_below_minirun_in_the_v2_hierarchy(path: str) -> None:
    assert Path(path).parent == Path(hierarchy.mount_point(), "minirun")
    assert "cgroup.controllers" in os.listdir(hierarchy.mount_point())
    assert (group.alive(path), group.frozen(path), group.processes(path)) == (False, False, [])


def test_it_is_alive_while_it_has_a_process(path: str, member: subprocess.Popen[bytes]) -> None:
    assert group.alive(path)
    assert group.processes(path) == [member.pid]
    member.kill()
    member.wait()
    assert not group.alive(path)


def test_freezing_stops_and_thawing_lets_go_on(path: str, member: subprocess.Popen[bytes]) -> None:
    for _ in range(2):
        group.freeze(path)
        assert group.frozen(path)
    for _ in range(2):
        group.thaw(path)
        group._wait(path, lambda here: not group.frozen(here), "thaw")
    assert member.poll() is None


def test_removing_kills_what_is_left_also_in_groups_below(path: str, member: subprocess.Popen[bytes]) -> None:
    below = Path(path, "own/deeper")
    below.mkdir(parents=True)
    (below / "cgroup.procs").write_text(str(member.pid))
    for _ in range(2):
        group.remove(path)
        assert not Path(path).exists()
    assert member.wait(5) == -9


def test_one_that_is_left_of_the_time_before_is_made_anew(path: str, member: subprocess.Popen[bytes]) -> None:
    Path(path, "below").mkdir()
    group.create(path)
    assert member.wait(10) == -9
    assert not group.alive(path)
    assert not Path(path, "below").exists()


def test_what_is_gone_is_neither_alive_nor_frozen_and_thaws_without_a_word(path: str) -> None:
    group.remove(path)
    assert (group.alive(path), group.frozen(path), group.processes(path)) == (False, False, [])
    group.thaw(path)


def test_a_controller_that_is_missing_is_refused_with_its_flag_and_where_it_is() -> None:
    there = dict.fromkeys(hierarchy.controllers(hierarchy.mount_point()), "there")
    requirement.require(there, hierarchy.own())
    requirement.require({}, hierarchy.own())
    missing = [name for name in ("memory", "cpu", "pids", "cpuset") if name not in there]
    if not missing:
        pytest.skip("this host has every controller in cgroup v2")
    with pytest.raises(Unsupported, match=f"the {missing[0]} controller is not") as caught:
        requirement.require(there | {missing[0]: "flag"}, hierarchy.own())
    assert "this host mounts it as cgroup v1 (hybrid)" in str(caught.value)
    assert str(caught.value).endswith("or run without --flag")


def test_a_parent_by_name_is_below_minirun_and_goes_with_its_last_group() -> None:
    ids = [f"test-{os.urandom(8).hex()}" for _ in range(2)]
    paths = [hierarchy.path(container, "web/blue") for container in ids]
    for path in paths:
        group.create(path)
    group.remove(paths[0])
    assert Path(hierarchy.own(), "web/blue") == Path(paths[1]).parent
    assert Path(paths[1]).is_dir()
    group.remove(paths[1])
    assert not Path(hierarchy.own(), "web").exists()


def test_a_parent_by_path_must_be_there_and_stays() -> None:
    theirs = Path(hierarchy.mount_point(), f"test-{os.urandom(8).hex()}")
    with pytest.raises(BadInput, match="ENOENT") as caught:
        requirement.require({}, str(theirs))
    assert f"mkdir -p {theirs}" in str(caught.value)
    theirs.mkdir()
    try:
        requirement.require({}, str(theirs))
        with pytest.raises(Unsupported, match="have no memory controller") as refused:
            requirement.require({"memory": "memory-swap"}, str(theirs))
        assert f"echo +memory > {theirs}/cgroup.subtree_control" in str(refused.value)
        path = hierarchy.path("box", f"/{theirs.name}")
        group.create(path)
        assert Path(path) == theirs / "box"
        group.remove(path)
        assert list(theirs.glob("*/")) == []
    finally:
        theirs.rmdir()
