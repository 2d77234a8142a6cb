"""Containers in the background: run -d, create, start, stop, restart, kill, wait and attach, as Docker has them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.container.record import release_name
from minirun.kernel import files, tree
from tests import kept
from tests.command import PATIENCE, Minirun
from tests.kept import await_log, await_status, logged, state, until
from tests.screen import COLUMNS, PATIENCE_S, ROWS, Screen

FOREVER = ("sleep", "100000")
TICKING = "i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done"
OBEYING = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def cleared(store: Minirun) -> Iterator[None]:
    """No containers are there before, and none stays; the supervisor ends by itself."""
    yield
    kept.clear(store)
    assert kept.complaints(store) == ""


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


def events(store: Minirun, since: float) -> list[tuple[str, float]]:
    """What happened to containers since then: Docker's word, and when."""
    told = store("events", "--since", f"{since:.9f}", "--until", f"{time.time():.9f}", "--format", "{{json .}}",
                 "--filter", "type=container", check=True).stdout  # fmt: skip
    found = [json.loads(line) for line in told.splitlines()]
    return [(event["Action"], event["timeNano"] / 1e9) for event in found]


def test_run_d_prints_the_id_and_leaves_the_container_running(store: Minirun) -> None:
    began = time.monotonic()
    result = store("run", "-d", "--name", "back", "busybox", "sh", "-c", "echo out; echo err >&2; exec sleep 100000")
    assert time.monotonic() - began < 5 * PATIENCE
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"[0-9a-f]{64}\n", result.stdout)
    assert store("ps", "-q", "--no-trunc").stdout == result.stdout
    await_log(store, "back", "out\n")
    both = store("logs", "back")
    assert (both.stdout, both.stderr) == ("out\n", "err\n")
    now = state(store, "back")
    assert (now["Status"], now["Running"], now["ExitCode"]) == ("running", True, 0)
    assert kept.status(now["Pid"]) not in kept.GONE


def test_it_reads_nothing_unless_it_was_made_with_i(store: Minirun) -> None:
    store("run", "-d", "--name", "deaf", "busybox", "cat", check=True, stdin="not for it")
    assert store("wait", "deaf").stdout == "0\n"
    assert logged(store, "deaf") == ""


def test_a_command_that_is_not_there_is_refused_and_leaves_nothing(store: Minirun) -> None:
    for command, code, reason in (("nosuch", 127, "executable file not found"), ("/etc", 126, "ermission denied")):
        result = store("run", "-d", "--name", "back", "busybox", command)
        assert result.returncode == code
        assert result.stdout == ""
        assert reason in result.stderr
        assert store("ps", "-aq").stdout == ""
    kept.unsupervised(store)
    assert list((store.runtime / "containers").iterdir()) == []


@pytest.mark.parametrize(
    ("command", "code"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 0), ("echo x", 0)]
)
def test_its_exit_code_is_known_afterwards(command: str, code: int, store: Minirun) -> None:
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", command, check=True)
    assert store("wait", "back").stdout == f"{code}\n"
    now = state(store, "back")
    assert (now["Status"], now["ExitCode"], now["Pid"]) == ("exited", code, 0)
    assert now["StartedAt"] <= now["FinishedAt"]
    assert f"Exited ({code})" in store("ps", "-a").stdout
    assert not list(Path("/sys/fs/cgroup").rglob(kept.container_id(store, "back")))


def test_thirty_that_end_at_once_are_all_seen(store: Minirun) -> None:
    for number in range(30):
        store("run", "-d", "--name", f"b{number}", "busybox", "sh", "-c", f"echo {number}; exit {number}", check=True)
    names = [f"b{number}" for number in range(30)]
    assert store("wait", *names).stdout.split() == [str(number) for number in range(30)]
    assert [logged(store, name) for name in names] == [f"{number}\n" for number in range(30)]


