"""--init: a reaper is PID 1, and the command its child."""

from __future__ import annotations

import signal
import subprocess

from tests.command import Minirun

ORPHANS = 1000


def test_without_init_the_command_is_pid_1(store: Minirun) -> None:
    printed = store("run", "--rm", "busybox", "sh", "-c", "echo $$; cat /proc/1/comm; true", check=True).stdout
    assert printed == "1\nsh\n"


def test_with_init_the_command_is_a_child_of_pid_1(store: Minirun) -> None:
    script = "cut -d ' ' -f 4 /proc/$$/stat; ls -d /proc/[0-9]* | grep -c ."
    assert store("run", "--rm", "--init", "busybox", "sh", "-c", script, check=True).stdout.splitlines()[0] == "1"


def test_init_reaps_a_thousand_orphans(store: Minirun) -> None:
    script = f"""
        count=0
        while [ $count -lt {ORPHANS} ]; do (true & true & true & true &); count=$((count + 4)); done
        tries=0
        while grep -qs '^State:.Z' /proc/[0-9]*/status && [ $tries -lt 100 ]; do sleep 0.02; tries=$((tries + 1)); done
        grep -ls '^State:.Z' /proc/[0-9]*/status | grep -c .
        exit 5"""
    result = store("run", "--rm", "--init", "busybox", "sh", "-c", script)
    assert (result.stdout, result.returncode) == ("0\n", 5)


def test_without_init_orphans_of_a_command_that_does_not_reap_stay(store: Minirun) -> None:
    """What the test above would see if the reaper did nothing."""
    script = "true & (sleep 0.1; grep -s '^State:.Z' /proc/[0-9]*/status) & exec sleep 0.3"
    assert "(zombie)" in store("run", "--rm", "busybox", "sh", "-c", script, check=True).stdout


def test_init_passes_signals_on(store: Minirun) -> None:
    script = "trap 'echo term; exit 3' TERM; trap 'echo usr1' USR1; echo ready; while :; do sleep 0.02; done"
    with store.start("run", "--rm", "--init", "busybox", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == b"usr1\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == b"term\n"
        assert process.wait(10) == 3


def test_a_command_without_handlers_ends_by_a_signal_because_it_is_not_pid_1(store: Minirun) -> None:
    with store.start("run", "--rm", "--init", "busybox", "sh", "-c", "echo ready; exec sleep 60") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM


def test_the_container_ends_with_its_command_whoever_else_is_left(store: Minirun) -> None:
    result = store("run", "--rm", "--init", "busybox", "sh", "-c", "sleep 600 >/dev/null 2>&1 & exit 4", timeout_s=10)
    assert result.returncode == 4


def test_a_command_that_is_not_there_says_so_behind_init_too(store: Minirun) -> None:
    assert store("run", "--rm", "--init", "busybox", "no-such-command").returncode == 127
    assert store("run", "--rm", "--init", "busybox", "/etc/passwd").returncode == 126


def test_the_reaper_holds_no_descriptor_but_the_standard_three(store: Minirun) -> None:
    command = ["run", "--rm", "--init", "busybox", "ls", "/proc/1/fd"]
    result = subprocess.run(
        store.command(command), env=store.environment(), stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert result.stdout.split() == [b"0", b"1", b"2"]
