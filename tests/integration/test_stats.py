"""`stats`: its figures beside the kernel's, with the controllers that this host has, or without; and its frames."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minirun.container.state import State
from tests.command import Minirun
from tests.running import PATIENCE_S, running, state_of

MIB = 1 << 20
TITLES = ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"]
BUSY = ("sh", "-c", "while :; do :; done")
# dd has filled its buffer when sleep, which never reads, has started; the pipe takes 64 KiB of it
HOLD = ("sh", "-c", "dd if=/dev/zero bs=48M count=1 2>/dev/null | sleep 1000")


@pytest.fixture
def idle(store: Minirun) -> Iterator[State]:
    """A container that does nothing."""
    with running(store, "idle", "sleep", "1000") as now:
        yield now


@pytest.fixture
def still(store: Minirun) -> Iterator[str]:
    """The id of a container that never ran."""
    yield store("create", "--name", "still", "busybox", "true", check=True).stdout.strip()
    store("rm", "-f", "still")


def measured(store: Minirun, *names: str) -> Any:
    """What `stats` says of one container in JSON."""
    (line,) = store("stats", "--no-stream", "--format", "json", *names, check=True).stdout.splitlines()
    return json.loads(line)


def spent_us(now: State) -> int:
    """Processor time of a container, of the kernel."""
    text = Path(now.cgroup, "cpu.stat").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("usage_usec "))


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


# figures


def test_stats_has_dockers_columns_and_units(store: Minirun, idle: State) -> None:
    title, line = store("stats", "--no-stream", check=True).stdout.splitlines()
    assert cells(title) == TITLES
    identity, name, cpu, memory, share, net, block, pids = cells(line)
    assert re.fullmatch("[0-9a-f]{12}", identity)
    assert (name, net, pids) == ("idle", "0B / 0B", "1")
    assert re.fullmatch(r"\d\.\d\d%", cpu)
    assert re.fullmatch(r"[\d.]{1,5}(KiB|MiB) / [\d.]{1,5}(GiB|MiB)", memory)
    assert re.fullmatch(r"\d\.\d\d%", share)
    assert re.fullmatch(r"--|[\d.]+k?M?B / [\d.]+k?M?B", block)
    assert (block == "--") == (not Path(idle.cgroup, "io.stat").exists())
    whole = store("container", "stats", "--no-stream", "--no-trunc", check=True).stdout.splitlines()[1]
    assert re.match(f"{identity}[0-9a-f]{{52}} ", whole)


def test_json_has_dockers_keys_as_text_and_ours_as_numbers(store: Minirun, idle: State) -> None:
    found = measured(store, "idle")
    docker = ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"]
    assert all(isinstance(found[key], str) for key in docker)
    assert (found["Container"], found["PIDs"], found["PIDsCurrent"]) == ("idle", "1", 1)
    waits = {name.partition(".")[0] for name in os.listdir(idle.cgroup) if name.endswith(".pressure")} - {"cgroup"}
    assert set(found["Pressure"]) == waits - {"irq"}
    for told in found["Pressure"].values():
        assert all(set(told[kind]) == {"avg10", "avg60", "avg300", "total"} for kind in ("some", "full"))
    controlled = Path(idle.cgroup, "memory.events").exists()
    assert found["OOMKills"] == (0 if controlled else None)
    assert (found["BlockReadBytes"] is None) == (not Path(idle.cgroup, "io.stat").exists())


def test_processor_time_is_what_the_kernel_counts(store: Minirun) -> None:
    with running(store, "busy", *BUSY) as now:
        # how much a loop gets depends on who else works here; what it got while we looked does not
        before_us, began = spent_us(now), time.monotonic()
        found = measured(store, "busy")
        after_us, ended = spent_us(now), time.monotonic()
    assert before_us < found["CPUUsageUsec"] <= after_us
    percent = float(found["CPUPerc"].removesuffix("%"))
    assert 1 < percent < 105
    assert ended - began > 1
    assert percent / 100 * 0.9e6 < after_us - before_us


def test_memory_is_what_the_processes_hold(store: Minirun) -> None:
    with running(store, "holder", *HOLD, count=3) as now:
        # the kernel gives dd its pages while we look
        end = time.monotonic() + PATIENCE_S
        while (found := measured(store, "holder"))["MemUsageBytes"] < 48 * MIB and time.monotonic() < end:
            pass
        controlled = Path(now.cgroup, "memory.current").exists()
    assert 48 * MIB <= found["MemUsageBytes"] < 80 * MIB
    assert found["MemSource"] == ("memory.current" if controlled else "pss")
    assert re.fullmatch(r"\d\d(\.\d{1,2})?MiB / [\d.]+(GiB|MiB)", found["MemUsage"])
    host = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0 < found["MemLimitBytes"] <= host
    if not controlled:
        assert found["MemLimitBytes"] == host
    assert float(found["MemPerc"][:-1]) == pytest.approx(
        found["MemUsageBytes"] / found["MemLimitBytes"] * 100, abs=0.006
    )


def test_threads_of_groups_that_a_container_made_are_counted(store: Minirun) -> None:
    with running(store, "nested", "sh", "-c", "sleep 1000 & sleep 1000 & wait", count=3) as now:
        below = Path(now.cgroup, "own/deeper")
        below.mkdir(parents=True)
        (below / "cgroup.procs").write_text(Path(now.cgroup, "cgroup.procs").read_text().split()[-1])
        assert measured(store, "nested")["PIDs"] == "3"


def test_the_network_is_the_containers_own(store: Minirun, idle: State) -> None:
    inside = ["nsenter", "--net", "--target", str(idle.pid)]
    made = subprocess.run(
        [*inside, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no veth here: {made.stderr.decode()}")
    for link in ("v0", "v1"):
        subprocess.run([*inside, "ip", "link", "set", link, "up"], check=True)
    end = time.monotonic() + PATIENCE_S
    # IPv6 says hello on a new link
    while not (found := measured(store, "idle"))["NetReceivedBytes"]:
        assert time.monotonic() < end, "nothing came through the link"
    table = [line.split() for line in Path(f"/proc/{idle.pid}/net/dev").read_text().splitlines()]
    counted = [line for line in table if line[0] in ("v0:", "v1:")]
    assert 0 < found["NetReceivedBytes"] <= sum(int(line[1]) for line in counted)
    assert 0 < found["NetSentBytes"] <= sum(int(line[9]) for line in counted)
    assert found["NetIO"] != "0B / 0B"


def test_the_hosts_network_is_not_the_containers(store: Minirun) -> None:
    with running(store, "hosted", "sleep", "1000", flags=["--network", "host"]):
        assert measured(store, "hosted")["NetIO"] == "0B / 0B"


# who is shown


def test_what_does_not_run_is_there_when_it_is_asked_for_and_has_zeros(store: Minirun, idle: State, still: str) -> None:
    names = ["stats", "--no-stream", "--format", "{{.Name}}"]
    assert store(*names, check=True).stdout == "idle\n"
    assert store(*names, "--all", check=True).stdout == "still\nidle\n"
    line = store("stats", "--no-stream", "still", check=True).stdout.splitlines()[1]
    assert cells(line) == [still[:12], "still", "0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"]
    form = "table {{.Container}}\t{{.OOMKills}}\t{{.CPUThrottled.nr_throttled}}\t{{.Pressure.io.full.total}}"
    lines = store("stats", "--no-stream", "--format", form, still[:5], check=True).stdout.splitlines()
    assert [cells(line) for line in lines] == [
        ["CONTAINER", "OOM KILLS", "NR THROTTLED", "IO FULL TOTAL"], [still[:5], "0", "0", "0"],
    ]  # fmt: skip


def test_a_name_or_a_format_that_means_nothing_is_refused(store: Minirun, idle: State) -> None:
    for arguments, reason in (
        (["nothing"], "no such container"),
        (["idle", "nothing"], "no such container"),
        (["--format", "{{.Nome}}"], "there is no field 'Nome'"),
        (["--format", "{{.Name"], "{{ is not closed"),
    ):
        result = store("stats", *arguments)
        assert (result.returncode, result.stdout) == (125, ""), arguments
        assert reason in result.stderr


# frames


class Lines:
    """What a streaming `stats` prints, line by line as it comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self.descriptor = process.stdout.fileno()
        self.text = b""

    def next(self) -> str:
        """The next line; a stream that stays silent fails the test, one that has ended gives nothing."""
        while b"\n" not in self.text:
            assert select.select([self.descriptor], [], [], PATIENCE_S)[0], "no line comes"
            chunk = os.read(self.descriptor, 65536)
            if not chunk:
                return ""
            self.text += chunk
        line, _, self.text = self.text.partition(b"\n")
        return line.decode()


