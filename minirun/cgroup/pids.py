"""The pids controller.

--pids-limit 100    pids.max 100    processes and threads; a fork beyond it says EAGAIN. -1 and 0 are no limit
(nothing)           pids.max 2048   where that can be had for nothing: see processlimit.py

See cgroup-v2.rst, "PID".
"""

from __future__ import annotations

from minirun.cgroup.amount import parse_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.cgroup.control import Setting

FLAGS = ("pids-limit",)
_MOST = 1 << 22  # PID_MAX_LIMIT


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read this controller's flag, if it is given.

    Raises:
        BadInput: it has no meaning.
    """
    if "pids-limit" not in flags:
        return {}
    text = flags["pids-limit"]
    if text in ("-1", "0"):
        return {"pids-limit": -1}
    return {"pids-limit": parse_whole("--pids-limit", text, 1, _MOST, "a number of processes")}


def check(limits: Mapping[str, Any]) -> None:
    """One number has nothing to agree with."""


def settings(limits: Mapping[str, Any]) -> Iterator[Setting]:
    """The control files of *limits*: see control.Setting."""
    if "pids-limit" in limits:
        yield "pids-limit", "pids.max", "max" if limits["pids-limit"] == -1 else str(limits["pids-limit"])
