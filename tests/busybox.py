"""An image of one busybox, to which a test adds what the test is about; and a store as it lies on the disk."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from pathlib import Path
from typing import Any

from tests.command import PATIENCE, SOCKET

BUSYBOX = Path("/bin/busybox")  # of the package busybox-static, which the fixtures are made from
APPLETS = (
    "sh", "cat", "chmod", "cut", "dd", "echo", "env", "false", "grep", "hostname", "id", "kill", "ls", "mkdir", "mknod",
    "mount", "mv", "ps", "pwd", "readlink", "rm", "sleep", "stat", "stty", "timeout", "touch", "true", "tty",
)  # fmt: skip


def tree(directory: Path, config: dict[str, Any] | None = None) -> Path:
    """Make the layer directory ``directory/00-base``; *directory* is what `run` takes.

    Args:
        directory: does not exist yet.
        config: the inner object of an image config: ``{"User": "alice"}``.

    Returns:
        The layer, for the test to add to.
    """
    base = directory / "00-base"
    for folder in ("bin", "etc", "tmp", "proc", "sys", "dev"):
        (base / folder).mkdir(parents=True)
    shutil.copy2(BUSYBOX, base / "bin/busybox")
    for applet in APPLETS:
        (base / "bin" / applet).symlink_to("busybox")
    (base / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n")
    (base / "etc/group").write_text("root:x:0:\nalice:x:1000:\nstaff:x:50:alice\n")
    if config is not None:
        (directory / "image.json").write_text(json.dumps({"config": config}))
    return base


def contents(root: Path) -> dict[str, tuple[object, ...]]:
    """Everything below *root* with its mode, its owner, and what it holds or where it leads.

    The times of directories are left out: a refused command may make things and take them away again.
    """
    found: dict[str, tuple[object, ...]] = {}
    end = time.monotonic() + PATIENCE
    # after a warm start its last files go when the client has ended
    while SOCKET and (any((root / "tmp").glob("*")) or any((root / "marks").glob("*"))) and time.monotonic() < end:
        time.sleep(0.005)
    for folder, _, _ in os.walk(root):
        for path in Path(folder).iterdir():
            status = path.lstat()
            what: object = None
            if stat.S_ISREG(status.st_mode):
                what = (status.st_size, status.st_mtime_ns)
            elif stat.S_ISLNK(status.st_mode):
                what = path.readlink()
            found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, status.st_gid, what)
    return found


def containers(root: Path) -> list[str]:
    """The ids of the containers in the store *root*."""
    return sorted(path.name for path in (root / "containers").iterdir())
