"""What a container's own mounts are, and that what an image has in their places leads no write of ours astray."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import busybox
from tests.command import Minirun
from tests.running import running

BARRED = {"nosuid", "nodev", "noexec"}
# mount point → kind, options of the mount, options of the file system, mode and group of its root
DOCKERS = {
    "/proc": ("proc", BARRED, set(), "555 0"),
    "/dev": ("tmpfs", {"nosuid"}, {"size=65536k", "mode=755"}, "755 0"),
    "/dev/pts": ("devpts", {"nosuid", "noexec"}, {"gid=5", "mode=620", "ptmxmode=666"}, "755 0"),
    "/sys": ("sysfs", BARRED | {"ro"}, set(), "555 0"),
    "/sys/fs/cgroup": ("cgroup2", BARRED | {"ro"}, set(), "755 0"),
    "/dev/mqueue": ("mqueue", BARRED, set(), "1777 0"),
    "/dev/shm": ("tmpfs", BARRED, {"size=65536k"}, "1777 0"),
}


@pytest.mark.parametrize("how", ["run", "exec", "run -t"])
def test_the_mounts_are_dockers(store: Minirun, how: str) -> None:
    script = f"cat /proc/self/mountinfo; echo; for p in {' '.join(DOCKERS)}; do stat -c '%a %g' $p; done"
    words = ("busybox", "sh", "-c", script)
    if how == "exec":
        with running(store, "mounts", "sleep", "1000"):
            printed = store("exec", "mounts", *words[1:], check=True).stdout
    else:
        printed = store("run", "--rm", *how.split()[1:], *words, check=True).stdout
    table, _, modes = printed.replace("\r", "").partition("\n\n")
    found = {}
    for line in table.splitlines():
        left, _, right = line.partition(" - ")
        found[left.split()[4]] = (right.split()[0], set(left.split()[5].split(",")), set(right.split()[2].split(",")))
    for (point, (kind, options, of_kind, root)), mode in zip(DOCKERS.items(), modes.splitlines(), strict=True):
        assert found[point][0] == kind, point
        assert options <= found[point][1], point
        assert of_kind <= found[point][2], point
        assert mode == root, point


SYSCTL = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@pytest.mark.parametrize("game", ["a link at /proc/sys", "a link at /sys", "a link at /etc", "memory at /run", "none"])
def test_what_is_set_for_a_container_is_set_there_and_never_on_the_host(
    store: Minirun, tmp_path: Path, game: str
) -> None:
    """CVE-2025-52881: by what is in the way, a write went to a file that the image had chosen."""
    canary = tmp_path / "canary"
    canary.write_text("host\n")
    before = SYSCTL.read_text(), Path("/proc/sys/kernel/core_pattern").read_text()
    base = busybox.tree(tmp_path / "image")
    flags: tuple[str, ...] = ()
    if game.startswith("a link"):
        place = base / game.rpartition("/")[2] if "proc" not in game else base / "proc/sys"
        if place.is_dir():
            place = place / "kernel"
        place.symlink_to("../../../../proc/sys/kernel/core_pattern")
    elif game == "memory at /run":
        flags = ("--tmpfs", "/run", "-v", f"{tmp_path}:/run/host:ro")
    told = ("--sysctl", "net.ipv4.ip_unprivileged_port_start=7", "--sysctl", "kernel.shm_rmid_forced=1")
    printed = store("run", "--rm", *told, *flags, tmp_path / "image", "cat", str(SYSCTL), check=True).stdout
    assert printed == "7\n"
    assert before == (SYSCTL.read_text(), Path("/proc/sys/kernel/core_pattern").read_text())
    assert canary.read_text() == "host\n"
