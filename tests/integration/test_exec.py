"""exec: a command beside what runs in a container, with all that the container has."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from minirun.cgroup import group
from minirun.container.state import State
from tests.command import PATIENCE, Minirun
from tests.running import running

PATIENCE_S = 20.0 * PATIENCE


@pytest.fixture
def box(store: Minirun) -> Iterator[State]:
    """A container `box` of the image `busybox` that sleeps."""
    with running(store, "box", "sleep", "1000", flags=("-e", "FRUIT=pear", "-w", "/srv")) as now:
        yield now


def until(true: Callable[[], object]) -> None:
    """Wait until *true* says so."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def commands(path: str) -> list[str]:
    """What the processes of a group are; what is just born is not yet its command, and who gives birth to it goes."""
    found = []
    for pid in group.processes(path):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append(Path(f"/proc/{pid}/comm").read_text().strip())
    return found


def said(store: Minirun, *arguments: str) -> str:
    """What a command says that succeeds."""
    return store("exec", *arguments, check=True).stdout


def test_it_is_in_every_namespace_and_the_cgroup_of_the_container(store: Minirun, box: State) -> None:
    kinds = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
    found = said(store, "box", "sh", "-c", f"for k in {' '.join(kinds)}; do readlink /proc/self/ns/$k; done")
    assert found.split() == [str(Path(f"/proc/{box.pid}/ns/{kind}").readlink()) for kind in kinds]
    with store.start("exec", "box", "sleep", "1000") as process:
        until(lambda: commands(box.cgroup) == ["sleep", "sleep"])
        other = max(group.processes(box.cgroup))
        assert Path(f"/proc/{other}/root").resolve() == Path(f"/proc/{box.pid}/root").resolve()
        os.kill(other, signal.SIGKILL)
        assert process.wait(PATIENCE_S) == 137


def test_it_sees_the_containers_processes_and_they_see_it(store: Minirun, box: State) -> None:
    lines = said(store, "box", "ps").splitlines()
    assert any("sleep 1000" in line and line.split()[0] == "1" for line in lines)
    assert any(line.split()[2:] == ["ps"] for line in lines)


@pytest.mark.parametrize(
    "status", ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Seccomp", "NoNewPrivs", "SigBlk"]
)
def test_it_may_do_what_the_first_process_may_do(store: Minirun, box: State, status: str) -> None:
    def of(text: str) -> str:
        return next(line for line in text.splitlines() if line.startswith(f"{status}:"))

    assert of(said(store, "box", "cat", "/proc/self/status")) == of(Path(f"/proc/{box.pid}/status").read_text())


def test_privileged_gives_every_capability_that_we_have(store: Minirun, box: State) -> None:
    ours = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd"))
    lines = said(store, "--privileged", "box", "cat", "/proc/self/status").splitlines()
    assert ours in lines
    assert ours.replace("CapBnd", "CapEff") in lines
    assert "CapInh:\t0000000000000000" in lines
    assert "CapAmb:\t0000000000000000" in lines


def test_privileged_as_another_user_is_a_bound_only(store: Minirun, box: State) -> None:
    text = said(store, "--privileged", "-u", "1000", "box", "cat", "/proc/self/status")
    assert "CapEff:\t0000000000000000" in text
    assert "CapBnd:\t0000000000000000" not in text


def test_masks_hold_for_it(store: Minirun, box: State) -> None:
    result = store(
        "exec", "box", "sh", "-c", "wc -c </proc/keys; echo 1 >/proc/sys/kernel/panic; mount -t tmpfs t /mnt"
    )
    assert result.stdout == "0\n"
    assert "Read-only file system" in result.stderr
    assert "mount: permission denied" in result.stderr


