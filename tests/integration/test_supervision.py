"""kill -9 of whoever looks after containers in the background: they go on, and nothing that they did or said is lost.

the supervisor    at each call by which it changes the host, and at random       a keeper starts the next one
a command         likewise                                                       it is undone, or finished
keepers                                                                          the kernel tells how it ended
everybody at once                                                                the next command brings one back
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from minirun.container import supervision
from minirun.kernel import process
from tests import inject, kept
from tests.command import LAUNCHER, PATIENCE, Minirun
from tests.inject import Point
from tests.kept import PATIENCE_S, await_log, await_status, keeper, logged, state, until
from tests.scene import held
from tests.screen import Screen

FOREVER = ("sleep", "100000")
# each tick is a process, and twelve such containers are more than a guest has time for
TICKING = f"i=0; while :; do echo tick $i; i=$((i+1)); sleep {0.02 * PATIENCE}; done"
ROUNDS = 60 if inject.THOROUGH else 8
FEW = 4
# how long a container may have to wait for somebody to empty its pipe: an interpreter starts, and a second's grace
# for a keeper that has not yet seen the one before
RESTART_S = 2.5 * PATIENCE
TELLS_EXITS = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)


@pytest.fixture(autouse=True)
def cleared(store: Minirun) -> Iterator[None]:
    """No containers are there before, and none stays; nobody left a traceback."""
    yield
    kept.clear(store)
    store("ps", "-a", check=True)  # mends what somebody who was killed did while that ran
    supervision.tidy(str(store.runtime))  # empty, where the last one was killed when it had nothing left to do
    complaints = kept.complaints(store)
    assert "Traceback" not in complaints, complaints
    assert list((store.runtime / "containers").iterdir()) == []
    checked = store("system", "check", "--quick")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def kill_supervisor(store: Minirun) -> None:
    """Kill it, and the children that it has."""
    kept.kill(*kept.supervisors(store))


def keepers(store: Minirun) -> list[int]:
    """The pids of every keeper of the store."""
    found = []
    for container in (store.runtime / "containers").iterdir():
        try:
            found.append(json.loads((container / "keeper").read_text())["keeper"])
        except FileNotFoundError:
            continue
    return [pid for pid in found if kept.status(pid) not in kept.GONE]


def is_ticking(text: str) -> bool:
    """Whether a log has each tick once, in order."""
    lines = text.splitlines()
    return lines == [f"tick {number}" for number in range(len(lines))]


def pauses(store: Minirun, name: str) -> list[float]:
    """The seconds between the entries of a log."""
    log = store.root / "containers" / kept.container_id(store, name) / "log"
    (path,) = log.glob("*-json.log")
    stamps = []
    for line in path.read_text().splitlines():
        whole, _, fraction = json.loads(line)["time"].rstrip("Z").partition(".")
        seconds = time.mktime(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
        stamps.append(seconds + float(f"0.{fraction or 0}"))
    return [after - before for before, after in pairwise(stamps)]


# the supervisor


def test_a_killed_supervisor_is_followed_by_another_at_once_without_any_command(store: Minirun) -> None:
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", TICKING, check=True)
    await_log(store, "back", "tick 3\n")
    seen = set()
    for _ in range(5):
        seen.add(kept.supervisor(store))
        kill_supervisor(store)
        began = time.monotonic()
        until(lambda: kept.supervisors(store))
        assert time.monotonic() - began < RESTART_S
        time.sleep(0.3)
    assert len(seen) == 5
    count = len(logged(store, "back").splitlines())
    until(lambda: len(logged(store, "back").splitlines()) > count + 5)
    assert is_ticking(logged(store, "back"))
    assert max(pauses(store, "back")) < RESTART_S


def test_killed_at_random_moments_it_loses_no_line_of_a_flood(store: Minirun) -> None:
    last = 400_000
    command = ["run", "-d", "--log-opt", "max-size=1g", "--name", "flood", "busybox", "seq", "1", str(last)]
    store(*command, check=True)
    chance = random.Random(7)
    while state(store, "flood")["Running"]:
        time.sleep(chance.random() * 0.3)
        kill_supervisor(store)
    assert store("wait", "flood").stdout == "0\n"
    assert logged(store, "flood").split() == [str(number) for number in range(1, last + 1)]


def test_what_ends_while_there_is_no_supervisor_is_known_without_any_command(store: Minirun) -> None:
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", "sleep 0.5; echo last words; exit 9", check=True)
    store("run", "-d", "--rm", "--name", "gone", "busybox", "sh", "-c", "sleep 0.5", check=True)
    identity, other = kept.container_id(store, "back"), kept.container_id(store, "gone")
    kept.supervisor(store)
    written = store.root / "containers" / identity / "state.json"
    end = time.monotonic() + PATIENCE_S
    while json.loads(written.read_text())["status"] == "running":
        kill_supervisor(store)
        time.sleep(0.25)
        assert time.monotonic() < end
    until(lambda: not (store.root / "containers" / other).exists(), "what has --rm does not go")
    kept.unsupervised(store)
    assert state(store, "back")["ExitCode"] == 9
    assert logged(store, "back") == "last words\n"
    assert not keepers(store)


def supervised(store: Minirun, what: str) -> str:
    """Run a container that waits for a file /go, and then prints, and ends; its id."""
    flags = {"rm": ["--rm"], "restart": ["--restart", "on-failure:1"], "plain": [], "tty": ["-t"]}[what]
    script = "while [ ! -e /go ]; do sleep 0.01; done; echo out; echo err >&2; echo more; exit 3"
    store("run", "-d", "--name", "back", *flags, "busybox", "sh", "-c", script, check=True)
    identity = kept.container_id(store, "back")
    kept.supervisor(store)
    time.sleep(0.2)
    return identity


@contextmanager
def traced(pid: int, log: Path, *options: str) -> Iterator[None]:
    """Trace a process that runs."""
    command = ["strace", "-qq", "-y", "-e", "signal=none", "-o", str(log), *options, "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as tracer:
        until(lambda: f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{pid}/status").read_text(), "it is not traced")
        try:
            yield
        finally:
            tracer.terminate()


def over(store: Minirun, identity: str) -> bool:
    """Whether that container has come to its end, for good, and was tidied up."""
    return not (store.runtime / "containers" / identity).exists()


@pytest.mark.parametrize("what", ["plain", "tty", "rm", "restart"])
def test_killed_at_each_of_its_calls_it_has_lost_nothing(what: str, store: Minirun, tmp_path: Path) -> None:
    log = tmp_path / "strace.log"

    def play(*options: str) -> None:
        identity = supervised(store, what)
        pid = kept.supervisor(store)
        with traced(pid, log, *options):
            began = time.time()
            store("exec", "back", "touch", "/go", check=True)
            until(lambda: over(store, identity) or kept.status(pid) in kept.GONE, "it neither ends nor is killed")
        # without any command: a keeper is there as long as there is something to look after
        if what != "restart":
            until(lambda: over(store, identity), f"{identity} is not finished", RESTART_S * 2)
        store("ps", check=True)
        until(lambda: over(store, identity), f"{identity} is not finished by the next command")
        check(identity, began)

    def check(identity: str, began: float) -> None:
        if what == "rm":
            until(lambda: not (store.root / "containers" / identity).exists(), "it was not removed")
            assert store("ps", "-aq").stdout == ""
        else:
            now = state(store, "back")
            assert (now["Status"], now["ExitCode"], now["Error"]) == ("exited", 3, "")
            restarts = 1 if what == "restart" else 0
            assert store("inspect", "-f", "{{.RestartCount}}", "back").stdout == f"{restarts}\n"
            result = store("logs", "back", check=True)
            if what == "tty":
                assert result.stdout == "out\nerr\nmore\n"
            else:
                assert result.stdout == "out\nmore\n" * (restarts + 1)
                assert result.stderr == "err\n" * (restarts + 1)
            store("rm", "back", check=True)
        assert not Path(hierarchy.path(identity)).exists()
        told = store("events", "--since", f"{began:.6f}", "--until", f"{time.time():.6f}", "--filter", "event=start",
                     "--filter", f"container={identity}", check=True).stdout  # fmt: skip
        assert len(told.splitlines()) == (what == "restart")
        kept.unsupervised(store)
        assert not list((store.root / "marks").iterdir())
        assert not Path(hierarchy.path(identity)).exists()

    play("-e", f"trace={','.join(inject.CHANGING)}")
    found = inject.points(log.read_text(errors="replace").splitlines())
    assert len(found) > 4
    for point in inject.sample(found, FEW):
        try:
            play("-e", f"trace={point.call}", "-e", f"inject={point.call}:{inject.KILL}:when={point.number}")
        except AssertionError as error:
            raise AssertionError(f"killed at {point}: {error}") from error


def test_no_restart_is_lost_whenever_it_is_killed(store: Minirun) -> None:
    store("run", "-d", "--name", "back", "--restart", "always", "busybox", "sh", "-c", "echo run; exec sleep 0.1",
          check=True)  # fmt: skip
    chance = random.Random(11)
    for _ in range(ROUNDS * 2):
        time.sleep(chance.random() * 0.25)
        kill_supervisor(store)
        store("ps", check=True)  # in a pause nobody of ours is there who could see it
    count = logged(store, "back").count("run\n")
    assert count > 2
    until(lambda: logged(store, "back").count("run\n") > count, "it is not started again", 70)
    told = int(store("inspect", "-f", "{{.RestartCount}}", "back").stdout)
    assert logged(store, "back").count("run\n") in (told, told + 1, told + 2)


def test_a_supervisor_that_was_killed_in_a_pause_is_replaced_by_the_next_command(store: Minirun) -> None:
    store("run", "-d", "--name", "back", "--restart", "always", "busybox", "sh", "-c", "echo run; exit 1", check=True)
    until(lambda: int(store("inspect", "-f", "{{.RestartCount}}", "back").stdout) >= 2)
    await_status(store, "back", "restarting")
    kill_supervisor(store)
    count = logged(store, "back").count("run\n")  # this is the next command
    until(lambda: logged(store, "back").count("run\n") > count)


def test_there_is_one_for_all_and_none_without_containers(store: Minirun) -> None:
    starting = [
        store.start("run", "-d", "--name", f"b{number}", "busybox", "sh", "-c", TICKING) for number in range(12)
    ]
    for process_ in starting:
        with process_:
            assert process_.wait(PATIENCE_S) == 0
    for _ in range(3):
        assert len(kept.supervisors(store)) <= 1
        kill_supervisor(store)
        time.sleep(0.3)
    for number in range(12):
        await_log(store, f"b{number}", "tick 30\n")
        assert is_ticking(logged(store, f"b{number}"))
    assert len(kept.supervisors(store)) == 1


# keepers, and everybody at once


@pytest.mark.skipif(not TELLS_EXITS, reason="this kernel does not tell how a process ended that is not one's child")
def test_without_its_keeper_the_kernel_tells_how_a_container_ended(store: Minirun) -> None:
    script = f"trap 'echo bye; exit 6' TERM; {TICKING}"
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", script, check=True)
    await_log(store, "back", "tick 3\n")
    kept.kill(keeper(store, "back").keeper)
    count = len(logged(store, "back").splitlines())
    until(lambda: len(logged(store, "back").splitlines()) > count + 5)
    kill_supervisor(store)  # no keeper sees that; the next command does
    until(lambda: len(logged(store, "back").splitlines()) > count + 50)
    assert store("stop", "back").stdout == "back\n"
    assert state(store, "back")["ExitCode"] == 6
    assert is_ticking(logged(store, "back").removesuffix("bye\n"))


def test_with_everybody_killed_at_once_they_go_on_and_the_next_command_sees_to_them(store: Minirun) -> None:
    for number in range(4):
        store("run", "-d", "--name", f"b{number}", "busybox", "sh", "-c", TICKING, check=True)
    await_log(store, "b3", "tick 3\n")
    pids = [state(store, f"b{number}")["Pid"] for number in range(4)]
    watching = [store.start(*words, "b0") for words in (["attach"], ["logs", "-f"], ["wait"])]
    time.sleep(0.4)
    # a keeper that were killed after the supervisor could have started the next one
    kept.kill(*keepers(store), *kept.supervisors(store), *(one.pid for one in watching))
    for one in watching:
        with one:
            one.communicate()
    time.sleep(0.5)
    assert not kept.supervisors(store)
    assert [state(store, f"b{number}")["Pid"] for number in range(4)] == pids
    for number in range(4):
        count = len(logged(store, f"b{number}").splitlines())
        until(lambda name=f"b{number}", count=count: len(logged(store, name).splitlines()) > count + 30)  # type: ignore[misc]
        assert is_ticking(logged(store, f"b{number}"))
        assert store("stop", "-t", "0", f"b{number}").stdout == f"b{number}\n"
        assert state(store, f"b{number}")["ExitCode"] == (137 if TELLS_EXITS else 255)


def test_a_terminal_whose_keeper_is_killed_ends_and_disturbs_nobody(store: Minirun) -> None:
    """The keeper holds its master: it is hung up, as a terminal is whose emulator was killed."""
    store("run", "-d", "--name", "other", "busybox", "sh", "-c", TICKING, check=True)
    store("run", "-dt", "--name", "deaf", "busybox", "sh", "-c", "trap '' HUP; echo heard; while :; do sleep 1; done",
          check=True)  # fmt: skip
    store("run", "-dit", "--name", "shell", "busybox", "sh", check=True)
    await_log(store, "shell", "# ")
    await_log(store, "deaf", "heard\n")
    victims = [keeper(store, name).keeper for name in ("shell", "deaf")]
    kept.kill(*victims, *kept.supervisors(store))
    await_status(store, "shell", "exited")
    count = len(logged(store, "other").splitlines())
    until(lambda: len(logged(store, "other").splitlines()) > count + 30)
    assert is_ticking(logged(store, "other"))
    assert state(store, "deaf")["Running"]
    assert store("stop", "-t", "0", "deaf").stdout == "deaf\n"
    assert logged(store, "deaf") == "heard\n"


@pytest.mark.parametrize("flags", [[], ["-t"]])
def test_a_foreground_run_that_is_killed_leaves_its_container_to_the_supervisor(
    flags: list[str], store: Minirun
) -> None:
    screen = Screen()
    script = "while [ ! -e /go ]; do sleep 0.02; done; exit 8"
    with screen.run(store, "run", *flags, "--name", "front", "busybox", "sh", "-c", script) as run:
        until(lambda: (store.root / "names/front").exists() and state(store, "front")["Running"])
        until(lambda: not list((store.root / "marks").iterdir()))  # before that, its end undoes what it began
        kept.kill(run.pid)
    kept.supervisor(store)
    assert state(store, "front")["Running"]
    store("exec", "front", "touch", "/go", check=True)
    assert store("wait", "front").stdout == "8\n"
    kept.unsupervised(store)
    screen.close()


# commands


COMMANDS = {
    "run": ["run", "-d", "--name", "fresh", "busybox", "sh", "-c", TICKING],
    "run-rm": ["run", "-d", "--rm", "--name", "fresh", "busybox", "true"],
    "start": ["start", "ended"],
    "start-created": ["start", "made"],
    "stop": ["stop", "-t", "0", "back"],
    "kill": ["kill", "back"],
    "restart": ["restart", "-t", "0", "back"],
    "rm": ["rm", "-f", "back"],
    "attach": ["attach", "short"],
    "logs": ["logs", "-f", "short"],
    "wait": ["wait", "short"],
}


def ground(store: Minirun, soon_s: float = 0.7) -> None:
    """One that runs, one that will be struck, one that was made, one that has ended, one that soon will."""
    store("run", "-d", "--name", "bystander", "busybox", "sh", "-c", TICKING, check=True)
    store("run", "-d", "--name", "back", "busybox", "sh", "-c", TICKING, check=True)
    store("create", "--name", "made", "busybox", "sh", "-c", TICKING, check=True)
    store("run", "-d", "--name", "ended", "busybox", "sh", "-c", f"[ -e /was ] || exit 4; {TICKING}", check=True)
    store("wait", "ended", check=True)
    (store.root / "containers" / kept.container_id(store, "ended") / "upper/was").touch()
    store("run", "-d", "--name", "short", "busybox", "sh", "-c", f"sleep {soon_s}; echo over; exit 5", check=True)


def abandoned(store: Minirun) -> set[Path]:
    """The marks of operations that nobody works on."""
    return {mark for mark in (store.root / "marks").iterdir() if not held(mark)}


def faults(store: Minirun, pid: int) -> list[str]:
    """What is wrong with the store one command later; *pid* is the bystander's."""
    wrong = []
    listed = store("ps", "-a")
    if listed.returncode or listed.stderr:
        wrong.append(f"ps -a: {listed.returncode} {listed.stderr}")
    if marks := abandoned(store):
        time.sleep(0.5)  # one that is just being made is not held yet, and soon is or is gone
        wrong += [f"a mark is left: {mark.read_text()}" for mark in marks & abandoned(store)]
    if state(store, "bystander")["Pid"] != pid:
        wrong.append("the bystander does not go on")
    names = store("ps", "-a", "--format", "{{.Names}}", check=True).stdout.split()
    living = set()
    for name in names:
        now = state(store, name)
        identity = kept.container_id(store, name)
        if now["Status"] == "running":
            living.add(identity)
            if name == "short":
                continue
            if kept.status(now["Pid"]) in kept.GONE:
                wrong.append(f"{name} runs, and has no process")
            else:
                count = len(logged(store, name).splitlines())
                until(
                    lambda name=name, count=count: len(logged(store, name).splitlines()) > count,  # type: ignore[misc]
                    f"nobody takes what {name} prints",
                )
                lines = logged(store, name).splitlines()
                if [line for line in lines if not line.startswith("tick ")]:
                    wrong.append(f"{name} has in its log {lines}")
        elif now["Status"] not in ("exited", "created"):
            wrong.append(f"{name} is {now['Status']}")
        elif Path(hierarchy.path(identity)).exists():
            wrong.append(f"{name} is {now['Status']}, and its group is there")
    until(lambda: state(store, "short")["Status"] == "exited", "what ended is not known to have")
    if (state(store, "short")["ExitCode"], logged(store, "short")) != (5, "over\n"):
        wrong.append("what `short` did is lost")
    living.discard(kept.container_id(store, "short"))
    there = store.runtime / "containers"
    until(lambda: {path.name for path in there.iterdir()} == living, f"{list(there.iterdir())} are not {living}")
    if len(keepers(store)) != len(living):
        wrong.append(f"there are {len(keepers(store))} keepers of {len(living)}")
    checked = store("system", "check", "--quick")
    if checked.returncode:
        wrong.append(checked.stdout)
    return wrong


