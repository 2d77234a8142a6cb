"""Where nothing was compiled, a container starts by ctypes, and by the interpreter instead of the stub: the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import minirun as package
from minirun.cgroup import hierarchy
from tests import attacker, busybox
from tests.command import LAUNCHER, Minirun
from tests.running import running

MISSING = {"no extension": ("_plan*.so",), "no stub": ("stub",), "neither": ("_plan*.so", "stub")}


@dataclass(frozen=True, slots=True)
class Elsewhere(Minirun):
    """A minirun of another checkout."""

    launcher: Path

    def command(self, arguments: Sequence[str | Path]) -> list[str]:
        """Return the words to execute."""
        return [str(self.launcher), *map(str, arguments)]


@pytest.fixture(scope="module", params=MISSING, ids=list(MISSING))
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, store: Minirun) -> Elsewhere:
    """The package without some of what is compiled, with the same store."""
    checkout = tmp_path_factory.mktemp("checkout")
    ours = Path(package.__file__).parent
    left_out = shutil.ignore_patterns("hot.*.bin", "__pycache__", *MISSING[request.param])
    shutil.copytree(ours, checkout / "minirun", ignore=left_out)
    text = (ours / "launcher.in").read_text()
    python = LAUNCHER.read_text().splitlines()[0][2:].split()[0]
    places = {"@PYTHON@": python, "@CHECKOUT@": str(checkout), "@SITE_PACKAGES@": sysconfig.get_path("platlib")}
    for name, value in places.items():
        text = text.replace(name, value)
    launcher = checkout / "run-minirun"
    launcher.write_text(text)
    launcher.chmod(0o755)
    return Elsewhere(store.root, store.runtime, launcher)


PROBE = r"""
    sed -n '/^Cap/p;/^Sig[BI]/p;/^Umask/p;/^NSpid/p' /proc/self/status
    for name in pid net ipc mnt uts cgroup; do [ -e /proc/self/ns/$name ] && echo $name; done
    cut -d ' ' -f 5,6 /proc/self/mountinfo | sed 's/,relatime//'
    ls -l /proc/self/fd | sed 's/.* \([0-9]*\) -> \(.*\)/\1 \2/;s/\[[0-9]*\]//' | grep '^[012] '
    tr '\0' '\n' </proc/self/environ | grep -v HOSTNAME
    pwd; id -u; id -G; cat /proc/keys; (: >>/proc/sysrq-trigger) 2>&1; echo $0 $@
"""


def test_what_is_missing_is_missing(other: Elsewhere) -> None:
    here = other.launcher.parent
    there = [any((here / "minirun/launch").glob(pattern)) for pattern in ("_plan*.so", "stub")]
    assert not all(there)
    script = f"""import sys; sys.path.insert(0, {str(here)!r})
