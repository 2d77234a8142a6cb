"""Containers that share processes, IPC or the host's name: with the host, and with each other."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import kept
from tests.command import Minirun
from tests.kept import background

SLEEPS = "sleep 1000"


@pytest.fixture(scope="module", autouse=True)
def supervised(root: None, store: Minirun) -> Iterator[None]:
    """Have no supervisor stay."""
    yield
    kept.unsupervised(store)


def inside(store: Minirun, script: str, *flags: str) -> str:
    return store("run", "--rm", *flags, "busybox", "sh", "-c", script, check=True).stdout


def own(kind: str, pid: int | str = "self") -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


@pytest.mark.parametrize("kind", ["ipc", "pid", "uts"])
def test_with_host_it_has_the_hosts(store: Minirun, kind: str) -> None:
    # of pid: the last component of its link is read where /proc of that namespace is
    assert inside(store, f"readlink /proc/self/ns/{kind}", f"--{kind}", "host").strip() == own(kind)
    assert inside(store, f"readlink /proc/self/ns/{kind}").strip() != own(kind)


def test_with_the_hosts_name_it_is_that_everywhere(store: Minirun) -> None:
    name = os.uname().nodename
    assert inside(store, "hostname; cat /etc/hostname; echo $HOSTNAME", "--uts", "host").split() == [name] * 3


def test_with_the_hosts_ipc_memory_and_queues_are_shared(store: Minirun) -> None:
    shared = Path("/dev/shm/minirun-test")
    shared.write_text("shared")
    queue = subprocess.run(["ipcmk", "-Q"], capture_output=True, text=True, check=True).stdout.split()[-1]
    try:
        script = f"cat {shared}; echo; grep -c ' {queue} ' /proc/sysvipc/msg"
        assert inside(store, script, "--ipc", "host").split() == ["shared", "1"]
        assert store("run", "--rm", "busybox", "sh", "-c", script).stdout.split() == ["0"]
    finally:
        shared.unlink()
        subprocess.run(["ipcrm", "-q", queue], check=True)


def test_without_ipc_there_is_no_shared_memory(store: Minirun) -> None:
    assert store("run", "--rm", "--ipc", "none", "busybox", "ls", "/dev/shm").returncode == 1
    assert inside(store, "readlink /proc/self/ns/ipc", "--ipc", "none").strip() != own("ipc")


def test_two_containers_share_memory_and_processes(store: Minirun) -> None:
    script = f"echo hello >/dev/shm/word; touch /ready; exec {SLEEPS}"
    with background(store, "first", "--ipc", "shareable", script=script) as pid:
        while store("exec", "first", "ls", "/ready").returncode:
            time.sleep(0.02)
        script = "cat /dev/shm/word; readlink /proc/self/ns/ipc; readlink /proc/self/ns/pid; ps; echo $$; ls /ready"
        flags = ("--ipc", "container:first", "--pid", "container:first")
        result = store("run", "--rm", *flags, "busybox", "sh", "-c", script)
        word, ipc, processes, *rest = result.stdout.splitlines()
        assert (word, ipc, processes) == ("hello", own("ipc", pid), own("pid", pid))
        assert any(line.split()[0] == "1" and line.endswith(SLEEPS) for line in rest)
        assert int(rest[-1]) > 1
        assert result.returncode == 1  # its files are its own


@pytest.mark.parametrize("flags", [(), ("--init",)], ids=["", "init"])
@pytest.mark.parametrize("mode", ["host", "container:first"])
def test_what_it_leaves_in_others_processes_ends_with_it(store: Minirun, mode: str, flags: tuple[str, ...]) -> None:
    with background(store, "first"):
        script = "sleep 4711 & (sleep 4712 &) ; sleep 0.2; exit 7"
        result = store("run", "--rm", "--pid", mode, *flags, "busybox", "sh", "-c", script)
        assert result.returncode == 7
        store("run", "-d", "--name", "left", "--pid", mode, *flags, "busybox", "sh", "-c", script, check=True)
        assert store("wait", "left", check=True).stdout == "7\n"
        assert not [pid for pid in filter(str.isdecimal, os.listdir("/proc")) if sleeps(pid)]
        assert "sleep 1000" in store("top", "first", check=True).stdout
        store("rm", "left", check=True)


def sleeps(pid: str) -> bool:
    try:
        return b"sleep\0" in (line := Path(f"/proc/{pid}/cmdline").read_bytes()) and b"471" in line
    except OSError:
        return False


def test_exec_is_among_the_processes_that_the_container_sees(store: Minirun) -> None:
    with background(store, "seeing", "--pid", "host", "--uts", "host") as pid:
        printed = store("exec", "seeing", "sh", "-c", "hostname; readlink /proc/self/ns/pid; ps").stdout.splitlines()
    assert printed[:2] == [os.uname().nodename, own("pid")]
    assert any(line.split()[0] == str(pid) for line in printed[3:])


def test_one_whose_processes_it_shares_takes_it_along_and_has_to_run_again_first(store: Minirun) -> None:
    store("run", "-d", "--name", "first", "busybox", "sleep", "1000", check=True)
    store("run", "-d", "--name", "second", "--pid", "container:first", "busybox", "sleep", "1000", check=True)
    store("rm", "-f", "first", check=True)
    assert store("wait", "second", check=True).stdout == "137\n"
    result = store("start", "second")
    assert result.returncode == 125
    assert "it was removed" in result.stderr
    store("rm", "second", check=True)


def test_a_container_that_does_not_run_is_not_joined(store: Minirun) -> None:
    store("create", "--name", "made", "--ipc", "shareable", "busybox", "true", check=True)
    for kind in ("ipc", "pid"):
        result = store("run", "--rm", f"--{kind}", "container:made", "busybox", "true")
        assert result.returncode == 125
        assert "start it first: `minirun start made`" in result.stderr
    store("rm", "made", check=True)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--ipc", "other"), "there is no such mode"),
        (("--pid", "container:"), "there is no such mode"),
        (("--uts", "container:made"), "there is no such mode"),
        (("--ipc", "container:nosuch"), "no such container"),
        (("--pid", "container:nosuch"), "no such container"),
        (("--ipc", "container:private"), "its IPC is its own"),
        (("--uts", "host", "-h", "name"), "the name there is the host's"),
        (("--ipc", "host", "--shm-size", "1m"), "no /dev/shm of its own"),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_refused(store: Minirun, flags: tuple[str, ...], why: str) -> None:
    store("create", "--name", "private", "busybox", "true", check=True)
    result = store("run", "--name", "refused", *flags, "busybox", "true")
    assert result.returncode == 125
    assert why in result.stderr
    store("rm", "private", check=True)
    assert store("ps", "-aq", check=True).stdout == ""


def test_inspect_tells_whose_they_are(store: Minirun) -> None:
    with background(store, "first", "--ipc", "shareable"):
        flags = ("--ipc", "container:first", "--pid", "container:first", "--uts", "host")
        box = store("create", *flags, "busybox", "true", check=True).stdout.strip()
        asked = json.loads(store("inspect", box, check=True).stdout)[0]["HostConfig"]
        first = store("inspect", "-f", "{{.Id}}", "first", check=True).stdout.strip()
        assert [asked[key] for key in ("IpcMode", "PidMode", "UTSMode")] == [f"container:{first}"] * 2 + ["host"]
        shown = store("run", "--dry-run", *flags, "busybox", "true", check=True).stdout
        assert f"setns(pidfd of {first[:12]}, CLONE_NEWIPC|CLONE_NEWNS)" in shown
        assert "clone3(CLONE_NEWNS|CLONE_NEWNET|CLONE_INTO_CGROUP|CLONE_PIDFD)" in shown
        assert "sethostname" not in shown
        store("rm", box, check=True)
