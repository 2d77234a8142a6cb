"""Limits are read as Docker reads them, and become the kernel's files."""

from __future__ import annotations

import os

import pytest

from minirun.cgroup.limits import Limits, parse_bytes, parse_cpus, parse_cpuset, parse_pids
from minirun.errors import BadInput

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "amount"),
    [("6m", 6 * MIB), ("512m", 512 * MIB), ("512M", 512 * MIB), ("512mb", 512 * MIB), ("512MiB", 512 * MIB),
     ("1g", 1024 * MIB), ("1.5g", 1536 * MIB), ("10240k", 10 * MIB), ("6291456", 6 * MIB), ("6291456b", 6 * MIB),
     ("1t", MIB * MIB), (" 8m ", 8 * MIB)],
)  # fmt: skip
def test_an_amount_of_memory_is_read(text: str, amount: int) -> None:
    assert parse_bytes("--memory", text) == amount


@pytest.mark.parametrize(
    "text", ["", "m", "x", "-8m", "8x", "8mm", "nan", "inf", "0x800000", "8 m m", "\u0663m", "5m", "0", "1e400"]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--memory"):
        parse_bytes("--memory", text)


def test_processors_are_a_number_that_the_host_has() -> None:
    assert parse_cpus("0.5") == 0.5
    assert parse_cpus(str(os.cpu_count())) == os.cpu_count()
    for text in ("0", "-1", "nan", "inf", "x", "", str((os.cpu_count() or 1) + 1)):
        with pytest.raises(BadInput, match="--cpus"):
            parse_cpus(text)


def test_no_limit_of_processes_is_minus_one_or_nothing() -> None:
    assert (parse_pids("-1"), parse_pids("0"), parse_pids("7")) == (None, None, 7)
    for text in ("-2", "x", "", "1.5"):
        with pytest.raises(BadInput, match="--pids-limit"):
            parse_pids(text)


def test_a_list_of_processors_is_one_that_the_kernel_takes() -> None:
    last = (os.cpu_count() or 1) - 1
    for text in ("0", f"0-{last}", f"0,{last}"):
        assert parse_cpuset(text) == text
    for text in ("", "0,", "-", "0-", "1-0", "x", "0-x", f"{last + 1}", "\u0660", "0 1", "0\n"):
        with pytest.raises(BadInput, match="--cpuset-cpus"):
            parse_cpuset(text)


def test_limits_become_files() -> None:
    limits = Limits(memory_bytes=64 * MIB, cpus=1.5, pids=7, cpuset="0-1")
    assert limits.files() == {
        "memory.max": "67108864",
        "memory.swap.max": "67108864",
        "cpu.max": "150000 100000",
        "pids.max": "7",
        "cpuset.cpus": "0-1",
    }
    assert limits.controllers() == ["memory", "cpu", "pids", "cpuset"]
    assert Limits(pids=7).controllers() == ["pids"]
    assert Limits().files() == {}


def test_limits_survive_a_record() -> None:
    for limits in (Limits(), Limits(pids=7), Limits(1, 0.5, 2, "0")):
        again = Limits.of_json(limits.to_json())
        assert again.files() == limits.files()
