"""Limits are read as Docker reads them, and become the kernel's files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from minirun.cgroup import cpu, limits
from minirun.cgroup.amount import parse_bytes, parse_whole, show_bytes
from minirun.container import options
from minirun.errors import BadInput, MinirunError, Unsupported

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LAST = (os.cpu_count() or 1) - 1


def files(**flags: Any) -> list[tuple[str, str]]:
    """The control files of flags as they were typed, by name with _ for -."""
    read = limits.read({name.replace("_", "-"): value for name, value in flags.items()})
    return [(name, text) for _, name, text in limits.settings(read)]


def refusal(kind: type[MinirunError] = BadInput, **flags: Any) -> str:
    with pytest.raises(kind) as caught:
        files(**flags)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("6m", 6 * MIB), ("512m", 512 * MIB), ("512M", 512 * MIB), ("512mb", 512 * MIB), ("512MiB", 512 * MIB),
     ("1g", GIB), ("1.5g", 1536 * MIB), ("10240k", 10 * MIB), ("6291456", 6 * MIB), ("6291456b", 6 * MIB),
     ("1t", MIB * MIB), (" 8m ", 8 * MIB), ("1p", GIB * MIB)],
)  # fmt: skip
def test_an_amount_of_memory_is_read(text: str, amount: int) -> None:
    assert parse_bytes("--memory", text) == amount


@pytest.mark.parametrize(
    "text",
    ["", "m", "x", "-8m", "8x", "8mm", "nan", "inf", "0x800000", "8 m m", "\u0663m", "0", "1e400", "8192p", "-1"],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--memory"):
        parse_bytes("--memory", text)


def test_an_amount_is_shown_as_it_would_be_typed() -> None:
    for text in ("1b", "6m", "1025k", "3g", "7t"):
        assert show_bytes(parse_bytes("-m", text)) == text


@pytest.mark.parametrize("text", ["", "-", "x", "1.5", "9", "21", "1e1", "\u0661\u0662", "+12", " 12", "9" * 30])
def test_what_is_no_whole_number_within_bounds_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="from 10 to 20"):
        parse_whole("--n", text, 10, 20)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, []),
        ({"memory": "64m"}, [("memory.max", str(64 * MIB)), ("memory.swap.max", str(64 * MIB))]),
        ({"memory": "64m", "memory_swap": "64m"}, [("memory.max", str(64 * MIB)), ("memory.swap.max", "0")]),
        ({"memory": "64m", "memory_swap": "80m"}, [("memory.max", str(64 * MIB)), ("memory.swap.max", str(16 * MIB))]),
        ({"memory": "64m", "memory_swap": "-1"}, [("memory.max", str(64 * MIB)), ("memory.swap.max", "max")]),
        ({"memory": "64m", "memory_swappiness": "0"}, [("memory.max", str(64 * MIB)), ("memory.swap.max", "0")]),
        ({"memory_swappiness": "0"}, [("memory.swap.max", "0")]),
        ({"memory_swappiness": "-1"}, []),
        ({"memory_reservation": "32m"}, [("memory.low", str(32 * MIB))]),
        ({"oom_kill_disable": False}, []),
        ({"cpus": "0.5"}, [("cpu.max", "50000 100000")]),
        ({"cpu_quota": "20000", "cpu_period": "50000"}, [("cpu.max", "20000 50000")]),
        ({"cpu_quota": "-1"}, [("cpu.max", "max 100000")]),
        ({"cpu_period": "50000"}, [("cpu.max", "max 50000")]),
        ({"cpu_shares": "1024"}, [("cpu.weight", "39")]),
        ({"pids_limit": "7"}, [("pids.max", "7")]),
        ({"pids_limit": "-1"}, [("pids.max", "max")]),
        ({"pids_limit": "0"}, [("pids.max", "max")]),
        ({"cpuset_cpus": f"0-{LAST}", "cpuset_mems": "0"}, [("cpuset.cpus", f"0-{LAST}"), ("cpuset.mems", "0")]),
        ({"blkio_weight": "10"}, [("io.bfq.weight", "10"), ("io.weight", "default 1")]),
        ({"blkio_weight": "1000"}, [("io.bfq.weight", "1000"), ("io.weight", "default 10000")]),
        ({"cgroup_conf": ["memory.high=8m", "cpu.idle=1"]}, [("memory.high", str(8 * MIB)), ("cpu.idle", "1")]),
        ({"cgroup_conf": ["memory.high=max"]}, [("memory.high", "max")]),
        ({"cgroup_conf": ["cgroup.max.depth=3"]}, [("cgroup.max.depth", "3")]),
        (
            {"pids_limit": "7", "cgroup_conf": ["pids.max=9", "pids.max=8"]},
            [("pids.max", "7"), ("pids.max", "8")],
        ),
    ],
)
def test_flags_become_control_files(flags: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert files(**flags) == expected


def test_shares_become_weights_by_the_published_conversion() -> None:
    """Values of runc's and Kubernetes' own tests of it (KEP-2254)."""
    assert [cpu.weight(shares) for shares in (2, 1024, 262144, 102, 512)] == [1, 39, 10000, 4, 20]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"memory": "5m"}, "less than 6m"),
        ({"memory": "0"}, "less than 6m"),
        ({"memory": "-1"}, "not a number of bytes"),
        ({"memory_reservation": "1k"}, "less than 6m"),
        ({"memory": "8m", "memory_reservation": "9m"}, "more than --memory, 8m"),
        ({"memory_swap": "64m"}, "says nothing without --memory"),
        ({"memory_swap": "-1"}, "says nothing without --memory"),
        ({"memory": "64m", "memory_swap": "32m"}, "--memory is 64m"),
        ({"memory": "64m", "memory_swap": "0"}, "less than 6m"),
        ({"memory": "64m", "memory_swap": "-2"}, "not a number of bytes"),
        ({"memory_swappiness": "101"}, "from -1 to 100"),
        ({"memory": "8m", "memory_swap": "9m", "memory_swappiness": "0"}, "gives the container swap"),
        ({"cpus": "0"}, "from 0.01 to"),
        ({"cpus": "-1"}, "from 0.01 to"),
        ({"cpus": "nan"}, "from 0.01 to"),
        ({"cpus": "x"}, "from 0.01 to"),
        ({"cpus": str(LAST + 2)}, f"from 0.01 to {LAST + 1}"),
        ({"cpu_quota": "50000"}, "it has no --cpu-period"),
        ({"cpu_quota": "999", "cpu_period": "100000"}, "from 1000 to"),
        ({"cpu_quota": "0", "cpu_period": "100000"}, "from 1000 to"),
        ({"cpu_quota": "-2", "cpu_period": "100000"}, "from 1000 to"),
        ({"cpu_period": "999"}, "from 1000 to 1000000"),
        ({"cpu_period": "1000001"}, "from 1000 to 1000000"),
        ({"cpus": "1", "cpu_quota": "50000", "cpu_period": "100000"}, "--cpus sets quota and period"),
        ({"cpus": "1", "cpu_period": "100000"}, "--cpus sets quota and period"),
        ({"cpu_shares": "0"}, "from 2 to 262144"),
        ({"cpu_shares": "262145"}, "from 2 to 262144"),
        ({"pids_limit": "-2"}, "from 1 to"),
        ({"pids_limit": "1.5"}, "from 1 to"),
        ({"pids_limit": "4194305"}, "from 1 to 4194304"),
        ({"cpuset_mems": "63"}, "and no 63"),
        ({"blkio_weight": "9"}, "from 10 to 1000"),
        ({"blkio_weight": "1001"}, "from 10 to 1000"),
        ({"device_read_bps": ["/dev/null:1m"]}, "not a block device"),
        ({"device_write_bps": ["/no/such:1m"]}, "ENOENT"),
        ({"device_write_bps": ["/dev/null"]}, "not DEVICE:RATE"),
        ({"device_write_iops": ["sda:5"]}, "not DEVICE:RATE"),
        ({"cgroup_conf": ["memory.high"]}, "not KEY=VALUE"),
        ({"cgroup_conf": ["memory.high="]}, "not KEY=VALUE"),
        ({"cgroup_conf": ["=1"]}, "no control file"),
        ({"cgroup_conf": ["high=1"]}, "no control file"),
        ({"cgroup_conf": ["../memory.high=1"]}, "no control file"),
        ({"cgroup_conf": ["a/memory.high=1"]}, "no control file"),
        ({"cgroup_conf": ["cgroup.procs=1"]}, "minirun itself works by cgroup.procs"),
        ({"cgroup_conf": ["cgroup.kill=1"]}, "minirun itself works by cgroup.kill"),
        ({"cgroup_conf": ["memory.high=lots"]}, "not a number of bytes"),
        ({"cgroup_conf": ["memory.high=1\n2"]}, "not KEY=VALUE"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_flag_and_the_reason(flags: dict[str, Any], told: str) -> None:
    text = refusal(**flags)
    assert told in text
    assert any(f"--{name.replace('_', '-')}" in text for name in flags)


@pytest.mark.parametrize(
    "text", ["", "0,", "-", "0-", "1-0", "x", "0-x", "\u0660", "0 1", "0\n", f"{LAST + 1}", "0-99999"]
)
def test_what_is_no_list_of_processors_of_this_host_is_refused(text: str) -> None:
    assert "--cpuset-cpus" in refusal(cpuset_cpus=text)


def test_what_cgroup_v2_cannot_do_is_refused_with_the_reason() -> None:
    assert "no switch for the OOM killer" in refusal(Unsupported, oom_kill_disable=True)
    assert "no swappiness of a group's own" in refusal(Unsupported, memory_swappiness="60")


def test_a_disk_is_limited_by_its_number_and_a_partition_is_not() -> None:
    disks = [name for name in os.listdir("/sys/block") if not name.startswith(("loop", "ram"))]
    devices = [Path("/dev", name) for name in disks if Path("/dev", name).is_block_device()]
    if not devices:
        pytest.skip("this host has no disk of its own")
    number = Path("/sys/block", devices[0].name, "dev").read_text().strip()
    assert files(device_read_bps=[f"{devices[0]}:1mb"], device_write_iops=[f"{devices[0]}:7"]) == [
        ("io.max", f"{number} rbps={MIB}"),
        ("io.max", f"{number} wiops=7"),
    ]
    for part in Path("/dev").iterdir():
        if Path("/sys/class/block", part.name, "partition").exists():
            assert "the kernel limits whole disks" in refusal(device_read_bps=[f"{part}:1mb"])


def test_a_limit_names_the_controllers_that_it_needs_and_their_flags() -> None:
    read = limits.read({"memory": "8m", "cpus": "1", "cgroup-conf": ["memory.high=7m", "io.latency=1"]})
    assert limits.needed(read) == {"memory": "memory", "cpu": "cpus", "io": "cgroup-conf"}
    assert limits.needed(limits.read({"pids-limit": "-1", "cgroup-conf": ["cgroup.max.depth=1"]})) == {}


def test_every_flag_of_a_controller_is_known_where_flags_are_read() -> None:
    assert frozenset(limits.FLAGS) == options.LIMITS