def test_stop_sends_its_signal_and_kills_what_does_not_obey(store: Minirun) -> None:
    store("run", "-d", "--name", "good", "busybox", "sh", "-c", OBEYING, check=True)
    store("run", "-d", "--name", "usr", "--stop-signal", "USR1", "busybox", "sh", "-c",
          "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done", check=True)  # fmt: skip
    store("run", "-d", "--name", "bad", "busybox", *FOREVER, check=True)
    store("run", "-d", "--name", "init", "--init", "busybox", *FOREVER, check=True)
    await_log(store, "good", "ready")
    await_log(store, "usr", "ready")
    began = time.monotonic()
    assert store("stop", "good", "usr", "init").stdout == "good\nusr\ninit\n"
    assert time.monotonic() - began < 5 * PATIENCE
    assert [state(store, name)["ExitCode"] for name in ("good", "usr", "init")] == [7, 9, 143]
    began = time.monotonic()
    assert store("stop", "-t", "1", "bad").stdout == "bad\n"
    assert 0.9 < time.monotonic() - began < 5 * PATIENCE
    assert state(store, "bad")["ExitCode"] == 137
    assert store("stop", "bad", "good").stdout == "bad\ngood\n"  # they are as they are to be


def test_stop_reaches_one_that_stands_still(store: Minirun) -> None:
    store("run", "-d", "--name", "still", "busybox", "sh", "-c", OBEYING, check=True)
    await_log(store, "still", "ready")
    store("pause", "still", check=True)
    assert state(store, "still")["Status"] == "paused"
    assert store("stop", "still").stdout == "still\n"
    assert state(store, "still")["ExitCode"] == 7


def test_each_name_is_tried_and_each_failure_told(store: Minirun) -> None:
    store("run", "-d", "--name", "one", "busybox", *FOREVER, check=True)
    for verb in ("stop", "kill", "restart", "start", "wait"):
        result = store(verb, "nosuch", *(["-t", "0"] if verb in ("stop", "restart") else []))
        assert result.returncode == 125
        assert result.stdout == ""
        assert result.stderr.startswith("minirun: cannot find container nosuch: no such container\n")
    result = store("stop", "-t", "0", "nosuch", "one")
    assert (result.returncode, result.stdout) == (125, "one\n")


def test_kill_sends_the_signal_that_is_asked_for(store: Minirun) -> None:
    script = "trap 'echo hup' HUP; trap 'echo usr' USR1; echo ready; while :; do sleep 0.05; done"
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", script, check=True)
    await_log(store, "back", "ready")
    for word, heard in (("HUP", "hup"), ("SIGUSR1", "usr"), ("1", "hup\nusr\nhup")):
        assert store("kill", "-s", word, "back").stdout == "back\n"
        await_log(store, "back", heard)
    assert store("kill", "back").stdout == "back\n"
    assert state(store, "back")["ExitCode"] == 137
    refused = store("kill", "back")
    assert refused.returncode == 125
    assert refused.stderr.startswith("minirun: cannot kill container back: it is not running: it is exited")
    assert store("kill", "-s", "NOSUCH", "back").returncode == 125


def test_create_then_start_then_start_again(store: Minirun) -> None:
    store("create", "--name", "later", "busybox", "sh", "-c", "echo $$ >>/runs; wc -l </runs; exit 4", check=True)
    assert state(store, "later")["Status"] == "created"
    assert store("wait", "later").stdout == "0\n"
    for count in (1, 2, 3):
        assert store("start", "later").stdout == "later\n"
        assert store("wait", "later").stdout == "4\n"
        assert logged(store, "later").split() == [str(number) for number in range(1, count + 1)]


def test_starting_one_that_runs_changes_nothing(store: Minirun) -> None:
    store("run", "-d", "--name", "back", "busybox", *FOREVER, check=True)
    before = state(store, "back")
    assert store("start", "back").stdout == "back\n"
    assert state(store, "back") == before
    refused = store("start", "-a", "back")
    assert refused.returncode == 125
    assert refused.stderr.startswith("minirun: cannot start container back: it is running")


