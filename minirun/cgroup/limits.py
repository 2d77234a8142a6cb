"""What a container may use: flags become limits, limits become control files, a controller at a time.

flags   {"memory": "512m", "cpus": "1.5"}                    as they were typed
  │ read                                                     refuses what has no meaning
  ▼
limits  {"memory": 536870912, "cpus": 1.5}                   as container.json keeps them, by the flag's name
  │ settings
  ▼
("memory", "memory.max", "536870912"), ("memory", "memory.swap.max", …), ("cpus", "cpu.max", "150000 100000")
"""

from __future__ import annotations

from minirun.cgroup import conf, cpu, cpuset, io, memory, pids
from minirun.cgroup.control import NO_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.cgroup.control import Setting

CONTROLLERS = (memory, cpu, cpuset, pids, io, conf)  # conf last: what it says wins
FLAGS = tuple(flag for controller in CONTROLLERS for flag in controller.FLAGS)


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read the limits among *flags*.

    Args:
        flags: by long name; absent ones are unset.

    Raises:
        BadInput: a value has no meaning, or contradicts another.
        Unsupported: cgroup v2 cannot do it.
    """
    limits = read_apart(flags)
    check(limits)
    return limits


def read_apart(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The same, without asking whether they agree: for a change of limits that are there.

    Raises:
        BadInput, Unsupported: see `read`.
    """
    limits: dict[str, Any] = {}
    for controller in CONTROLLERS:
        limits |= controller.read(flags)
    return limits


def merge(limits: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """What holds when *changed* has been asked for over *limits*; control files are added to those that were set."""
    merged = {**limits, **changed}
    if "cgroup-conf" in limits and "cgroup-conf" in changed:
        merged["cgroup-conf"] = {**limits["cgroup-conf"], **changed["cgroup-conf"]}
    return merged


def check(limits: Mapping[str, Any]) -> None:
    """Raise BadInput unless *limits*, each well read, agree with each other."""
    for controller in CONTROLLERS:
        controller.check(limits)


def settings(limits: Mapping[str, Any]) -> list[Setting]:
    """The control files of *limits*, in the order to write them."""
    return [setting for controller in CONTROLLERS for setting in controller.settings(limits)]


def needed(limits: Mapping[str, Any]) -> dict[str, str]:
    """Map each controller that *limits* need to the first flag that needs it; no limit needs none."""
    found: dict[str, str] = {}
    for flag, name, text in settings(limits):
        if text != NO_LIMIT and not name.startswith("cgroup."):
            found.setdefault(name.partition(".")[0], flag)
    return found
