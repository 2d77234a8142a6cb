"""A warm start is a cold one, sooner: what runs is the same, whoever is killed; who cannot have it goes the cold way.

The client of these tests has beside it no launcher but a script that says "cold": whatever does not say it was warm.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from minirun.container import supervision
from tests.command import LAUNCHER, PATIENCE, Minirun
from tests.resident import resident
from tests.running import state_of

COLD = 99
PATIENCE_S = 10.0 * PATIENCE
NATIVE = LAUNCHER.parents[2] / "minirun/launch/client"


class Client:
    """The program that asks for warm starts.

    Attributes:
        program: its path.
        socket: of the resident process.
        resident: pid of that.
        store: whose containers it starts.
    """

    def __init__(self, program: Path, socket: Path, resident: int, store: Minirun) -> None:
        self.program = program
        self.socket = socket
        self.resident = resident
        self.store = store

    def words(self, *arguments: str) -> list[str]:
        """The command line."""
        return [str(self.program), *arguments]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The store's, with the socket."""
        return {**self.store.environment(extra), "MINIRUN_WARM": str(self.socket)} | dict(extra or {})

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            self.words(*arguments), env=self.environment(env), input=stdin, capture_output=True, text=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it."""
        return subprocess.Popen(
            self.words(*arguments), env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )


@pytest.fixture(scope="module", params=["native", "python"])
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, store: Minirun
) -> Iterator[Client]:
    """Each of both clients, with a resident process."""
    folder = tmp_path_factory.mktemp("client")
    launcher, program = folder / "minirun", folder / "minirun-warm"
    launcher.write_text(f"#!/bin/sh\necho cold\nexit {COLD}\n")
    launcher.chmod(0o755)
    if request.param == "native":
        if not NATIVE.exists():
            pytest.skip("the client was not compiled")
        shutil.copy(NATIVE, program)
    else:
        shebang = LAUNCHER.read_text().partition("\n")[0]
        program.write_text(
            f"{shebang}\nimport os\nimport sys\nsys.path[:1] = [{str(LAUNCHER.parents[2])!r}]\n"
            f"from minirun.resident import client\nclient.ask({str(launcher)!r})\n"
            f"os.execv({str(launcher)!r}, ['minirun'])\n"
        )
        program.chmod(0o755)
    store("run", "--rm", "busybox", "true", check=True)  # what only the first start of a boot does
    with resident(launcher) as (socket, pid):
        yield Client(program, socket, pid, store)


def test_output_input_and_exit_codes_are_the_same(client: Client) -> None:
    done = client("run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo oops >&2; exit 7", stdin="typed")
    assert (done.stdout, done.stderr, done.returncode) == ("typed", "oops\n", 7)
    assert client("run", "--rm", "busybox", "sh", "-c", "kill -TERM -1; kill -9 1; exit 3").returncode == 3
    for arguments in (["busybox", "nosuch"], ["-m", "1k", "busybox", "true"], ["nowhere/at/all", "true"]):
        warm, cold = client("run", "--rm", *arguments), client.store("run", "--rm", *arguments)
        assert (warm.returncode, warm.stdout, warm.stderr) == (cold.returncode, cold.stdout, cold.stderr)
        assert warm.returncode in (125, 127)


def test_nothing_of_it_is_left_for_the_next_command_to_see(client: Client) -> None:
    for _ in range(5):
        assert client("run", "--rm", "--name", "again", "busybox", "true").returncode == 0
        assert client.store("ps", "-aq").stdout == ""


def test_the_caller_s_world_goes_in_and_nothing_of_the_resident_process(client: Client, tmp_path: Path) -> None:
    probe = "cat /proc/1/limits /proc/1/oom_score_adj /proc/1/cgroup; nice; ls /proc/1/fd; env; umask; grep -E '^(Cap|Sig[BCIP]|Shd|Seccomp|NoNew|Cpus_allowed:|NSpid)' /proc/1/status"  # noqa: E501
    script = tmp_path / "caller.py"
    script.write_text(
        "import os, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (333, 444))\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "os.nice(3); os.umask(0o027); os.sched_setaffinity(0, {0}); os.chdir(sys.argv[1])\n"
        "open('/proc/self/oom_score_adj', 'w').write('123')\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )
    (tmp_path / "here").write_text("here")
    arguments = ["run", "--rm", "-h", "box", "-e", "OWN", "-v", "./here:/here", "busybox", "sh", "-c", probe]

    def told(program: Sequence[str], environment: dict[str, str]) -> list[str]:
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path), *program], env={**environment, "OWN": "mine"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=PATIENCE_S,
        )  # fmt: skip
        return done.stdout.splitlines()

    warm = told(client.words(*arguments), client.environment())
    cold = told([str(LAUNCHER), *arguments], client.store.environment())
    assert warm == cold
    assert "OWN=mine" in warm
    assert "123" in warm
    assert any(line.split()[:5] == ["Max", "open", "files", "333", "444"] for line in warm)


def test_who_is_not_like_the_resident_process_goes_the_cold_way(client: Client) -> None:
    run = client.words("run", "--rm", "busybox", "true")
    for prefix in (["unshare", "--uts"], ["unshare", "--net"], ["setpriv", "--no-new-privs"], ["setarch", "-R"],
                   ["setpriv", "--bounding-set", "-sys_time"], ["chroot", "/"]):  # fmt: skip
        done = subprocess.run(
            [*prefix, *run], env=client.environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
        assert (prefix, done.returncode) == (prefix, 0 if prefix[0] == "chroot" else COLD)
    assert client("run", "--rm", "-v", "/dev/fd/0:/x", "busybox", "true").returncode == COLD
    assert client("ps").returncode == COLD
    assert client("run", "--rm", "busybox", "true", env={"MINIRUN_WARM": "0"}).returncode == COLD
    much = {"LONG": "x" * 100_000, "LONGER": "y" * 120_000, "LONGEST": "z" * 120_000}
    assert client("run", "--rm", "busybox", "true", env=much).returncode == COLD


def test_only_root_may_connect(client: Client) -> None:
    assert client.socket.stat().st_mode & 0o777 == 0o600


def wait_for(client: Client, name: str) -> None:
    """Wait until the command of a container runs."""
    end = time.monotonic() + PATIENCE_S
    while state_of(client.store, name) is None:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_signals_reach_the_container(client: Client) -> None:
    ready = "trap 'echo got; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    with client.start("run", "--rm", "busybox", "sh", "-c", ready) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.communicate(timeout=PATIENCE_S)[0] == b"got\n"
        assert process.returncode == 5


def read_until(master: int, word: bytes) -> bytes:
    """What comes from a terminal, up to *word*."""
    text, end = b"", time.monotonic() + PATIENCE_S
    while word not in text:
        assert select.select([master], [], [], max(0.0, end - time.monotonic()))[0], text
        text += os.read(master, 1000)
    return text


def test_a_terminal_is_joined_and_has_ctrl_c(client: Client) -> None:
    pid, master = pty.fork()
    if not pid:
        script = "trap 'echo int; exit 4' INT; tty; echo ready; while :; do sleep 0.05; done"
        words = client.words("run", "--rm", "-it", "busybox", "sh", "-c", script)
        os.execve(client.program, words, client.environment())
    assert b"/dev/pts/0" in read_until(master, b"ready")
    os.write(master, b"\x03")
    read_until(master, b"int")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    os.close(master)


def test_the_size_of_a_window_follows_and_the_terminal_is_as_before(client: Client) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 33, 77, 0, 0))
    before = termios.tcgetattr(slave)
    script = "stty size; trap 'stty size; echo done; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen(
        ["setsid", "--ctty", *client.words("run", "--rm", "-it", "busybox", "sh", "-c", script)],
        env=client.environment(), stdin=slave, stdout=slave, stderr=slave,
    ) as process:  # fmt: skip
        assert b"33 77" in read_until(master, b"ready")
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 44, 88, 0, 0))
        assert b"44 88" in read_until(master, b"done")
        assert process.wait(PATIENCE_S) == 0
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)


def test_a_client_that_is_killed_leaves_the_container_as_a_killed_run_does(client: Client) -> None:
    with client.start("run", "--rm", "--name", "left", "busybox", "sleep", "1000") as process:
        wait_for(client, "left")
        before = stand_ins(client)
        process.kill()
        process.wait(PATIENCE_S)
        end = time.monotonic() + PATIENCE_S
        while stand_ins(client) >= before:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert state_of(client.store, "left") is not None
        client.store("rm", "-f", "left", check=True)


def stand_ins(client: Client) -> int:
    """How many forks of the resident process run a command line."""
    listed = (Path(f"/proc/{name}") for name in os.listdir("/proc") if name.isdecimal())
    return sum(_works(process, client) for process in listed)


def _works(process: Path, client: Client) -> bool:
    try:
        return b"warm.py" in (process / "cmdline").read_bytes() and str(client.resident) != process.name
    except OSError:
        return False  # it has ended


def test_exec_is_warm_too(client: Client) -> None:
    client.store("run", "-d", "--name", "idle", "busybox", "sleep", "1000", check=True)
    try:
        done = client("exec", "-i", "idle", "sh", "-c", "cat; exit 6", stdin="in")
        assert (done.stdout, done.returncode) == ("in", 6)
    finally:
        client.store("rm", "-f", "idle", check=True)


def test_containers_in_the_background_are_started_by_it_too(client: Client) -> None:
    done = client("run", "-d", "--name", "behind", "busybox", "sleep", "1000")
    assert done.returncode == 0
    described = json.loads(client.store("inspect", "behind", check=True).stdout)[0]
    assert described["Id"] == done.stdout.strip()
    assert described["State"]["Running"]
    client.store("rm", "-f", "behind", check=True)


def test_it_is_in_the_caller_s_cgroup_and_small(client: Client) -> None:
    client("run", "--rm", "busybox", "true")
    status = Path(f"/proc/{client.resident}/status").read_text()
    rss_kb = int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))
    assert rss_kb < 12_000
    with client.start("run", "--rm", "--name", "held", "busybox", "sleep", "1000") as process:
        wait_for(client, "held")
        ours = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        members = Path(f"{hierarchy.mount_point()}{ours[3:]}", "cgroup.procs").read_text().split()
        names = [Path(f"/proc/{member}/cmdline").read_bytes() for member in members if Path(f"/proc/{member}").exists()]
        assert any(b"warm.py" in name for name in names)
        process.terminate()
        client.store("rm", "-f", "held", check=True)
        process.communicate(timeout=PATIENCE_S)


def test_what_is_installed_anew_is_what_runs(client: Client) -> None:
    package = LAUNCHER.parents[2] / "minirun"
    assert client("run", "--rm", "busybox", "true").returncode == 0
    new = package / f"new-{os.getpid()}.tmp"
    new.touch()
    new.unlink()
    assert client("run", "--rm", "busybox", "true").returncode == COLD
    end = time.monotonic() + PATIENCE_S
    while client("run", "--rm", "busybox", "true").returncode == COLD:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert Path(f"/proc/{client.resident}").exists()


def test_a_resident_process_that_is_killed_takes_nothing_with_it(client: Client) -> None:
    """The last test: there is none after it."""
    script = "echo ready; sleep 0.5; exit 8"
    with client.start("run", "--rm", "busybox", "sh", "-c", script) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        os.kill(client.resident, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 8
    assert client("run", "--rm", "busybox", "true").returncode == COLD
    its = Minirun(client.socket.parent.with_name("root"), client.socket.parent)
    its("gc", check=True)
    assert not Path(supervision.path(str(its.runtime), "warm")).exists()
