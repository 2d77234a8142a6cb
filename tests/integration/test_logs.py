"""`logs`: what a container printed is shown as it printed it, and what it prints as it prints it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import PATIENCE, Minirun
from tests.running import running, state_of

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z"
JOURNALD = Path("/lib/systemd/systemd-journald")


def printed(minirun: Minirun, name: str, *command: str, flags: tuple[str, ...] = ()) -> None:
    """Have a container of that name print something, to its end."""
    minirun("rm", "-f", name)
    minirun("run", "-d", "--name", name, *flags, "busybox", *command, check=True)
    minirun("wait", name, check=True)


def files(minirun: Minirun, name: str) -> list[Path]:
    """The files of a container's log."""
    container_id = minirun("inspect", "-f", "{{.Id}}", name, check=True).stdout.strip()
    return sorted((minirun.root / "containers" / container_id / "log").iterdir())


def rest(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """What a process still writes of which a line was read: communicate() does not know what else came with that."""
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = process.stdout.read(), process.stderr.read()  # of the latter there is little
    process.wait(timeout=60)
    return out, err


def test_each_stream_goes_where_it_went(store: Minirun) -> None:
    printed(store, "both", "sh", "-c", "echo out; echo err >&2; printf rest")
    shown = store("logs", "both", check=True)
    assert (shown.stdout, shown.stderr) == ("out\nrest", "err\n")
    assert store("container", "logs", "both", check=True).stdout == shown.stdout


def test_bytes_come_back_as_they_were(store: Minirun) -> None:
    printed(store, "bytes", "sh", "-c", r"printf '\000\377\r\n\303\251\033[31m\342\200'")
    shown = store("logs", "bytes", check=True).stdout.encode("utf-8", "surrogateescape")
    # text mode of the test makes one newline of two characters
    assert shown.replace(b"\r\n", b"\n") == b"\0\xff\n\xc3\xa9\x1b[31m\xe2\x80"


def test_a_terminal_is_kept_as_it_was_shown(store: Minirun) -> None:
    printed(store, "tty", "sh", "-c", "echo out; echo err >&2; stty size", flags=("-t",))
    with store.start("logs", "tty") as process:
        out, err = process.communicate(timeout=60)
    assert out.startswith(b"out\r\nerr\r\n")
    assert err == b""


def test_the_last_lines_and_those_of_a_time(store: Minirun) -> None:
    printed(store, "lines", "sh", "-c", "seq 1 50; sleep 0.3; seq 51 100")
    assert store("logs", "-n", "3", "lines", check=True).stdout == "98\n99\n100\n"
    assert store("logs", "--tail=0", "lines", check=True).stdout == ""
    assert store("logs", "--tail", "all", "lines", check=True).stdout.split()[0] == "1"
    dated = store("logs", "-t", "lines", check=True).stdout.splitlines()
    assert all(re.fullmatch(rf"{TIME} \d+", line) for line in dated)
    when = next(line.split()[0] for line in dated if line.endswith(" 51"))
    assert store("logs", "--since", when, "lines", check=True).stdout.split()[0] == "51"
    before = store("logs", "--until", when, "lines", check=True).stdout.split()
    assert before[0] == "1"
    assert len(before) >= 50
    assert store("logs", "--until", "2020-01-01", "lines", check=True).stdout == ""
    assert store("logs", "--since", "1h", "-n", "1", "lines", check=True).stdout == "100\n"
    assert store("logs", "--since", "0s", "lines", check=True).stdout == ""


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("-n", "few"), "it is no number"),
        (("-n", "-7"), "it is no number"),
        (("--since", "yesterday"), "neither a length of time nor a date"),
        (("--until", "99999999999999999999"), "--until"),
    ],
)
def test_what_is_no_number_or_time_is_refused(store: Minirun, flags: tuple[str, ...], told: str) -> None:
    printed(store, "refused", "true")
    result = store("logs", *flags, "refused")
    assert result.returncode == 125
    assert told in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_container_is_refused(store: Minirun) -> None:
    result = store("logs", "nobody")
    assert (result.returncode, result.stdout) == (125, "")
    assert "no such container" in result.stderr


def test_details_are_the_labels_and_variables_that_were_chosen(store: Minirun) -> None:
    flags = ("-l", "a b=ü 1", "-l", "other=2", "-e", "STAGE=live", "--log-opt", "labels=a b", "--log-opt", "env=STAGE")
    printed(store, "details", "echo", "line", flags=flags)
    assert store("logs", "--details", "details", check=True).stdout == "STAGE=live,a+b=%C3%BC+1 line\n"
    assert json.loads(files(store, "details")[0].read_text())["attrs"] == {"a b": "ü 1", "STAGE": "live"}
    printed(store, "details", "echo", "line")
    assert store("logs", "--details", "details", check=True).stdout == " line\n"


