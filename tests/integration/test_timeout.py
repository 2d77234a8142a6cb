"""--timeout: a container is killed when it has run for so long, whoever is there to do it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests import kept
from tests.command import PATIENCE, Minirun
from tests.kept import await_status, state, until
from tests.screen import Screen

FOREVER = ("sleep", "100000")
LATE_S = 0.8 * PATIENCE


@pytest.fixture(autouse=True)
def cleared(store: Minirun) -> Iterator[None]:
    """No containers are there before, and none stays; the supervisor ends by itself."""
    yield
    kept.clear(store)
    assert kept.complaints(store) == ""


def kills(store: Minirun, name: str, seconds: float) -> list[str]:
    """The signals of which its events tell, of so many seconds ago and later."""
    now = time.time()
    told = store("events", "--since", f"{now - seconds:.9f}", "--until", f"{now:.9f}", "--filter", f"container={name}",
                 "--filter", "event=kill", "--format", "{{.Actor.Attributes.signal}}", check=True).stdout  # fmt: skip
    return told.split()


@pytest.mark.parametrize("flags", [(), ("--rm",), ("-i",)])
def test_in_the_foreground_run_kills_it(store: Minirun, flags: tuple[str, ...]) -> None:
    began = time.monotonic()
    result = store("run", "--name", "brief", *flags, "--timeout", "1", "busybox", *FOREVER)
    assert result.returncode == 137
    assert result.stderr == ""
    assert 1 <= time.monotonic() - began < 1 + LATE_S
    assert kills(store, "brief", time.monotonic() - began) == ["9"]


def test_with_a_terminal_too(store: Minirun) -> None:
    screen = Screen()
    try:
        with screen.run(store, "run", "-it", "--rm", "--timeout", "1", "busybox", *FOREVER) as process:
            assert process.wait(kept.PATIENCE_S) == 137
    finally:
        screen.close()


def test_what_ends_earlier_is_left_alone(store: Minirun) -> None:
    assert store("run", "--rm", "--timeout", "60", "busybox", "sh", "-c", "exit 3").returncode == 3
    assert store("run", "--rm", "--timeout", "0", "busybox", "sleep", "0.1").returncode == 0


def test_signals_are_passed_on_meanwhile(store: Minirun) -> None:
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    with store.start("run", "--rm", "--timeout", "60", "busybox", "sh", "-c", script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(kept.PATIENCE_S) == 5


def test_in_the_background_the_supervisor_kills_it(store: Minirun) -> None:
    began = time.monotonic()
    store("run", "-d", "--name", "brief", "--timeout", "1", "busybox", *FOREVER, check=True)
    assert store("wait", "brief").stdout == "137\n"
    assert 1 <= time.monotonic() - began < 1 + LATE_S
    assert kills(store, "brief", time.monotonic() - began) == ["9"]


def test_a_supervisor_that_was_killed_gives_it_no_more_time(store: Minirun) -> None:
    began = time.monotonic()
    store("run", "-d", "--name", "brief", "--timeout", "2", "busybox", *FOREVER, check=True)
    for _ in range(3):
        time.sleep(0.3)
        kept.kill(kept.supervisor(store))
    assert store("wait", "brief").stdout == "137\n"
    assert 2 <= time.monotonic() - began < 2 + LATE_S


def test_a_run_that_was_killed_leaves_it_to_the_supervisor(store: Minirun) -> None:
    with store.start("run", "--name", "brief", f"--timeout={2 * PATIENCE}", "busybox", *FOREVER) as process:
        until(lambda: store("ps", "-q").stdout)
        process.kill()
        process.wait()
        assert state(store, "brief")["Status"] == "running"
        assert store("wait", "brief").stdout == "137\n"


def test_each_start_has_its_own_time(store: Minirun) -> None:
    store("run", "-d", "--name", "brief", f"--timeout={PATIENCE}", "--restart", "on-failure:1", "busybox", *FOREVER,
          check=True)  # fmt: skip
    await_status(store, "brief", "exited")
    assert store("inspect", "-f", "{{.RestartCount}} {{.State.ExitCode}}", "brief").stdout == "1 137\n"
    store("start", "brief", check=True)
    assert state(store, "brief")["Status"] == "running"


@pytest.mark.parametrize("text", ["-1", "1s", "soon", ""])
def test_what_is_no_number_of_seconds_is_refused(store: Minirun, text: str) -> None:
    result = store("run", f"--timeout={text}", "busybox", "true")
    assert result.returncode == 125
    assert "it is not a number of seconds" in result.stderr
