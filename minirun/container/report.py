"""What a start would do, and what one did: for people who want to see every mount and system call."""

from __future__ import annotations

import sys

from minirun.container import create, start
from minirun.launch import plan as plans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.home import Home

_WHY_COLUMN = 88


def plan_lines(home: Home, record: Record) -> list[str]:
    """The whole start of a container that does not exist yet, a line an operation: `what   # why`."""
    spec = start.specify(home, record, stdin=record.options["stdin"], status=3, terminal=None)
    steps = [*create.steps(home, record, named=False), *start.steps(home, record)]
    lines = ["# on the host, each with its undo written down first"]
    lines += [_line(step.text, step.why) for step in steps]
    lines += [f"# clone3({plans.namespaces(spec)!r}|CLONE_INTO_CGROUP|CLONE_PIDFD), and in the new process"]
    before = ""
    for call in plans.plan(spec):
        lines.append(_line(repr(call), "" if call.why == before else call.why))
        before = call.why
    return lines


def _line(what: str, why: str) -> str:
    return f"{what.ljust(_WHY_COLUMN)} # {why}" if why else what


def print_trace(trace: list[tuple[str, float]]) -> None:
    """Print what each operation took, on standard error: the command's output stays the command's."""
    total = sum(took for _, took in trace)
    lines = [f"{took:10.1f} µs  {what}" for what, took in trace]
    sys.stderr.write("\n".join([*lines, f"{total:10.1f} µs  in all", ""]))