def test_the_environment_is_the_containers_and_what_is_added(store: Minirun, box: State, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("FROM=file\nBOTH=file\n")
    flags = ("-e", "BOTH=flag", "-e", "FRUIT", "-e", "PASSED", "--env-file", str(tmp_path / "env"))
    shown = store("exec", *flags, "box", "env", env={"PASSED": "on"}, check=True).stdout.splitlines()
    assert {
        "FROM=file",
        "BOTH=flag",
        "PASSED=on",
        "HOME=/root",
        f"HOSTNAME={said(store, 'box', 'hostname').strip()}",
    } <= {*shown}
    assert not [line for line in shown if line.startswith(("FRUIT", "TERM", "MINIRUN"))]
    assert "FRUIT=pear" in said(store, "box", "env").splitlines()
    assert "TERM=xterm" in said(store, "-t", "box", "env").splitlines()


def test_the_working_directory_is_the_containers_or_the_one_given(store: Minirun, box: State) -> None:
    assert said(store, "box", "pwd") == "/srv\n"
    assert said(store, "-w", "/etc", "box", "pwd") == "/etc\n"


@pytest.mark.parametrize("path", ["/none", "/etc/passwd", "etc", "/proc/self/fd/3", "/proc/self/fd/9", "/proc/1/cwd"])
def test_a_working_directory_that_is_none_or_leads_out_is_refused(store: Minirun, box: State, path: str) -> None:
    result = store("exec", "-w", path, "box", "pwd")
    assert (result.returncode, result.stdout) == (125, "")
    assert "directory" in result.stderr or "absolute" in result.stderr


@pytest.mark.parametrize(
    ("user", "line"),
    [
        ("alice", "uid=1000(alice) gid=1000(alice) groups=29(audio),50(staff),1000(alice)"),
        ("1000", "uid=1000(alice) gid=1000(alice) groups=29(audio),50(staff),1000(alice)"),
        ("1000:50", "uid=1000(alice) gid=50(staff)"),
        ("4242", "uid=4242 gid=0(root) groups=0(root)"),
    ],
)
def test_the_user_is_looked_up_in_the_container(store: Minirun, box: State, user: str, line: str) -> None:
    assert said(store, "-u", user, "box", "id") == f"{line}\n"


def test_a_user_that_the_container_added_is_known_with_its_home(store: Minirun, box: State) -> None:
    said(store, "box", "sh", "-c", "echo carol:x:77:88::/home/carol:/bin/sh >>/etc/passwd")
    assert said(store, "-u", "carol", "box", "sh", "-c", "id -u; id -g; echo $HOME") == "77\n88\n/home/carol\n"
    result = store("exec", "-u", "dave", "box", "true")
    assert result.returncode == 125
    assert "no user 'dave'" in result.stderr


def test_the_user_of_the_container_is_that_of_its_commands(store: Minirun) -> None:
    with running(store, "alices", "sleep", "1000", flags=("-u", "alice", "--ulimit", "nofile=77:78")):
        assert said(store, "alices", "sh", "-c", "id -un; ulimit -n; ulimit -Hn") == "alice\n77\n78\n"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (("true",), 0, ""),
        (("sh", "-c", "exit 77"), 77, ""),
        (("sh", "-c", "kill -TERM $$"), 143, ""),
        (("sh", "-c", "kill -9 $$"), 137, ""),
        (("nosuch",), 127, "executable file not found in $PATH"),
        (("/no/such",), 127, "ENOENT"),
        (("/etc/passwd",), 126, "EACCES"),
        (("/etc",), 126, "EACCES"),
        (("",), 127, "executable file not found"),
    ],
)
@pytest.mark.parametrize("flags", [(), ("-t",)])
def test_the_exit_code_is_dockers(
    store: Minirun, box: State, command: tuple[str, ...], code: int, words: str, flags: tuple[str, ...]
) -> None:
    result = store("exec", *flags, "box", *command)
    assert result.returncode == code
    assert words in result.stderr
    assert bool(result.stderr) == bool(words)


def test_it_is_there_under_its_longer_name_too(store: Minirun, box: State) -> None:
    assert store("container", "exec", "-e", "A=1", "box", "sh", "-c", "echo $A", check=True).stdout == "1\n"


@pytest.mark.parametrize(
    "arguments", [(), ("box",), ("-x", "box", "true"), ("-e",), ("--detach-keys", "no", "box", "true")]
)
def test_what_cannot_be_understood_is_refused(store: Minirun, box: State, arguments: tuple[str, ...]) -> None:
    result = store("exec", *arguments)
    assert result.returncode == 125
    assert result.stderr.startswith("minirun: cannot ")


def test_a_container_that_is_not_there_or_does_not_run_is_refused(store: Minirun) -> None:
    result = store("exec", "nobody", "true")
    assert (result.returncode, "no such container" in result.stderr) == (125, True)
    store("create", "--name", "idle", "busybox", "true", check=True)
    for _ in range(2):
        result = store("exec", "idle", "true")
        assert (result.returncode, "container idle: it is not running" in result.stderr) == (125, True)
        store("start", "-a", "idle", check=True)
    store("rm", "idle", check=True)


def test_a_paused_container_is_refused(store: Minirun, box: State) -> None:
    group.freeze(box.cgroup)
    try:
        result = store("exec", "box", "true")
    finally:
        group.thaw(box.cgroup)
    assert (result.returncode, "it is paused" in result.stderr) == (125, True)
    assert said(store, "box", "echo", "again") == "again\n"


