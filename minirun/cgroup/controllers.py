"""Where each controller of cgroups is on this host, and how it comes to where limits need it.

    /proc/self/mountinfo     … - cgroup2 …                   the v2 hierarchy
                             … - cgroup … rw,memory          a controller that cgroup v1 has taken from it
    cgroup.controllers       memory pids                     those that v2 has, or that we were given of it
    cgroup.subtree_control   pids                            those that groups have already
    /proc/cgroups            memory  4  65  0                hierarchy 4 (0 is v2), 65 groups, disabled at boot

A controller is in one hierarchy at a time. See cgroups(7), "CGROUPS VERSION 2" and "/proc files".
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from minirun.cgroup import delegation, hierarchy, limits
from minirun.cgroup.systemd import DELEGATES
from minirun.errors import Unsupported

# name → the option with which a kernel has it
KNOWN = {
    "cpu": "CONFIG_CGROUP_SCHED", "cpuset": "CONFIG_CPUSETS", "io": "CONFIG_BLK_CGROUP", "memory": "CONFIG_MEMCG",
    "pids": "CONFIG_CGROUP_PIDS", "hugetlb": "CONFIG_CGROUP_HUGETLB", "rdma": "CONFIG_CGROUP_RDMA",
    "misc": "CONFIG_CGROUP_MISC",
}  # fmt: skip
_IN_V1 = {"io": "blkio"}  # what v1 calls it, where that differs
_REFUSED = "oom-kill-disable"  # on cgroup v2, whatever controllers there are
_BOOT = "on the kernel's command line: in GRUB_CMDLINE_LINUX of /etc/default/grub, then `update-grub` and `reboot`"


@dataclass(frozen=True, slots=True)
class Controller:
    """One controller.

    Attributes:
        name: as v2 calls it.
        usable: whether containers can have limits by it.
        where: ``cgroup v1 at /sys/fs/cgroup/memory``.
        remedy: what to type to have it in v2; empty where it is.
    """

    name: str
    usable: bool
    where: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the kernel says; `of_host` reads it.

    Attributes:
        mount: where v2 is mounted, or empty.
        there: the controllers in its cgroup.controllers.
        enabled: those in its cgroup.subtree_control.
        top: whether that is the root of the hierarchy, and not that of a cgroup namespace.
        crowded: whether it has processes of its own; only the root may have them and give controllers away.
        mountinfo: /proc/self/mountinfo.
        cgroups: /proc/cgroups.
        systemd: whether systemd keeps the tree.
    """

    mount: str
    there: tuple[str, ...]
    enabled: tuple[str, ...]
    top: bool
    crowded: bool
    mountinfo: str
    cgroups: str
    systemd: bool

    @classmethod
    def of_host(cls) -> Facts:
        """Read them now."""
        try:
            mount = hierarchy.mount_point()
        except Unsupported:
            mount = ""
        return cls(
            mount=mount,
            there=tuple(hierarchy.controllers(mount)) if mount else (),
            enabled=tuple(_text(f"{mount}/cgroup.subtree_control").split()) if mount else (),
            top=not os.path.exists(f"{mount}/cgroup.type"),
            crowded=bool(mount and _text(f"{mount}/cgroup.procs")),
            mountinfo=_text("/proc/self/mountinfo"),
            cgroups=_text("/proc/cgroups"),
            systemd=os.path.isdir(delegation.BOOTED),
        )


def list_all(facts: Facts | None = None) -> list[Controller]:
    """Every controller that is known, or that the kernel has in v2; by default of this host, now."""
    facts = facts or Facts.of_host()
    names = dict.fromkeys([*KNOWN, *facts.there])
    return [_in_v2(name, facts) if name in facts.there else _elsewhere(name, facts) for name in names]


def flags(name: str) -> list[str]:
    """The flags of `run` that need a controller."""
    own: Iterable[str] = ()
    for module in limits.CONTROLLERS:
        if module.__name__.rpartition(".")[2] == name:
            own = module.FLAGS
    return [*(f"--{flag}" for flag in own if flag != _REFUSED), f"--cgroup-conf {name}.…"]


def _in_v2(name: str, facts: Facts) -> Controller:
    where = f"cgroup v2 at {facts.mount}"
    if facts.top and facts.systemd and name not in DELEGATES:
        return Controller(
            name, False, f"{where}, where systemd passes it on to nobody",
            f"make a group that has it, and give it as --cgroup-parent: `echo +{name} > "
            f"{facts.mount}/cgroup.subtree_control; mkdir {facts.mount}/parent; "
            f"echo +{name} > {facts.mount}/parent/cgroup.subtree_control`",
        )  # fmt: skip
    if facts.crowded and not facts.top and name not in facts.enabled:
        return Controller(
            name, False, f"{where}, but not for groups in it, as processes are in it",
            f"move them: `mkdir {facts.mount}/leaf; for pid in $(cat {facts.mount}/cgroup.procs); "
            f"do echo $pid > {facts.mount}/leaf/cgroup.procs; done`",
        )  # fmt: skip
    return Controller(name, True, where)


def _elsewhere(name: str, facts: Facts) -> Controller:
    old = _IN_V1.get(name, name)
    row = next((row for row in _rows(facts.cgroups) if row[0] == old), None)
    if row is None:
        # from Linux 6.15 on /proc/cgroups tells of v1 alone, and v2 may have it without telling those below
        if not facts.top:
            return Controller(name, False, "not in this kernel, or not given to this cgroup namespace", _given(name))
        return Controller(name, False, "not in this kernel", f"boot a kernel with {KNOWN[name]}=y")
    _, number, _, enabled = row
    if enabled == "0":
        return Controller(
            name, False, "disabled when the kernel was booted",
            f"boot without cgroup_disable={old}, or with cgroup_enable={old}, {_BOOT}",
        )  # fmt: skip
    if number != "0":
        point = next((point for point, options in _v1_mounts(facts.mountinfo) if old in options), "")
        where = f"cgroup v1 at {point}" if point else "cgroup v1, mounted nowhere that this process sees"
        boot = "systemd.unified_cgroup_hierarchy=1" if facts.systemd else "cgroup_no_v1=all"
        return Controller(name, False, where, f"boot with {boot} {_BOOT}")
    if not facts.mount:
        return Controller(name, False, "in no hierarchy", "mount one: `mount -t cgroup2 none /sys/fs/cgroup`")
    if facts.top:
        return Controller(
            name, False, "not in cgroup v2 yet: it is on its way from a cgroup v1 that was unmounted",
            "end the processes that are in groups of that cgroup v1, or reboot",
        )  # fmt: skip
    return Controller(name, False, f"not given to the cgroup namespace at {facts.mount}", _given(name))


def _given(name: str) -> str:
    return (
        f"outside of this container, let its group have it: Delegate=yes of a systemd unit, or `echo +{name} > "
        "/sys/fs/cgroup/…/cgroup.subtree_control` in every group above it"
    )


def _rows(cgroups: str) -> Iterator[list[str]]:
    for line in cgroups.splitlines():
        row = line.split()
        if len(row) == 4 and not line.startswith("#"):
            yield row


def _v1_mounts(mountinfo: str) -> Iterator[tuple[str, list[str]]]:
    """The mount points of cgroup v1, and what the options of each one's file system are."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        words = right.split()
        if words[:1] == ["cgroup"]:
            yield left.split()[4], words[-1].split(",")


def _text(path: str) -> str:
    try:
        with open(path, errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""  # /proc/cgroups, of a kernel without cgroup v1; or no such file in this group