def test_start_waits_for_who_goes_on_with_its_removal(store: Minirun) -> None:
    box = store("create", "--name", "box", "busybox", "true", check=True).stdout.strip()
    home = kept.home(store)
    held = files.hold(mark := home.mark("another"))  # of a command that found what a killed `rm` had begun
    files.write_all(held, f'["remove_tree", "{home.container(box)}"]\n'.encode())
    with store.start("start", "box") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3 * PATIENCE)
        tree.remove(home.container(box))
        release_name(home.name("box"), box)
        files.remove(mark)
        os.close(held)
        assert b"no such container" in process.communicate()[1]
    left = [path for folder in ("containers", "names", "marks") for path in (store.root / folder).iterdir()]
    assert (process.returncode, left) == (125, [])


def test_restart_starts_it_anew_whether_it_ran_or_not(store: Minirun) -> None:
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", "echo begun; exec sleep 100000", check=True)
    pids = {state(store, "back")["Pid"]}
    for _ in range(3):
        assert store("restart", "-t", "0", "back").stdout == "back\n"
        pids.add(state(store, "back")["Pid"])
    assert len(pids) == 4
    store("kill", "back", check=True)
    assert store("restart", "back").stdout == "back\n"
    await_log(store, "back", "begun\n" * 5)


def test_wait_tells_each_code_also_of_what_is_removed_meanwhile(store: Minirun) -> None:
    store("run", "-d", "--name", "one", "busybox", "sh", "-c", f"sleep {0.5 * PATIENCE}; exit 1", check=True)
    store("run", "-d", "--rm", "--name", "two", "busybox", "sh", "-c", f"sleep {0.8 * PATIENCE}; exit 2", check=True)
    store("run", "-d", "--name", "three", "busybox", *FOREVER, check=True)
    with store.start("wait", "one", "two") as waiting, store.start("wait", "three") as removed:
        time.sleep(0.3 * PATIENCE)
        store("rm", "-f", "three", check=True)
        assert removed.communicate(timeout=PATIENCE_S)[0] == b"137\n"
        assert waiting.communicate(timeout=PATIENCE_S)[0] == b"1\n2\n"


def test_with_rm_it_goes_at_its_end_and_its_name_is_free(store: Minirun) -> None:
    for _ in range(3):
        store("run", "-d", "--rm", "--name", "passing", "busybox", "sleep", f"{0.2 * PATIENCE}", check=True)
        assert store("ps", "-q").stdout != ""
        until(lambda: store("ps", "-aq").stdout == "")
    store("run", "-d", "--rm", "--name", "passing", "busybox", *FOREVER, check=True)
    assert store("stop", "-t", "0", "passing").stdout == "passing\n"
    until(lambda: store("ps", "-aq").stdout == "")
    assert os.listdir(store.root / "containers") == os.listdir(store.root / "names") == []


def test_rm_wants_force_for_what_runs(store: Minirun) -> None:
    store("run", "-d", "--name", "back", "busybox", *FOREVER, check=True)
    refused = store("rm", "back")
    assert refused.returncode == 125
    assert refused.stderr.startswith("minirun: cannot remove container back: it is running")
    pid = state(store, "back")["Pid"]
    assert store("rm", "-f", "back").stdout == "back\n"
    assert kept.status(pid) in kept.GONE


# --restart


def test_on_failure_counts_and_gives_up(store: Minirun) -> None:
    began = time.time()
    store("run", "-d", "--name", "fails", "--restart", "on-failure:3", "busybox", "sh", "-c", "echo run; exit 5",
          check=True)  # fmt: skip
    await_status(store, "fails", "exited")
    until(lambda: store("inspect", "-f", "{{.RestartCount}}", "fails").stdout == "3\n")
    await_status(store, "fails", "exited")
    assert logged(store, "fails") == "run\n" * 4
    assert state(store, "fails")["ExitCode"] == 5
    told = [(action, at) for action, at in events(store, began) if action in ("start", "die")]
    assert [action for action, _ in told] == ["start", "die"] * 4
    pauses = [told[place + 1][1] - told[place][1] for place in (1, 3, 5)]
    for least, pause in zip((0.1, 0.2, 0.4), pauses, strict=True):
        assert least * 0.95 < pause < least + 2 * PATIENCE, pauses


