"""What a command and all that it starts take together: memory at once, and time."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_EVERY_S = 0.005


@dataclass(frozen=True, slots=True)
class Taken:
    """What a command took.

    Attributes:
        status: its exit status.
        stderr: what it said.
        peak_mb: the most that was seen: the proportional set sizes of its processes together (Pss in
            proc_pid_smaps(5)), and of each what it had at most since the last look (VmHWM in proc_pid_status(5)).
        cpu_s: processor time of all of them.
    """

    status: int
    stderr: str
    peak_mb: float
    cpu_s: float


def watch(command: Sequence[str], environment: Mapping[str, str]) -> Taken:
    """Run *command* to its end, looking every five milliseconds."""
    before = os.times()
    peak_kb = 0
    highest: dict[int, int] = {}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            seen = [(member, *_memory_kb(member)) for member in _members(process.pid)]
            rises = sum(max(0, high - highest.get(member, high)) for member, _pss, high in seen)
            peak_kb = max(peak_kb, sum(pss for _member, pss, _high in seen) + rises)
            highest = {member: high for member, _pss, high in seen}
            time.sleep(_EVERY_S)
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace")
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Taken(process.returncode, said, peak_kb / 1024, cpu_s)


def _members(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue  # it has ended meanwhile
    return found


def _memory_kb(pid: int) -> tuple[int, int]:
    """Pss and VmHWM of a process; nothing of one that has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    return _field(rollup, "Pss:"), _field(status, "VmHWM:")


def _field(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(name)), 0)