def test_limits_of_the_log_hold(store: Minirun) -> None:
    printed(
        store, "limits", "seq", "1", "2000",
        flags=("--log-opt", "max-size=20k", "--log-opt", "max-file=3", "--log-opt", "compress=true"),
    )  # fmt: skip
    end = time.monotonic() + 20 * PATIENCE
    while any(path.name.endswith(".packing") for path in files(store, "limits")):
        assert time.monotonic() < end  # by a supervisor that waits for it before it ends
        time.sleep(0.01)
    kept = files(store, "limits")
    assert [path.suffix for path in kept] == [".log", ".gz", ".gz"]
    assert all(path.stat().st_size <= 20_000 for path in kept)
    shown = store("logs", "limits", check=True).stdout.split()
    assert shown == [str(number) for number in range(int(shown[0]), 2001)]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--log-driver", "syslog"), "there are json-file, none, journald"),
        (("--log-opt", "max-size=much"), "not a number of bytes"),
        (("--log-opt", "speed=1"), "has no option 'speed'"),
        (("--log-driver", "none", "--log-opt", "max-size=1m"), "the log driver none has no option"),
    ],
)
def test_a_log_that_there_cannot_be_is_refused(store: Minirun, flags: tuple[str, ...], told: str) -> None:
    result = store("run", *flags, "busybox", "true")
    assert result.returncode == 125
    assert told in result.stderr


def test_without_a_log_that_is_said(store: Minirun) -> None:
    printed(store, "none", "echo", "line", flags=("--log-driver", "none"))
    result = store("logs", "none")
    assert (result.returncode, result.stdout) == (125, "")
    assert "its log driver is none" in result.stderr
    store("rm", "-f", "front")
    store("run", "--name", "front", "busybox", "true", check=True)
    result = store("logs", "front")
    assert (result.returncode, result.stdout) == (125, "")
    assert "it was started in the foreground" in result.stderr
    with running(store, "fleeting", "sleep", "100", flags=("--rm",)):
        assert "it was started in the foreground" in store("logs", "fleeting").stderr


def test_of_a_container_that_was_only_created_nothing_is_shown(store: Minirun) -> None:
    store("create", "--name", "fresh", "busybox", "true", check=True)
    for flags in ((), ("-f",)):
        shown = store("logs", *flags, "fresh", check=True, timeout_s=20)
        assert (shown.stdout, shown.stderr) == ("", "")
    store("rm", "fresh", check=True)


def test_who_follows_sees_what_comes_and_ends_with_the_container(store: Minirun) -> None:
    store("rm", "-f", "going")
    script = "i=0; while [ $i -lt 20 ]; do echo $i; echo e$i >&2; i=$((i+1)); sleep 0.05; done"
    store("run", "-d", "--name", "going", "busybox", "sh", "-c", script, check=True)
    with store.start("logs", "-f", "going") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"0\n"
        assert store("ps", "-q", check=True).stdout, "it was shown while the container runs"
        out, err = rest(process)
    assert (process.returncode, out.split()) == (0, [b"%d" % number for number in range(1, 20)])
    assert err.split() == [b"e%d" % number for number in range(20)]


def test_a_slow_follower_gets_all_that_was_rotated_meanwhile(store: Minirun) -> None:
    store("rm", "-f", "slow")
    store(
        "run", "-d", "--name", "slow", "--log-opt", "max-size=50k", "--log-opt", "max-file=2", "busybox",
        "sh", "-c", "echo begin; sleep 1; seq 1 20000", check=True,
    )  # fmt: skip
    with store.start("logs", "-f", "slow") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begin\n"
        store("wait", "slow", check=True)
        time.sleep(0.2)
        out, err = rest(process)
    assert out.split() == [b"%d" % number for number in range(1, 20001)]
    assert err == b""


def test_who_follows_ends_when_nobody_reads_him(store: Minirun) -> None:
    store("rm", "-f", "unread")
    store("run", "-d", "--name", "unread", "busybox", "sh", "-c", "echo line; sleep 100", check=True)
    with store.start("logs", "-f", "unread") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        process.wait(timeout=30)
    store("rm", "-f", "unread", check=True)


def test_who_follows_ends_when_the_container_is_removed(store: Minirun) -> None:
    store("rm", "-f", "removed")
    store("run", "-d", "--name", "removed", "busybox", "sh", "-c", "echo line; sleep 100", check=True)
    with store.start("logs", "-f", "removed") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line\n"
        store("rm", "-f", "removed", check=True)
        out, _ = rest(process)
    assert (process.returncode, out) == (0, b"")


def test_a_second_start_adds_to_the_log(store: Minirun) -> None:
    printed(store, "twice", "sh", "-c", "echo started")
    store("start", "twice", check=True)
    store("wait", "twice", check=True)
    assert store("logs", "twice", check=True).stdout == "started\nstarted\n"


