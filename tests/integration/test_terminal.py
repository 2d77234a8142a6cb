"""-t: a real terminal in the container, joined to the caller's, which is afterwards as it was."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from tests import busybox
from tests.command import Minirun
from tests.screen import COLUMNS, PATIENCE_S, ROWS, Screen


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


def test_a_program_has_a_terminal_of_its_own_as_large_as_the_callers(store: Minirun, screen: Screen) -> None:
    script = (
        "tty; stty size; echo $TERM; [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && [ -c /dev/console ] && : </dev/tty && echo all"
    )
    with screen.run(store, "run", "--rm", "-it", "busybox", "sh", "-c", script) as process:
        assert screen.wait_for(b"all\r\n") == b"/dev/pts/0\r\n%d %d\r\nxterm\r\n" % (ROWS, COLUMNS)
        assert process.wait(PATIENCE_S) == 0


def test_whoever_it_is_may_open_his_terminal_by_its_name(store: Minirun, screen: Screen) -> None:
    script = "echo name >$(tty); echo console >/dev/console; stat -c %u $(tty)"
    with screen.run(store, "run", "--rm", "-it", "-u", "1000", "busybox", "sh", "-c", script) as process:
        assert screen.wait_for(b"1000\r\n") == b"name\r\nconsole\r\n"
        assert process.wait(PATIENCE_S) == 0


def test_what_is_typed_goes_in_and_is_echoed_once(store: Minirun, screen: Screen) -> None:
    with screen.run(
        store, "run", "--rm", "-it", "busybox", "sh", "-c", "echo ready; read x; echo got $x; exit 9"
    ) as process:
        screen.wait_for(b"ready\r\n")
        screen.type(b"hello\r")
        assert screen.wait_for(b"got hello\r\n") == b"hello\r\n"
        assert process.wait(PATIENCE_S) == 9


def test_a_shell_can_be_talked_to(store: Minirun, screen: Screen) -> None:
    with screen.run(store, "run", "--rm", "-it", "-e", "PS1=> ", "busybox", "sh") as process:
        screen.wait_for(b"> ")
        screen.type(b"echo $((6 * 7))\r")
        screen.wait_for(b"42\r\n> ")
        screen.type(b"\x04")  # Ctrl-D
        assert process.wait(PATIENCE_S) == 0


def test_ctrl_c_reaches_the_program_and_not_minirun(store: Minirun, screen: Screen) -> None:
    script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.02; done"
    with screen.run(store, "run", "--rm", "-it", "busybox", "sh", "-c", script) as process:
        screen.wait_for(b"ready\r\n")
        time.sleep(0.1)  # until the caller's terminal is raw
        screen.type(b"\x03")
        screen.wait_for(b"interrupted")
        assert process.wait(PATIENCE_S) == 3


def test_ctrl_c_ends_a_program_behind_init(store: Minirun, screen: Screen) -> None:
    with screen.run(
        store, "run", "--rm", "-it", "--init", "busybox", "sh", "-c", "echo ready; exec sleep 60"
    ) as process:
        screen.wait_for(b"ready\r\n")
        time.sleep(0.1)
        screen.type(b"\x03")
        assert process.wait(PATIENCE_S) == 130


def test_a_new_size_is_passed_on(store: Minirun, screen: Screen) -> None:
    script = "trap 'stty size; exit 4' WINCH; echo ready; while :; do sleep 0.02; done"
    with screen.run(store, "run", "--rm", "-it", "busybox", "sh", "-c", script) as process:
        screen.wait_for(b"ready\r\n")
        screen.resize(11, 22)
        screen.wait_for(b"11 22\r\n")
        assert process.wait(PATIENCE_S) == 4


@pytest.mark.parametrize("how", ["ends", "is killed", "makes it raw and ends", "cannot begin"])
def test_the_callers_terminal_is_afterwards_as_it_was(store: Minirun, screen: Screen, how: str) -> None:
    before = screen.settings()
    script = {"ends": "read x", "is killed": "read x", "makes it raw and ends": "stty raw -echo; read x"}.get(how, "")
    command = ("sh", "-c", f"echo ready; {script}") if script else ("/no/such",)
    with screen.run(store, "run", "--rm", "-it", "busybox", *command) as process:
        if script:
            screen.wait_for(b"ready\r\n")
            end = time.monotonic() + PATIENCE_S
            while screen.settings() == before:  # raw, while the container has it
                assert time.monotonic() < end
                time.sleep(0.005)
        if how == "is killed":
            (box,) = busybox.containers(store.root)
            for pid in Path(hierarchy.path(box), "cgroup.procs").read_text().split():
                os.kill(int(pid), 9)
        else:
            screen.type(b"\r\n")
        assert process.wait(PATIENCE_S) == {"is killed": 137, "cannot begin": 127}.get(how, 0)
    assert screen.settings() == before


@pytest.mark.parametrize("command", ["run", "exec"])
def test_it_is_as_it_was_also_when_minirun_is_killed(store: Minirun, screen: Screen, command: str) -> None:
    before = screen.settings()
    store("run", "-d", "--name", "box", "busybox", "sleep", "1000", check=True)
    words = ("run", "--rm", "-it", "busybox") if command == "run" else ("exec", "-it", "box")
    with screen.run(store, *words, "sh", "-c", "echo here; exec sleep 1000") as process:
        screen.wait_for(b"here")
        assert screen.settings() != before
        process.kill()
        process.wait(PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        while screen.settings() != before:
            assert time.monotonic() < end
            time.sleep(0.01)
    store("rm", "-f", *store("ps", "-aq", check=True).stdout.split(), check=True)


def test_much_output_arrives_whole(store: Minirun, screen: Screen) -> None:
    script = "stty -opost; i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done; echo end"
    with screen.run(store, "run", "--rm", "-it", "busybox", "sh", "-c", script) as process:
        got = screen.wait_for(b"end\n")
        assert got == b"".join(b"line %d\n" % number for number in range(2000))
        assert process.wait(PATIENCE_S) == 0


def test_much_input_arrives_whole_though_the_program_is_slow_to_read(store: Minirun, screen: Screen) -> None:
    script = "stty raw -echo; echo ready; sleep 0.3; dd bs=1 count=60000 2>/dev/null | busybox sha256sum"
    with screen.run(store, "run", "--rm", "-it", "busybox", "sh", "-c", script) as process:
        screen.wait_for(b"ready")
        data = bytes(range(32, 92)) * 1000
        os.set_blocking(screen.master, False)
        left, end = data, time.monotonic() + PATIENCE_S
        while left and time.monotonic() < end:
            try:
                left = left[os.write(screen.master, left[:1000]) :]
            except BlockingIOError:
                time.sleep(0.01)
        screen.wait_for(hashlib.sha256(data).hexdigest().encode())
        assert process.wait(PATIENCE_S) == 0


def test_t_without_a_terminal_gives_the_program_one(store: Minirun) -> None:
    assert store("run", "--rm", "-t", "busybox", "tty", check=True).stdout == "/dev/pts/0\n"


def test_it_without_a_terminal_is_refused(store: Minirun) -> None:
    before = busybox.contents(store.root)
    for flags in (("-it",), ("-i", "-t"), ("-ti",), ("--interactive", "--tty=true")):
        result = store("run", *flags, "busybox", "true")
        assert result.returncode == 125
        assert "the input device is not a TTY" in result.stderr
    assert busybox.contents(store.root) == before


def test_the_terminal_is_nothing_of_the_callers(store: Minirun) -> None:
    first, second = Screen(), Screen()
    script = "ls -l /proc/[0-9]*/fd; ls /dev/pts; echo end"
    with second.run(store, "run", "--rm", "-it", "busybox", "sh", "-c", script) as process:
        printed = second.wait_for(b"end\r\n").decode()
        assert process.wait(PATIENCE_S) == 0
    assert "/dev/pts/0" in printed
    assert os.ttyname(second.slave) not in printed.replace("/dev/pts/0", "")
    first.close()
    second.close()


@pytest.mark.parametrize("flags", [("-it",), ("-it", "--init")])
def test_a_terminal_that_is_hung_up_hangs_up_the_containers(store: Minirun, flags: tuple[str, ...]) -> None:
    screen = Screen()
    with screen.run(store, "run", "--rm", *flags, "busybox", "sh", "-c", "echo ready; cat; exit 5") as process:
        screen.wait_for(b"ready\r\n")
        screen.close()
        assert process.wait(PATIENCE_S) in (5, 128 + 1)
    assert busybox.containers(store.root) == []


def test_a_reader_that_goes_away_ends_a_program_that_goes_on_writing(store: Minirun) -> None:
    words = ["sh", "-c", '"$@" | head -n 1', "sh", *store.command(("run", "--rm", "-t", "busybox", "yes"))]
    result = subprocess.run(words, env=store.environment(), capture_output=True, timeout=PATIENCE_S, check=True)
    assert (result.stdout, result.stderr) == (b"y\r\n", b"")
    assert busybox.containers(store.root) == []