@pytest.mark.parametrize("case", COMMANDS)
def test_a_killed_command_is_undone_or_finished_and_disturbs_nobody(case: str, store: Minirun, tmp_path: Path) -> None:
    log, command = tmp_path / "strace.log", store.command(COMMANDS[case])

    def play(point: Point | None) -> list[str]:
        ground(store, 2 if case == "attach" else 0.7)  # it is attached to while it runs
        pid = state(store, "bystander")["Pid"]
        if point is None:
            struck = inject.dry_pass(command, store.environment(), log)
        else:
            struck = inject.strike(command, store.environment(), log, point, inject.KILL)
        found = [f"status {struck.status}: {struck.stderr}"] if struck.status not in (-9, 0, 5) else []
        found += faults(store, pid)
        kept.clear(store)
        return [*found, *(line for line in kept.complaints(store).splitlines() if "Traceback" in line)]

    assert play(None) == []
    points = inject.points(log.read_text(errors="replace").splitlines())
    if case not in ("logs", "wait"):  # those change nothing
        assert points
    wrong = {str(point): found for point in inject.sample(points, FEW) if (found := play(point))}
    assert not wrong, json.dumps(wrong, indent=2)


def test_commands_and_all_that_they_started_are_killed_at_random_moments(store: Minirun) -> None:
    chance = random.Random(13)
    ground(store)
    pid = state(store, "bystander")["Pid"]
    for number in range(ROUNDS * 3):
        words = chance.choice(list(COMMANDS.values()))
        words = [word.replace("fresh", f"fresh{number}") for word in words]
        with store.start(*words) as command:
            time.sleep(chance.random() * 0.08)
            victims = [command.pid, *descendants(command.pid)]
            if chance.random() < 0.3:
                victims += kept.supervisors(store)
            kept.kill(*victims)
            command.communicate()
    for name in store("ps", "-a", "--format", "{{.Names}}", check=True).stdout.split():
        if name not in ("bystander", "short"):
            store("rm", "-f", name, check=True)
    assert faults(store, pid) == []


