"""What a start would do, and what one did: for people who want to see every mount and system call."""

from __future__ import annotations

import os
import sys

from minirun.cgroup import absent
from minirun.container import create, sharing, specification, start
from minirun.kernel.names import Named
from minirun.launch import plan as plans
from minirun.security.user import User

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.journal import Step

_WHY_COLUMN = 88


def plan_lines(home: Home, record: Record, unpacked_first: Sequence[str]) -> list[str]:
    """The whole start of a container that does not exist yet, a line an operation: `what   # why`.

    Args:
        home: where it would be.
        record: the container.
        unpacked_first: layers of its image that are not in the store.
    """
    terminal = None
    if record.options["tty"]:
        from minirun.container.terminal import Terminal

        terminal = Terminal(Named("devpts", -1), Named("master", -1), Named("slave", -1))
    status = Named("status", -1)
    who = _told(record) if unpacked_first else None
    namespace = Named("netns", -1) if record.options["network"] not in ("none", "host") else None
    if "userns" in record.options and not record.options["network"].startswith(sharing.JOINED):
        namespace = None  # one of those that are entered with it
    spec = specification.specify(
        home, record, stdin=record.options["stdin"], status=status, terminal=terminal, who=who, namespace=namespace,
        shared=sharing.places(record.options, lambda _kind, wanted: Named(f"pidfd of {wanted[:12]}", -1)),
    )  # fmt: skip
    group = start.cgroup(record.id, record.options)
    spec.has_cgroup = not absent.is_at(group)
    steps = [
        *create.steps(home, record, named=False),
        *start.steps(home, record, group),
        *_user_namespace(home, record),
        *start.entrance_steps(home, record),
    ]
    lines = ["# on the host, each with its undo written down first"]
    lines += [_line(f"unpack {name}", "into diffs/, once, whatever images use it") for name in unpacked_first]
    lines += [_line(step.text, step.why) for step in steps]
    into = "|CLONE_INTO_CGROUP" if spec.has_cgroup else ""
    lines += [f"# clone3({plans.namespaces(spec)!r}{into}|CLONE_PIDFD), and in the new process"]
    before = ""
    for call in plans.plan(spec, by_options=_before_lowerdir_plus()):
        lines.append(_line(repr(call), "" if call.why == before else call.why))
        before = call.why
    return lines


def _user_namespace(home: Home, record: Record) -> list[Step]:
    if "userns" not in record.options:
        return []
    from minirun.container import userns

    return [userns.shown(home, record.options)]


def _before_lowerdir_plus() -> bool:
    """Whether a start would find out that this kernel mounts overlays the older way: told by its version, untried."""
    series = os.uname().release.split(".")[:2]
    return [int(number) for number in series if number.isdigit()] < [6, 8]


def _told(record: Record) -> User:
    """The user, as far as can be told before there is a passwd to look into: a number, or else root."""
    name, _, group = record.options["user"].partition(":")
    return User(int(name) if name.isdigit() else 0, int(group) if group.isdigit() else 0, (), "/")


def _line(what: str, why: str) -> str:
    return f"{what.ljust(_WHY_COLUMN)} # {why}" if why else what


def print_trace(trace: list[tuple[str, float]]) -> None:
    """Print what each operation took, on standard error: the command's output stays the command's."""
    total = sum(took for _, took in trace)
    lines = [f"{took:10.1f} µs  {what}" for what, took in trace]
    sys.stderr.write("\n".join([*lines, f"{total:10.1f} µs  in all", ""]))