def test_who_starts_comes_in_and_who_ends_drops_out(store: Minirun, idle: State) -> None:
    with store.start("stats", "--format", "{{.Name}} {{.PIDs}}") as process:
        try:
            lines = Lines(process)
            assert lines.next() == "idle 1"
            with running(store, "guest", "sleep", "1000"):
                while lines.next() != "guest 1":
                    pass
                assert process.poll() is None
            while (line := lines.next()) != "idle 1" or lines.next() != "idle 1":
                assert line in ("idle 1", "guest 1")
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (130, b"")


def test_frames_come_a_second_apart_and_each_is_of_its_own_second(store: Minirun) -> None:
    with running(store, "busy", *BUSY) as now, store.start("stats", "--format", "json", "busy") as process:
        lines = Lines(process)
        frames = [json.loads(lines.next())]
        began_us, began = spent_us(now), time.monotonic()
        frames += [json.loads(lines.next()) for _ in range(3)]
        took_s, had_us = time.monotonic() - began, spent_us(now) - began_us
        process.kill()
        process.communicate()
    assert 2 < took_s < 10
    # the three seconds of the frames are those that we saw go by
    shown_s = sum(float(frame["CPUPerc"][:-1]) for frame in frames[1:]) / 100
    assert shown_s * took_s / 3 == pytest.approx(had_us / 1e6, rel=0.3)
    assert [frame["CPUUsageUsec"] for frame in frames] == sorted({frame["CPUUsageUsec"] for frame in frames})


