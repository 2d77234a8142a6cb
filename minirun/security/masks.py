"""What of /proc and /sys a container must not see or change: Docker's lists.

A path that this kernel has not got is passed over.
"""

from __future__ import annotations

from minirun.kernel.names import MOUNT_ATTR_RDONLY
from minirun.rootfs.attach import BARRED, MOUNT, NULL, TARGET, allow, attach_at_target, clone, filesystem, if_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.kernel.call import Call

HIDDEN_FILES = (
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
)
HIDDEN_DIRECTORIES = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def masks() -> Iterator[Call]:
    """Hide and protect what the lists above name."""
    barred = BARRED | MOUNT_ATTR_RDONLY
    for path in READ_ONLY:
        calls = [
            clone("", at=TARGET, recursive=True, why=""),
            allow(MOUNT, barred, recursive=True, why="so it is read-only"),
            *attach_at_target(why=""),
        ]
        yield from if_there(path, calls, why=f"{path} changes the host")
    for path in HIDDEN_FILES:
        # the null device that we made, not what the path /dev/null names by now (CVE-2025-31133)
        calls = [clone("", at=NULL, why="hidden behind the null device"), *attach_at_target(why="")]
        yield from if_there(path, calls, why=f"{path} tells about the host")
    for path in HIDDEN_DIRECTORIES:
        calls = [*filesystem("tmpfs", (), barred, why="hidden behind an empty directory"), *attach_at_target(why="")]
        yield from if_there(path, calls, why=f"{path} tells about the host")
