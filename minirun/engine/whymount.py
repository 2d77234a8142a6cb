"""Why a mount of a container keeps it from something, and which flag of `run` has it otherwise.

mount point ─▶ a mask, a read-only part of /proc or /sys, a volume, memory, a file of minirun's, the root
"""

from __future__ import annotations

from minirun.container import etc, mounts
from minirun.engine.explaining import WITHOUT
from minirun.security import masks, meanings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.container.asking import Mount

    Why = tuple[str, str]  # what it is for, and the flag that changes it

_READ_ONLY = "without --read-only"


def hidden(options: Mapping[str, Any], mount: Mount) -> Why | None:
    """What a mount hides, if that is what it is for; None for any other."""
    if mount.point not in masks.of(options).hidden:
        return None
    if mount.point in meanings.PATHS:
        return meanings.PATHS[mount.point], f"--security-opt unmask={mount.point}"
    return "it was asked for", f"without --security-opt mask={mount.point}"


def read_only(options: Mapping[str, Any], mount: Mount) -> Why:
    """Why nothing can be written there: it, or its file system, is read-only."""
    point = mount.point
    if (mask := hidden(options, mount)) is not None:
        return f"{point} is hidden behind an empty place: {mask[0]}", mask[1]
    if point in masks.READ_ONLY:
        return f"{point} is read-only: {meanings.PATHS[point]}", f"--security-opt unmask={point}"
    if point == masks.CGROUP:
        return f"{point} is read-only: its limits are there (CVE-2022-0492)", "--security-opt writable-cgroups"
    if point == "/sys":
        return "/sys is read-only: devices and settings of the host", "--privileged"
    for one in mounts.of(options):
        if one.target == point:
            if one.read_only:
                return f"{point} was attached read-only", f"-v …:{point} without ro"
            return f"{point} is read-only on the host", f"remount {one.source or one.name} there"
    for target, _, _ in options["tmpfs"]:
        if target == point:
            return f"{point} is memory that was asked for read-only", f"--tmpfs {point} without ro"
    if mount.read_only and point != "/":
        return f"the file system at {point} is read-only, whatever the mount is", ""
    if point == "/" or point in [f"/etc/{name}" for name in etc.FILES]:
        return "the root file system is read-only", _READ_ONLY
    return f"the mount at {point} is read-only", ""


def no_devices(options: Mapping[str, Any], mount: Mount, number: str) -> Why:
    """Why a device node opens nothing there: the mount is ``nodev``."""
    reason = f"no device opens on the mount at {mount.point} (nodev): whoever is root makes nodes"
    if mount.point in ("/", "/dev") and "device_rules" not in options:
        return reason, f"--device, or --device-cgroup-rule '{number} rw'"
    return reason, "--device"


def no_programs(mount: Mount) -> Why:
    """Why no program is executed there: the mount is ``noexec``."""
    if mount.point in ("/proc", "/sys", "/dev/shm", "/dev/mqueue", "/dev/pts"):  # noqa: S108 - not a file of ours
        return f"no program is executed on {mount.point} (noexec)", ""
    return f"no program is executed on the mount at {mount.point} (noexec)", f"--tmpfs {mount.point}:exec, or -v …:exec"


def source(options: Mapping[str, Any], mount: Mount) -> Why:
    """What a mount is, and the flag that it is there by."""
    for one in mounts.of(options):
        if one.target == mount.point:
            return f"{one.source} of the host" if one.source else f"volume {one.name}", f"-v …:{one.target}"
    if any(target == mount.point for target, _, _ in options["tmpfs"]):
        return "memory", f"--tmpfs {mount.point}"
    if mount.point == "/":
        return "the container's root: layers that nobody writes to, below one of its own", ""
    if "privileged" in options and mount.point.startswith(("/proc", "/sys")):
        return f"the kernel's {mount.kind}", WITHOUT
    return f"the kernel's {mount.kind}" if mount.kind != "tmpfs" else "memory of the container's", ""