from minirun.launch import ending, machine
print(machine.compiled(), bool(ending.stub()))"""
    python = LAUNCHER.read_text().splitlines()[0][2:].split()[0]
    said = subprocess.run([python, "-I", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == f"{there[0]} {there[1]}\n"


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-u", "alice", "-w", "/new", "-e", "A=b"),
        ("--read-only", "--tmpfs", "/run:size=1m", "-v", "/etc:/host:ro"),
        ("-u", "4242:4343", "-v", "/etc/passwd:/etc/passwd:ro"),
    ],
    ids=" ".join,
)
def test_a_container_is_the_same(store: Minirun, other: Elsewhere, flags: tuple[str, ...]) -> None:
    command = ("run", "--rm", *flags, "busybox", "sh", "-c", PROBE, "zero", "one", "")
    usual = store(*command)
    assert "CapBnd:\t00000000a80425fb" in usual.stdout
    unusual = other(*command)
    assert unusual.stdout == usual.stdout
    assert (unusual.returncode, unusual.stderr) == (usual.returncode, usual.stderr)


@pytest.mark.parametrize(
    "command",
    [
        ("sh", "-c", "exit 42"),
        ("sh", "-c", "sh -c 'kill -9 $$'; exit $?"),
        ("no-such-command",),
        ("/no/such/file",),
        ("/etc/passwd",),
        ("/etc",),
        ("-w", "/proc/self/fd/5", "true"),
        ("-u", "nobody-here", "true"),
        ("-v", "/tmp:/etc/passwd", "true"),
    ],
    ids=" ".join,
)
def test_it_ends_and_fails_alike(store: Minirun, other: Elsewhere, command: tuple[str, ...]) -> None:
    at = 2 if command[0].startswith("-") else 0
    words = ("run", "--rm", *command[:at], "busybox", *command[at:])
    usual, unusual = store(*words), other(*words)
    assert (unusual.returncode, unusual.stdout, unusual.stderr) == (usual.returncode, usual.stdout, usual.stderr)
    assert busybox.containers(store.root) == []


def test_input_output_and_signals_pass(other: Elsewhere) -> None:
    text = "line\n" * 20_000
    assert other("run", "--rm", "-i", "busybox", "cat", stdin=text, check=True).stdout == text
    script = "trap 'echo got; exit 7' TERM; echo ready; while :; do sleep 0.02; done"
    with other.start("run", "--rm", "busybox", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.stdout.readline() == b"got\n"
        assert process.wait(10) == 7


def test_t_gives_a_terminal(other: Elsewhere) -> None:
    assert other("run", "--rm", "-t", "busybox", "tty", check=True).stdout == "/dev/pts/0\n"


def test_init_reaps_or_says_why_it_cannot(other: Elsewhere) -> None:
    result = other("run", "--rm", "--init", "busybox", "sh", "-c", "echo $$; exit 3")
    if (other.launcher.parent / "minirun/launch/stub").exists():
        assert (result.returncode, result.stdout) == (3, "2\n")
    else:
        assert result.returncode == 125
        assert "its reaper was not compiled" in result.stderr


def test_dry_run_and_trace_work(other: Elsewhere) -> None:
    assert 'pivot_root(".", ".")' in other("run", "--dry-run", "busybox", "true", check=True).stdout
    result = other("run", "--rm", "--trace", "busybox", "sh", "-c", "exit 4")
    assert result.returncode == 4
    assert "in all" in result.stderr


def test_what_executes_the_command_is_on_a_mount_that_nobody_writes_to(
    store: Minirun, other: Elsewhere, tmp_path: Path
) -> None:
    """CVE-2019-5736: the interpreter, which an image's program loads and opens where there is no stub, is read-only."""
    held = attacker.image(tmp_path / "image", f"{attacker.SCRIPT}; echo on; read end")
    command = other.command(("run", "--rm", "-i", held, "/attack"))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=other.environment(), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        printed = process.stdout.readline() + process.stdout.readline()
        if (other.launcher.parent / "minirun/launch/stub").exists():
            assert printed == b""  # the stub is loaded by no program of the image
        else:
            assert printed.endswith(b"on\n")
            (box,) = busybox.containers(store.root)
            (pid,) = Path(hierarchy.path(box), "cgroup.procs").read_text().split()
            opened = Path(f"/proc/{pid}/fd/9")
            assert opened.stat().st_ino == Path(LAUNCHER.read_text().split()[0][2:]).stat().st_ino
            assert os.statvfs(opened).f_flag & os.ST_RDONLY
        process.communicate(b"\n", 10)
        assert b"OPENED" not in printed


def test_a_command_in_a_container_is_the_same(other: Elsewhere, store: Minirun) -> None:
    script = "grep -E '^(Cap|Sig[BI]|NSpid)' /proc/self/status; ls /proc/self/fd; id; env; pwd; tty; exit 9"
    with running(store, "box", "sleep", "1000"):
        found = [one("exec", *flags, "box", "sh", "-c", script) for flags in ((), ("-t",)) for one in (store, other)]
        assert [result.returncode for result in found] == [9] * 4
        plain = [re.sub(r"NSpid:.*", "", result.stdout) for result in found]
        assert plain[0] == plain[1]
        assert plain[2] == plain[3]
        for code, command in ((127, "nosuch"), (126, "/etc/passwd"), (0, "true")):
            assert other("exec", "box", command).returncode == code
            assert other("exec", "-d", "box", command).returncode == code
        assert other("exec", "-dt", "box", "sh", "-c", "ls -R /proc/self").returncode == 0


def test_a_user_namespace_is_made_by_a_fork(other: Elsewhere) -> None:
    script = "id -u; stat -c %u /etc/passwd /dev/null; touch /made && stat -c %u /made; cut -c 1-11 /proc/self/uid_map"
    told = other("run", "--rm", "--network=none", "--userns=auto", "busybox", "sh", "-c", script, check=True).stdout
    assert told.split() == ["0", "0", "0", "0", "0"]
    with running(other, "mapped", "sleep", "1000", flags=("--network=none", "--userns=auto")) as now:
        assert other("exec", "-u", "1000", "mapped", "id", "-u", check=True).stdout == "1000\n"
        assert Path(f"/proc/{now.pid}").stat().st_uid >= 0x70000000
