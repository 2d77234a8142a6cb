"""What of the host a container sees, shares or holds: nothing that it was not given."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from tests import busybox
from tests.command import Minirun

DOCKERS_CAPABILITIES = "00000000a80425fb"
NAMESPACES = ("pid", "net", "ipc", "mnt", "uts", "cgroup")
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def inside(store: Minirun, script: str, *flags: str) -> str:
    return store("run", "--rm", *flags, "busybox", "sh", "-c", script, check=True).stdout


def capabilities(status: str) -> dict[str, str]:
    return {line.partition(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Cap")}


@contextmanager
def running(store: Minirun, *flags: str | Path) -> Iterator[int]:
    """Keep a container running; gives the host's id of its first process."""
    before = set(busybox.containers(store.root))
    pipe = subprocess.PIPE
    command = store.command(("run", "--rm", "-i", *flags, "busybox", "sh", "-c", "echo on; read end"))
    with subprocess.Popen(command, env=store.environment(), stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        (new,) = set(busybox.containers(store.root)) - before
        (pid,) = Path(hierarchy.path(new), "cgroup.procs").read_text().split()
        yield int(pid)
        process.communicate(b"\n")
        assert process.returncode == 0


def test_it_has_namespaces_of_its_own(store: Minirun) -> None:
    own = dict(line.split() for line in inside(store, "cd /proc/self/ns; for n in *; do echo $n $(readlink $n); done")
               .splitlines())  # fmt: skip
    different = {name for name, link in own.items() if link != str(Path("/proc/self/ns", name).readlink())}
    assert different == {*NAMESPACES, "pid_for_children"}


def test_network_host_shares_the_hosts_network_and_its_name_and_nothing_else(store: Minirun) -> None:
    script = "readlink /proc/self/ns/net; readlink /proc/self/ns/uts; hostname"
    net, uts, name = inside(store, script, "--network", "host").splitlines()
    assert net == str(Path("/proc/self/ns/net").readlink())
    assert uts != str(Path("/proc/self/ns/uts").readlink())
    assert name == socket.gethostname()


def test_it_can_talk_to_itself_over_loopback(store: Minirun) -> None:
    assert "1 packets received" in inside(store, "ping -c 1 -W 1 127.0.0.1")


def test_root_has_dockers_capabilities_and_none_that_an_exec_hands_on(store: Minirun) -> None:
    empty = "0" * 16
    expected = {**dict.fromkeys(SETS, DOCKERS_CAPABILITIES), "CapInh": empty, "CapAmb": empty}
    assert capabilities(inside(store, "cat /proc/self/status")) == expected


@pytest.mark.parametrize("user", ["alice", "4242:0", "0:1000"])
def test_who_is_not_root_has_no_capability(store: Minirun, user: str) -> None:
    found = capabilities(inside(store, "cat /proc/self/status", "-u", user))
    expected = "0" * 16 if not user.startswith("0") else DOCKERS_CAPABILITIES
    assert found["CapEff"] == found["CapPrm"] == expected
    assert found["CapInh"] == found["CapAmb"] == "0" * 16
    assert found["CapBnd"] == DOCKERS_CAPABILITIES


def test_it_cannot_mount_nor_leave_its_namespaces(store: Minirun) -> None:
    script = """
        mount -t tmpfs none /tmp 2>&1; mount -o remount,rw /sys 2>&1; mount -o remount,dev /dev 2>&1
        busybox unshare -m true 2>&1; hostname other 2>&1; busybox mount --bind /proc/sys /tmp 2>&1"""
    lines = inside(store, script + "\ntrue").splitlines()
    assert len(lines) == 6
    assert all("denied" in line or "not permitted" in line for line in lines), lines


def test_nothing_it_sees_is_a_shared_mount(store: Minirun) -> None:
    table = inside(store, "cat /proc/self/mountinfo")
    assert " / / " in table
    assert not re.search(" (shared|master|propagate_from|unbindable):?", table)


def test_a_volume_on_a_shared_mount_shares_nothing_with_it(store: Minirun, tmp_path: Path) -> None:
    point = tmp_path / "shared"
    (point / "later").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "shared", point], check=True)
    try:
        subprocess.run(["mount", "--make-shared", point], check=True)
        (point / "later").mkdir()
        assert f"{point} rw" in Path("/proc/self/mountinfo").read_text()
        with running(store, "-v", f"{point}:/data") as pid:
            table = Path(f"/proc/{pid}/mountinfo").read_text()
            assert " /data " in table
            assert "shared:" not in table
            subprocess.run(["mount", "-t", "tmpfs", "late", point / "later"], check=True)
            assert "/data/later" not in Path(f"/proc/{pid}/mountinfo").read_text()
            subprocess.run(["umount", point / "later"], check=True)
    finally:
        subprocess.run(["umount", point], check=True)


