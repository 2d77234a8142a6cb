#!/usr/bin/python3
"""Write the upper directory of an overlay as a layer tar, to standard output.

in the upper directory                   in the layer
---------------------------------------  ---------------------------------------
char device 0:0                          .wh.<name>, empty
xattr trusted.overlay.opaque = "y"       .wh..wh..opq inside, empty
a second name of an inode                a hard link to the first
xattr security.capability, user.*        SCHILY.xattr.*
xattr trusted.overlay.*                  nothing: they are the mount's own
anything else                            the entry itself

See Documentation/filesystems/overlayfs.rst and the OCI image-spec, layer.md. The overlay was mounted without
redirect_dir and metacopy, so that each entry of the upper directory is whole.
"""

from __future__ import annotations

import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path


def below(directory: Path) -> Iterator[Path]:
    """Yield what is in *directory*, in name order, each directory before what it holds."""
    for entry in sorted(directory.iterdir()):
        yield entry
        if entry.is_dir() and not entry.is_symlink():
            yield from below(entry)


def mark(name: Path) -> tarfile.TarInfo:
    """Return the empty file *name*, which tells an unpacker to hide something."""
    member = tarfile.TarInfo(str(name))
    member.mode = 0
    return member


def xattrs(path: Path) -> dict[str, str]:
    """Return the xattrs of *path* that belong to the image, as pax records."""
    return {
        f"SCHILY.xattr.{name}": os.getxattr(path, name, follow_symlinks=False).decode("utf-8", "surrogateescape")
        for name in os.listxattr(path, follow_symlinks=False)
        if name == "security.capability" or name.startswith("user.")
    }


def main(upper: Path) -> None:
    """Write the layer of *upper*."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for path in below(upper):
            name = path.relative_to(upper)
            status = path.lstat()
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
                tar.addfile(mark(name.with_name(f".wh.{name.name}")))
                continue
            member = tar.gettarinfo(path, arcname=str(name))  # knows the inodes it has seen: a second one is a link
            member.uname = member.gname = ""
            member.pax_headers = xattrs(path)
            if member.isreg():
                with path.open("rb") as data:
                    tar.addfile(member, data)
            else:
                tar.addfile(member)
            if member.isdir() and "trusted.overlay.opaque" in os.listxattr(path):
                tar.addfile(mark(name / ".wh..wh..opq"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
