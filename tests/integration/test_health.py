"""Health checks: they run in the container, are counted, told of and acted upon, and nothing of them stays."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minirun.cgroup import group
from minirun.container import record
from minirun.container import state as states
from tests import kept
from tests.command import Minirun
from tests.kept import await_status, state, until
from tests.screen import Screen

FOREVER = ("sleep", "100000")
OFTEN = ("--health-interval", "100ms", "--health-retries", "2")


@pytest.fixture(autouse=True)
def cleared(store: Minirun) -> Iterator[None]:
    """No containers are there before, and none stays; the supervisor ends by itself."""
    yield
    kept.clear(store)
    assert kept.complaints(store) == ""


def run(store: Minirun, name: str, check: str, *flags: str) -> None:
    """Run a container in the background whose health is checked often."""
    store("run", "-d", "--name", name, "--health-cmd", check, *OFTEN, *flags, "busybox", *FOREVER, check=True)


def health(store: Minirun, name: str) -> dict[str, Any]:
    """What `inspect` tells of a container's health."""
    found: dict[str, Any] = state(store, name)["Health"]
    return found


def await_health(store: Minirun, name: str, word: str) -> dict[str, Any]:
    """Wait until a container is that; returns what there is to know then."""
    until(lambda: health(store, name)["Status"] == word, f"{name} does not become {word}")
    return health(store, name)


def words(store: Minirun, name: str) -> list[str]:
    """What its events told of its health, in order."""
    told = store("events", "--since", "10m", "--until", f"{time.time():.9f}", "--filter", f"container={name}",
                 "--format", "{{.Action}}", check=True).stdout  # fmt: skip
    return [line for line in told.splitlines() if line.startswith("health_status")]


def commands(store: Minirun, name: str) -> list[bytes]:
    """The command lines of all processes of a container."""
    box = record.find(kept.home(store), name)
    path = states.read(kept.home(store), box).cgroup
    found = []
    for pid in group.processes(path):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # it ended
        found.append(words.rstrip(b"\0").replace(b"\0", b" "))
    return found


def test_a_container_is_starting_then_unhealthy_then_healthy_and_everybody_is_told(store: Minirun) -> None:
    run(store, "new", "true", "--health-interval", "1h")
    assert "(health: starting)" in store("ps").stdout
    assert health(store, "new") == {"Status": "starting", "FailingStreak": 0, "Log": []}
    run(store, "sick", "echo looked; test -e /well")
    found = await_health(store, "sick", "unhealthy")
    assert found["FailingStreak"] >= 2
    assert {(one["ExitCode"], one["Output"]) for one in found["Log"]} == {(1, "looked\n")}
    assert all(one["Start"] <= one["End"] for one in found["Log"])
    assert "(unhealthy)" in store("ps").stdout
    assert store("ps", "-q", "--filter", "health=unhealthy").stdout
    assert not store("ps", "-q", "--filter", "health=none").stdout
    store("exec", "sick", "touch", "/well", check=True)
    found = await_health(store, "sick", "healthy")
    assert found["FailingStreak"] == 0
    assert "(healthy)" in store("ps", "--filter", "health=healthy").stdout
    assert words(store, "sick") == ["health_status: unhealthy", "health_status: healthy"]


def test_the_last_five_results_are_kept_and_the_first_4096_bytes_of_each(store: Minirun) -> None:
    run(store, "wordy", "yes | head -c 100000")
    until(lambda: len(health(store, "wordy")["Log"]) == 5)
    last = health(store, "wordy")["Log"][-1]
    assert last["Output"] == "y\n" * 2048 + "..."
    until(lambda: health(store, "wordy")["Log"][0]["Start"] > last["Start"])
    assert len(health(store, "wordy")["Log"]) == 5


def test_a_check_runs_as_exec_runs_a_command(store: Minirun) -> None:
    check = "id -u; pwd; echo $GREETING; cat /proc/self/status | grep CapEff; readlink /proc/self/fd/0"
    run(store, "same", check, "-u", "1234", "-w", "/tmp", "-e", "GREETING=hello")
    output = await_health(store, "same", "healthy")["Log"][0]["Output"].splitlines()
    assert output[:3] == ["1234", "/tmp", "hello"]
    assert output[3:] == ["CapEff:\t0000000000000000", "/dev/null"]


