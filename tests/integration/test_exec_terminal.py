"""exec -t: a terminal of the container's own, typed at by somebody, who may leave it and has his own back as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from minirun.cgroup import group
from minirun.container.state import State
from tests.command import Minirun
from tests.running import running
from tests.screen import COLUMNS, PATIENCE_S, ROWS, Screen

# more than a pty holds: it ends only if somebody reads it
FLOOD = "i=0; while [ $i -lt 9999 ]; do echo line $i; i=$((i+1)); done"


@pytest.fixture
def box(store: Minirun) -> Iterator[State]:
    """A container `box` of the image `busybox` that sleeps, and has no terminal."""
    with running(store, "box", "sleep", "1000") as now:
        yield now


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


def until(true: Callable[[], object]) -> None:
    """Wait until *true* says so."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def has_lines(screen: Screen) -> bool:
    """Whether the terminal keeps what is typed until the line ends."""
    return bool(termios.tcgetattr(screen.slave)[3] & termios.ICANON)


def raw(screen: Screen, before: list[object]) -> None:
    """Wait until the terminal is no longer as it was *before*."""
    until(lambda: screen.settings() != before)


def test_its_terminal_is_one_of_the_containers_own(store: Minirun, box: State, screen: Screen) -> None:
    script = "tty; [ -c $(tty) ] && stty size; echo $TERM; : </dev/tty && ls /dev/pts; echo all"
    with screen.run(store, "exec", "-it", "box", "sh", "-c", script) as process:
        seen = screen.wait_for(b"all\r\n").split()
        assert seen == [b"/dev/pts/0", b"%d" % ROWS, b"%d" % COLUMNS, b"xterm", b"0", b"ptmx"]
        assert process.wait(PATIENCE_S) == 0


def test_two_have_two(store: Minirun, box: State) -> None:
    first, second = Screen(), Screen()
    with (
        first.run(store, "exec", "-it", "box", "sh", "-c", "tty; read x") as one,
        second.run(store, "exec", "-it", "box", "sh", "-c", "tty; read x") as two,
    ):
        assert {first.wait_for(b"\r\n"), second.wait_for(b"\r\n")} == {b"/dev/pts/0", b"/dev/pts/1"}
        first.type(b"\r")
        second.type(b"\r")
        assert (one.wait(PATIENCE_S), two.wait(PATIENCE_S)) == (0, 0)
    first.close()
    second.close()


def test_whoever_it_is_may_open_his_terminal_by_its_name(store: Minirun, box: State, screen: Screen) -> None:
    script = "echo name >$(tty); stat -c %u $(tty)"
    with screen.run(store, "exec", "-it", "-u", "1000", "box", "sh", "-c", script) as process:
        assert screen.wait_for(b"1000\r\n") == b"name\r\n"
        assert process.wait(PATIENCE_S) == 0


def test_a_shell_can_be_talked_to_and_has_jobs(store: Minirun, box: State, screen: Screen) -> None:
    before = screen.settings()
    with screen.run(store, "exec", "-it", "-e", "PS1=> ", "box", "sh") as process:
        screen.wait_for(b"> ")
        screen.type(b"echo $((6 * 7))\r")
        screen.wait_for(b"42\r\n> ")
        screen.type(b"sleep 1000\r")
        until(lambda: len(group.processes(box.cgroup)) == 3)
        time.sleep(0.5)  # until it is the one in the foreground
        screen.type(b"\x1a")  # Ctrl-Z: the job, not minirun
        screen.wait_for(b"Stopped")
        screen.type(b"kill -9 %1; wait; echo job $((40 + 1))\r")
        screen.wait_for(b"job 41\r\n")  # the shell may tell of the killed one before or after that
        screen.wait_for(b"> ")
        screen.type(b"sleep 1000; echo and $((40 + 2))\r")
        until(lambda: len(group.processes(box.cgroup)) == 3)
        time.sleep(0.5)
        screen.type(b"\x03")  # Ctrl-C: the job again
        screen.wait_for(b"> ")
        screen.type(b"exit 6\r")
        assert process.wait(PATIENCE_S) == 6
    assert screen.settings() == before


def test_ctrl_c_reaches_the_program_and_not_minirun(store: Minirun, box: State, screen: Screen) -> None:
    before = screen.settings()
    script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.02; done"
    with screen.run(store, "exec", "-it", "box", "sh", "-c", script) as process:
        screen.wait_for(b"ready\r\n")
        raw(screen, before)
        screen.type(b"\x03")
        screen.wait_for(b"interrupted")
        assert process.wait(PATIENCE_S) == 3


def test_a_new_size_is_passed_on(store: Minirun, box: State, screen: Screen) -> None:
    script = "trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.02; done"
    with screen.run(store, "exec", "-it", "box", "sh", "-c", script) as process:
        screen.wait_for(b"ready\r\n")
        screen.resize(11, 22)
        screen.wait_for(b"11 22\r\n")
        assert process.wait(PATIENCE_S) == 4


@pytest.mark.parametrize("how", ["ends", "is killed", "container is killed", "makes it raw and ends", "cannot begin"])
def test_the_callers_terminal_is_afterwards_as_it_was(store: Minirun, box: State, screen: Screen, how: str) -> None:
    before = screen.settings()
    script = {"makes it raw and ends": "stty raw -echo; "}.get(how, "") + "echo ready; read x"
    command = ("/no/such",) if how == "cannot begin" else ("sh", "-c", script)
    with screen.run(store, "exec", "-it", "box", *command) as process:
        if how != "cannot begin":
            screen.wait_for(b"ready")
            raw(screen, before)
        if how == "is killed":
            os.kill(max(group.processes(box.cgroup)), signal.SIGKILL)
        elif how == "container is killed":
            group.kill(box.cgroup)
        else:
            screen.type(b"\r\n")
        code = {"is killed": 137, "container is killed": 137, "cannot begin": 127}.get(how, 0)
        assert process.wait(PATIENCE_S) == code
    assert screen.settings() == before


