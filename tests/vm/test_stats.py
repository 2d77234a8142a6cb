"""The figures of `stats` are the kernel's, where every controller is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import Minirun
from tests.vm.box import READY, TREE, Box
from tests.vm.conftest import Disk

MIB = 1 << 20
Start = Callable[..., Box]


def measured(store: Minirun, box: Box) -> Any:
    """What `stats` says of a container, in JSON."""
    return json.loads(store("stats", "--no-stream", "--format", "json", box.id, check=True).stdout)


def test_memory_is_what_is_charged_without_the_cache_that_could_go(store: Minirun, start: Start, disk: Disk) -> None:
    (disk.point / "file").write_bytes(bytes(24 * MIB))
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3")
    # dd's buffer is the container's own memory, the file that is read its cache; sleep never reads the pipe
    hold = f"cat /disk/file >/dev/null; {READY} dd if=/dev/zero bs=16M count=1 2>/dev/null | sleep 1000"
    box = start("--memory", "96m", "-v", f"{disk.point}:/disk", "busybox", "sh", "-c", hold)
    while (found := measured(store, box))["MemUsageBytes"] < 16 * MIB:
        pass
    charged, cache = int(box.read("memory.current")), box.count("memory.stat", "inactive_file")
    assert cache > 20 * MIB
    assert found["MemUsageBytes"] == pytest.approx(charged - cache, abs=MIB)
    assert (found["MemSource"], found["MemLimitBytes"]) == ("memory.current", 96 * MIB)
    assert found["MemUsage"].endswith("MiB / 96MiB")
    assert float(found["MemPerc"][:-1]) == pytest.approx(found["MemUsageBytes"] / (96 * MIB) * 100, abs=0.006)
    assert found["OOMKills"] == 0


def test_the_limit_is_the_lowest_up_to_the_root(store: Minirun, start: Start) -> None:
    box = start("--memory", "96m", "busybox", "sh", "-c", f"{READY} sleep 1000")
    above = box.group.parent / "memory.max"
    assert above.is_relative_to(TREE)
    above.write_text(str(48 * MIB))
    try:
        assert measured(store, box)["MemLimitBytes"] == 48 * MIB
    finally:
        above.write_text("max")
    assert measured(store, box)["MemLimitBytes"] == 96 * MIB


def test_a_limit_above_the_hosts_memory_is_none(store: Minirun, start: Start) -> None:
    box = start("--memory", "64g", "busybox", "sh", "-c", f"{READY} sleep 1000")
    host = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert measured(store, box)["MemLimitBytes"] == host


def test_processes_that_the_oom_killer_took_are_counted(store: Minirun, start: Start) -> None:
    # tail keeps a line until it has ended, and this one has no end; the shell goes on
    greedy = "tail /dev/zero"
    box = start("--memory", "24m", "busybox", "sh", "-c", f"{greedy}; {greedy}; {READY} sleep 1000")
    assert measured(store, box)["OOMKills"] == box.count("memory.events", "oom_kill") == 2


def test_processes_and_threads_are_those_of_the_controller(store: Minirun, start: Start) -> None:
    box = start("--pids-limit", "50", "busybox", "sh", "-c", f"sleep 1000 & sleep 1000 & {READY} wait")
    found = measured(store, box)
    assert found["PIDs"] == box.read("pids.current") == "3"
    assert found["PIDsCurrent"] == 3


def test_the_disk_is_what_went_to_devices(store: Minirun, start: Start, disk: Disk) -> None:
    write = "dd if=/dev/zero of=/disk/file bs=1M count=8 conv=fsync 2>/dev/null"
    box = start(
        "--device-write-bps", f"{disk.device}:1gb", "-v", f"{disk.point}:/disk", "busybox", "sh", "-c",
        f"{write}; {READY} sleep 1000",
    )  # fmt: skip
    found = measured(store, box)
    told = [dict(word.split("=") for word in line.split()[1:]) for line in box.read("io.stat").splitlines()]
    assert found["BlockReadBytes"] == sum(int(one["rbytes"]) for one in told)
    assert found["BlockWriteBytes"] == sum(int(one["wbytes"]) for one in told)
    assert 8 * MIB <= found["BlockWriteBytes"] < 12 * MIB
    assert found["BlockIO"].split(" / ")[1].endswith("MB")


def test_how_long_a_limit_stopped_it_and_tasks_waited_is_the_kernels(store: Minirun, start: Start) -> None:
    box = start("--cpus", "0.2", "busybox", "sh", "-c", f"{READY} while :; do :; done")

    def counters() -> dict[str, int]:
        waited = int(box.read("cpu.pressure").split()[4].removeprefix("total="))
        return {
            "waited": waited,
            **{key: box.count("cpu.stat", key) for key in ("usage_usec", "nr_throttled", "throttled_usec")},
        }

    before = counters()
    found = measured(store, box)
    after = counters()
    shown = {
        "waited": found["Pressure"]["cpu"]["some"]["total"],
        "usage_usec": found["CPUUsageUsec"],
        **{key: found["CPUThrottled"][key] for key in ("nr_throttled", "throttled_usec")},
    }
    for key, number in shown.items():
        assert before[key] < number <= after[key], key
    assert 12 < float(found["CPUPerc"][:-1]) < 28


def test_a_container_without_limits_has_all_figures(store: Minirun, start: Start) -> None:
    box = start("busybox", "sh", "-c", f"{READY} sleep 1000")
    found = measured(store, box)
    assert found["PIDs"] == "1"
    assert 0 < found["MemUsageBytes"] < 16 * MIB
    assert set(found["Pressure"]) == {"cpu", "memory", "io"}
    # the processes' shares where nobody asked for the controller: it costs every page that is touched
    assert found["MemSource"] == ("memory.current" if (box.group / "memory.current").exists() else "pss")