def test_a_check_that_hangs_has_failed_and_nothing_of_it_is_left(store: Minirun) -> None:
    run(store, "hung", "echo begun; (setsid sleep 4711 &); sleep 4712", "--health-timeout", "200ms")
    until(lambda: b"sleep 4711" in commands(store, "hung"))
    found = await_health(store, "hung", "unhealthy")
    assert found["Log"][0]["ExitCode"] == -1
    assert found["Log"][0]["Output"] == "Health check exceeded timeout (0.2s): begun\n"
    store("exec", "hung", "sh", "-c", "true", check=True)
    until(lambda: commands(store, "hung") == [b"sleep 100000"])


def test_what_a_check_leaves_in_the_background_is_ended_with_it(store: Minirun) -> None:
    run(store, "messy", "(setsid sleep 4713 &); true")
    await_health(store, "messy", "healthy")
    until(lambda: len(health(store, "messy")["Log"]) >= 3)
    until(lambda: commands(store, "messy") == [b"sleep 100000"])


def test_a_check_that_prints_for_ever_does_not_stop_the_others(store: Minirun) -> None:
    run(store, "flood", "yes", "--health-timeout", "300ms")
    run(store, "calm", "true")
    await_health(store, "calm", "healthy")
    assert await_health(store, "flood", "unhealthy")["Log"][0]["Output"].startswith("Health check exceeded timeout")


def test_a_check_that_cannot_begin_has_failed_and_says_why(store: Minirun) -> None:
    run(store, "lost", '["CMD", "/nosuch"]')
    found = await_health(store, "lost", "unhealthy")
    assert found["Log"][0]["ExitCode"] == -1
    assert "no such file" in found["Log"][0]["Output"]


def ends(store: Minirun, name: str) -> list[str]:
    """When the checks ended whose results are kept."""
    return [one["End"] for one in health(store, name)["Log"]]


def await_check(store: Minirun, name: str) -> None:
    """Wait until another check has ended."""
    last = ends(store, name)[-1]
    until(lambda: ends(store, name)[-1] > last, "nobody checks any more")


def test_checks_go_on_after_the_supervisor_was_killed(store: Minirun) -> None:
    run(store, "kept", "true")
    await_health(store, "kept", "healthy")
    for _ in range(3):
        kept.kill(kept.supervisor(store))
        await_check(store, "kept")
    assert health(store, "kept")["Status"] == "healthy"
    assert words(store, "kept") == ["health_status: healthy"]


def test_who_checks_can_be_killed_and_the_next_ends_what_he_left(store: Minirun) -> None:
    check = "if mkdir /once 2> /dev/null; then exec sleep 4714; fi"
    run(store, "twice", check)
    until(lambda: b"sleep 4714" in commands(store, "twice"))
    kept.kill(*kept.supervisors(store))
    assert await_health(store, "twice", "healthy")["FailingStreak"] == 0
    until(lambda: commands(store, "twice") == [b"sleep 100000"])


def test_what_is_paused_is_not_checked(store: Minirun) -> None:
    run(store, "still", "true")
    await_health(store, "still", "healthy")
    store("pause", "still", check=True)
    time.sleep(0.3)  # one that had begun
    before = health(store, "still")
    time.sleep(0.5)
    assert health(store, "still") == before
    assert "(Paused)" in store("ps").stdout
    store("unpause", "still", check=True)
    until(lambda: health(store, "still")["Log"][-1]["End"] > before["Log"][-1]["End"])
    assert health(store, "still")["FailingStreak"] == 0


def test_failures_do_not_count_in_the_start_period_whose_checks_have_an_interval_of_their_own(store: Minirun) -> None:
    often = ("--health-start-interval", "50ms")
    run(store, "slow", "false", "--health-start-period", "1h", *often, "--health-interval", "1h")
    until(lambda: len(health(store, "slow")["Log"]) == 5)
    assert health(store, "slow")["FailingStreak"] == 0
    assert health(store, "slow")["Status"] == "starting"
    run(store, "late", "false", "--health-start-period", "300ms", *often)
    await_health(store, "late", "unhealthy")


def test_what_has_ended_is_not_healthy_and_its_last_results_are_kept(store: Minirun) -> None:
    run(store, "over", "echo fine")
    await_health(store, "over", "healthy")
    store("stop", "-t", "0", "over", check=True)
    found = health(store, "over")
    assert found["Status"] == "unhealthy"
    assert found["Log"][0]["Output"] == "fine\n"  # the last may have been cut short
    assert "healthy" not in store("ps", "-a").stdout
    store("start", "over", check=True)
    assert health(store, "over")["Status"] in ("starting", "healthy")
    await_health(store, "over", "healthy")


