"""Parameters of the kernel that a namespace has for itself: --sysctl.

    net.ipv4.ip_forward = 1   ─▶   /proc/sys/net/ipv4/ip_forward, by the host's /proc: it shows the writer's namespaces

See sysctl(8), proc_sys(5).
"""

from __future__ import annotations

from minirun.kernel.call import Call
from minirun.kernel.names import AT_FDCWD, O_CLOEXEC, O_WRONLY
from minirun.rootfs.attach import SCRATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def write(sysctls: Sequence[tuple[str, str]]) -> Iterator[Call]:
    """Set (name, value) pairs, in the namespaces of the process; while the host's /proc is there."""
    for name, value in sysctls:
        why = f"--sysctl {name}"
        path = f"/proc/sys/{name.replace('.', '/')}"
        yield Call("openat", AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0, save=SCRATCH, why=why)
        yield Call("write", SCRATCH, value, len(value.encode()), why=why)
        yield Call("close", SCRATCH)
