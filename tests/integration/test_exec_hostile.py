"""exec into a container that means harm: nothing of the host's is found in what goes in, or turned against it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import minirun as package
from minirun.container.state import State
from tests import attacker
from tests.command import LAUNCHER, PATIENCE, Minirun
from tests.running import running

# Looks at every process but its own and PID 1, over and over: what executes it, what it has open, and whether its root
# has the file that the argument names, which is the host's. CVE-2016-9962, CVE-2019-5736. "hidden" is one that it may
# not look into.
_WATCHER = r"""
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static void tell(const char *what, const char *path)
{
    char target[4096];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n >= 0) {
        target[n] = 0;
        dprintf(1, "%s %s\n", what, target);
    } else if (errno == EACCES || errno == EPERM)
        dprintf(1, "hidden\n");
}
int main(int count, char **arguments)
{
    char path[512];
    for (int pid = getpid() + 1; access("/tmp/enough", F_OK) != 0;) {
        snprintf(path, sizeof path, "/proc/%d", pid);
        if (access(path, F_OK) != 0) {
            snprintf(path, sizeof path, "/proc/%d", pid + 1);
            if (access(path, F_OK) == 0) /* it was too quick */
                pid++;
            continue;
        }
        for (;;) {
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            if (access(path, F_OK) != 0 && errno == ENOENT)
                break;
            tell("exe", path);
            int exe = open(path, O_WRONLY);
            if (exe >= 0)
                dprintf(1, "opened\n");
            close(exe);
            snprintf(path, sizeof path, "/proc/%d/cwd", pid);
            tell("cwd", path);
            for (int fd = 3; fd < 24; fd++) {
                snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
                tell("fd", path);
            }
            snprintf(path, sizeof path, "/proc/%d/root%s", pid, arguments[count - 1]);
            if (access(path, F_OK) == 0)
                dprintf(1, "host\n");
            snprintf(path, sizeof path, "/proc/%d/mem", pid);
            int mem = open(path, O_RDWR);
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            if (mem >= 0)
                tell("mem", path);
            close(mem);
        }
        pid++;
    }
    return 0;
}
"""


@pytest.fixture
def box(store: Minirun) -> Iterator[State]:
    """A container `box` of the image `busybox` that sleeps."""
    with running(store, "box", "sleep", "1000") as now:
        yield now


def ours() -> str:
    """A digest of the interpreter, the stub, and all else that a command of ours executes or reads."""
    python = LAUNCHER.read_text().splitlines()[0][2:].split()[0]
    files = [Path(python).resolve(), LAUNCHER, *sorted(Path(package.__file__).parent.glob("launch/*"))]
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


# who has SYS_PTRACE may look into every process that it sees
@pytest.mark.parametrize("flags", [(), ("--cap-add", "SYS_PTRACE"), ("--privileged",)], ids=" ".join)
def test_nothing_of_the_hosts_is_seen_in_what_goes_in(store: Minirun, tmp_path: Path, flags: tuple[str, ...]) -> None:
    source, program = tmp_path / "watch.c", tmp_path / "watch"
    source.write_text(_WATCHER)
    subprocess.run(["gcc", "-static", "-O2", "-o", program, source], check=True)
    before = ours()
    with (
        running(store, "watched", "sleep", "1000", flags=(*flags, "-v", f"{program}:/watch:ro")),
        (tmp_path / "seen").open("wb") as seen,
        store.start("exec", "watched", "/watch", str(source), stdout=seen.fileno()) as watching,
    ):
        end = time.monotonic() + 60 * PATIENCE
        # the second of a command that lives; the first on its way: "/" is the stub, the root of its mount
        while not {b"exe /", b"mem /bin/busybox"} <= set((tmp_path / "seen").read_bytes().splitlines()):
            assert time.monotonic() < end, "nothing was looked at on its way in"
            with ThreadPoolExecutor(8) as pool:
                codes = list(pool.map(lambda _: store("exec", "watched", "true").returncode, range(80)))
            assert codes == [0] * 80
        store("exec", "watched", "touch", "/tmp/enough", check=True)
        assert watching.wait(20 * PATIENCE) == 0
    lines = set((tmp_path / "seen").read_text().splitlines())
    kinds = {line.split()[0] for line in lines}
    assert not kinds & {"opened", "host", "hidden"}
    assert {line for line in lines if line.startswith(("exe", "mem"))} <= {
        f"{what} {path}" for what in ("exe", "mem") for path in ("/bin/busybox", "/")
    }
    # the one by which the stub says that it could not execute the command
    assert {line.partition("[")[0] for line in lines if line.startswith("fd")} <= {"fd pipe:"}
    assert {line for line in lines if line.startswith("cwd")} <= {"cwd /home", "cwd /"}
    assert ours() == before


@pytest.mark.parametrize("names", [["clone"], ["setsid"], ["execveat"], ["clone", "execveat"]], ids=" ".join)
def test_a_filter_by_which_the_stub_forks_nothing_keeps_no_command_out(
    store: Minirun, tmp_path: Path, names: list[str]
) -> None:
    profile = tmp_path / "narrow.json"
    rule = {"names": names, "action": "SCMP_ACT_KILL_PROCESS"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    with running(store, "narrow", "sleep", "1000", flags=("--security-opt", f"seccomp={profile}")):
        result = store("exec", "narrow", "sh", "-c", "echo $$; exit 7")
        assert (result.returncode, result.stdout.strip().isdecimal()) == (7, True), result.stderr
        assert store("exec", "narrow", "nosuch").returncode == 127


def test_a_command_that_executes_whatever_executes_it_finds_the_stub_unwritable(store: Minirun, tmp_path: Path) -> None:
    store("import", attacker.image(tmp_path / "attacking"), "attacking", check=True)
    before = ours()
    with store.start("run", "--rm", "--name", "attacked", "attacking", "sleep", "1000") as process:
        try:
            end = time.monotonic() + 20 * PATIENCE
            # 125 is also what the stub says, when it is executed as the interpreter of a script
            while "minirun: cannot" in (result := store("exec", "attacked", "/attack")).stderr:
                assert time.monotonic() < end, result.stderr
                time.sleep(0.05)
        finally:
            store("rm", "-f", "attacked")
            process.communicate(timeout=20)
    assert "OPENED" not in result.stdout + result.stderr
    assert str(tmp_path) not in result.stdout
    assert ours() == before
    store("rmi", "attacking", check=True)


def test_three_descriptors_go_in_and_no_more(store: Minirun, box: State) -> None:
    reading, writing = os.pipe()
    command = store.command(("exec", "box", "ls", "/proc/self/fd"))
    result = subprocess.run(
        command, env=store.environment(), stdin=subprocess.DEVNULL, capture_output=True, pass_fds=(reading, writing),
        check=True, timeout=60,
    )  # fmt: skip
    os.close(reading)
    os.close(writing)
    assert result.stdout.split() == [b"0", b"1", b"2", b"3"]  # the last one is that of ls


def test_the_null_device_is_the_containers(store: Minirun, box: State) -> None:
    before = Path("/dev/null").stat()
    command = store.command(
        ("exec", "box", "sh", "-c", "chmod 600 /proc/self/fd/0 /proc/self/fd/1; chown 7 /proc/self/fd/1")
    )
    with Path("/dev/null").open("r+b") as null:
        subprocess.run(command, env=store.environment(), stdin=null, stdout=null, stderr=null, check=True, timeout=60)
    after = Path("/dev/null").stat()
    assert (after.st_mode, after.st_uid, after.st_ino) == (before.st_mode, before.st_uid, before.st_ino)
    assert store("exec", "box", "stat", "-c", "%a %u", "/dev/null").stdout == "600 7\n"


@pytest.mark.parametrize("kind", ["fifo", "file", "nothing"])
def test_a_null_device_that_is_none_is_not_used(store: Minirun, tmp_path: Path, kind: str) -> None:
    devices = tmp_path / "dev"
    devices.mkdir()
    if kind == "fifo":
        os.mkfifo(devices / "null")
    elif kind == "file":
        (devices / "null").write_text("words")
    with running(store, "odd", "sleep", "1000", flags=("-v", f"{devices}:/dev")):
        result = store("exec", "odd", "sh", "-c", "wc -c; [ -c /proc/self/fd/0 ] && echo device", check=True)
        assert result.stdout == "0\ndevice\n"
        assert store("exec", "-d", "odd", "true").returncode == 0
        assert store("exec", "-t", "odd", "true").returncode == 125


@pytest.mark.parametrize(
    "spoil",
    [
        "mkfifo /etc/passwd", "ln -s /proc/self/mem /etc/passwd", "ln -s /dev/zero /etc/passwd", "mkdir /etc/passwd",
        "dd if=/dev/zero of=/etc/passwd bs=1 count=0 seek=4G",
    ],
)  # fmt: skip
def test_a_list_of_users_that_is_none_does_no_harm(store: Minirun, box: State, spoil: str) -> None:
    store("exec", "box", "sh", "-c", f"rm /etc/passwd; {spoil}", check=True)
    began = time.monotonic()
    # not id(1): it reads that list itself
    assert store("exec", "box", "true", timeout_s=20 * PATIENCE).returncode == 0
    assert store("exec", "-u", "4242:7", "box", "true", timeout_s=20 * PATIENCE).returncode == 0
    assert store("exec", "-u", "root", "box", "true", timeout_s=20 * PATIENCE).returncode == 125
    assert time.monotonic() - began < 5 * PATIENCE


def test_the_hosts_users_are_not_those_of_the_container(store: Minirun, box: State) -> None:
    store("exec", "box", "sh", "-c", "rm /etc/passwd; ln -s ../../../../../../etc/passwd /etc/passwd", check=True)
    name = Path("/etc/passwd").read_text().splitlines()[1].partition(":")[0]
    assert store("exec", "-u", name, "box", "true").returncode == 125


def test_no_key_of_the_hosts_is_seen(store: Minirun, box: State) -> None:
    if not stat.S_ISREG(Path("/proc/keys").stat().st_mode):
        pytest.skip("this kernel has no keyrings")
    result = store("exec", "--privileged", "box", "cat", "/proc/keys", check=True)
    assert result.stdout == ""  # masked, with every capability
