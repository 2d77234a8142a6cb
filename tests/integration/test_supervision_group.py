"""Keepers and the supervisor are in a group of their own, and end with nobody's session: container/supervision.py."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.cgroup import group, hierarchy
from minirun.container import supervision
from tests import kept
from tests.command import Minirun
from tests.host import leaves_root
from tests.kept import state, until

FOREVER = ("sleep", "100000")


@pytest.fixture(autouse=True)
def cleared(store: Minirun) -> Iterator[None]:
    """No containers are there before, and none stays; the supervisor ends by itself."""
    yield
    kept.clear(store)
    assert kept.complaints(store) == ""
    if not leaves_root(hierarchy.mount_point()):
        store("gc", check=True)  # the last in it had nowhere to go
    until(lambda: not place(store).exists(), "the group stays")


def place(store: Minirun) -> Path:
    """The group's directory."""
    return Path(supervision.path(str(store.runtime)))


def members(store: Minirun) -> set[int]:
    """The pids of those in the group."""
    return set(map(int, (place(store) / "cgroup.procs").read_text().split()))


def test_they_are_in_the_group_and_it_goes_with_the_last(store: Minirun) -> None:
    for name in ("one", "two"):
        store("run", "-d", "--name", name, "busybox", *FOREVER, check=True)
    keepers = {kept.keeper(store, name).keeper for name in ("one", "two")}
    until(lambda: members(store) == keepers | {kept.supervisor(store)})
    assert not {state(store, name)["Pid"] for name in ("one", "two")} & members(store)
    store("rm", "-f", "one", check=True)
    until(lambda: members(store) == {kept.keeper(store, "two").keeper, kept.supervisor(store)})


def test_the_next_supervisor_is_in_it_too_whoever_starts_it(store: Minirun) -> None:
    store("run", "-d", "--name", "one", "busybox", *FOREVER, check=True)
    first = kept.supervisor(store)
    kept.kill(first)
    assert kept.supervisor(store) in members(store)
    kept.kill(kept.keeper(store, "one").keeper)
    kept.kill(*kept.supervisors(store))
    store("ps", check=True)
    assert kept.supervisor(store) in members(store)


@pytest.mark.parametrize("flags", [(), ("-i",)])
def test_a_run_in_the_foreground_takes_it_away_itself(store: Minirun, flags: tuple[str, ...]) -> None:
    store("run", *flags, "--name", "front", "busybox", "true", check=True)
    assert not place(store).exists()


def test_a_command_that_cannot_begin_leaves_no_group(store: Minirun) -> None:
    for detach in ((), ("-d",)):
        assert store("run", *detach, "busybox", "/nosuch").returncode == 127
        assert not place(store).exists()


def test_gc_removes_one_that_nobody_is_in(store: Minirun) -> None:
    group.make_own(str(place(store)))
    store("gc", check=True)
    assert not place(store).exists()
    store("run", "-d", "--name", "one", "busybox", *FOREVER, check=True)
    store("gc", check=True)
    assert members(store)


def test_the_end_of_the_session_that_started_them_is_not_theirs(store: Minirun) -> None:
    session = f"{hierarchy.mount_point()}/minirun-test-{os.getpid()}.scope"
    group.create(session)
    try:
        words = store.command(["run", "-d", "--name", "left", "busybox", *FOREVER])
        script = f'echo 0 > {session}/cgroup.procs; "$@"; exec sleep 100000'
        with subprocess.Popen(
            ["sh", "-c", script, "sh", *words], env=store.environment(), stdout=subprocess.PIPE
        ) as shell:
            assert shell.stdout
            shell.stdout.readline()
            keeper, supervisor = kept.keeper(store, "left").keeper, kept.supervisor(store)
            group.kill(session)  # as systemd does with what is left: KillMode=control-group
            shell.wait()
        assert kept.status(keeper) not in kept.GONE
        assert kept.supervisor(store) == supervisor
        assert state(store, "left")["Running"]
    finally:
        group.end(session)
