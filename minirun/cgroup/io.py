"""The io controller.

--blkio-weight 500                  io.weight "default 4950", io.bfq.weight 500      its part of a busy disk
--device-read-bps /dev/vda:1mb      io.max "254:0 rbps=1048576"                      bytes a second
--device-write-bps /dev/vda:1mb     io.max "254:0 wbps=1048576"
--device-read-iops /dev/vda:100     io.max "254:0 riops=100"                         operations a second
--device-write-iops /dev/vda:100    io.max "254:0 wiops=100"

A weight holds where the disk has a scheduler for it: bfq, or the io.cost model. See cgroup-v2.rst, "IO".
"""

from __future__ import annotations

import os
from stat import S_ISBLK

from minirun.cgroup.amount import parse_bytes, parse_whole
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.cgroup.control import Setting

_RATES = {
    "device-read-bps": "rbps", "device-write-bps": "wbps", "device-read-iops": "riops", "device-write-iops": "wiops",
}  # fmt: skip
FLAGS = ("blkio-weight", *_RATES)
_LEAST_WEIGHT, _MOST_WEIGHT = 10, 1000  # Docker's
_MOST_IOPS = (1 << 32) - 1


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read this controller's flags; those that are not given are left out.

    Returns:
        The weight, and for each rate a list of [path of the device, its number, rate].

    Raises:
        BadInput: a value has no meaning, or names what is no disk.
    """
    limits: dict[str, Any] = {}
    if "blkio-weight" in flags:
        limits["blkio-weight"] = parse_whole("--blkio-weight", flags["blkio-weight"], _LEAST_WEIGHT, _MOST_WEIGHT)
    for flag in _RATES:
        if flag in flags:
            limits[flag] = [_rate(f"--{flag}", text) for text in flags[flag]]
    return limits


def _rate(flag: str, text: str) -> list[Any]:
    path, colon, rate = text.rpartition(":")
    if not colon or not path.startswith("/"):
        raise BadInput(f"read {flag} {text}", "it is not DEVICE:RATE", f"write it as {flag} /dev/sda:1mb")
    return [
        path,
        _disk(flag, path),
        parse_bytes(flag, rate) if flag.endswith("bps") else parse_whole(flag, rate, 1, _MOST_IOPS),
    ]


def _disk(flag: str, path: str) -> str:
    """The number, ``254:0``, of the disk at *path*."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise BadInput(f"use {flag} {path}", error, "`lsblk` lists the disks of this host") from None
    if not S_ISBLK(status.st_mode):
        raise BadInput(f"use {flag} {path}", "it is not a block device", "`lsblk` lists the disks of this host")
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    if os.path.exists(f"/sys/dev/block/{number}/partition"):
        disk = os.path.basename(os.path.dirname(os.path.realpath(f"/sys/dev/block/{number}")))
        raise BadInput(f"use {flag} {path}", "it is a partition, and the kernel limits whole disks", f"use /dev/{disk}")
    return number


def check(limits: Mapping[str, Any]) -> None:
    """The numbers say nothing about each other."""


def settings(limits: Mapping[str, Any]) -> Iterator[Setting]:
    """The control files of *limits*: see control.Setting."""
    if "blkio-weight" in limits:
        weight = limits["blkio-weight"]
        yield "blkio-weight", "io.bfq.weight", str(weight)
        # runc's conversion of Docker's 10 to 1000 to the kernel's 1 to 10000
        yield (
            "blkio-weight",
            "io.weight",
            f"default {1 + (weight - _LEAST_WEIGHT) * 9999 // (_MOST_WEIGHT - _LEAST_WEIGHT)}",
        )
    for flag, key in _RATES.items():
        for _, number, rate in limits.get(flag, ()):
            yield flag, "io.max", f"{number} {key}={rate}"
