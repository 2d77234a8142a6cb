"""A container gets no device of the host: root in it could change its mode, and that is one for everybody."""

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
        stdin, stdout, stderr = (given if number == place else other for number in range(3))
        command = store.command(("run", "--rm", "-i", "busybox", "sh", "-c", script))
        process = subprocess.Popen(command, env=store.environment(), stdin=stdin, stdout=stdout, stderr=stderr)
        assert process.wait(60) == 7
    status = null.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o666, 0, 0)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_container_cannot_change_the_terminal_that_it_was_started_from(store: Minirun, place: int) -> None:
    master, slave = os.openpty()
    try:
        os.fchmod(slave, 0o620)
        script = f"chmod 666 /proc/self/fd/{place}; [ -p /proc/self/fd/{place} ] && ! [ -t {place} ] && exit 7"
        command = store.command(("run", "--rm", "-i", "busybox", "sh", "-c", script))
        process = subprocess.Popen(command, env=store.environment(), stdin=slave, stdout=slave, stderr=slave)
        assert process.wait(60) == 7
        assert stat.S_IMODE(os.fstat(slave).st_mode) == 0o620
    finally:
        os.close(master)
        os.close(slave)
