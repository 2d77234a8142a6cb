"""Everything a run of the benchmark makes, on a new file system that vanishes with it: also on Ctrl-C and kill -9.

    /var/tmp/….img  ─▶  loop device  ─▶  ext4 at /var/tmp/minirun-bench, in a mount namespace of our own
    unlinked once attached

In that namespace /sys/fs/cgroup is cgroup v2, also where the host mixes it with v1.

Why not a directory: ext4 does not give out inodes that were freed in the last minutes, and goes through all of them for
every new file. A tree removed shortly before, say by the last benchmark, makes unpacking up to ten times slower.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

from bench.contest import Failure

CLONE_NEWNS = 0x20000  # linux/sched.h
SIZE_GB = 24
PLACE = Path("/var/tmp")  # noqa: S108 - a disk, like that on which stores live; /tmp may be memory
CGROUP = "minirun-bench"  # the group below which podman makes its groups
CGROUP_MOUNT = Path("/sys/fs/cgroup")
BLOB_CACHE = Path("/var/lib/containers/cache/blob-info-cache-v1.boltdb")  # podman's; no option moves it


class Scratch:
    """A file system of SIZE_GB that is there within the ``with``.

    Attributes:
        path: where it is mounted, for us and our children.
    """

    path = PLACE / "minirun-bench"  # short: podman takes no store whose path has more than 50 characters

    def __enter__(self) -> Scratch:
        """Make it; from now on SIGTERM and SIGHUP end us as tidily as Ctrl-C does.

        Raises:
            Failure: there is no room, or this host has no loop devices.
        """
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _leave)
        self._had_blob_cache = BLOB_CACHE.exists()
        free_gb = shutil.disk_usage(PLACE).free / 1e9
        if free_gb < SIZE_GB * 1.25:
            raise Failure(f"{SIZE_GB * 1.25:.0f} GB are needed in {PLACE}, and {free_gb:.0f} are free")
        if ctypes.CDLL(None).unshare(CLONE_NEWNS):
            raise Failure("a mount namespace could not be made")
        _do("mount", "--make-rprivate", "/")
        _show_v2_alone()
        self.path.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=PLACE, prefix="minirun-bench-", suffix=".img") as image:
            os.posix_fallocate(image.fileno(), 0, SIZE_GB << 30)
            _do(
                "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", image.name
            )
            device = _do("losetup", "--find", "--show", "--direct-io=on", image.name)
        # noinit_itable: the kernel would write inode tables in the background, in the middle of the measuring
        try:
            _do("mount", "-t", "ext4", "-o", "noinit_itable", device, self.path)
        finally:
            _do("losetup", "--detach", device)  # once it is unmounted
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Remove it, and what the peers made elsewhere."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        _do("umount", "--lazy", "--recursive", self.path)
        self.path.rmdir()
        _remove_groups()
        if not self._had_blob_cache:
            BLOB_CACHE.unlink(missing_ok=True)
            for folder in BLOB_CACHE.parents[:2]:
                try:
                    folder.rmdir()
                except OSError:
                    break  # it holds something, or was never made

    def folder(self, name: str) -> Path:
        """Make the directory *name* of it."""
        path = self.path / name
        path.mkdir(parents=True, exist_ok=True)
        return path


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _do(program: str, *arguments: str | Path) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{program}: {done.stderr.strip()}")
    return done.stdout.strip()


def _show_v2_alone() -> None:
    """Where cgroup v1 and v2 are mixed, have v2 alone, all of us: crun refuses the mixture, and runc has more to do."""
    if not (CGROUP_MOUNT / "cgroup.controllers").exists():
        _do("umount", "--lazy", "--recursive", CGROUP_MOUNT)
        _do("mount", "-t", "cgroup2", "cgroup2", CGROUP_MOUNT)


def _remove_groups() -> None:
    for folder, _, _ in os.walk(CGROUP_MOUNT / CGROUP, topdown=False):
        try:
            os.rmdir(folder)  # noqa: PTH106
        except OSError:
            continue  # something lives in it: not ours to end