def test_on_failure_is_content_with_a_success(store: Minirun) -> None:
    store("run", "-d", "--name", "fine", "--restart", "on-failure", "busybox", "true", check=True)
    assert store("wait", "fine").stdout == "0\n"
    time.sleep(0.4)
    assert store("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "fine").stdout == "exited 0\n"


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_always_starts_it_again_until_a_person_ends_it(policy: str, store: Minirun) -> None:
    script = "echo run; trap 'exit 0' TERM; [ -e /first ] && while :; do sleep 0.05; done; touch /first"
    store("run", "-d", "--name", "back", "--restart", policy, "busybox", "sh", "-c", script, check=True)
    await_log(store, "back", "run\nrun\n")
    pid = state(store, "back")["Pid"]
    os.kill(pid, signal.SIGKILL)  # by accident
    await_log(store, "back", "run\nrun\nrun\n")
    await_status(store, "back", "running")
    assert store("stop", "back").stdout == "back\n"
    time.sleep(0.5)
    assert state(store, "back")["Status"] == "exited"
    store("start", "back", check=True)
    await_log(store, "back", "run\n" * 4)
    assert store("inspect", "-f", "{{.RestartCount}}", "back").stdout == "0\n"  # since a person started it
    assert store("kill", "back").stdout == "back\n"
    time.sleep(0.5)
    assert state(store, "back")["Status"] == "exited"


def restarting(store: Minirun) -> None:
    """Have a container `back` that fails at once, in one of its longer pauses."""
    store("run", "-d", "--name", "back", "--restart", "always", "busybox", "sh", "-c", "echo run; exit 1", check=True)
    until(lambda: store("inspect", "-f", "{{.RestartCount}}", "back").stdout.strip() in ("3", "4"))
    await_status(store, "back", "restarting")


def test_what_waits_for_its_restart_says_so(store: Minirun) -> None:
    restarting(store)
    assert re.search(r"Restarting \(1\) .* ago", store("ps").stdout)
    refused = store("rm", "back")
    assert refused.returncode == 125
    assert "it is restarting" in refused.stderr
    for verb in (["attach", "back"], ["exec", "back", "true"], ["kill", "back"], ["pause", "back"]):
        result = store(*verb)
        assert result.returncode == 125, verb
        assert "restarting" in result.stderr, verb


@pytest.mark.parametrize("verb", [["stop"], ["rm", "-f"]])
def test_what_waits_for_its_restart_can_be_ended(verb: list[str], store: Minirun) -> None:
    restarting(store)
    assert store(*verb, "back").stdout == "back\n"
    kept.unsupervised(store)
    assert list((store.runtime / "containers").iterdir()) == []
    assert store("ps", "-q").stdout == ""


def test_a_person_may_start_it_sooner_and_then_it_counts_anew(store: Minirun) -> None:
    restarting(store)
    assert store("start", "back").stdout == "back\n"
    assert int(store("inspect", "-f", "{{.RestartCount}}", "back").stdout) < 3


def test_bad_policies_are_refused(store: Minirun) -> None:
    for words, reason in (
        (["--restart", "sometimes"], "there is no policy 'sometimes'"),
        (["--restart", "always:3"], "always has no limit"),
        (["--restart", "on-failure:x"], "'x' is not a number"),
        (["--restart", "always", "--rm"], "--rm"),
    ):
        result = store("run", "-d", *words, "busybox", "true")
        assert result.returncode == 125
        assert reason in result.stderr
    assert store("ps", "-aq").stdout == ""


# attach


def test_attach_shows_what_comes_and_ends_with_its_code(store: Minirun) -> None:
    script = "echo before; while [ ! -e /go ]; do sleep 0.02; done; echo out; echo err >&2; exit 6"
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", script, check=True)
    await_log(store, "back", "before")
    with store.start("attach", "back") as one, store.start("attach", "--no-stdin", "back") as two:
        time.sleep(0.5 * PATIENCE)
        store("exec", "back", "touch", "/go", check=True)
        for process in (one, two):
            assert process.communicate(timeout=PATIENCE_S) == (b"out\n", b"err\n")
            assert process.returncode == 6


def test_attach_refuses_what_does_not_run(store: Minirun) -> None:
    store("create", "--name", "made", "busybox", "true", check=True)
    store("run", "--name", "ended", "busybox", "true", check=True)
    for name in ("made", "ended", "nosuch"):
        result = store("attach", name)
        assert result.returncode == 125
        assert result.stdout == ""
        assert result.stderr.startswith("minirun: cannot ")


def test_what_is_typed_without_a_terminal_reaches_it(store: Minirun) -> None:
    store("run", "-di", "--name", "cat", "busybox", "cat", check=True)
    with store.start("attach", "cat", stdin=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"one\ntwo\n")
        process.stdin.flush()
        assert process.stdout.readline() + process.stdout.readline() == b"one\ntwo\n"
        process.kill()
    assert state(store, "cat")["Running"]  # who was attached is gone, and it goes on
    with store.start("attach", "cat", stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"three\n")
        process.stdin.flush()
        await_log(store, "cat", "one\ntwo\nthree\n")
        process.kill()


def test_signals_go_to_it_unless_they_are_not_to(store: Minirun) -> None:
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", OBEYING, check=True)
    await_log(store, "back", "ready")
    with store.start("attach", "--sig-proxy=false", "back") as process:
        time.sleep(0.5 * PATIENCE)
        process.terminate()
        assert process.wait(PATIENCE_S) == -signal.SIGTERM
    assert state(store, "back")["Running"]
    with store.start("attach", "back") as process:
        time.sleep(0.5 * PATIENCE)
        process.terminate()
        assert process.wait(PATIENCE_S) == 7


def test_who_reads_slowly_loses_nothing_and_stops_nobody(store: Minirun) -> None:
    script = "while [ ! -e /go ]; do sleep 0.02; done; seq 1 200000; exit 2"
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", script, check=True)
    with store.start("attach", "back") as process:
        time.sleep(0.5 * PATIENCE)
        store("exec", "back", "touch", "/go", check=True)
        assert store("wait", "back").stdout == "2\n"  # it ended, though nobody read
        assert process.stdout
        seen = process.stdout.read()
        assert process.wait(PATIENCE_S) == 2
    assert seen == b"".join(b"%d\n" % number for number in range(1, 200001))


# terminals


def test_a_terminal_in_the_background_is_joined_left_and_joined_again(store: Minirun, screen: Screen) -> None:
    store("run", "-dit", "--name", "shell", "busybox", "sh", check=True)
    before = screen.settings()
    for keys in (b"\x10\x11", b"x"):
        options = ["--detach-keys", "x"] if keys == b"x" else []
        with screen.run(store, "attach", *options, "shell") as process:
            until(lambda: screen.settings() != before)
            screen.type(b"stty size; echo $((6*7))\r")
            screen.wait_for(b"%d %d\r\n42\r\n" % (ROWS, COLUMNS))
            screen.type(keys)
            assert process.wait(PATIENCE_S) == 0
        assert screen.settings() == before
        assert state(store, "shell")["Running"]
    with screen.run(store, "attach", "shell") as process:
        until(lambda: screen.settings() != before)
        screen.type(b"sleep 1000\r")
        time.sleep(0.3)
        screen.type(b"\x03")  # Ctrl-C is for what runs in it
        screen.type(b"exit 3\r")
        assert process.wait(PATIENCE_S) == 3
    assert screen.settings() == before


def test_its_size_follows_the_terminal_of_who_is_attached(store: Minirun, screen: Screen) -> None:
    store("run", "-dit", "--name", "shell", "busybox", "sh", check=True)
    before = screen.settings()
    with screen.run(store, "attach", "shell") as process:
        until(lambda: screen.settings() != before)
        screen.type(b"echo here\r")
        screen.wait_for(b"here\r\n")
        screen.resize(11, 77)
        os.kill(process.pid, signal.SIGWINCH)
        time.sleep(0.3)
        screen.type(b"stty size\r")
        screen.wait_for(b"11 77\r\n")
        screen.type(b"exit\r")
        assert process.wait(PATIENCE_S) == 0


def test_an_attached_process_that_is_killed_leaves_the_container(store: Minirun, screen: Screen) -> None:
    store("run", "-dit", "--name", "shell", "busybox", "sh", check=True)
    before = screen.settings()
    with screen.run(store, "attach", "shell") as process:
        until(lambda: screen.settings() != before)
        kept.kill(process.pid)
        process.wait(PATIENCE_S)
    assert state(store, "shell")["Running"]
    with screen.run(store, "attach", "shell") as process:
        screen.type(b"exit 4\r")
        assert process.wait(PATIENCE_S) == 4


def test_a_run_with_a_terminal_can_be_left_and_come_back_to(store: Minirun, screen: Screen) -> None:
    before = screen.settings()
    with screen.run(store, "run", "-it", "--name", "shell", "busybox", "sh") as process:
        screen.wait_for(b"# ")
        screen.type(b"\x10\x11")
        assert process.wait(PATIENCE_S) == 0
    assert screen.settings() == before
    assert state(store, "shell")["Running"]
    kept.supervisor(store)
    with screen.run(store, "attach", "shell") as process:
        screen.type(b"echo $((6*7)); exit 5\r")
        screen.wait_for(b"42\r\n")
        assert process.wait(PATIENCE_S) == 5
    assert screen.settings() == before
    assert state(store, "shell")["ExitCode"] == 5


def test_start_ai_joins_a_terminal_each_time(store: Minirun, screen: Screen) -> None:
    store("create", "-it", "--name", "shell", "busybox", "sh", check=True)
    for code in (3, 4):
        with screen.run(store, "start", "-ai", "shell") as process:
            screen.type(b"exit %d\r" % code)
            assert process.wait(PATIENCE_S) == code
    assert state(store, "shell")["ExitCode"] == 4


def test_the_callers_terminal_is_not_the_containers(store: Minirun) -> None:
    screen = Screen()
    with screen.run(store, "run", "-d", "--name", "back", "busybox", "sh", "-c", TICKING) as process:
        assert process.wait(PATIENCE_S) == 0
    screen.close()  # hung up
    await_log(store, "back", "tick 5\n")
    assert state(store, "back")["Running"]


def test_what_the_caller_had_is_not_the_supervisors(store: Minirun, tmp_path: Path) -> None:
    """Limits, directories and descriptors of who happened to be first are nobody else's business."""
    command = [
        "sh", "-c", f'ulimit -Sn 64; cd {tmp_path}; exec 9>{tmp_path}/held; exec "$@"', "sh",
        *store.command(["run", "-d", "--name", "b0", "busybox", *FOREVER]),
    ]  # fmt: skip
    subprocess.run(command, env=store.environment(), check=True, stdout=subprocess.DEVNULL)
    pid = kept.supervisor(store)
    assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    for place in Path(f"/proc/{pid}/fd").iterdir():
        assert str(tmp_path) + "/held" != str(place.readlink())
    for number in range(1, 25):
        store("run", "-d", "--name", f"b{number}", "busybox", "sh", "-c", "echo heard; exec sleep 100000", check=True)
    for number in range(1, 25):
        await_log(store, f"b{number}", "heard\n")
