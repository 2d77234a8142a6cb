"""Where the cgroup v2 hierarchy is mounted, and which controllers it has there.

    pure     /sys/fs/cgroup            every controller
    hybrid   /sys/fs/cgroup/unified    those that no cgroup v1 mount has taken: often none

See cgroups(7), "CGROUPS VERSION 2", and Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from errno import EBUSY

from minirun.errors import Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

OWN = "minirun"  # below it, and nowhere else, groups are made

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


def forget() -> None:
    """Look for it again the next time: this process is another command than it was."""
    _found.clear()


def path(container_id: str, parent: str = "") -> str:
    """The directory of a container's cgroup.

    Args:
        container_id: whose.
        parent: --cgroup-parent: a name is a group below minirun's own, an absolute path one of the whole hierarchy.
    """
    if parent.startswith("/"):
        return f"{mount_point()}{parent}/{container_id}"
    return f"{own()}/{parent}/{container_id}" if parent else f"{own()}/{container_id}"


def own() -> str:
    """The directory of the group that is minirun's own: made with the first container, gone with the last."""
    return f"{mount_point()}/{OWN}"


def is_own(directory: str) -> bool:
    """Whether a group is minirun's own, or below it: only those are made, changed and removed."""
    return f"{directory}/".startswith(f"{own()}/")


def is_scope(directory: str) -> bool:
    """Whether a group is a scope that systemd made for a container: see cgroup/scope.py."""
    return directory.endswith(".scope") and f"/{OWN}-" in directory


def controllers(directory: str) -> list[str]:
    """The controllers that the group *directory* may use.

    Raises:
        OSError: *directory* is no cgroup.
    """
    with open(f"{directory}/cgroup.controllers") as file:
        return file.read().split()


def enable(needed: Iterable[str], parent: str) -> None:
    """Make sure that groups in *parent*, which is minirun's own or below, have the controllers *needed*.

    What is missing is written, from the root of the hierarchy down to *parent*. The groups on that way have no
    processes of their own, as cgroup-v2.rst, "No Internal Process Constraint", wants it.

    Raises:
        Unsupported: the root of the hierarchy, as far as we see it, has processes of its own.
    """
    root = mount_point()
    directories = [root]
    for name in parent.removeprefix(f"{root}/").split("/"):
        directories.append(f"{directories[-1]}/{name}")
    for directory in directories:
        with open(f"{directory}/cgroup.subtree_control", "r+") as file:
            # In the last one also what is enabled is written: the file says so a moment before the groups below have
            # their files, and only who writes waits for that.
            enabled = file.read().split() if directory != parent else []
            missing = [f"+{controller}" for controller in needed if controller not in enabled]
            if not missing:
                continue
            try:
                file.write(" ".join(missing))
                file.flush()
            except OSError as error:
                if error.errno != EBUSY:
                    raise
                raise Unsupported(
                    f"enable {' '.join(missing)} in {directory}",
                    "EBUSY: the group has processes of its own, and cgroup v2 gives controllers to groups below only "
                    "where it has none",
                    f"move them: `mkdir {directory}/leaf; for pid in $(cat {directory}/cgroup.procs); "
                    f"do echo $pid > {directory}/leaf/cgroup.procs; done`",
                ) from None
