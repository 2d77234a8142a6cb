"""What a container has beside others: weights and protected memory count between groups that stand side by side.

    cpu.weight   ┐ in minirun/ containers are side by side. Under systemd their scopes are, so a scope gets what its
    io.weight    ┘ container has: CPUWeight=, IOWeight=, MemoryLow=

    memory.low     protects as much as every group above protects, too: minirun's own group, and those below it,
                   protect the sum of what is in them. Above scopes are slices of systemd's, which stay as they are

See cgroup-v2.rst, "Weights" and "memory.low".
"""

from __future__ import annotations

import fcntl
import os

from minirun.cgroup import control, hierarchy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.cgroup.control import Setting

_LOW = "memory.low"
_INFINITY = (1 << 64) - 1  # of memory; and of weights: none of its own
# the control file → systemd's property, and what it is when nothing was asked for
_PROPERTIES = {
    "cpu.weight": ("CPUWeight", _INFINITY),
    "io.weight": ("IOWeight", _INFINITY),
    _LOW: ("MemoryLow", 0),
}


def pass_on(path: str, settings: Sequence[Setting]) -> None:
    """Give what stands beside others for the group *path*, a scope or minirun's own group, the part of *settings*.

    Raises:
        MinirunError: systemd refuses.
        OSError: the kernel does.
    """
    parent = os.path.dirname(path)
    shared = {name: text.rpartition(" ")[2] for _, name, text in settings if name in _PROPERTIES}
    if not shared:
        return
    if hierarchy.is_scope(parent):
        from minirun.cgroup import systemd

        properties: list[tuple[str, tuple[str, object]]] = []
        for name, (word, otherwise) in _PROPERTIES.items():
            text = shared.get(name)
            value = otherwise if text is None else _INFINITY if text == control.NO_LIMIT else int(text)
            properties.append((word, ("t", value)))
        systemd.set_properties(os.path.basename(parent), properties)
    elif hierarchy.is_own(parent) and _LOW in shared:
        protect(parent)


def protect(directory: str) -> None:
    """Have minirun's own group *directory*, and its own above it, protect as much memory as the groups in them do."""
    while hierarchy.is_own(directory):
        try:
            held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # it went with the last group in it
        try:
            fcntl.flock(held, fcntl.LOCK_EX)  # or the sum of who came first would be written last
            control.write(directory, _LOW, _sum(directory))
        except FileNotFoundError:
            return
        finally:
            os.close(held)
        directory = os.path.dirname(directory)


def _sum(directory: str) -> str:
    total = 0
    for name in os.listdir(directory):
        try:
            text = control.read(f"{directory}/{name}", _LOW).strip()
        except (FileNotFoundError, NotADirectoryError):
            continue  # a file of this group's own; or a group that went meanwhile
        if text == control.NO_LIMIT:
            return text
        total += int(text)
    return str(total)