@pytest.mark.parametrize(
    ("flags", "keys"),
    [((), b"\x10\x11"), (("--detach-keys", "ctrl-x,x"), b"\x18x"), (("--detach-keys=@",), b"@")],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_the_detach_keys_leave_it_running(
    store: Minirun, box: State, screen: Screen, flags: tuple[str, ...], keys: bytes, at_once: bool
) -> None:
    before = screen.settings()
    script = f"echo ready; read x; echo $x >/tmp/x; until [ -e /tmp/go ]; do sleep 0.02; done; {FLOOD}; tty >/tmp/e"
    store("exec", "box", "rm", "-f", "/tmp/x", "/tmp/e", "/tmp/go", check=True)
    with screen.run(store, "exec", "-it", *flags, "box", "sh", "-c", script) as process:
        screen.wait_for(b"ready\r\n")
        raw(screen, before)
        screen.type(b"word\r")
        if at_once:
            screen.type(keys)
        else:
            for key in keys:
                screen.type(bytes([key]))
                time.sleep(0.05)
        assert process.wait(PATIENCE_S) == 0
    assert screen.settings() == before
    store("exec", "box", "touch", "/tmp/go", check=True)
    until(lambda: store("exec", "box", "cat", "/tmp/e").stdout == "/dev/pts/0\n")
    assert store("exec", "box", "cat", "/tmp/x").stdout == "word\n"
    until(lambda: len(group.processes(box.cgroup)) == 1)


def test_the_beginning_of_the_detach_keys_is_typed_if_nothing_follows(
    store: Minirun, box: State, screen: Screen
) -> None:
    before = screen.settings()
    with screen.run(
        store, "exec", "-it", "box", "sh", "-c", "stty raw -echo; echo ready; dd bs=1 count=2 2>/dev/null"
    ) as process:
        screen.wait_for(b"ready")
        raw(screen, before)
        screen.type(b"\x10z")
        screen.wait_for(b"\x10z")
        assert process.wait(PATIENCE_S) == 0


def test_detached_with_a_terminal_it_has_one_that_is_read(store: Minirun, box: State) -> None:
    store("exec", "box", "rm", "-f", "/tmp/e", check=True)
    script = f"{FLOOD}; tty >/tmp/e; sleep 0.2; echo $? >>/tmp/e"
    store("exec", "-dt", "box", "sh", "-c", script, check=True)
    until(lambda: store("exec", "box", "cat", "/tmp/e").stdout == "/dev/pts/0\n0\n")


def test_a_terminal_that_is_hung_up_hangs_up_the_commands(store: Minirun, box: State) -> None:
    screen = Screen()
    with screen.run(store, "exec", "-it", "box", "sh", "-c", "echo ready; cat; exit 5") as process:
        screen.wait_for(b"ready\r\n")
        screen.close()
        assert process.wait(PATIENCE_S) in (5, 128 + 1)
    until(lambda: len(group.processes(box.cgroup)) == 1)


def test_minirun_killed_hangs_up_the_command(store: Minirun, box: State, screen: Screen) -> None:
    with screen.run(store, "exec", "-it", "box", "sh", "-c", "echo ready; sleep 1000") as process:
        screen.wait_for(b"ready\r\n")
        process.kill()
        process.wait(PATIENCE_S)
    until(lambda: len(group.processes(box.cgroup)) == 1)


def test_stopped_and_continued_from_outside_it_is_raw_again(store: Minirun, box: State, screen: Screen) -> None:
    before = screen.settings()
    with screen.run(store, "exec", "-it", "box", "sh", "-c", "echo ready; read x; echo got $x") as process:
        screen.wait_for(b"ready\r\n")
        raw(screen, before)
        os.kill(process.pid, signal.SIGSTOP)
        subprocess.run(["stty", "sane"], stdin=screen.slave, check=True)  # as a shell does
        assert has_lines(screen)
        os.kill(process.pid, signal.SIGCONT)
        until(lambda: not has_lines(screen))
        screen.type(b"word\r")
        screen.wait_for(b"got word\r\n")
        assert process.wait(PATIENCE_S) == 0


def test_t_without_a_terminal_gives_the_command_one_and_it_is_refused_with_i(store: Minirun, box: State) -> None:
    assert store("exec", "-t", "box", "tty", check=True).stdout == "/dev/pts/0\n"
    result = store("exec", "-it", "box", "true")
    assert (result.returncode, "the input device is not a TTY" in result.stderr) == (125, True)


def test_a_container_without_terminals_is_told(store: Minirun, box: State) -> None:
    # root in a container may do much to its /dev, but ptmx itself is the kernel's
    assert store("exec", "box", "sh", "-c", "rm -rf /dev/pts; mv /dev/pts /dev/other").returncode != 0
    assert store("exec", "-t", "box", "tty", check=True).stdout == "/dev/pts/0\n"


def test_much_output_arrives_whole(store: Minirun, box: State, screen: Screen) -> None:
    script = "stty -opost; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo end"
    with screen.run(store, "exec", "-it", "box", "sh", "-c", script) as process:
        assert screen.wait_for(b"end\n") == b"".join(b"line %d\n" % number for number in range(2000))
        assert process.wait(PATIENCE_S) == 0