def test_the_image_says_how_it_is_checked_and_no_healthcheck_that_it_is_not(store: Minirun) -> None:
    store("create", "--name", "model", "--health-cmd", "test -e /etc/passwd", *OFTEN, "busybox", *FOREVER, check=True)
    store("commit", "model", "checked", check=True)
    try:
        store("run", "-d", "--name", "image", "checked", check=True)
        store("run", "-d", "--name", "not", "--no-healthcheck", "checked", check=True)
        await_health(store, "image", "healthy")
        assert "Health" not in state(store, "not")
        told = json.loads(store("inspect", "image", "not", "checked", check=True).stdout)
        expected = ["CMD-SHELL", "test -e /etc/passwd"]
        tests = [one["Config"]["Healthcheck"]["Test"] for one in told]
        assert tests == [expected, ["NONE"], expected]
        assert [one["Config"]["Healthcheck"].get("Interval") for one in told] == [100_000_000, None, 100_000_000]
        assert (
            store("ps", "-q", "--no-trunc", "--filter", "health=none").stdout == f"{kept.container_id(store, 'not')}\n"
        )
    finally:
        store("rm", "-f", "model", "image", "not", check=True)
        store("rmi", "checked", check=True)


def test_it_can_be_killed_when_it_is_not_healthy_and_its_restart_policy_starts_it_again(store: Minirun) -> None:
    run(store, "doomed", "false", "--health-on-failure", "kill", "--restart", "on-failure:1")
    await_status(store, "doomed", "exited")
    now = state(store, "doomed")
    assert (now["ExitCode"], store("inspect", "-f", "{{.RestartCount}}", "doomed").stdout) == (137, "1\n")
    assert words(store, "doomed") == ["health_status: unhealthy"] * 2


def test_it_can_be_stopped_when_it_is_not_healthy(store: Minirun) -> None:
    command = ("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.05; done")
    flags = ("--health-cmd", "false", *OFTEN, "--health-on-failure", "stop", "--restart", "always")
    store("run", "-d", "--name", "ended", *flags, "busybox", *command, check=True)
    await_status(store, "ended", "exited")
    assert state(store, "ended")["ExitCode"] == 7


def test_it_can_be_started_anew_when_it_is_not_healthy(store: Minirun) -> None:
    run(store, "anew", "test -e /well", "--health-on-failure", "restart", "--stop-timeout", "0")
    first = state(store, "anew")["Pid"]
    until(lambda: state(store, "anew")["Pid"] not in (0, first))
    # it may just be started anew again
    until(lambda: store("exec", "anew", "touch", "/well").returncode == 0)
    await_health(store, "anew", "healthy")


@pytest.mark.parametrize("flags", [(), ("--rm",), ("-i",)])
def test_what_runs_in_the_foreground_is_checked_too(store: Minirun, flags: tuple[str, ...]) -> None:
    arguments = ("run", *flags, "--name", "front", "--health-cmd", "true", *OFTEN, "busybox", *FOREVER)
    with store.start(*arguments) as process:
        until(lambda: "(healthy)" in store("ps").stdout)
        store("kill", "front", check=True)
        assert process.wait(kept.PATIENCE_S) == 137
    kept.unsupervised(store)


def test_what_has_a_terminal_in_the_foreground_is_checked_too_also_when_it_is_left_alone(store: Minirun) -> None:
    screen = Screen()
    try:
        arguments = ("run", "-it", "--name", "front", "--health-cmd", "true", *OFTEN, "busybox", "sh")
        with screen.run(store, *arguments) as process:
            until(lambda: "(healthy)" in store("ps").stdout)
            kept.kill(kept.supervisor(store))
            await_check(store, "front")
            process.kill()
            process.wait()
            await_check(store, "front")
    finally:
        screen.close()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--health-interval", "1s"), "there is nothing to check with"),
        (("--health-cmd", "true", "--no-healthcheck"), "contradicts"),
        (("--health-cmd", "true", "--health-timeout", "soon"), "it is not a length of time"),
        (("--health-cmd", "true", "--health-on-failure", "reboot"), "there are none, kill, restart, stop"),
    ],
)
def test_what_means_nothing_is_refused(store: Minirun, flags: tuple[str, ...], reason: str) -> None:
    result = store("run", "-d", *flags, "busybox", "true")
    assert result.returncode == 125
    assert reason in result.stderr
