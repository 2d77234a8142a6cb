"""What a container may use, and the control files that say so.

--memory 512m       memory.max 536870912    memory.swap.max the same: Docker's default is as much swap as memory
--cpus 1.5          cpu.max "150000 100000"  of every 100 ms, 150 ms of processor
--pids-limit 100    pids.max 100
--cpuset-cpus 0-1   cpuset.cpus 0-1
"""

from __future__ import annotations

import os

from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PERIOD_US = 100_000  # the kernel's default, and Docker's
LEAST_MEMORY_BYTES = 6 << 20  # Docker's: below it no process starts
_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Limits:
    """What a container may use. None means the kernel's ``max``.

    Attributes:
        memory_bytes: at least LEAST_MEMORY_BYTES.
        cpus: processors' worth of time; 1.5 is one and a half.
        pids: processes and threads.
        cpuset: processors, in the kernel's list form: ``0-2,4``.
    """

    __slots__ = ("cpus", "cpuset", "memory_bytes", "pids")

    def __init__(
        self,
        memory_bytes: int | None = None,
        cpus: float | None = None,
        pids: int | None = None,
        cpuset: str | None = None,
    ) -> None:
        self.memory_bytes = memory_bytes
        self.cpus = cpus
        self.pids = pids
        self.cpuset = cpuset

    @classmethod
    def of_json(cls, record: dict[str, Any]) -> Limits:
        """Read what `to_json` gave."""
        return cls(**record)

    def to_json(self) -> dict[str, Any]:
        """The limits that are set, by attribute."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    def files(self) -> dict[str, str]:
        """Map each control file to the text it takes, in the order to write them."""
        files = {}
        if self.memory_bytes is not None:
            files["memory.max"] = files["memory.swap.max"] = str(self.memory_bytes)
        if self.cpus is not None:
            files["cpu.max"] = f"{round(self.cpus * PERIOD_US)} {PERIOD_US}"
        if self.pids is not None:
            files["pids.max"] = str(self.pids)
        if self.cpuset is not None:
            files["cpuset.cpus"] = self.cpuset
        return files

    def controllers(self) -> list[str]:
        """The controllers that `files` needs."""
        return list(dict.fromkeys(name.partition(".")[0] for name in self.files()))


def parse_bytes(flag: str, text: str) -> int:
    """Read an amount of memory as Docker does: a number, with b, k, m, g or t behind it, in powers of 1024.

    Raises:
        BadInput: it is none, or below what a process needs.
    """
    number, unit = text.strip().lower().removesuffix("ib"), "b"
    if number.endswith("b") and len(number) > 1 and number[-2] in _UNITS:
        number = number[:-1]
    if number[-1:] in _UNITS:
        number, unit = number[:-1], number[-1]
    try:
        amount = int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError):
        amount = -1
    if amount < 0 or not number[:1].isdigit():
        raise BadInput(
            f"read {flag} {text}", "not an amount of memory", "write it as Docker does: 512m, 2g, 1073741824"
        )
    if amount < LEAST_MEMORY_BYTES:
        raise BadInput(f"read {flag} {text}", "below 6m no process starts", "give it at least 6m")
    return amount


def parse_cpus(text: str) -> float:
    """Read --cpus.

    Raises:
        BadInput: not a number above 0, or more than the host has.
    """
    try:
        cpus = float(text)
    except ValueError:
        cpus = 0.0
    there = os.cpu_count() or 1
    if not 0.01 <= cpus <= there:
        raise BadInput(f"read --cpus {text}", f"not a number from 0.01 to {there}, which is what this host has")
    return cpus


def parse_pids(text: str) -> int | None:
    """Read --pids-limit; Docker's -1 and 0 mean no limit.

    Raises:
        BadInput: not a whole number from -1.
    """
    try:
        pids = int(text)
    except ValueError:
        pids = -2
    if pids < -1:
        raise BadInput(f"read --pids-limit {text}", "not a number of processes", "give a number, or -1 for no limit")
    return pids if pids > 0 else None


def parse_cpuset(text: str) -> str:
    """Read --cpuset-cpus.

    Raises:
        BadInput: not a list of processors that this host has.
    """
    there = os.cpu_count() or 1
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdigit() for end in ends) or int(ends[0]) > int(ends[1]):
            raise BadInput(f"read --cpuset-cpus {text}", f"{part!r} is no processor", "write it as 0-2,4")
        if int(ends[1]) >= there:
            raise BadInput(f"read --cpuset-cpus {text}", f"this host has the processors 0-{there - 1}")
    return text
