"""Tests that run at once do not see each other, and nothing of them stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.cgroup import delegation, hierarchy
from tests import lanes
from tests.kept import until

PROJECT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root makes namespaces"),
    pytest.mark.usefixtures("leaves_nothing"),
]

# Each of these waits until the other is at work, too, and looks at what there is.
PAIR = """
import os, pathlib, time, pytest

@pytest.mark.parametrize("mine", ["one", "two"])
def test_there_is_nobody_else(mine):
    here = pathlib.Path(os.environ["MEETING"])
    other = {"one": "two", "two": "one"}[mine]
    (here / mine).write_text(os.readlink("/proc/self/ns/pid"))
    end = time.monotonic() + 60
    while not (here / other).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert (here / other).read_text() != (here / mine).read_text()
    assert sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()) == [1, os.getpid()]
    assert pathlib.Path("/proc/self/cgroup").read_text().splitlines()[-1] == "0::/tests"
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A cgroup that is not there yet, and is not afterwards."""
    path = Path(hierarchy.mount_point(), f"minirun-lane-{os.getpid()}")
    yield path
    lanes.remove(path)


def lane(group: Path, script: str) -> list[str]:
    """The words that start a shell as a lane."""
    return [*lanes.lane(group), "sh", "-c", script]


def said(group: Path, script: str) -> list[str]:
    """What a shell that is a lane prints."""
    return subprocess.run(lane(group, script), capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_lane_sees_its_own_processes_mounts_and_groups(group: Path) -> None:
    script = """
    echo /proc/[0-9]*
    mount -t tmpfs none /mnt
    grep ^0:: /proc/self/cgroup; ls -d "$0"/*/
    cd /run/netns; echo *
    """
    top = hierarchy.mount_point()
    found = said(group, script.replace("$0", top))
    assert len(found[0].split()) == 2
    assert found[1:] == ["0::/tests", f"{top}/tests/", "*"]
    assert " /mnt " not in Path("/proc/self/mountinfo").read_text()


def test_groups_below_a_lanes_have_the_controllers_that_it_has(group: Path) -> None:
    top = hierarchy.mount_point()
    script = f"cd {top}; for one in $(cat cgroup.controllers); do echo +$one >cgroup.subtree_control; done; mkdir x; "
    found = said(group, script + "cat cgroup.controllers x/cgroup.controllers")
    assert found[:1] == found[1:]


def test_orphans_are_waited_for(group: Path) -> None:
    script = "sh -c 'sleep 0.05 & echo $!' >/tmp/$$; read pid </tmp/$$; rm /tmp/$$; sleep 0.3; ls -d /proc/$pid"
    done = subprocess.run(lane(group, script), capture_output=True, text=True, check=False)
    assert "No such file" in done.stderr


def test_what_a_lane_leaves_ends_with_it(group: Path) -> None:
    assert subprocess.run(lane(group, "setsid sleep 1000 & exit 7"), check=False).returncode == 7
    assert (group / "cgroup.events").read_text().splitlines()[0] == "populated 0"


def test_a_lane_ends_with_who_started_it(group: Path) -> None:
    code = f"import subprocess, time\nsubprocess.Popen({lane(group, 'setsid sleep 1000 & wait')!r})\ntime.sleep(1000)"
    members = group / "tests/cgroup.procs"
    with subprocess.Popen([sys.executable, "-c", code]) as starter:
        try:
            until(lambda: members.exists() and len(members.read_text().split()) == 3, "the lane is not opened")
        finally:
            starter.kill()
    until(lambda: (group / "cgroup.events").read_text().splitlines()[0] == "populated 0")


def pytest_in_lanes(tmp_path: Path, code: str) -> subprocess.Popen[str]:
    """Start a pytest with two lanes that has *code* for a file of tests."""
    (tmp_path / "test_it.py").write_text(code)
    if reason := lanes.obstacle():
        pytest.skip(reason)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "--lanes", "2"]
    return subprocess.Popen(
        [*words, f"--basetemp={tmp_path}/base", f"--rootdir={tmp_path}", tmp_path / "test_it.py"],
        cwd=PROJECT, env={**os.environ, "MEETING": str(tmp_path)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_two_tests_run_at_once_and_do_not_see_each_other(tmp_path: Path) -> None:
    with pytest_in_lanes(tmp_path, PAIR) as process:
        told = process.communicate(timeout=120)[0]
    assert "2 passed" in told
    assert process.returncode == 0


def test_nothing_of_lanes_stays_when_pytest_is_ended(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    code = f"import time, pathlib\ndef test_it():\n    pathlib.Path({str(begun)!r}).touch()\n    time.sleep(1000)\n"
    with pytest_in_lanes(tmp_path, code) as process:
        until(begun.exists, seconds=60)
        process.send_signal(signal.SIGTERM)  # goes the way of Ctrl-C
        assert process.wait(60) == 2


def test_what_a_killed_pytest_has_left_goes_with_the_next(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as dead:
        left = Path(hierarchy.mount_point(), f"{lanes.PREFIX}{dead.pid}")
    (left / "gw0/tests").mkdir(parents=True)
    lanes.remove(lanes.make_top())
    assert not left.exists()


def test_where_systemd_runs_there_is_one_lane(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(delegation, "BOOTED", str(tmp_path))
    assert "systemd" in lanes.obstacle()
