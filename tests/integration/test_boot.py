"""The host starts and goes down: what was ended by that is known, and what is to start with it starts.

A reboot is made by hand: every process of the store is killed at once, what was in memory goes, and the state is of
another boot.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from minirun.cgroup import group
from minirun.container import supervision
from tests import kept
from tests.command import LAUNCHER, Minirun
from tests.kept import await_status, state, until

FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
ANOTHER = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def cleared(store: Minirun) -> Iterator[None]:
    """No containers are there before, and none stays; the supervisor ends by itself."""
    yield
    kept.clear(store)
    assert kept.complaints(store) == ""
    (store.runtime / "booted").unlink(missing_ok=True)


def reboot(store: Minirun) -> None:
    """Have the host boot, as far as the store can tell."""
    names = [path.name for path in (store.root / "names").iterdir()]
    files = [store.root / "names" / name / "state.json" for name in names]
    states = {path: json.loads(path.read_text()) for path in files if path.exists()}
    with suppress(FileNotFoundError):
        group.kill(supervision.path(str(store.runtime)))  # all at once: nobody is left to see the end of another
    for now in states.values():
        if now["cgroup"]:
            group.remove(now["cgroup"])
    kept.until(lambda: supervision.tidy(str(store.runtime)), "somebody is in the group of supervisors")
    for path, now in states.items():
        if path.exists():
            path.write_text(json.dumps(now | {"boot": ANOTHER}))
    shutil.rmtree(store.runtime)


def run(store: Minirun, name: str, *flags: str) -> None:
    store("run", "-d", "--name", name, *flags, "busybox", *FOREVER, check=True)


def test_what_its_policy_wants_starts_and_the_end_of_the_others_is_written_down(store: Minirun) -> None:
    run(store, "always", "--restart", "always")
    run(store, "unless", "--restart", "unless-stopped")
    run(store, "failed", "--restart", "on-failure:2")
    run(store, "never")
    run(store, "stopped", "--restart", "unless-stopped")
    run(store, "again", "--restart", "always")
    store("stop", "stopped", "again", check=True)
    store("create", "--name", "made", "--restart", "always", "busybox", "true", check=True)
    reboot(store)
    assert {state(store, name)["Status"] for name in ("always", "unless", "never")} == {"exited"}
    assert store("system", "boot", check=True).stdout.split() == ["always", "unless", "failed", "again"]
    found = {name: state(store, name) for name in ("always", "unless", "failed", "again", "never", "stopped", "made")}
    assert [name for name, now in found.items() if now["Running"]] == ["always", "unless", "failed", "again"]
    assert (found["never"]["ExitCode"], found["stopped"]["ExitCode"]) == (255, 0)
    assert found["made"]["Status"] == "created"
    assert kept.supervisor(store)


def test_what_was_run_with_rm_goes(store: Minirun) -> None:
    run(store, "gone", "--rm")
    reboot(store)
    assert "gone" in store("ps", "-a").stdout
    assert store("system", "boot", check=True).stdout == ""
    assert store("ps", "-aq").stdout == ""


def test_a_foreground_run_with_rm_goes_too(store: Minirun) -> None:
    with store.start("run", "--rm", "--name", "front", "busybox", *FOREVER) as process:
        until(lambda: store("ps", "-q").stdout)
        process.kill()
    reboot(store)
    store("system", "boot", check=True)
    assert store("ps", "-aq").stdout == ""


def test_what_waited_for_its_policy_starts_without_more_waiting(store: Minirun) -> None:
    store("run", "-d", "--name", "waits", "--restart", "always", "busybox", "false", check=True)
    until(lambda: state(store, "waits")["Restarting"])
    reboot(store)
    assert store("system", "boot", check=True).stdout == "waits\n"
    assert store("inspect", "-f", "{{.RestartCount}}", "waits").stdout.strip() in ("0", "1")


def test_what_the_reboot_ended_can_be_started_by_hand(store: Minirun) -> None:
    run(store, "never")
    reboot(store)
    store("start", "never", check=True)
    assert state(store, "never")["Running"]


def test_it_starts_them_once_a_boot(store: Minirun) -> None:
    run(store, "always", "--restart", "always")
    reboot(store)
    assert store("system", "boot", check=True).stdout == "always\n"
    store("stop", "always", check=True)
    assert store("system", "boot", check=True).stdout == ""
    assert state(store, "always")["Status"] == "exited"


def test_what_runs_is_left_alone(store: Minirun) -> None:
    run(store, "runs", "--restart", "always")
    before = state(store, "runs")
    assert store("system", "boot", check=True).stdout == ""
    assert state(store, "runs") == before


def test_a_number_that_another_process_has_by_now_is_not_the_containers(store: Minirun) -> None:
    run(store, "old")
    reboot(store)
    # the group is there again, with a process in it that has the number of the container's first
    path = store.root / "names/old/state.json"
    written = json.loads(path.read_text())
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            group.create(written["cgroup"])
            Path(written["cgroup"], "cgroup.procs").write_text(str(other.pid))
            path.write_text(json.dumps(written | {"pid": other.pid}))
            assert state(store, "old")["Status"] == "exited"
            assert "it is not running" in store("exec", "old", "true").stderr
            assert "it is not running" in store("kill", "old").stderr
            # of this boot, but of another process
            this = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            path.write_text(json.dumps(written | {"pid": other.pid, "boot": this}))
            assert "it is not running" in store("exec", "old", "true").stderr
            path.write_text(json.dumps(written | {"pid": other.pid}))
            assert other.poll() is None
        finally:
            other.kill()
            other.wait()
            group.remove(written["cgroup"])


def test_states_of_before_and_of_later_versions_are_read(store: Minirun) -> None:
    run(store, "old")
    path = store.root / "names/old/state.json"
    written = json.loads(path.read_text())
    before = {name: value for name, value in written.items() if name not in ("boot", "pid_start")}
    for other in (before, written | {"mood": "good"}):
        path.write_text(json.dumps(other))
        assert state(store, "old")["Status"] == "running"
        assert store("exec", "old", "true").returncode == 0
    keeper = store.runtime / "containers" / kept.container_id(store, "old") / "keeper"
    described = json.loads(keeper.read_text())
    del described["boot"]
    keeper.write_text(json.dumps(described | {"mood": "good"}))
    kept.kill(kept.supervisor(store))
    store("stop", "old", check=True)
    assert state(store, "old")["ExitCode"] == 0


def test_at_shutdown_all_are_stopped_and_start_again_at_the_next_boot(store: Minirun) -> None:
    run(store, "always", "--restart", "always")
    run(store, "unless", "--restart", "unless-stopped")
    run(store, "job", "--restart", "on-failure")
    run(store, "never")
    store("run", "-d", "--name", "deaf", "--stop-timeout", "1", "busybox", "sleep", "100000", check=True)
    store("run", "-d", "--name", "waits", "--restart", "always", "busybox", "false", check=True)
    until(lambda: state(store, "waits")["Restarting"])
    began = time.monotonic()
    stopped = store("system", "shutdown", check=True).stdout.split()
    assert time.monotonic() - began < 1 + kept.PATIENCE_S / 2
    assert sorted(stopped) == ["always", "deaf", "job", "never", "unless", "waits"]
    found = {name: state(store, name) for name in stopped}
    assert {now["Status"] for now in found.values()} == {"exited"}
    assert {name: now["ExitCode"] for name, now in found.items()} == {
        "always": 0, "unless": 0, "job": 0, "never": 0, "deaf": 137, "waits": 1,
    }  # fmt: skip
    kept.unsupervised(store)
    reboot(store)
    assert store("system", "boot", check=True).stdout.split() == ["always", "unless", "job", "waits"]


def test_after_a_shutdown_that_was_cut_short_policies_hold_again(store: Minirun) -> None:
    store("run", "-d", "--name", "deaf", "--restart", "always", "busybox", "sleep", "100000", check=True)
    with store.start("system", "shutdown") as process:
        until((store.runtime / "halting").exists)
        time.sleep(0.2)
        process.kill()
    store("exec", "deaf", "true", check=True)
    first = state(store, "deaf")["Pid"]
    os.kill(first, 9)
    until(lambda: state(store, "deaf")["Pid"] not in (0, first))


def test_update_changes_what_becomes_of_it_at_once(store: Minirun) -> None:
    run(store, "one")
    run(store, "two", "--restart", "always")
    store("run", "-d", "--name", "waits", "--restart", "always", "busybox", "false", check=True)
    until(lambda: state(store, "waits")["Restarting"])
    assert store("update", "--restart", "no", "two", "waits", check=True).stdout == "two\nwaits\n"
    assert state(store, "waits")["Status"] == "exited"
    store("update", "--restart", "on-failure:1", "one", check=True)
    policy = store("inspect", "-f", "{{json .HostConfig.RestartPolicy}}", "one").stdout
    assert json.loads(policy) == {"Name": "on-failure", "MaximumRetryCount": 1}
    pids = [state(store, name)["Pid"] for name in ("one", "two")]
    kept.kill(*pids)
    await_status(store, "two", "exited")
    until(lambda: state(store, "one")["Pid"] not in (0, pids[0]))
    kept.kill(state(store, "one")["Pid"])
    await_status(store, "one", "exited")


def test_update_refuses_what_cannot_be(store: Minirun) -> None:
    run(store, "gone", "--rm")
    assert "it is removed at its end" in store("update", "--restart", "always", "gone").stderr
    assert "there is no policy 'often'" in store("update", "--restart", "often", "gone").stderr
    assert "nothing to change was given" in store("update", "gone").stderr


@pytest.fixture
def systemd(tmp_path: Path) -> Path:
    """Somewhere for a unit that is not this host's: where in a mount namespace of its own /etc/systemd/system is."""
    directory = tmp_path / "units"
    directory.mkdir()
    return directory