def test_one_that_was_named_stays_when_it_ends_and_the_command_goes_with_it(store: Minirun) -> None:
    with (
        running(store, "named", "sleep", "1000") as now,
        store.start("stats", "--format", "{{.Name}} {{.PIDs}}", "named") as process,
    ):
        lines = Lines(process)
        assert lines.next() == "named 1"
        os.kill(now.pid, signal.SIGKILL)
        while (line := lines.next()) != "named 0":
            assert line == "named 1"
        assert state_of(store, "named") is None
        store("rm", "named", check=True)
        while line := lines.next():
            assert line == "named 0"
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr
        assert process.stderr.read() == b""


def test_it_ends_without_a_word_when_nobody_reads_it_any_more(store: Minirun, idle: State) -> None:
    with store.start("stats") as process:
        assert Lines(process).next().startswith("CONTAINER ID")
        assert process.stdout
        process.stdout.close()
        assert process.wait(PATIENCE_S) == 141
        assert process.stderr
        assert process.stderr.read() == b""


def test_a_terminal_is_drawn_over_and_ctrl_c_ends_it(store: Minirun, idle: State) -> None:
    pid, master = pty.fork()
    if pid == 0:  # the controlling terminal makes a signal of ^C
        os.execve(store.command([])[0], store.command(["stats"]), {**store.environment(), "TERM": "xterm"})
    seen = b""
    while seen.count(b"\x1b[J") < 4:
        assert select.select([master], [], [], PATIENCE_S)[0], seen
        seen += os.read(master, 65536)
    os.write(master, b"\x03")
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    while select.select([master], [], [], 0.1)[0]:
        try:
            seen += os.read(master, 65536)
        except OSError:
            break  # EIO: nobody has it open any more
    os.close(master)
    assert status == 130
    first, second, *_ = seen.split(b"\x1b[J")
    # the titles at once, the figures when there are some
    assert first.startswith(b"\x1b[?7l\x1b[HCONTAINER ID   NAME ")
    assert b"idle" not in first
    assert re.fullmatch(
        rb"\x1b\[\?7h\x1b\[\?7l\x1b\[HCONTAINER ID [^\n]*\x1b\[K\r\n[0-9a-f]{12}   idle [^\n]*\x1b\[K\r\n", second
    )
    assert seen.endswith(b"\x1b[J\x1b[?7h^C")


def test_what_cannot_be_read_is_told_below_what_is_drawn(store: Minirun, idle: State, still: str) -> None:
    record = store.root / f"containers/{still}/container.json"
    whole = record.read_text()
    record.write_text("{")
    pid, master = pty.fork()
    if pid == 0:
        os.execve(store.command([])[0], store.command(["stats"]), {**store.environment(), "COLUMNS": "80"})
    seen = b""
    while seen.count(b"\x1b[J") < 3:
        assert select.select([master], [], [], PATIENCE_S)[0], seen
        seen += os.read(master, 65536)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(master)
    record.write_text(whole)
    for page in seen.split(b"\x1b[J")[1:3]:
        rows = page.decode().splitlines()
        assert "idle" in rows[1]
        assert rows[2].startswith(f"minirun: cannot read container {still[:12]}: ")


def test_rows_that_do_not_fit_on_a_terminal_are_counted(store: Minirun, idle: State, still: str) -> None:
    pid, master = pty.fork()
    if pid == 0:
        environment = {**store.environment(), "LINES": "3", "COLUMNS": "80"}
        os.execve(store.command([])[0], store.command(["stats", "-a"]), environment)
    seen = b""
    while seen.count(b"\x1b[J") < 2:
        assert select.select([master], [], [], PATIENCE_S)[0], seen
        seen += os.read(master, 65536)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(master)
    assert "… and 2 more\x1b[K".encode() in seen