def descendants(pid: int) -> list[int]:
    """The processes that a command started and that are minirun still: not keepers, nor containers."""
    found = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    for child in map(int, children):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if os.fsencode(LAUNCHER) in words:
            found += [child, *descendants(child)]
    return found


# kernels that tell less, upgrades, and pids that were given again


ERRNO, ALLOW = 0x00050000, 0x7FFF0000  # SECCOMP_RET_*
GET_INFO = 0xC040FF0B  # PIDFD_GET_INFO
NO_NEWS = f"""
import ctypes, os, struct, sys
# ioctl(…, PIDFD_GET_INFO, …) says ENOTTY, as before Linux 6.13: see seccomp(2), struct seccomp_data
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, 16), (0x20, 0, 0, 24), (0x15, 0, 1, {GET_INFO}),
         (6, 0, 0, {ERRNO | errno.ENOTTY}), (6, 0, 0, {ALLOW})]
code = b"".join(struct.pack("HBBI", *step) for step in steps)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(22, 2, program, 0, 0):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def on_older_kernel(store: Minirun, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command whose kernel, and that of all that it starts, does not tell how a process ended."""
    command = [sys.executable, "-c", NO_NEWS, *store.command(arguments)]
    return subprocess.run(
        command,
        env=store.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def test_a_kernel_that_does_not_tell_needs_the_keeper_and_has_it(store: Minirun) -> None:
    assert struct.calcsize("P") == 8
    for name, code in (("one", 3), ("two", 4)):
        on_older_kernel(store, "run", "-d", "--name", name, "busybox", "sh", "-c", f"sleep 0.6; exit {code}")
    kept.supervisor(store)
    kill_supervisor(store)  # the next one, too, is a child of a keeper's, and knows no better
    for name, code in (("one", 3), ("two", 4)):
        assert on_older_kernel(store, "wait", name).stdout == f"{code}\n"
    on_older_kernel(store, "run", "-d", "--name", "lost", "busybox", *FOREVER)
    kept.supervisor(store)
    kept.kill(keeper(store, "lost").keeper)
    os.kill(state(store, "lost")["Pid"], signal.SIGKILL)
    assert on_older_kernel(store, "wait", "lost").stdout == "255\n"  # nobody can know


def test_an_upgrade_renews_the_supervisor_under_running_containers(store: Minirun, tmp_path: Path) -> None:
    project = LAUNCHER.parents[2]
    shutil.copytree(
        project / "minirun", tmp_path / "new/minirun", ignore=shutil.ignore_patterns("__pycache__", "*.bin")
    )
    launcher = tmp_path / "minirun"
    launcher.write_text(LAUNCHER.read_text().replace(f'["{project}"]', f'["{tmp_path}/new"]'))
    launcher.chmod(0o755)

    def upgraded(*arguments: str) -> None:
        subprocess.run([launcher, *arguments], env=store.environment(), check=True, stdout=subprocess.DEVNULL)

    upgraded("run", "-d", "--name", "back", "busybox", "sh", "-c", TICKING)
    await_log(store, "back", "tick 3\n")
    pid, started = kept.supervisor(store), process.start_ticks(kept.supervisor(store))
    assert str(tmp_path).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    program = tmp_path / "new/minirun/container/supervisor.py"
    mark = tmp_path / "renewed"
    text = program.read_text() + f"\nos.close(os.open({str(mark)!r}, os.O_CREAT | os.O_WRONLY))\n"
    (tmp_path / "newer.py").write_text(text)
    (tmp_path / "newer.py").rename(program)
    assert not mark.exists()
    upgraded("run", "-d", "--name", "other", "busybox", "sh", "-c", TICKING)
    until(mark.exists, "it is not renewed")
    assert (kept.supervisor(store), process.start_ticks(pid)) == (pid, started)  # by an exec
    for name in ("back", "other"):
        count = len(logged(store, name).splitlines())
        until(lambda name=name, count=count: len(logged(store, name).splitlines()) > count + 30)  # type: ignore[misc]
        assert is_ticking(logged(store, name))
    assert max(pauses(store, "back")) < RESTART_S
    assert store("stop", "-t", "0", "back").stdout == "back\n"
    assert state(store, "back")["ExitCode"] == 137


@contextmanager
def with_pid(pid: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that gets a number that was somebody else's."""
    until(lambda: not Path(f"/proc/{pid}").exists(), "init does not reap")
    last = Path("/proc/sys/kernel/ns_last_pid")
    for _ in range(200):
        try:
            last.write_text(str(pid - 1))
        except OSError as error:
            pytest.skip(f"this kernel does not let us choose a pid: {error}")
        innocent = subprocess.Popen(["sleep", "100000"])
        if innocent.pid == pid:
            break
        innocent.kill()
        innocent.wait()
    else:
        pytest.skip("somebody else always gets that pid")
    try:
        yield innocent
    finally:
        innocent.kill()
        innocent.wait()


def test_who_was_given_the_pid_of_a_dead_container_or_keeper_is_left_alone(store: Minirun) -> None:
    store("run", "-d", "--name", "back", "busybox", *FOREVER, check=True)
    now, parent = state(store, "back"), keeper(store, "back")
    kept.supervisor(store)
    kept.kill(parent.keeper, *kept.supervisors(store), now["Pid"])
    with with_pid(parent.keeper) as one, with_pid(now["Pid"]) as two:
        assert state(store, "back")["Status"] in ("exited", "running")
        store("kill", "-s", "TERM", "back")
        store("stop", "-t", "0", "back", check=True)
        assert state(store, "back")["Status"] == "exited"
        store("start", "back", check=True)
        store("rm", "-f", "back", check=True)
        time.sleep(0.2)
        assert (one.poll(), two.poll()) == (None, None)
