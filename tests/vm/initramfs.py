"""The guest's first file system: a cpio archive that the kernel unpacks into memory.

header   "070701", then thirteen numbers of eight hexadecimal digits: inode mode uid gid links mtime size,
         device (2), device of a node (2), length of the name with its NUL, 0
name     NUL-terminated; header and name together padded to four bytes
data     padded to four bytes
…        and at the end an empty file named TRAILER!!!

See the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return the archive of *files* by their path; each may be executed, and its directory is made."""
    entries: dict[str, tuple[int, bytes]] = {}
    for path, data in files.items():
        parts = path.split("/")
        for depth in range(1, len(parts)):
            entries["/".join(parts[:depth])] = (stat.S_IFDIR | 0o755, b"")
        entries[path] = (stat.S_IFREG | 0o755, data)
    made = [_entry(number, path, mode, data) for number, (path, (mode, data)) in enumerate(entries.items(), 1)]
    return b"".join([*made, _entry(0, "TRAILER!!!", 0, b"")])


def _entry(inode: int, path: str, mode: int, data: bytes) -> bytes:
    name = path.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    return _padded(b"070701" + b"".join(b"%08X" % field for field in fields) + name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
