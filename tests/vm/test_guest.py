"""The guest is what the other tests take it for, and minirun works in it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.command import Minirun
from tests.vm.box import READY, TREE, Box


def test_the_guest_has_the_kernel_that_was_asked_for(guest: str) -> None:
    assert os.uname().release.startswith(f"{guest}.")


def test_every_controller_is_in_one_pure_hierarchy() -> None:
    mounted = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup" in line]
    assert mounted == [[str(TREE), "cgroup2"]]
    assert {"cpu", "cpuset", "io", "memory", "pids"} <= set((TREE / "cgroup.controllers").read_text().split())


def test_a_container_runs_and_is_gone(store: Minirun) -> None:
    assert store("run", "--rm", "busybox", "echo", "hello", check=True).stdout == "hello\n"
    assert store("ps", "-a", "-q", check=True).stdout == ""


def test_limits_are_in_the_control_files(start: Callable[..., Box]) -> None:
    box = start(
        "--memory", "64m", "--memory-reservation", "32m", "--memory-swap", "96m", "--cpu-period", "50000",
        "--cpu-quota", "10000", "--cpu-shares", "1024", "--cpuset-cpus", "0", "--cpuset-mems", "0",
        "--pids-limit", "20", "--cgroup-conf", "memory.high=48m", "busybox", "sh", "-c", f"{READY} sleep 1000",
    )  # fmt: skip
    expected = {
        "memory.max": str(64 << 20),
        "memory.low": str(32 << 20),
        "memory.high": str(48 << 20),
        "memory.swap.max": str(32 << 20),
        "cpu.max": "10000 50000",
        "cpu.weight": "39",
        "cpuset.cpus": "0",
        "cpuset.mems": "0",
        "pids.max": "20",
    }
    assert {name: box.read(name) for name in expected} == expected
