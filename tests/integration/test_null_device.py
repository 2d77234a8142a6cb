"""A container gets a null device of its own: that of the host has one mode for everybody, and root can change it."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Minirun


@pytest.fixture
def null(tmp_path: Path) -> Iterator[Path]:
    """A null device of the host that may be spoilt."""
    path = tmp_path / "null"
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    path.chmod(0o666)
    yield path
    path.unlink()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_container_cannot_change_the_null_device_of_the_host(store: Minirun, null: Path, place: int) -> None:
    script = f"chmod 600 /proc/self/fd/{place}; chown 1:1 /proc/self/fd/{place}; [ -c /proc/self/fd/{place} ] && exit 7"
    with null.open("r+b") as given, Path("/dev/zero").open("r+b") as other:
        streams = {
            name: given if number == place else other for number, name in enumerate(("stdin", "stdout", "stderr"))
        }
        command = store.command(("run", "--rm", "-i", "busybox", "sh", "-c", script))
        assert subprocess.run(command, env=store.environment(), check=False, timeout=60, **streams).returncode == 7
    status = null.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o666, 0, 0)
