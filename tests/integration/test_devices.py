"""Devices: the six that Docker gives open, and nothing that a container or an image makes opens anything."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests import busybox
from tests.command import Minirun

DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
# What a container may make, and must not be able to open: memory, the kernel's messages, fuse, kvm, and null itself.
NODES = {"mem": "c 1 1", "kmsg": "c 1 11", "null": "c 1 3", "zero": "c 1 5", "fuse": "c 10 229", "kvm": "c 10 232"}


def disk() -> str:
    """The device of the file system that this file is on, as mknod takes it."""
    device = Path(__file__).stat().st_dev
    return f"b {os.major(device)} {os.minor(device)}"


def test_the_devices_are_dockers(store: Minirun) -> None:
    script = "find / -xdev -type c -o -xdev -type b; find /dev -type c -o -type b"
    found = set(store("run", "--rm", "busybox", "sh", "-c", script, check=True).stdout.split())
    assert found == {*(f"/dev/{name}" for name in DEVICES), "/dev/pts/ptmx"}
    script = f"cd /dev; stat -c '%n %t %T %a %u %g' {' '.join(DEVICES)}"
    expected = "".join(f"{name} {major} {minor} 666 0 0\n" for name, (major, minor) in DEVICES.items())
    assert store("run", "--rm", "busybox", "sh", "-c", script, check=True).stdout == expected


def test_they_do_what_they_are_for(store: Minirun) -> None:
    script = """
        echo gone >/dev/null; cat /dev/null
        for name in zero full random urandom; do dd if=/dev/$name bs=16 count=1 2>/dev/null | wc -c; done
        (echo x >/dev/full) 2>&1
        (: </dev/tty) 2>&1
        ls -l /dev/fd /dev/stdin /dev/stdout /dev/stderr /dev/ptmx /dev/core | sed 's/.* -> //'"""
    lines = store("run", "--rm", "busybox", "sh", "-c", script, check=True).stdout.splitlines()
    assert lines[:4] == ["16"] * 4
    assert "No space left on device" in lines[4]
    assert "No such device or address" in lines[5]  # there is no terminal
    assert sorted(lines[6:]) == sorted(
        ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx", "/proc/kcore"]
    )


def test_they_open_for_who_is_not_root(store: Minirun) -> None:
    script = "for name in null zero full random urandom; do : <>/dev/$name && echo $name; done"
    printed = store("run", "--rm", "-u", "4242:4242", "busybox", "sh", "-c", script, check=True).stdout
    assert printed.split() == ["null", "zero", "full", "random", "urandom"]


@pytest.mark.parametrize("place", ["/", "/dev", "/dev/shm", "/tmp", "/fresh", "/data", "/root/deep"])
def test_a_node_that_the_container_makes_opens_nothing(store: Minirun, tmp_path: Path, place: str) -> None:
    node = tmp_path / "host-null"
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    node.read_bytes()  # the host's own answer: here such a node opens
    nodes = {**NODES, "disk": disk()}
    script = f"mkdir -p {place}/nodes; cd {place}/nodes\n" + "\n".join(
        f"mknod {name} {numbers} && echo made; (: <{name}) 2>&1 && echo OPENED; (: >>{name}) 2>&1 && echo OPENED"
        for name, numbers in nodes.items()
    )
    (tmp_path / "data").mkdir()
    flags = ("--tmpfs", "/fresh:exec,suid", "-v", f"{tmp_path}/data:/data")
    lines = store("run", "--rm", *flags, "busybox", "sh", "-c", script).stdout.splitlines()
    assert lines.count("made") == len(nodes)  # CAP_MKNOD is one of Docker's
    assert sum("Permission denied" in line for line in lines) == 2 * len(nodes)
    assert "OPENED" not in lines


def test_a_node_of_the_hosts_opens_nothing_through_a_volume(store: Minirun, tmp_path: Path) -> None:
    os.mknod(tmp_path / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    flags = ("-v", f"{tmp_path}:/data", "-v", "/dev/zero:/tmp/zero", "-v", "/dev:/tmp/dev")
    script = "for path in /data/zero /tmp/zero /tmp/dev/zero; do (: <$path) 2>&1 && echo OPENED; done; true"
    lines = store("run", "--rm", *flags, "busybox", "sh", "-c", script, check=True).stdout.splitlines()
    assert ["Permission denied" in line for line in lines] == [True] * 3


def test_a_node_of_an_image_opens_nothing(store: Minirun, tmp_path: Path) -> None:
    base = busybox.tree(tmp_path / "image")
    for name, device in (("zero", (1, 5)), ("mem", (1, 1))):
        os.mknod(base / name, stat.S_IFCHR | 0o666, os.makedev(*device))
    script = "ls -l /zero /mem | cut -c 1; (: </zero) 2>&1; (: </mem) 2>&1; true"
    lines = store("run", "--rm", tmp_path / "image", "sh", "-c", script, check=True).stdout.splitlines()
    assert lines[:2] == ["c", "c"]
    assert ["Permission denied" in line for line in lines[2:]] == [True, True]


def test_a_disk_cannot_be_mounted_from_inside(store: Minirun) -> None:
    script = f"mknod /disk {disk()}; mount -t ext4 /disk /tmp 2>&1; true"
    assert "denied" in store("run", "--rm", "busybox", "sh", "-c", script, check=True).stdout
