"""The cpu controller.

--cpus 1.5                               cpu.max "150000 100000"   of every 100 ms, 150 ms of processor
--cpu-quota 50000 --cpu-period 100000    cpu.max "50000 100000"    the same in microseconds
--cpu-shares 512                         cpu.weight 20             its part when all want more than there is

See cgroup-v2.rst, "CPU"; sched-bwc.rst has the bounds.
"""

from __future__ import annotations

import os

from minirun.cgroup.amount import parse_whole
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.cgroup.control import Setting

FLAGS = ("cpu-period", "cpu-quota", "cpu-shares", "cpus")
PERIOD_US = 100_000  # the kernel's default, and Docker's
_LEAST_QUOTA_US, _LEAST_PERIOD_US, _MOST_PERIOD_US = 1_000, 1_000, 1_000_000
_MOST_QUOTA_US = (1 << 44) // 1000  # max_cfs_runtime
_LEAST_SHARES, _MOST_SHARES = 2, 262_144


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read this controller's flags; those that are not given are left out.

    Raises:
        BadInput: a value has no meaning.
    """
    limits: dict[str, Any] = {}
    if "cpu-period" in flags:
        limits["cpu-period"] = parse_whole(
            "--cpu-period", flags["cpu-period"], _LEAST_PERIOD_US, _MOST_PERIOD_US, "a number of microseconds"
        )
    if "cpu-quota" in flags:
        text = flags["cpu-quota"]
        limits["cpu-quota"] = (
            -1
            if text == "-1"
            else parse_whole("--cpu-quota", text, _LEAST_QUOTA_US, _MOST_QUOTA_US, "a number of microseconds")
        )
    if "cpu-shares" in flags:
        limits["cpu-shares"] = parse_whole("--cpu-shares", flags["cpu-shares"], _LEAST_SHARES, _MOST_SHARES)
    if "cpus" in flags:
        limits["cpus"] = _cpus(flags["cpus"])
    return limits


def _cpus(text: str) -> float:
    try:
        cpus = float(text)
    except ValueError:
        cpus = 0.0
    there = os.cpu_count() or 1
    if not 0.01 <= cpus <= there:
        raise BadInput(f"read --cpus {text}", f"it is not a number from 0.01 to {there}, which is what this host has")
    return cpus


def check(limits: Mapping[str, Any]) -> None:
    """Raise BadInput unless the limits agree with each other."""
    for flag in ("cpu-quota", "cpu-period"):
        if flag in limits and "cpus" in limits:
            raise BadInput(f"use --{flag}", "--cpus sets quota and period", "give --cpus, or the other two")
    if limits.get("cpu-quota", -1) != -1 and "cpu-period" not in limits:
        raise BadInput(
            f"use --cpu-quota {limits['cpu-quota']}", "it has no --cpu-period to be a part of",
            f"give --cpu-period {PERIOD_US} with it, or --cpus {limits['cpu-quota'] / PERIOD_US:g}",
        )  # fmt: skip


def settings(limits: Mapping[str, Any]) -> Iterator[Setting]:
    """The control files of *limits*: see control.Setting."""
    if "cpus" in limits:
        yield "cpus", "cpu.max", f"{round(limits['cpus'] * PERIOD_US)} {PERIOD_US}"
    elif "cpu-quota" in limits or "cpu-period" in limits:
        quota, period = limits.get("cpu-quota", -1), limits.get("cpu-period", PERIOD_US)
        flag = "cpu-quota" if "cpu-quota" in limits else "cpu-period"
        yield flag, "cpu.max", f"{'max' if quota == -1 else quota} {period}"
    if "cpu-shares" in limits:
        yield "cpu-shares", "cpu.weight", str(weight(limits["cpu-shares"]))


def weight(shares: int) -> int:
    """Docker's shares, 2 to 262144, as a weight of cgroup v2, 1 to 10000.

    The conversion that runc 1.1, crun and Kubernetes publish (KEP-2254): the ends meet, and what lies between is
    proportional.
    """
    return 1 + (shares - _LEAST_SHARES) * 9999 // (_MOST_SHARES - _LEAST_SHARES)
