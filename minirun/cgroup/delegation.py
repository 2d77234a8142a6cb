"""Groups that were given to us: where, below somebody else's group, we may make our own.

    /sys/fs/cgroup
    ├── system.slice/work.service/       user.delegate = "1": systemd's mark of what Delegate= gave away
    │   └── here/                        DelegateSubgroup=here: a process in it may make groups beside it
    └── user.slice/user-1000.slice/
        └── user@1000.service/           delegated too, but to the user's manager, and so not to us
            └── app.slice/run-….scope/

See systemd.resource-control(5), Delegate=, and cgroup-v2.rst, "Delegation" and "No Internal Process Constraint".
"""

from __future__ import annotations

import os
from errno import ENODATA, ENOENT, ENOTSUP

from minirun import caller
from minirun.cgroup import control, hierarchy
from minirun.errors import Unsupported

BOOTED = "/run/systemd/system"  # there where systemd is PID 1: see sd_booted(3)


def delegated() -> str | None:
    """The nearest group above this process that was given to us to make groups in; None where there is none.

    systemd marks what it delegates (Delegate=, see systemd.resource-control(5)) by an extended attribute. Elsewhere an
    ordinary user has been given what he may write to. Of a user's own manager, user@1000.service, all belongs to the
    user, but its groups are the manager's to make: only what that one marks counts.

    Raises:
        Unsupported: there is such a group, and it has processes in it, so that groups below get no controllers.
    """
    mount, own = hierarchy.mount_point(), own_group()
    managed = os.path.isdir(BOOTED) and "/user@" in own
    crowded = ""
    while own.strip("/") and not _is_manager(own):
        directory = mount + own
        given = marked(directory)
        if given or (caller.UID and not managed and _writable(directory)):
            if not control.read(directory, "cgroup.procs"):
                return directory
            crowded = crowded or directory
        if given:
            break
        own = os.path.dirname(own)
    if crowded:
        raise Unsupported(
            "give the container a group of its own",
            f"{crowded} is delegated to us, but has processes in it, and then groups below it get no controllers",
            "start minirun in a group below it: in a service by DelegateSubgroup=minirun (systemd 254); elsewhere\n"
            f"`mkdir {crowded}/leaf; for pid in $(cat {crowded}/cgroup.procs); do echo $pid > "
            f"{crowded}/leaf/cgroup.procs; done`",
        )
    return None


def own_group() -> str:
    """The group of this process, from the root of the hierarchy: ``/user.slice/…``."""
    with open("/proc/self/cgroup") as file:
        for line in file:
            if line.startswith("0::"):
                return line[3:].rstrip("\n")
    return "/"


def manager() -> str:
    """The group of the manager of services that is ours to ask: the user's own, which has this process below it.

    Raises:
        Unsupported: it has not. The kernel lets an ordinary user move and start processes only between groups that have
            a group of that user's above both of them.
    """
    group = own_group()
    while group.strip("/"):
        if _is_manager(group):
            return group
        group = os.path.dirname(group)
    raise Unsupported(
        "limit the container",
        "this process is in no group that belongs to you, and the kernel lets processes pass between your groups alone",
        "start it below your own service manager: `systemd-run --user --scope minirun run …`",
    )


def _is_manager(group: str) -> bool:
    name = os.path.basename(group)
    return name.startswith("user@") and name.endswith(".service")


def marked(directory: str) -> bool:
    """Whether systemd gave the group *directory* away."""
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(directory, name) == b"1":
                return True
        except OSError as error:
            if error.errno not in (ENODATA, ENOTSUP, ENOENT):
                raise
    return False


def _writable(directory: str) -> bool:
    return all(os.access(f"{directory}/{name}", os.W_OK) for name in ("", "cgroup.procs", "cgroup.subtree_control"))