def test_a_process_that_has_the_number_of_the_first_one_is_not_taken_for_it(store: Minirun, box: State) -> None:
    path = store.root / "names" / "box" / "state.json"
    written = path.read_text()
    with subprocess.Popen(["sleep", "1000"]) as other:
        try:
            path.write_text(written.replace(f'"pid": {box.pid}', f'"pid": {other.pid}'))
            result = store("exec", "box", "true")
        finally:
            path.write_text(written)
            other.kill()
    assert (result.returncode, "it is not running" in result.stderr) == (125, True)


def test_without_i_nothing_is_read_and_with_it_everything_to_its_end(store: Minirun, box: State) -> None:
    assert store("exec", "box", "cat", stdin="words", check=True).stdout == ""
    assert store("exec", "-i", "box", "cat", stdin="words", check=True).stdout == "words"


@pytest.mark.parametrize("given", ["pipe", "file"])
@pytest.mark.parametrize("taken", ["pipe", "file"])
def test_many_bytes_are_the_same_bytes(store: Minirun, box: State, tmp_path: Path, given: str, taken: str) -> None:
    data = os.urandom(1 << 20) * 100
    (tmp_path / "in").write_bytes(data)
    words = store.command(("exec", "-i", "box", "dd", "bs=64k"))
    script = ('cat "$0" | "$@"' if given == "pipe" else '"$@" <"$0"') + (" | cat" if taken == "pipe" else "")
    with (tmp_path / "out").open("wb") as out:
        subprocess.run(
            ["sh", "-c", script, tmp_path / "in", *words], env=store.environment(), stdout=out,
            stderr=subprocess.DEVNULL, check=True, timeout=120,
        )  # fmt: skip
    assert hashlib.sha256((tmp_path / "out").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_a_slow_reader_loses_nothing(store: Minirun, box: State) -> None:
    script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo end >&2"
    with store.start("exec", "box", "sh", "-c", script) as process:
        assert process.stdout
        assert process.stderr
        time.sleep(0.5)
        head = process.stdout.read(1000)
        time.sleep(0.5)
        got = head + process.stdout.read()
        assert process.stderr.read() == b"end\n"
    assert got == b"".join(b"line %d\n" % number for number in range(20000))


def test_signals_are_passed_on(store: Minirun, box: State) -> None:
    script = "trap 'echo got; exit 5' TERM; echo ready; while :; do sleep 0.02; done"
    with store.start("exec", "box", "sh", "-c", script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.stdout.read() == b"got\n"
        assert process.wait(PATIENCE_S) == 5


def test_it_goes_on_when_minirun_is_killed(store: Minirun, box: State) -> None:
    with store.start("exec", "box", "sh", "-c", "echo ready; sleep 0.3; echo done >/tmp/went-on") as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.kill()
    until(lambda: store("exec", "box", "cat", "/tmp/went-on").stdout == "done\n")


def test_it_ends_with_the_container(store: Minirun) -> None:
    with (
        running(store, "short", "sleep", "1000") as now,
        store.start("exec", "short", "sleep", "1000") as process,
    ):
        until(lambda: commands(now.cgroup) == ["sleep", "sleep"])
        os.kill(now.pid, signal.SIGKILL)
        assert process.wait(PATIENCE_S) == 137


def test_detached_it_goes_on_by_itself(store: Minirun, box: State) -> None:
    began = time.monotonic()
    script = "readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; sleep 1; readlink /proc/self/fd/1 >/tmp/late"
    result = store("exec", "-d", "box", "sh", "-c", script, check=True)
    assert (result.stdout, result.stderr) == ("", "")
    assert time.monotonic() - began < 1 * PATIENCE
    until(lambda: store("exec", "box", "cat", "/tmp/late").stdout)


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/etc/passwd", 126)])
@pytest.mark.parametrize("flags", [("-d",), ("-dt",)])
def test_detached_what_cannot_begin_is_told(
    store: Minirun, box: State, command: str, code: int, flags: tuple[str, ...]
) -> None:
    result = store("exec", *flags, "box", command)
    assert (result.returncode, "cannot execute" in result.stderr) == (code, True)


def test_many_at_once_work(store: Minirun, box: State) -> None:
    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(lambda number: store("exec", "box", "echo", str(number)), range(200)))
    assert [(one.returncode, one.stdout) for one in results] == [(0, f"{number}\n") for number in range(200)]
    until(lambda: len(group.processes(box.cgroup)) == 1)


def test_it_is_told_in_events(store: Minirun, box: State) -> None:
    store("exec", "box", "sh", "-c", "exit 3")
    lines = [line for line in (store.runtime / "events").read_text().splitlines() if '"exec' in line][-3:]
    assert '"Action": "exec_create: sh -c exit 3"' in lines[0]
    assert '"Action": "exec_start: sh -c exit 3"' in lines[1]
    assert '"Action": "exec_die"' in lines[2]
    assert '"exitCode": "3"' in lines[2]