def supervisors(minirun: Minirun) -> Iterator[int]:
    """The processes that look after the containers of a store."""
    for directory in Path("/proc").iterdir():
        try:
            words = (directory / "cmdline").read_bytes()
            environment = (directory / "environ").read_bytes()
        except OSError:
            continue
        # a keeper has the supervisor's command among its words
        if (
            b"supervise.py" in words
            and not words.startswith(b"minirun-keeper")
            and f"MINIRUN_RUNTIME={minirun.runtime}".encode() in environment.split(b"\0")
        ):
            yield int(directory.name)


def test_whoever_takes_the_output_is_killed_again_and_again_and_nothing_is_lost(store: Minirun) -> None:
    store("rm", "-f", "killed")
    script = "sleep 0.2; (seq 1 60000 >&2) & seq 1 60000; wait"
    store("run", "-d", "--name", "killed", "--log-opt", "max-size=-1", "busybox", "sh", "-c", script, check=True)
    kills, end = 0, time.monotonic() + 5
    while state_of(store, "killed") and time.monotonic() < end:
        for pid in supervisors(store):
            try:
                os.kill(pid, signal.SIGKILL)
                kills += 1
            except ProcessLookupError:
                continue
    assert store("wait", "killed", check=True).stdout == "0\n"
    assert kills > 2
    shown = store("logs", "killed", check=True)
    expected = "".join(f"{number}\n" for number in range(1, 60001))
    assert (shown.stdout, shown.stderr) == (expected, expected)


@dataclass(frozen=True, slots=True)
class Journaled(Minirun):
    """minirun where there is a journal: in a mount namespace with a /run of its own."""

    pid: int

    def command(self, arguments: object) -> list[str]:
        """Return the words to execute."""
        words = Minirun.command(self, arguments)  # type: ignore[arg-type]  # as there
        return ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", *words]


@pytest.fixture
def journaled(store: Minirun) -> Iterator[Journaled]:
    """The store, and systemd's own journal, which keeps nothing."""
    if not JOURNALD.exists():
        pytest.skip(f"there is no {JOURNALD}")
    script = f"""
mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/systemd/journald.conf.d &&
printf '[Journal]\\nStorage=volatile\\nAudit=no\\nReadKMsg=no\\nRateLimitBurst=0\\n' \\
    > /run/systemd/journald.conf.d/test.conf &&
exec {JOURNALD}
"""
    command = ["unshare", "--mount", "--net", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        socket = Path(f"/proc/{process.pid}/root/run/systemd/journal/socket")
        end = time.monotonic() + 20 * PATIENCE
        while not socket.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)
        yield Journaled(store.root, store.runtime, process.pid)
        process.terminate()
        process.communicate(timeout=60)


def test_the_journal_gets_lines_with_dockers_fields_and_gives_them_back(journaled: Journaled) -> None:
    flags = ("--log-driver", "journald", "-l", "tier=front", "--log-opt", "labels=tier", "--log-opt", "tag=t/{{.Name}}")
    script = r"echo out; echo err >&2; printf '\377\n'; sleep 0.2; printf part"
    printed(journaled, "journal", "sh", "-c", script, flags=flags)
    container_id = journaled("inspect", "-f", "{{.Id}}", "journal", check=True).stdout.strip()
    shown = subprocess.run(
        [
            "nsenter", f"--mount=/proc/{journaled.pid}/ns/mnt", "journalctl", "-o", "json",
            f"CONTAINER_ID_FULL={container_id}",
        ],
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    messages = [json.loads(line) for line in shown.splitlines()]
    assert {(one["PRIORITY"], str(one["MESSAGE"]), one.get("CONTAINER_PARTIAL_MESSAGE")) for one in messages} == {
        ("6", "out", None), ("3", "err", None), ("6", "[255]", None), ("6", "part", "true")
    }  # fmt: skip
    for one in messages:
        assert one["CONTAINER_ID"] == container_id[:12]
        assert one["CONTAINER_NAME"] == "journal"
        assert one["CONTAINER_TAG"] == one["SYSLOG_IDENTIFIER"] == "t/journal"
        assert one["IMAGE_NAME"] == "busybox"
        assert one["TIER"] == "front"
    read = journaled("logs", "journal", check=True)
    assert (read.stdout, read.stderr) == ("out\n\udcff\npart", "err\n")
    assert journaled("logs", "-n", "1", "journal", check=True).stdout == "part"
    assert re.fullmatch(f"{TIME} part", journaled("logs", "-t", "-n", "1", "journal", check=True).stdout)
    assert journaled("logs", "--until", "2020-01-01", "journal", check=True).stdout == ""


def test_the_journal_is_followed_to_the_containers_end(journaled: Journaled) -> None:
    journaled("rm", "-f", "followed")
    script = "for i in 1 2 3 4 5; do echo $i; sleep 0.2; done"
    journaled("run", "-d", "--log-driver", "journald", "--name", "followed", "busybox", "sh", "-c", script, check=True)
    shown = journaled("logs", "-f", "followed", check=True, timeout_s=60)
    assert shown.stdout.split() == ["1", "2", "3", "4", "5"]