def test_the_hosts_mounts_are_the_same_during_and_after(store: Minirun, tmp_path: Path) -> None:
    def ours() -> list[str]:  # of this test run; other work goes on beside it
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if str(store.root.parent) in line or not line.split()[4].startswith("/tmp")]

    before = ours()
    with running(store, "-v", f"{tmp_path}:/data", "--tmpfs", "/run") as pid:
        assert len(Path(f"/proc/{pid}/mountinfo").read_text().splitlines()) > 20
        assert ours() == before
    assert ours() == before


def test_its_processes_are_in_its_own_cgroup_which_is_the_root_that_it_sees(store: Minirun) -> None:
    with running(store) as pid:
        line = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
        (box,) = busybox.containers(store.root)
        assert line == f"0::/minirun/{box}"
    script = "grep ^0:: /proc/self/cgroup; (: >/sys/fs/cgroup/cgroup.procs) 2>&1; mkdir /sys/fs/cgroup/x 2>&1; true"
    lines = inside(store, script).splitlines()
    assert lines[0] == "0::/"
    assert [("Read-only file system" in line) for line in lines[1:]] == [True, True]


def test_it_sees_only_its_own_processes(store: Minirun) -> None:
    assert inside(store, "echo /proc/[0-9]*") == "/proc/1\n"


def test_what_docker_hides_reads_empty(store: Minirun) -> None:
    files = ("interrupts", "kcore", "keys", "latency_stats", "sched_debug", "timer_list", "timer_stats")
    there = [path for path in (f"/proc/{name}" for name in files) if Path(path).exists()]
    folders = ("/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/devices/virtual/powercap", "/sys/firmware")
    there += [path for path in folders if Path(path).is_dir()]
    assert {"/proc/interrupts", "/proc/keys", "/sys/firmware"} <= set(there)
    for path in there:
        script = f"if [ -d {path} ]; then ls -A {path}; touch {path}/x 2>/dev/null; else cat {path}; fi; true"
        assert inside(store, script) == "", path


@pytest.mark.parametrize(
    "path",
    ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory",
     "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/sys/kernel/mm/transparent_hugepage/enabled"],
)  # fmt: skip
def test_what_would_change_the_host_is_read_only(store: Minirun, path: str) -> None:
    if not Path(path).exists():
        pytest.skip(f"this kernel has no {path}")
    before = Path(path).read_text() if path != "/proc/sysrq-trigger" else ""
    assert "Read-only file system" in inside(store, f"(: >>{path}) 2>&1; true")
    assert not before or Path(path).read_text() == before


def test_the_root_it_came_from_is_out_of_reach(store: Minirun) -> None:
    script = "stat -c %i / /.. /../..; cd /; cd ../../..; pwd; ls -d /work /var/lib/dpkg 2>/dev/null; true"
    lines = inside(store, script).splitlines()
    assert len(set(lines[:3])) == 1
    assert lines[3:] == ["/"]
