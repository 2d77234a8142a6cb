"""How much memory a command and all that it starts have at once."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from bench.contest import Failure

EVERY_S = 0.005


def peak_mb(command: Sequence[str]) -> float:
    """Run *command*, and look every five milliseconds.

    Returns:
        The most that was seen: the proportional set sizes (Pss in proc_pid_smaps(5)) of its processes together, in MB.

    Raises:
        Failure: its exit status is not 0.
    """
    peak_kb = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak_kb = max(peak_kb, sum(map(_pss_kb, _family(process.pid))))
            time.sleep(EVERY_S)
        assert process.stderr is not None
        said = process.stderr.read()
    if process.returncode:
        raise Failure(f"`{command[0]}` ended with {process.returncode}: {said.strip()[-200:]}")
    return peak_kb * 1024 / 1e6


def _family(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue  # it has ended meanwhile
    return found


def _pss_kb(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    except OSError:
        pass  # it has ended, or is ending
    return 0
