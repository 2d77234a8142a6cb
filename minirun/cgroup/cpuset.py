"""The cpuset controller.

--cpuset-cpus 0-2,4     cpuset.cpus 0-2,4     the processors it runs on
--cpuset-mems 0         cpuset.mems 0         the memory nodes it allocates from

See cgroup-v2.rst, "Cpuset".
"""

from __future__ import annotations

from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.cgroup.control import Setting

# flag → what it lists, and the file that says which of them this host has
_LISTS = {
    "cpuset-cpus": ("processor", "/sys/devices/system/cpu/online"),
    "cpuset-mems": ("memory node", "/sys/devices/system/node/has_memory"),
}
FLAGS = tuple(_LISTS)
_MOST_DIGITS = 5


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read this controller's flags; those that are not given are left out.

    Raises:
        BadInput: a value is no list, or names what this host has not got.
    """
    return {flag: _list(flag, flags[flag]) for flag in FLAGS if flag in flags}


def _list(flag: str, text: str) -> str:
    what, path = _LISTS[flag]
    try:
        with open(path) as file:
            online = file.read().strip()
    except FileNotFoundError:
        online = "0"  # a kernel without NUMA has one node
    if missing := _members(flag, text) - _members(flag, online):
        raise BadInput(f"read --{flag} {text}", f"this host has the {what}s {online}, and no {min(missing)}")
    return text


def _members(flag: str, text: str) -> set[int]:
    members: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(end.isascii() and end.isdigit() and len(end) <= _MOST_DIGITS for end in ends) or (
            int(ends[0]) > int(ends[1])
        ):
            raise BadInput(f"read --{flag} {text}", f"{part!r} is no {_LISTS[flag][0]}", "write it as 0-2,4")
        members.update(range(int(ends[0]), int(ends[1]) + 1))
    return members


def check(limits: Mapping[str, Any]) -> None:
    """The two lists say nothing about each other."""


def settings(limits: Mapping[str, Any]) -> Iterator[Setting]:
    """The control files of *limits*: see control.Setting."""
    for flag in FLAGS:
        if flag in limits:
            yield flag, flag.replace("-", "."), limits[flag]
