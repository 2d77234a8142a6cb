"""The comparison that every integration test rests on finds each kind of thing that can be left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minirun.cgroup.hierarchy import mount_point
from tests import host

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes mounts, links and cgroups: run as root")


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of this test run."""
    return tmp_path_factory.getbasetemp()


def left_behind(before: host.Snapshot, own: Path) -> list[str]:
    """Return the differences, without waiting for them to go."""
    return host.difference(before, host.snapshot(own))


@contextmanager
def running(*command: str, **options: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run *command* and kill it in the end."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def mounted(point: Path) -> Iterator[None]:
    """Mount a tmpfs."""
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", point], check=True)


def wait_until_sleeping(pid: int) -> None:
    """Wait until *pid* has become the program sleep."""
    while Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
        time.sleep(0.005)


def test_nothing_done_is_no_difference(own: Path) -> None:
    before = host.snapshot(own)
    assert left_behind(before, own) == []


@needs_root
def test_a_mount_left_behind_is_found(own: Path, tmp_path: Path) -> None:
    before = host.snapshot(own)
    with mounted(tmp_path / "here"):
        # not alone where a service in a mount namespace of its own sees it, too
        assert f"mounts: {tmp_path}/here (tmpfs, tmpfs) was left behind" in left_behind(before, own)


@needs_root
def test_a_mount_that_went_is_found(own: Path, tmp_path: Path) -> None:
    with mounted(tmp_path / "here"):
        before = host.snapshot(own)
    assert left_behind(before, own) == [f"mounts: {tmp_path}/here (tmpfs, tmpfs) is gone"]


@needs_root
def test_a_mount_of_another_test_run_is_not_ours(own: Path, tmp_path: Path) -> None:
    before = host.snapshot(tmp_path / "ours")
    with mounted(tmp_path / "theirs"):
        assert left_behind(before, tmp_path / "ours") == []


@needs_root
def test_mounts_left_below_our_directory_are_detached(tmp_path: Path) -> None:
    point = tmp_path / "with space"
    with mounted(tmp_path / "outside"):
        point.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point], check=True)
        (point / "inner").mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point / "inner"], check=True)
        host.unmount_below(point)
        assert not point.is_mount()
        assert (tmp_path / "outside").is_mount()


@needs_root
def test_a_link_left_behind_is_found(own: Path) -> None:
    before = host.snapshot(own)
    with running("unshare", "--net", "sleep", "100") as holder:
        wait_until_sleeping(holder.pid)
        # A pair, one end here: it goes with the namespace that has the other.
        add = ["ip", "link", "add", "mr-test0", "type", "veth", "peer", "name", "mr-test1", "netns", str(holder.pid)]
        subprocess.run(add, check=True)
        found = left_behind(before, own)
    assert "links: mr-test0 was left behind" in found
    assert "links: mr-test1 was left behind" not in found


@needs_root
def test_a_network_namespace_left_behind_is_found(own: Path) -> None:
    before = host.snapshot(own)
    with running("unshare", "--net", "sleep", "100") as holder:
        wait_until_sleeping(holder.pid)
        inode = Path(f"/proc/{holder.pid}/ns/net").readlink()
        assert f"network namespaces: {inode} was left behind" in left_behind(before, own)


@needs_root
@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_an_nft_table_left_behind_is_found(own: Path) -> None:
    before = host.snapshot(own)
    subprocess.run(["nft", "add", "table", "inet", "mr-test"], check=True)
    try:
        assert any("mr-test" in line for line in left_behind(before, own))
    finally:
        subprocess.run(["nft", "delete", "table", "inet", "mr-test"], check=True)


@needs_root
def test_a_cgroup_left_behind_is_found(own: Path) -> None:
    before = host.snapshot(own)
    group = Path(mount_point(), f"mr-test-{os.getpid()}")
    group.mkdir()
    try:
        assert left_behind(before, own) == [f"cgroups: {group} was left behind"]
    finally:
        group.rmdir()


