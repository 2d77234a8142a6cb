"""Signals go to the command; how it ends is how minirun ends."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests import busybox
from tests.command import Minirun

PATIENCE_S = 10.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
                                    signal.SIGUSR2, signal.SIGALRM], ids=lambda number: number.name)  # fmt: skip
def test_a_signal_to_minirun_is_one_to_the_command(store: Minirun, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo got {name}; exit 7' {name}; echo ready; while :; do sleep 0.02; done"
    with store.start("run", "--rm", "busybox", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == f"got {name}\n".encode()
        assert process.wait(PATIENCE_S) == 7
    assert busybox.containers(store.root) == []


def test_a_signal_that_the_command_does_not_handle_leaves_it_running_as_pid_1(store: Minirun) -> None:
    with store.start("run", "--rm", "-i", "busybox", "sh", "-c", "echo ready; read x; exit 6",
                     stdin=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.communicate(b"\n", PATIENCE_S)
        assert process.returncode == 6


def test_a_signal_before_the_command_begins_is_not_lost_on_it(store: Minirun) -> None:
    """Whenever it comes, minirun ends, and no container is left behind."""
    for delay_ms in range(0, 30, 2):
        with store.start("run", "--rm", "--init", "busybox", "sleep", "60") as process:
            time.sleep(delay_ms / 1000)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) in (128 + signal.SIGTERM, -signal.SIGTERM)
    store("ps", check=True)
    assert busybox.containers(store.root) == []


@pytest.mark.parametrize("status", [0, 1, 42, 125, 126, 127, 128, 255])
def test_the_exit_status_is_the_commands(store: Minirun, status: int) -> None:
    result = store("run", "--rm", "busybox", "sh", "-c", f"exit {status}")
    assert (result.returncode, result.stderr) == (status, "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
@pytest.mark.parametrize("flags", [(), ("--init",)])
def test_a_command_that_a_signal_ends_gives_128_and_its_number(
    store: Minirun, number: int, flags: tuple[str, ...]
) -> None:
    # a process ends itself as PID 1 only by what it cannot ignore; so here it is a child whose status is passed on
    script = f"sh -c 'kill -{number} $$'; exit $?"
    assert store("run", "--rm", *flags, "busybox", "sh", "-c", script).returncode == 128 + number


def test_a_container_whose_first_process_is_killed_from_outside_ends_with_137(store: Minirun) -> None:
    with store.start("run", "--rm", "--name", "victim", "busybox", "sh", "-c", "echo ready; exec sleep 100") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        pid = store("inspect", "--format", "{{.State.Pid}}", "victim", check=True).stdout.strip()
        subprocess.run(["kill", "-9", pid], check=True)
        assert process.wait(PATIENCE_S) == 137


@pytest.mark.parametrize("flags", [(), ("--init",)])
@pytest.mark.parametrize(
    ("command", "status", "reason"),
    [
        (("no-such-command",), 127, "executable file not found in $PATH"),
        (("/no/such/file",), 127, "ENOENT"),
        (("/etc/passwd/x",), 127, "ENOTDIR"),
        (("",), 127, "executable file not found in $PATH"),
        (("/etc/passwd",), 126, "EACCES"),
        (("/etc",), 126, "EACCES"),
        (("/srv/garbage",), 126, "ENOEXEC"),
        (("/srv/no-interpreter",), 127, "ENOENT"),
    ],
)
def test_a_command_that_cannot_begin_says_why_and_leaves_nothing(
    store: Minirun, tmp_path: Path, flags: tuple[str, ...], command: tuple[str, ...], status: int, reason: str
) -> None:
    base = busybox.tree(tmp_path / "image")
    (base / "srv").mkdir()
    for name, text in (("garbage", "\x01\x02 no program"), ("no-interpreter", "#!/no/such/interpreter\n")):
        (base / "srv" / name).write_text(text)
        (base / "srv" / name).chmod(0o755)
    store("run", "--rm", tmp_path / "image", "true", check=True)
    before = busybox.contents(store.root)
    result = store("run", *flags, tmp_path / "image", *command)
    assert (result.returncode, result.stdout) == (status, "")
    assert reason in result.stderr
    assert f"cannot execute {command[0]!r} in the container" in result.stderr
    assert busybox.contents(store.root) == before


def test_a_command_starts_with_no_signal_blocked_or_ignored(store: Minirun) -> None:
    command = store.command(("run", "--rm", "busybox", "cat", "/proc/self/status"))
    words = ["sh", "-c", 'trap "" HUP INT QUIT PIPE TERM USR1; exec "$@"', "sh", *command]
    printed = subprocess.run(words, env=store.environment(), capture_output=True, text=True, check=True).stdout
    masks = dict(line.split(":\t") for line in printed.splitlines() if line.startswith("Sig"))
    assert masks["SigBlk"] == masks["SigIgn"] == masks["SigCgt"] == "0" * 16
    assert "Umask:\t0022" in printed
