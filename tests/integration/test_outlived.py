"""minirun is killed while its container runs: the container goes on, and whoever comes next tidies up."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minirun.cgroup import group, hierarchy
from tests import busybox
from tests.command import Minirun

PATIENCE_S = 10.0


@contextmanager
def orphan(store: Minirun, folder: Path, *flags: str) -> Iterator[str]:
    """A container whose minirun was killed; it runs until *folder* has a file `end`. Gives its id."""
    script = "touch /data/on; while [ ! -e /data/end ]; do sleep 0.02; done; echo whole >/data/written; exit 3"
    before = set(busybox.containers(store.root))
    with store.start("run", *flags, "-v", f"{folder}:/data", "busybox", "sh", "-c", script) as process:
        wait_until((folder / "on").exists)
        (box,) = set(busybox.containers(store.root)) - before
        store("rm", box)  # is refused, once all is written down about its start
        process.send_signal(signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
    try:
        yield box
    finally:
        group.remove(hierarchy.path(box))


def wait_until(reached: object) -> None:
    end = time.monotonic() + PATIENCE_S
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


def end(folder: Path, box: str) -> None:
    (folder / "end").touch()
    wait_until(lambda: not group.alive(hierarchy.path(box)))
    assert (folder / "written").read_text() == "whole\n"


def test_the_container_goes_on_and_is_listed_as_running(store: Minirun, tmp_path: Path) -> None:
    with orphan(store, tmp_path, "--name", "alone") as box:
        for _ in range(2):  # whoever looks changes nothing about it
            listed = store("ps", "--format", "{{.Names}} {{.Status}}", check=True).stdout
            assert listed.startswith("alone Up ")
        assert group.alive(hierarchy.path(box))
        assert store("rm", "alone").returncode != 0
        assert store("start", "-a", "alone").returncode == 125
        end(tmp_path, box)
    store("rm", "alone", check=True)


def test_its_keeper_saw_how_one_ended_whose_parent_was_killed(store: Minirun, tmp_path: Path) -> None:
    with orphan(store, tmp_path, "--name", "kept") as box:
        end(tmp_path, box)
        assert store("wait", "kept", check=True).stdout == "3\n"
        listed = store("ps", "-a", "--format", "{{.Names}} {{.Status}}", check=True).stdout
        assert listed.startswith("kept Exited (3)")
        assert not Path(hierarchy.path(box)).exists()
        assert list((store.root / "marks").iterdir()) == []
        assert store("inspect", "--format", "{{.State.ExitCode}} {{.State.Pid}}", "kept", check=True).stdout == "3 0\n"
        assert store("start", "-a", "kept").returncode == 3
    store("rm", "kept", check=True)


def test_of_one_with_rm_nothing_is_left(store: Minirun, tmp_path: Path) -> None:
    before = busybox.contents(store.root)
    with orphan(store, tmp_path, "--rm", "--name", "thrown-away") as box:
        end(tmp_path, box)
        store("ps", check=True)
        assert not Path(hierarchy.path(box)).exists()
    assert busybox.contents(store.root) == before


@pytest.mark.parametrize("flags", [("--rm",), ()])
def test_rm_f_ends_it(store: Minirun, tmp_path: Path, flags: tuple[str, ...]) -> None:
    before = busybox.contents(store.root)
    with orphan(store, tmp_path, *flags) as box:
        store("rm", "-f", box, check=True)
        assert not Path(hierarchy.path(box)).exists()
    store("ps", check=True)
    assert busybox.contents(store.root) == before
    assert not (tmp_path / "written").exists()


def test_another_container_is_left_alone_meanwhile(store: Minirun, tmp_path: Path) -> None:
    with orphan(store, tmp_path, "--rm") as box:
        assert store("run", "--rm", "busybox", "echo", "ran", check=True).stdout == "ran\n"
        assert group.alive(hierarchy.path(box))
        end(tmp_path, box)
    store("ps", check=True)
