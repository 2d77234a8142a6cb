"""Where a controller is, and what to do about it, from what kernels say on hosts of all kinds."""

from __future__ import annotations

import dataclasses

import pytest

from minirun.cgroup import controllers, hierarchy
from minirun.cgroup.controllers import Controller, Facts
from minirun.errors import Unsupported

PROC = """\
#subsys_name	hierarchy	num_cgroups	enabled
cpuset	3	1	1
cpu	0	1	1
cpuacct	2	1	1
blkio	7	12	1
memory	4	65	1
devices	5	1	1
hugetlb	0	1	1
pids	9	3	0
rdma	8	1	1
"""
MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime shared:9 - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:10 master:1 - cgroup cgroup rw,memory
38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2 = "/sys/fs/cgroup/unified"
HYBRID = Facts(V2, ("hugetlb",), (), top=True, crowded=True, mountinfo=MOUNTS, cgroups=PROC, systemd=False)
PURE = Facts(
    "/sys/fs/cgroup", ("cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc", "dmem"), ("memory", "pids"),
    top=True, crowded=False, mountinfo="", cgroups="", systemd=False,
)  # fmt: skip


def one(name: str, facts: Facts, **changes: object) -> Controller:
    """What is said of the controller *name*."""
    facts = dataclasses.replace(facts, **changes)  # type: ignore[arg-type]  # any field
    return next(found for found in controllers.list_all(facts) if found.name == name)


def test_on_a_pure_host_all_are_in_v2_and_nothing_is_to_do() -> None:
    found = controllers.list_all(PURE)
    assert {one.name for one in found} == set(PURE.there) >= set(controllers.KNOWN)
    assert all(one == Controller(one.name, True, "cgroup v2 at /sys/fs/cgroup") for one in found)


def test_one_that_v1_has_is_told_with_its_mount_point() -> None:
    memory = one("memory", HYBRID)
    assert (memory.usable, memory.where) == (False, "cgroup v1 at /sys/fs/cgroup/memory")
    assert one("cpuset", HYBRID).where == "cgroup v1 at /sys/fs/cgroup/cpuset"
    assert one("hugetlb", HYBRID) == Controller("hugetlb", True, f"cgroup v2 at {V2}")


def test_io_is_called_blkio_by_v1() -> None:
    assert one("io", HYBRID).where == "cgroup v1 at /sys/fs/cgroup/blkio"


def test_a_v1_hierarchy_that_is_mounted_elsewhere_is_told_so() -> None:
    assert one("rdma", HYBRID).where == "cgroup v1, mounted nowhere that this process sees"


def test_systemd_is_told_at_boot_to_leave_v1_alone() -> None:
    assert "systemd.unified_cgroup_hierarchy=1" in one("memory", HYBRID, systemd=True).remedy
    assert "cgroup_no_v1=all" in one("memory", HYBRID).remedy


def test_one_that_was_disabled_at_boot_is_told_with_the_word_that_did_it() -> None:
    pids = one("pids", HYBRID)
    assert pids.where == "disabled when the kernel was booted"
    assert "cgroup_disable=pids" in pids.remedy


def test_one_that_the_kernel_lacks_is_told_with_its_configuration() -> None:
    misc = one("misc", HYBRID)
    assert (misc.where, misc.remedy) == ("not in this kernel", "boot a kernel with CONFIG_CGROUP_MISC=y")


def test_one_that_no_hierarchy_has_wants_v2_mounted() -> None:
    cpu = one("cpu", HYBRID, mount="", there=())
    assert (cpu.where, cpu.remedy) == ("in no hierarchy", "mount one: `mount -t cgroup2 none /sys/fs/cgroup`")


def test_one_that_left_v1_with_groups_in_it_is_on_its_way() -> None:
    assert "on its way" in one("cpu", HYBRID).where


def test_in_a_cgroup_namespace_whoever_made_it_gives_them() -> None:
    cpu = one("cpu", HYBRID, top=False)
    assert cpu.where == f"not given to the cgroup namespace at {V2}"
    assert "echo +cpu" in cpu.remedy
    # the kernel may have it, for all that can be seen from here
    assert "or not given" in one("misc", HYBRID, top=False).where


def test_processes_at_the_root_of_a_namespace_are_in_the_way() -> None:
    facts = dataclasses.replace(PURE, top=False, crowded=True)
    assert one("memory", facts).usable, "it was enabled before they came"
    cpu = one("cpu", facts)
    assert not cpu.usable
    assert "processes are in it" in cpu.where
    assert "mkdir /sys/fs/cgroup/leaf" in cpu.remedy
    assert one("cpu", facts, top=True).usable, "the root of the hierarchy may have processes"


def test_systemd_passes_on_what_it_knows_and_no_more() -> None:
    facts = dataclasses.replace(PURE, systemd=True)
    assert one("memory", facts).usable
    assert not one("hugetlb", facts).usable
    assert "--cgroup-parent" in one("hugetlb", facts).remedy
    assert one("hugetlb", facts, top=False).usable, "what is below the root of a namespace is not systemd's"


def test_the_flags_that_need_a_controller_are_those_of_run() -> None:
    assert controllers.flags("memory")[0] == "--memory"
    assert "--oom-kill-disable" not in controllers.flags("memory")
    assert "--cpuset-cpus" in controllers.flags("cpuset")
    assert controllers.flags("pids") == ["--pids-limit", "--cgroup-conf pids.…"]
    assert controllers.flags("hugetlb") == ["--cgroup-conf hugetlb.…"]


def test_of_this_host_what_is_usable_is_in_its_hierarchy() -> None:
    try:
        there = hierarchy.controllers(hierarchy.mount_point())
    except Unsupported:
        pytest.skip("no cgroup v2 is mounted here")
    found = controllers.list_all()
    assert {one.name for one in found if one.usable} <= set(there)
    assert {one.name for one in found if one.where.startswith("cgroup v2")} == set(there)
    assert all(one.usable or one.remedy for one in found)
