"""Where the cgroup v2 hierarchy is mounted, and which controllers it has there.

    pure     /sys/fs/cgroup            every controller
    hybrid   /sys/fs/cgroup/unified    those that no cgroup v1 mount has taken: often none

See cgroups(7), "CGROUPS VERSION 2", and Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from minirun.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PARENT = "minirun"  # below it, and nowhere else, groups are made
FLAGS = {"memory": "--memory", "cpu": "--cpus", "pids": "--pids-limit", "cpuset": "--cpuset-cpus"}


_found: list[str] = []  # where it is mounted does not change while a command runs


def mount_point() -> str:
    """The path of the cgroup v2 hierarchy.

    Raises:
        Unsupported: it is not mounted.
    """
    if _found:
        return _found[0]
    with open("/proc/self/mountinfo", "rb", 0) as file:
        table = file.readall()
    for line in table.split(b"\n"):
        # 36 35 98:0 /root /mount/point options… - type source super-options; see proc(5)
        if b" - cgroup2 " in line:
            path = line.split(b" ", 5)[4]
            # the kernel writes a blank as \040; the codec that reads it is one more import
            _found.append(path.decode("unicode_escape" if b"\\" in path else "utf-8"))
            return _found[0]
    raise Unsupported(
        "give the container a cgroup",
        "no cgroup v2 hierarchy is mounted",
        "mount one: `mount -t cgroup2 none /sys/fs/cgroup`, or boot with systemd.unified_cgroup_hierarchy=1",
    )


def path(container_id: str) -> str:
    """The directory of a container's cgroup."""
    return f"{mount_point()}/{PARENT}/{container_id}"


def controllers(directory: str) -> list[str]:
    """The controllers that groups in *directory* may use.

    Raises:
        OSError: *directory* is no cgroup.
    """
    with open(f"{directory}/cgroup.controllers") as file:
        return file.read().split()


def require(needed: Iterable[str]) -> None:
    """Refuse, before anything is made, a limit whose controller this host's v2 hierarchy has not got.

    Raises:
        Unsupported: naming the flag, the place and the remedy.
    """
    root = mount_point()
    there = controllers(root)
    for controller in needed:
        if controller not in there:
            raise Unsupported(
                f"limit {controller}",
                f"the {controller} controller is not in the cgroup v2 hierarchy at {root}",
                "this host mounts it as cgroup v1 (hybrid); boot with systemd.unified_cgroup_hierarchy=1, "
                f"or run without {FLAGS[controller]}",
            )


def enable(needed: Iterable[str]) -> None:
    """Make sure that groups below PARENT have the controllers *needed*; only what is missing is written."""
    root = mount_point()
    for directory in (root, f"{root}/{PARENT}"):
        with open(f"{directory}/cgroup.subtree_control", "r+") as file:
            enabled = file.read().split()
            if missing := [f"+{controller}" for controller in needed if controller not in enabled]:
                file.write(" ".join(missing))