def within(store: Minirun, units: Path, script: str, *, runs: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a shell script as on a host with its units there; where systemd *runs*, systemctl writes what it is told."""
    told = units.parent / "bin"
    told.mkdir(exist_ok=True)
    (told / "systemctl").write_text(f"#!/bin/sh\necho $@ >> {told}/told\n")
    (told / "systemctl").chmod(0o755)
    setup = f"mount --bind {units} /etc/systemd/system; mount -t tmpfs none /run/systemd; "
    setup += "mkdir /run/systemd/system; " if runs else ""
    env = store.environment({"PATH": f"{told}:{os.environ['PATH']}"})
    command = ["unshare", "--mount", "sh", "-ec", setup + script]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True)


@pytest.mark.skipif(not Path("/etc/systemd/system").is_dir() or not Path("/run/systemd").is_dir(), reason="no systemd")
def test_the_unit_is_written_and_removed(store: Minirun, systemd: Path) -> None:
    result = within(store, systemd, f"{LAUNCHER} system install-unit")
    assert result.stdout == "installed /etc/systemd/system/minirun.service\n"
    assert "systemd does not run here" in result.stderr
    unit = systemd / "minirun.service"
    text = unit.read_text()
    assert f"ExecStart={LAUNCHER} system boot\nExecStop={LAUNCHER} system shutdown\n" in text
    assert f"Environment=MINIRUN_ROOT={store.root} MINIRUN_RUNTIME={store.runtime}\n" in text
    result = within(store, systemd, f"{LAUNCHER} system install-unit", runs=True)
    told = systemd.parent / "bin/told"
    assert told.read_text() == "daemon-reload\nenable --now minirun.service\n"
    told.unlink()
    result = within(store, systemd, f"{LAUNCHER} system install-unit --remove", runs=True)
    assert (result.stderr, told.read_text()) == ("", "disable minirun.service\ndaemon-reload\n")
    assert not unit.exists()
    assert "there is no" in within(store, systemd, f"{LAUNCHER} system install-unit --remove").stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_understands_the_unit(store: Minirun, tmp_path: Path) -> None:
    from minirun.engine import unit
    from minirun.home import Home

    path = tmp_path / "minirun.service"
    path.write_text(unit.text(Home(f"{tmp_path}/a b%n", str(store.runtime)), [str(LAUNCHER)]))
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False
    )
    assert "minirun.service" not in result.stderr
    assert result.returncode == 0, result.stderr


def test_installing_starts_nothing_that_a_person_stopped(store: Minirun, systemd: Path) -> None:
    run(store, "stopped", "--restart", "always")
    store("stop", "stopped", check=True)
    within(store, systemd, f"{LAUNCHER} system install-unit; {LAUNCHER} system boot")
    assert state(store, "stopped")["Status"] == "exited"
