"""Capabilities: Docker's fourteen, and the calls that take all others away. See capabilities(7)."""

from __future__ import annotations

from errno import EINVAL
from struct import pack

from minirun.errors import Unsupported
from minirun.kernel.call import Call, Struct
from minirun.kernel.names import PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, PR_CAPBSET_DROP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import Any

# linux/capability.h, in the kernel's order: a capability's number is its place
NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
DEFAULT = 0x00000000A80425FB  # what Docker leaves: the bits of fourteen names
SYS_ADMIN = 1 << NAMES.index("SYS_ADMIN")
# PR_CAPBSET_DROP says EINVAL for what a kernel does not know, so later kernels' capabilities are dropped as well
LAST = 63

_VERSION_3 = 0x20080522


def name(number: int) -> str:
    """``CAP_CHOWN`` for 0; a number that has no name yet is told as one."""
    return f"CAP_{NAMES[number]}" if number < len(NAMES) else f"capability {number}"


def kept(options: Mapping[str, Any]) -> int:
    """What a container's root keeps, as bits, with these options of its record: cap_add, cap_drop, privileged.

    As Docker has it: with ALL added all that we have, but for those dropped; with ALL dropped those added; with
    --privileged all that we have.
    """
    if options.get("privileged"):
        return own()
    added, dropped = options.get("cap_add", ()), options.get("cap_drop", ())
    if "ALL" in added:
        return own() & ~_bits(dropped)
    return (0 if "ALL" in dropped else DEFAULT & ~_bits(dropped)) | _bits(added)


def _bits(names: Collection[str]) -> int:
    return sum(1 << NAMES.index(one) for one in names if one != "ALL")


def own() -> int:
    """The capabilities that this process has, and may give to another."""
    with open("/proc/self/status") as file:
        sets = dict(line.split(":\t") for line in file if line.startswith(("CapPrm", "CapBnd")))
    return int(sets["CapPrm"], 16) & int(sets["CapBnd"], 16)


def check_had(keep: int) -> None:
    """Raise Unsupported unless all of *keep* are ours to give."""
    if missing := keep & ~own() & ~DEFAULT:
        names = ", ".join(name(number) for number in range(LAST + 1) if missing >> number & 1)
        raise Unsupported(
            f"give a container {names}", "minirun was started without it",
            "start it where it has that: CapBnd in /proc/self/status, `capsh --print`",
        )  # fmt: skip


def bound(keep: int) -> Iterator[Call]:
    """Take what is not in *keep* out of the bounding set, so that no setuid file gives it back."""
    for number in range(LAST + 1):
        if not keep >> number & 1:
            yield Call("prctl", PR_CAPBSET_DROP, number, 0, 0, 0, tolerate=(EINVAL,), why=f"never {name(number)}")


def limit(keep: int, why: str = "only these, and none inheritable") -> Iterator[Call]:
    """Leave exactly *keep*, and nothing inheritable or ambient (CVE-2022-24769)."""
    header = Struct("version=3, pid=0", pack("<Ii", _VERSION_3, 0))
    low, high = keep & 0xFFFFFFFF, keep >> 32
    sets = Struct(f"effective=permitted={keep:#x}, inheritable=0", pack("<6I", low, low, 0, high, high, 0))
    yield Call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, why="nothing survives an exec by itself")
    yield Call("capset", header, sets, why=why)
