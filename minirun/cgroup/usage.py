"""What a group used, as its files say it; and, where a controller is missing, as its processes do.

    figure        file of the group                             without the controller
    ------------  --------------------------------------------  -------------------------------------------
    cpu           cpu.stat        usage_usec                    the same: every group of v2 has it
    throttled     cpu.stat        nr_throttled, throttled_usec  unknown
    memory        memory.current  − inactive_file, memory.stat  the processes' shares (PSS), summed
    memory limit  memory.max      the lowest up to the root     none
    OOM kills     memory.events   oom_kill                      unknown
    threads       pids.current                                  lines of cgroup.threads, here and below
    disk          io.stat         rbytes, wbytes of all disks   unknown

Nearly all of these count the groups below as well, those that a container made for itself; cgroup.procs and
cgroup.threads do not. See cgroup-v2.rst; for the shares proc_pid_smaps(5), "Pss".
"""

from __future__ import annotations

import os
import time
from errno import ENODEV, ENOENT, EOPNOTSUPP

from minirun.cgroup import group, hierarchy, pressure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from minirun.cgroup.pressure import Pressure


THROTTLED = ("nr_periods", "nr_throttled", "throttled_usec")


class Cpu:
    """Processor time that a group had since it was made.

    Attributes:
        at_ns: when that was; of the monotonic clock.
        usage_us: all of it.
        throttled: by the names of THROTTLED, how often and how long cpu.max stopped it; empty without the controller.
    """

    __slots__ = ("at_ns", "throttled", "usage_us")

    def __init__(self, at_ns: int, usage_us: int, throttled: dict[str, int]) -> None:
        self.at_ns = at_ns
        self.usage_us = usage_us
        self.throttled = throttled

    def percent_since(self, before: Cpu) -> float:
        """Of one processor, how much it had in the time since *before*; 200 is two processors' time."""
        elapsed_us = (self.at_ns - before.at_ns) / 1000
        return max(0, self.usage_us - before.usage_us) / elapsed_us * 100 if elapsed_us > 0 else 0.0


class Usage:
    """What a group uses at a moment; None where nobody counts it.

    Attributes:
        cpu: processor time.
        memory_bytes: without file cache that could go at once, as Docker counts it.
        memory_source: ``memory.current``, or ``pss`` without the memory controller.
        memory_max_bytes: the lowest memory.max of the group and those above it; None is no limit.
        oom_kills: processes that the OOM killer took, for want of memory in the group.
        threads: processes and threads.
        disk_bytes: read from and written to disks.
        pressure: see pressure.py.
    """

    __slots__ = (
        "cpu", "disk_bytes", "memory_bytes", "memory_max_bytes", "memory_source", "oom_kills", "pressure", "threads",
    )  # fmt: skip

    def __init__(
        self, cpu: Cpu, memory: tuple[int | None, str], memory_max_bytes: int | None, oom_kills: int | None,
        threads: int, disk_bytes: tuple[int, int] | None, pressures: dict[str, Pressure],
    ) -> None:  # fmt: skip
        self.cpu = cpu
        self.memory_bytes, self.memory_source = memory
        self.memory_max_bytes = memory_max_bytes
        self.oom_kills = oom_kills
        self.threads = threads
        self.disk_bytes = disk_bytes
        self.pressure = pressures


def read(path: str) -> Usage:
    """Read all of it.

    Raises:
        FileNotFoundError: the group is gone.
    """
    now = cpu(path)
    events = _pairs(_text(f"{path}/memory.events"))
    found = Usage(
        now,
        _memory(path),
        _memory_max(path),
        events.get("oom_kill"),
        _threads(path),
        _disk(path),
        pressure.read(path),
    )
    if not os.path.exists(path):
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)  # half of the figures may be another half's
    return found


def cpu(path: str) -> Cpu:
    """Read the processor time alone.

    Raises:
        FileNotFoundError: the group is gone.
    """
    text = _text(f"{path}/cpu.stat")
    now_ns = time.monotonic_ns()
    if text is None:
        raise FileNotFoundError(ENOENT, os.strerror(ENOENT), f"{path}/cpu.stat")
    found = _pairs(text)
    return Cpu(now_ns, found["usage_usec"], {name: found[name] for name in THROTTLED if name in found})


def _groups(path: str) -> Iterator[str]:
    """The group and all below it; what goes meanwhile is left out."""
    for directory, _, _ in os.walk(path):
        yield directory


def _memory(path: str) -> tuple[int | None, str]:
    current = _text(f"{path}/memory.current")
    if current is None:
        return _shares(group.processes(path)), "pss"
    cache = _pairs(_text(f"{path}/memory.stat")).get("inactive_file", 0)
    return max(0, int(current) - cache), "memory.current"


def _shares(pids: Iterable[int]) -> int | None:
    """The memory of processes, of a page that several have a share each; None if we may not look at one."""
    import psutil

    total = 0
    for pid in pids:
        try:
            total += psutil.Process(pid).memory_full_info().pss
        except psutil.NoSuchProcess:
            continue  # it ended
        except psutil.AccessDenied:
            return None
    return total


def _memory_max(path: str) -> int | None:
    lowest = None
    root = hierarchy.mount_point()
    while path.startswith(f"{root}/"):
        text = (_text(f"{path}/memory.max") or "max").strip()
        if text != "max":
            lowest = int(text) if lowest is None else min(lowest, int(text))
        path = os.path.dirname(path)
    return lowest


def _threads(path: str) -> int:
    current = _text(f"{path}/pids.current")
    if current is not None:
        return int(current)
    return sum((_text(f"{directory}/cgroup.threads") or "").count("\n") for directory in _groups(path))


def _disk(path: str) -> tuple[int, int] | None:
    text = _text(f"{path}/io.stat")
    if text is None:
        return None
    read_bytes = written_bytes = 0
    for line in text.splitlines():
        # 8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0; or 8:0 alone, of a disk it never used
        fields = dict(word.split("=", 1) for word in line.split()[1:] if "=" in word)
        read_bytes += int(fields.get("rbytes", 0))
        written_bytes += int(fields.get("wbytes", 0))
    return read_bytes, written_bytes


def _pairs(text: str | None) -> dict[str, int]:
    """Read a flat keyed file: ``usage_usec 4000``, a line each."""
    return {name: int(number) for name, number in (line.split() for line in (text or "").splitlines())}


def _text(path: str) -> str | None:
    """A whole file; None where there is none, or its group is gone, or does not answer (a threaded one's processes)."""
    try:
        with open(path, "rb", 0) as file:
            # to its end: the kernel gives long lists a page at a time
            return file.readall().decode()
    except OSError as error:
        if error.errno in (ENOENT, ENODEV, EOPNOTSUPP):
            return None
        raise
