"""--device-write-bps, on the guest's own disk."""

from __future__ import annotations

import os
from collections.abc import Callable

from tests.command import Minirun
from tests.vm.box import READY, Box, within
from tests.vm.conftest import Disk

MIB = 1 << 20
# dd with oflag=direct, which busybox has not, and what it is linked to. Without the page cache between, a write is
# charged to who writes, when he writes.
DD = ("/usr/bin/dd:/bin/direct:ro", "/usr/lib64:/lib64:ro", "/usr/lib/x86_64-linux-gnu:/lib/x86_64-linux-gnu:ro")


def test_writes_are_as_fast_as_allowed_and_as_an_update_allows(
    start: Callable[..., Box], store: Minirun, disk: Disk
) -> None:
    volumes = [word for volume in (*DD, f"{disk.point}:/disk") for word in ("-v", volume)]
    write = "direct if=/dev/zero of=/disk/file bs=64k count=1600 oflag=direct conv=notrunc 2>/dev/null"
    script = f"{READY} while {write}; do :; done"
    box = start("--device-write-bps", f"{disk.device}:2mb", *volumes, "busybox", "sh", "-c", script)
    within(2 * MIB * 0.85, 2 * MIB * 1.15, lambda: box.rate("io.stat", "wbytes", 3))
    number = disk.device.stat().st_rdev
    faster = f"io.max={os.major(number)}:{os.minor(number)} wbps={4 * MIB}"
    store("update", "--cgroup-conf", faster, box.id, check=True)
    within(4 * MIB * 0.85, 4 * MIB * 1.15, lambda: box.rate("io.stat", "wbytes", 3))
