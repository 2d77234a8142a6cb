"""What a group uses, beside what its processes say of themselves; with whatever controllers this host has."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirun.cgroup import group, hierarchy, pressure, usage
from minirun.cgroup.usage import Cpu

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="groups are made by root"),
    pytest.mark.usefixtures("leaves_nothing"),
]

MIB = 1 << 20
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def path() -> Iterator[Path]:
    """A group of this test's; those below it go with it."""
    path = Path(hierarchy.mount_point(), f"minirun-test-{os.urandom(8).hex()}")
    path.mkdir()
    yield path
    (path / "cgroup.kill").write_text("1")
    end = time.monotonic() + 60  # a thousand of them, in an emulated guest
    while "populated 1" in (path / "cgroup.events").read_text():
        assert time.monotonic() < end, f"{path} does not end"
        time.sleep(0.005)
    for directory, _, _ in os.walk(path, topdown=False):
        Path(directory).rmdir()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start Python with some code in a group; it has done that when its first line of output has come."""
    started = []

    def begin(path: Path, code: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", f"input()\n{code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(process)
        (path / "cgroup.procs").write_text(str(process.pid))
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe
            pipe.close()  # not read to its end: what the process has forked holds it, too


WAIT = "print('ready', flush=True); input()"


def test_processor_time_is_what_the_processes_had(path: Path, start: Start) -> None:
    before = usage.cpu(str(path))
    process = start(path, f"import time\nwhile time.process_time() < 0.4: pass\n{WAIT}")
    now = usage.cpu(str(path))
    times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    had_s = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    # what it had before it was put into the group is not the group's
    assert had_s - 0.2 < (now.usage_us - before.usage_us) / 1e6 < had_s + 0.02
    assert now.percent_since(before) == pytest.approx(
        (now.usage_us - before.usage_us) / ((now.at_ns - before.at_ns) / 1000) * 100
    )


@pytest.mark.parametrize(
    ("usage_us", "elapsed_ns", "percent"),
    [(500_000, 10**9, 50.0), (2_000_000, 10**9, 200.0), (0, 10**9, 0.0), (1000, 0, 0.0), (-5, 10**9, 0.0)],
)
def test_a_processor_is_a_hundred_per_cent(usage_us: int, elapsed_ns: int, percent: float) -> None:
    before = Cpu(7, 1_000_000, {})
    assert Cpu(7 + elapsed_ns, 1_000_000 + usage_us, {}).percent_since(before) == percent


def test_processes_and_threads_of_groups_below_are_counted(path: Path, start: Start) -> None:
    below = path / "own/deeper"
    below.mkdir(parents=True)
    threads = f"import threading\nfor _ in range(3): threading.Thread(target=input, daemon=True).start()\n{WAIT}"
    processes = [start(path, WAIT), start(below, threads)]
    assert group.processes(str(path)) == sorted(process.pid for process in processes)
    found = usage.read(str(path)).threads
    assert found == 5
    if (path / "pids.current").exists():
        assert found == int((path / "pids.current").read_text())


def test_more_processes_than_one_read_gives_are_all_there(path: Path, start: Start) -> None:
    code = f"import os, signal\nfor _ in range(999):\n  if not os.fork(): signal.pause()\n{WAIT}"
    start(path, code)
    assert len(group.processes(str(path))) == 1000
    assert usage.read(str(path)).threads == 1000


def test_processes_of_a_threaded_group_are_there_once(path: Path, start: Start) -> None:
    below = path / "threads"
    below.mkdir()
    (below / "cgroup.type").write_text("threaded")
    process = start(path, f"import threading\nthreading.Thread(target=input, daemon=True).start()\n{WAIT}")
    (below / "cgroup.threads").write_text(os.listdir(f"/proc/{process.pid}/task")[1])
    assert group.processes(str(path)) == [process.pid]
    assert usage.read(str(path)).threads == 2


def test_memory_is_what_the_processes_hold(path: Path, start: Start) -> None:
    little = usage.read(str(path)).memory_bytes
    process = start(path, f"held = bytearray(48 << 20)\nheld[::4096] = b'x' * len(held[::4096])\n{WAIT}")
    found = usage.read(str(path))
    assert little is not None
    assert found.memory_bytes is not None
    assert 48 * MIB <= found.memory_bytes - little < 72 * MIB
    if (path / "memory.current").exists():
        assert found.memory_source == "memory.current"
        assert found.oom_kills == 0
    else:
        rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        share = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        assert found.memory_source == "pss"
        assert found.memory_bytes == pytest.approx(share * 1024, rel=0.02)
        assert found.oom_kills is None


def test_what_no_controller_counts_is_unknown_and_not_nothing(path: Path, start: Start) -> None:
    start(path, WAIT)
    found = usage.read(str(path))
    assert (found.disk_bytes is None) == (not (path / "io.stat").exists())
    assert (found.oom_kills is None) == (not (path / "memory.events").exists())
    assert bool(found.cpu.throttled) == ("nr_throttled" in (path / "cpu.stat").read_text())


def test_pressure_grows_while_tasks_wait_for_a_processor(path: Path, start: Start) -> None:
    if not (path / "cpu.pressure").exists():
        assert pressure.read(str(path)) == {}
        pytest.skip("this kernel has no PSI")
    before = pressure.read(str(path))
    assert set(before) == {"cpu", "memory", "io"}
    assert before["memory"]["full"] == {"avg10": 0, "avg60": 0, "avg300": 0, "total": 0}
    for _ in range((os.cpu_count() or 1) + 2):
        start(path, "print('ready', flush=True)\nwhile True: pass")
    time.sleep(0.5)
    after = pressure.read(str(path))
    told = (path / "cpu.pressure").read_text().split()
    assert 10_000 < after["cpu"]["some"]["total"] <= int(told[4].removeprefix("total="))
    assert after["memory"]["full"]["total"] >= 0


def test_a_group_that_is_gone_says_so(path: Path) -> None:
    gone = str(path / "never")
    for read in (usage.read, usage.cpu):
        with pytest.raises(FileNotFoundError):
            read(gone)
    assert group.processes(gone) == []
    assert pressure.read(gone) == {}
