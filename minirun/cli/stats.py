"""`stats`: what containers use, a line each, again every second."""

from __future__ import annotations

import io
import shutil
import sys
from contextlib import redirect_stdout
from typing import Any

import click

from minirun.cgroup.pressure import FIELDS, KINDS, RESOURCES
from minirun.cgroup.usage import THROTTLED
from minirun.cli import complete, quantity, screen, table
from minirun.cli.command import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.engine.statistics import Statistics
    from minirun.errors import MinirunError

# The fields that Docker has are text; minirun's own, below them, are numbers, null where nobody counts.
_TITLES: dict[str, Any] = {
    "Container": "CONTAINER", "ID": "CONTAINER ID", "Name": "NAME", "CPUPerc": "CPU %", "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %", "NetIO": "NET I/O", "BlockIO": "BLOCK I/O", "PIDs": "PIDS",
    "BlockReadBytes": "BLOCK READ", "BlockWriteBytes": "BLOCK WRITTEN",
    "CPUThrottled": {name: name.replace("_", " ").upper() for name in THROTTLED},
    "CPUUsageUsec": "CPU TIME", "MemLimitBytes": "MEM LIMIT", "MemSource": "MEM SOURCE", "MemUsageBytes": "MEM USAGE",
    "NetReceivedBytes": "NET RECEIVED", "NetSentBytes": "NET SENT", "OOMKills": "OOM KILLS", "PIDsCurrent": "PIDS",
    "Pressure": {
        resource: {kind: {field: f"{resource} {kind} {field}".upper() for field in FIELDS} for kind in KINDS}
        for resource in RESOURCES
    },
}  # fmt: skip
_COLUMNS = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_UNKNOWN = "--"
_NOT_THROTTLED = dict.fromkeys(THROTTLED, 0)
_NO_PRESSURE = dict.fromkeys(RESOURCES, dict.fromkeys(KINDS, dict.fromkeys(FIELDS, 0)))
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_CUT, _WRAP = "\x1b[?7l", "\x1b[?7h"  # what does not fit into a line


@click.command(
    "stats",
    cls=Command,
    examples="""
minirun stats                     all that run, until Ctrl-C
minirun stats --no-stream web     web, once
minirun stats --format 'table {{.Name}}\\t{{.CPUPerc}}\\t{{.OOMKills}}'
minirun stats --no-stream --format json web | jq .Pressure
""",
)
@click.argument("containers", metavar="[CONTAINER...]", nargs=-1, shell_complete=complete.containers)
@click.option("-a", "--all", "everything", is_flag=True, help="Also those that do not run.")
@click.option("--no-stream", is_flag=True, help="Measure for a second, show it, and end.")
@click.option("--no-trunc", is_flag=True, help="Whole ids.")
@click.option("--format", "form", metavar="FORMAT", default="", help="table, json, or a Go template.")
def stats(*, containers: Sequence[str], everything: bool, no_stream: bool, no_trunc: bool, form: str) -> None:
    """Show what containers use: processor, memory, network, disk, processes; without names, all that run."""
    from minirun.engine import statistics

    drawn = _draw([], form)  # a format that is none is refused now, not in a second
    redrawn = screen.is_terminal() and not no_stream
    unread: list[MinirunError] = []
    # what is written beside a screen that is drawn again is drawn over
    frames = statistics.watch(containers, everything=everything, warn=unread.append if redrawn else screen.refuse)
    if redrawn:
        _show(drawn)
    for frame in frames:
        drawn = _draw([_row(one, whole=no_trunc) for one in frame], form)
        if redrawn:
            _show(drawn + "".join(map(screen.refusal, unread)))
            continue
        screen.write_styled(drawn)
        sys.stdout.flush()
        if no_stream:
            return


class _Page(io.TextIOWrapper):
    """Memory to draw in, which passes for the terminal, or the pipe, that standard output is."""

    def __init__(self) -> None:
        self.memory = io.BytesIO()
        self.terminal = screen.is_terminal()
        super().__init__(self.memory, encoding="utf-8", errors="surrogateescape")

    def isatty(self) -> bool:
        return self.terminal


def _draw(rows: Sequence[dict[str, Any]], form: str) -> str:
    page = _Page()
    with redirect_stdout(page):
        table.show(rows, _TITLES, _COLUMNS, form)
    return page.memory.getvalue().decode("utf-8", "surrogateescape")


def _show(text: str) -> None:
    """Draw over what the terminal shows, in one write, or it would flicker; rows that do not fit are counted."""
    lines = text.splitlines()
    height = shutil.get_terminal_size().lines - 1  # the cursor stands below
    if len(lines) > height > 1:
        lines = [*lines[: height - 1], f"… and {len(lines) - height + 1} more"]
    body = "".join(f"{line}{_CLEAR_LINE}\n" for line in lines)
    screen.write_styled(f"{_CUT}{_HOME}{body}{_CLEAR_BELOW}{_WRAP}")
    sys.stdout.flush()


def _row(one: Statistics, *, whole: bool) -> dict[str, Any]:
    used = one.used
    memory = used.memory_bytes if used else 0
    disk = used.disk_bytes if used else (0, 0)
    threads = used.threads if used else 0
    return {
        "BlockIO": _pair(disk),
        "CPUPerc": _percent(one.cpu_percent),
        "Container": one.called,
        "ID": one.box.id if whole else one.box.id[:12],
        "MemPerc": _percent(None if memory is None else memory / (one.memory_limit_bytes or 1) * 100),
        "MemUsage": f"{_UNKNOWN if memory is None else _binary(memory)} / {_binary(one.memory_limit_bytes)}",
        "Name": one.box.name,
        "NetIO": _pair(one.network_bytes),
        "PIDs": str(threads),
        "BlockReadBytes": disk[0] if disk else None,
        "BlockWriteBytes": disk[1] if disk else None,
        "CPUThrottled": used.cpu.throttled if used else _NOT_THROTTLED,
        "CPUUsageUsec": used.cpu.usage_us if used else 0,
        "MemLimitBytes": one.memory_limit_bytes,
        "MemSource": used.memory_source if used else "",
        "MemUsageBytes": memory,
        "NetReceivedBytes": one.network_bytes[0] if one.network_bytes else None,
        "NetSentBytes": one.network_bytes[1] if one.network_bytes else None,
        "OOMKills": used.oom_kills if used else 0,
        "PIDsCurrent": threads,
        "Pressure": used.pressure if used else _NO_PRESSURE,
    }


def _pair(both: tuple[int, int] | None) -> str:
    return f"{quantity.size(both[0])} / {quantity.size(both[1])}" if both else _UNKNOWN


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.2f}%"


def _binary(size_bytes: float) -> str:
    """Bytes in powers of 1024 with four digits, as Docker writes memory: ``1.5MiB``."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    place = 0
    while size_bytes >= 1024 and place < len(units) - 1:
        size_bytes /= 1024
        place += 1
    return f"{size_bytes:.4g}{units[place]}"