def test_a_child_left_behind_is_found(own: Path) -> None:
    before = host.snapshot(own)
    with running("sleep", "100") as child:
        wait_until_sleeping(child.pid)
        found = left_behind(before, own)
    assert f"processes: {child.pid} (sleep) was left behind" in found
    assert not [line for line in found if line.startswith("network namespaces")]  # it is in ours


def test_a_child_that_nobody_waited_for_is_found(own: Path) -> None:
    before = host.snapshot(own)
    with running("true") as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert f"processes: {child.pid} (true) was left behind" in left_behind(before, own)


def test_a_process_that_left_the_family_is_found_by_its_environment(own: Path) -> None:
    before = host.snapshot(own)
    environment = {"PATH": os.environ["PATH"]}
    with running("sh", "-c", "MARK=$0 sleep 100 >/dev/null & echo $!", str(own), env=environment) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        parent.wait()
    try:
        wait_until_sleeping(orphan)
        assert f"processes: {orphan} (sleep) was left behind" in left_behind(before, own)
    finally:
        os.kill(orphan, 9)


@needs_root
def test_a_process_that_left_the_family_is_found_by_its_mounts(own: Path, tmp_path: Path) -> None:
    before = host.snapshot(own)
    inner = "mount -t tmpfs tmpfs $0 && exec env -i sleep 100 >/dev/null"
    script = f"unshare --mount sh -c '{inner}' $0 & echo $!"
    with running("sh", "-c", script, str(tmp_path)) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        parent.wait()
    try:
        wait_until_sleeping(orphan)
        assert f"processes: {orphan} (sleep) was left behind" in left_behind(before, own)
    finally:
        os.kill(orphan, 9)


def test_a_descriptor_left_open_is_found(own: Path) -> None:
    before = host.snapshot(own)
    descriptor = os.open("/etc/passwd", os.O_RDONLY)
    try:
        assert left_behind(before, own) == [f"descriptors: {descriptor} (/etc/passwd) was left behind"]
    finally:
        os.close(descriptor)


def test_a_descriptor_that_was_closed_is_found(own: Path) -> None:
    descriptor = os.open("/etc/passwd", os.O_RDONLY)
    before = host.snapshot(own)
    os.close(descriptor)
    assert left_behind(before, own) == [f"descriptors: {descriptor} (/etc/passwd) is gone"]


def test_what_ends_by_itself_is_waited_for(own: Path) -> None:
    before = host.snapshot(own)
    with running("sh", "-c", f"MARK={own} sleep 0.3 >/dev/null & echo") as parent:
        parent.wait()
    assert left_behind(before, own) != []
    assert host.settled_difference(before, own) == []
    with running("sleep", "100"):
        began_s = time.monotonic()
        assert host.settled_difference(before, own, patience_s=0.2) != []
        assert 0.2 <= time.monotonic() - began_s < 2


def test_a_process_is_foreign_when_its_family_was_there_before_us() -> None:
    us = os.getpid()
    rows = {
        1: (0, 0),  # the ancestor of all: proves nothing
        us: (us + 1, 100),
        us + 1: (1, 10),  # an old shell, from which we were started …
        us + 2: (us + 1, 200),  # … and what else it started meanwhile
        us + 3: (1, 200),  # came up alone: perhaps it left our family
        us + 4: (us + 3, 201),
        us + 5: (us, 200),
        us + 6: (us + 5, 201),
    }
    table = {pid: host.Process(pid, parent, ticks, "x", marked=False) for pid, (parent, ticks) in rows.items()}
    assert {pid for pid in table if host.is_foreign(table[pid], table)} == {us + 1, us + 2}
    assert {pid for pid in table if host.is_ours(table[pid], table)} == {us + 5, us + 6}
    table[us + 2] = host.Process(us + 2, us + 1, 200, "x", marked=True)
    assert host.is_ours(table[us + 2], table)
    assert not host.is_foreign(table[us + 2], table)
