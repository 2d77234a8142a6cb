"""Trees of files, described so that two of them can be compared, and stacks of them as the kernel shows them."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minirun.layer import stack

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


@dataclass(frozen=True)
class Node:
    """What is known of one entry; `content` is a symlink's target, too, `first` the first name of its inode."""

    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    first: bytes = b""


def describe(top: Path | str | bytes, *, overlay: bool = False) -> dict[bytes, Node]:
    """Map the path of everything below *top*, and of *top* itself as ``b""``, to what it is.

    Args:
        top: a directory.
        overlay: whether overlayfs' own xattrs count.
    """
    start = os.fsencode(top)
    inodes: dict[tuple[int, int], bytes] = {}
    nodes: dict[bytes, Node] = {}
    pending = [b""]
    while pending:
        path = pending.pop()
        here = start + b"/" + path if path else start
        info = os.lstat(here)
        kind = KINDS[stat.S_IFMT(info.st_mode)]
        content = b""
        if kind == "directory":
            pending += sorted((path + b"/" + name if path else name for name in os.listdir(here)), reverse=True)
        elif kind == "symlink":
            content = os.readlink(here)  # noqa: PTH115 - names are bytes
        elif kind == "file":
            content = Path(os.fsdecode(here)).read_bytes()
        nodes[path] = Node(
            kind=kind,
            mode=stat.S_IMODE(info.st_mode),
            uid=info.st_uid,
            gid=info.st_gid,
            mtime_ns=info.st_mtime_ns,
            content=content,
            device=(os.major(info.st_rdev), os.minor(info.st_rdev)),
            xattrs=tuple(
                (name, os.getxattr(here, name, follow_symlinks=False))
                for name in sorted(os.listxattr(here, follow_symlinks=False))
                if overlay or not name.startswith("trusted.overlay.")
            ),
            first=path if kind == "directory" else inodes.setdefault((info.st_dev, info.st_ino), path),
        )
    return nodes


@contextmanager
def mounted(stack: Sequence[str], scratch: Path) -> Iterator[Path]:
    """Mount *stack*, bottom to top, read-only at a directory in *scratch*, as the kernel merges it."""
    point, empty = scratch / "mounted", scratch / "empty"
    point.mkdir(exist_ok=True)
    empty.mkdir(exist_ok=True)
    lower = ":".join([*reversed(stack), str(empty)])  # overlay wants two at least
    subprocess.run(["mount", "-t", "overlay", "-o", f"ro,lowerdir={lower}", "overlay", point], check=True)
    try:
        yield point
    finally:
        subprocess.run(["umount", point], check=True)


def put(layer: Path, path: str, what: str) -> None:
    """Make an entry; "whiteout", "opaque", "dir", "mode", "link:…", "fifo", "device" or the content of a file."""
    place = layer / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if what == "whiteout":
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(0, 0))
    elif what in ("dir", "opaque", "mode"):
        place.mkdir(exist_ok=True)
        if what == "opaque":
            os.setxattr(place, stack.OPAQUE, b"y")
        if what == "mode":
            place.chmod(0o700)
    elif what.startswith("link:"):
        place.symlink_to(what[5:])
    elif what == "fifo":
        os.mkfifo(place)
    elif what == "device":
        os.mknod(place, stat.S_IFBLK | 0o600, os.makedev(7, 1))
    else:
        place.write_text(what)
