"""The memory controller.

--memory 512m               memory.max 536870912        over it, and nothing left to reclaim: the OOM killer
--memory-swap 1g            memory.swap.max 536870912   Docker's number is memory and swap together; -1 is no limit
        (not given)         memory.swap.max 536870912   Docker's default: as much swap as memory
--memory-swappiness 0       memory.swap.max 0           nothing of it is swapped
--memory-reservation 256m   memory.low 268435456        below it, others' memory is reclaimed first

See cgroup-v2.rst, "Memory".
"""

from __future__ import annotations

from minirun.cgroup import control
from minirun.cgroup.amount import parse_bytes, parse_whole, show_bytes
from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from minirun.cgroup.control import Setting

FLAGS = ("memory", "memory-reservation", "memory-swap", "memory-swappiness", "oom-kill-disable")
LEAST_BYTES = 6 << 20  # Docker's: below it no process starts


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read this controller's flags; those that are not given are left out.

    Raises:
        BadInput: a value has no meaning.
        Unsupported: it has one that cgroup v2 cannot do.
    """
    limits = {
        flag: parse_bytes(f"--{flag}", flags[flag], LEAST_BYTES)
        for flag in ("memory", "memory-reservation")
        if flag in flags
    }
    if "memory-swap" in flags:
        text = flags["memory-swap"]
        limits["memory-swap"] = -1 if text == "-1" else parse_bytes("--memory-swap", text, LEAST_BYTES)
    if "memory-swappiness" in flags:
        limits["memory-swappiness"] = _swappiness(flags["memory-swappiness"])
    if flags.get("oom-kill-disable"):
        raise Unsupported(
            "use --oom-kill-disable",
            "cgroup v2 has no switch for the OOM killer: a group at its limit would hang for ever",
            "give it more --memory, or protect it from the host's OOM killer by --oom-score-adj",
        )  # fmt: skip
    return limits


def _swappiness(text: str) -> int:
    value = parse_whole("--memory-swappiness", text, -1, 100)
    if value > 0:
        raise Unsupported(
            f"use --memory-swappiness {text}",
            "cgroup v2 has no swappiness of a group's own, only the host's vm.swappiness",
            "0 keeps the container's memory out of swap; --memory-swap says how much swap it may have",
        )  # fmt: skip
    return value


def check(limits: Mapping[str, Any]) -> None:
    """Raise BadInput unless the limits agree with each other; they are those of `read`, or of an update and before."""
    memory, swap, reserved = (limits.get(flag) for flag in ("memory", "memory-swap", "memory-reservation"))
    if swap is not None and memory is None:
        raise BadInput(
            "use --memory-swap", "it is memory and swap together, and says nothing without --memory", "give both"
        )
    if memory is None:
        return
    if swap is not None and swap != -1 and swap < memory:
        raise BadInput(
            f"use --memory-swap {show_bytes(swap)}",
            f"it is memory and swap together, and --memory is {show_bytes(memory)}",
            "give it at least as much as --memory, which is no swap, or -1, which is no limit",
        )  # fmt: skip
    if reserved is not None and reserved > memory:
        raise BadInput(
            f"use --memory-reservation {show_bytes(reserved)}", f"it is more than --memory, {show_bytes(memory)}"
        )
    if limits.get("memory-swappiness") == 0 and swap is not None and swap != memory:
        raise BadInput("use --memory-swappiness 0", "--memory-swap gives the container swap", "give one of the two")


def settings(limits: Mapping[str, Any]) -> Iterator[Setting]:
    """The control files of *limits*: see control.Setting."""
    memory, swap = limits.get("memory"), limits.get("memory-swap")
    if memory is not None:
        yield "memory", "memory.max", str(memory)
    if limits.get("memory-swappiness") == 0:
        yield "memory-swappiness", "memory.swap.max", "0"
    elif swap is not None:
        yield "memory-swap", "memory.swap.max", "max" if swap == -1 else str(swap - memory)
    elif memory is not None:
        yield "memory", "memory.swap.max", str(memory)
    if "memory-reservation" in limits:
        yield "memory-reservation", "memory.low", str(limits["memory-reservation"])


def unreclaimable(path: str) -> int:
    """How many bytes a group holds that the kernel cannot take back: no cache, and nothing that still fits into swap.

    At a memory.max below that it kills. See cgroup-v2.rst, "memory.stat".
    """
    words = control.read(path, "memory.stat").split()
    statistics = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    cache = sum(statistics[name] for name in ("active_file", "inactive_file", "slab_reclaimable"))
    held = int(control.read(path, "memory.current")) - cache
    swappable = statistics["active_anon"] + statistics["inactive_anon"]
    return max(0, held - min(swappable, _free_swap(path)))


def _free_swap(path: str) -> int:
    with open("/proc/meminfo") as file:
        words = next(line.split() for line in file if line.startswith("SwapFree:"))
    free = int(words[1]) << 10
    try:
        most = control.read(path, "memory.swap.max").strip()
        used = int(control.read(path, "memory.swap.current"))
    except FileNotFoundError:
        return 0  # a kernel that swaps no group
    return free if most == control.NO_LIMIT else max(0, min(free, int(most) - used))
