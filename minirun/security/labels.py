"""Labels by which a security module of the kernel knows what a process may do, taken on with the exec of the command.

    fsopen("proc") ─▶ a procfs that is attached nowhere ─▶ self/attr/apparmor/exec ◀── "exec PROFILE"

They are written there and not by a path: what is at /proc in a container that runs can be something else, and then a
label would go where it does nothing, or harm (CVE-2019-16884, CVE-2025-52881). What the command executes later keeps
the label, unless the policy has it otherwise. See proc_pid_attr(5).
"""

from __future__ import annotations

from minirun.kernel.call import Call
from minirun.kernel.names import O_CLOEXEC, O_WRONLY
from minirun.rootfs.attach import BARRED, MOUNT, SCRATCH, filesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    Label = tuple[str, str]  # the file below /proc/self, and what is written there

WHY = "its label: "


def of(options: Mapping[str, Any]) -> Sequence[Label]:
    """The labels of a container with these options of its record."""
    profile = options["security"].get("apparmor") if "security" in options else None
    if not profile:
        return ()
    from minirun.security import apparmor

    return [(apparmor.ATTRIBUTE, f"exec {profile}")]


def take_on(labels: Sequence[Label]) -> Iterator[Call]:
    """Have the next exec give the process *labels*."""
    if not labels:
        return
    yield from filesystem("proc", (), BARRED, why="a /proc of our own, whatever is at the container's")
    for file, text in labels:
        why = f"{WHY}{text}"
        yield Call("openat", MOUNT, f"self/{file}", O_WRONLY | O_CLOEXEC, 0, save=SCRATCH, why=why)
        yield Call("write", SCRATCH, text, len(text.encode()), why=why)
        yield Call("close", SCRATCH)
    yield Call("close", MOUNT)
