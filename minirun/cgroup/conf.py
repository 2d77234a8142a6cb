"""Any control file of cgroup v2 by its own name, for what has no flag.

--cgroup-conf memory.high=268435456     memory.high 268435456
--cgroup-conf memory.oom.group=1        memory.oom.group 1

Amounts of memory can be written as --memory takes them. These are written last, and so win over the flags. Files by
which minirun itself works, ``cgroup.procs`` and the like, are refused.
"""

from __future__ import annotations

from minirun.cgroup.amount import parse_bytes
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.cgroup.control import Setting

FLAGS = ("cgroup-conf",)
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._")
_BYTES = ("memory.high", "memory.low", "memory.max", "memory.min", "memory.swap.high", "memory.swap.max")
_OWN = ("cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure")  # of cgroup.*, what is only the container's


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read the flag, if it is given, into a dictionary by file.

    Raises:
        BadInput: it is no KEY=VALUE, or its key is no control file.
    """
    if "cgroup-conf" not in flags:
        return {}
    return {"cgroup-conf": dict(_pair(text) for text in flags["cgroup-conf"])}


def _pair(text: str) -> tuple[str, str]:
    attempt = f"use --cgroup-conf {text}"
    name, equals, value = text.partition("=")
    if not equals or not value.strip() or not value.isprintable():
        raise BadInput(attempt, "it is not KEY=VALUE", "write it as --cgroup-conf memory.high=256m")
    controller, dot, rest = name.partition(".")
    if not (controller and dot and rest and _LETTERS.issuperset(name)) or ".." in name:
        raise BadInput(attempt, f"{name!r} is no control file", "they are called memory.high, cpu.weight, io.max …")
    if controller == "cgroup" and name not in _OWN:
        raise BadInput(attempt, f"minirun itself works by {name}", f"of cgroup.* there are {', '.join(_OWN)}")
    if name in _BYTES and value != "max":
        value = str(parse_bytes(f"--cgroup-conf {name}", value, 0))
    return name, value


def check(limits: Mapping[str, Any]) -> None:
    """What the kernel takes is the kernel's to say."""


def settings(limits: Mapping[str, Any]) -> Iterator[Setting]:
    """The control files of *limits*: see control.Setting."""
    for name, value in limits.get("cgroup-conf", {}).items():
        yield "cgroup-conf", name, value
