"""An image with one of everything that files can be: two layers as tars, and a change that makes a third.

    base      a userland of one busybox, and /was, which the others change
    change    whiteouts, an opaque directory, and what stands in the place of something else
    alter     by system calls, on a mounted root file system: the tool that owns it makes the layer

Left out is what others cannot do: podman hardlinks into a layer below and times before 1970, Go's tar xattrs without a
value, tars sockets.
"""

from __future__ import annotations

import os
import shutil
import stat
import struct
from pathlib import Path

from tests import tars
from tests.trees import Node, describe

BUSYBOX = Path("/bin/busybox")  # of the package busybox-static, which the fixtures are made from
APPLETS = (b"cat", b"sh", b"true")
MTIME_NS = 1_234_567_890_123_456_789
# VFS_CAP_REVISION_2 with its effective bit, and CAP_NET_BIND_SERVICE; see capabilities(7)
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
NOT_UTF_8 = b"n\xe4me"


def base() -> bytes:
    """The tar of the lowest layer."""
    return tars.tar(
        *(tars.directory(name) for name in (b"./", b"bin/", b"dev/", b"etc/", b"proc/", b"sys/")),
        tars.directory(b"tmp/", 0o1777),
        tars.file(b"bin/busybox", BUSYBOX.read_bytes(), 0o755),
        *(tars.symlink(b"bin/" + name, b"busybox") for name in APPLETS),
        tars.file(b"etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"),
        tars.directory(b"was/"),
        *(tars.file(b"was/" + name, name)
          for name in (b"kept", b"removed", b"touched", b"replaced", b"file", b"later")),
        *(entry for name in (b"was/opaque", b"was/gone", b"was/directory", b"was/emptied")
          for entry in (tars.directory(name + b"/"), tars.file(name + b"/below", b"below"))),
        tars.file(b"was/twin", b"twin"),
        tars.hardlink(b"was/other-twin", b"was/twin"),
        tars.symlink(b"was/link", b"kept"),
    )  # fmt: skip


def change() -> bytes:
    """The tar of the layer above it."""
    return tars.tar(
        tars.directory(b"was/", 0o750, uid=7, gid=8),
        tars.file(b"was/.wh.removed"),
        tars.file(b"was/.wh.gone"),
        tars.directory(b"was/opaque/", 0o700),
        tars.file(b"was/opaque/.wh..wh..opq"),
        tars.file(b"was/opaque/above", b"above"),
        tars.file(b"was/replaced", b"another", 0o600, uid=1000, gid=50),
        tars.file(b"was/.wh.directory"),
        tars.xattr(b"user.mark", b"of the change"),
        tars.file(b"was/marked", b"marked"),
    )


def alter(root: Path) -> None:
    """Change the root file system at *root*, which has both layers; all times are set."""
    new = root / "new"
    new.mkdir()
    for name, mode in (("setuid", 0o4755), ("setgid", 0o2755), ("none", 0), ("all", 0o7777)):
        (new / name).write_text(name)
        (new / name).chmod(mode)
    for name, mode in (("sticky", 0o1777), ("group", 0o2775), ("closed", 0)):
        (new / name).mkdir()
        (new / name).chmod(mode)
    (new / "owned").write_text("owned")
    os.chown(new / "owned", 3_000_000_000, 2_097_152)
    for path, data in ((NOT_UTF_8, b"latin"), (b"n" * 255, b"long"), ("ä →".encode(), b"utf"), (b"line\nbreak", b"")):
        Path(os.fsdecode(os.fsencode(new) + b"/" + path)).write_bytes(data)
    (new / ("d" * 120)).mkdir()
    (new / ("d" * 120) / "deep").symlink_to("/" + "t" * 150)
    (new / "relative").symlink_to("../was/kept")
    os.chown(new / "relative", 1000, 50, follow_symlinks=False)
    (new / "first").write_text("linked")
    for name in ("second", "sticky/third"):
        (new / name).hardlink_to(new / "first")
    os.mkfifo(new / "fifo", 0o640)
    for name, kind, device in (("null", stat.S_IFCHR, (1, 3)), ("loop", stat.S_IFBLK, (7, 300))):
        os.mknod(new / name, kind | 0o660, os.makedev(*device))
    with (new / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 20)
        sparse.seek(1 << 19)
        sparse.write(b"island")
    for name in ("binary", "able"):
        (new / name).write_text(name)
    os.setxattr(new / "binary", "user.binary", bytes(range(256)))
    os.setxattr(new / "sticky", "user.of-a-directory", b"yes")
    os.setxattr(new / "able", "security.capability", CAPABILITY)

    was = root / "was"
    (was / "touched").chmod(0o604)
    (was / "later").unlink()
    shutil.rmtree(was / "emptied")
    (was / "emptied").mkdir()
    (was / "emptied/now").write_text("now")
    (was / "file").unlink()
    (was / "file").mkdir()
    (was / "file/in").write_text("in")
    (was / "directory").write_text("a file now")
    (was / "link").unlink()
    (was / "link").symlink_to("opaque/above")
    (was / "opaque/above").write_text("above, written to")
    os.setxattr(was / "marked", "user.mark", b"altered")
    for folder, names, files in os.walk(new, topdown=False):
        for name in (*names, *files):
            os.utime(Path(folder, name), ns=(MTIME_NS, MTIME_NS), follow_symlinks=False)
    old = (
        "touched",
        "emptied/now",
        "emptied",
        "file/in",
        "file",
        "directory",
        "link",
        "opaque/above",
        "opaque",
        "marked",
    )
    for changed in (*(was / name for name in old), was, new, root):
        os.utime(changed, ns=(MTIME_NS, MTIME_NS), follow_symlinks=False)


def tree(root: Path | str) -> dict[bytes, Node]:
    """Describe a root file system.

    Without its top: tools differ in which layer says what it is like, and podman makes it 0555 where the last does not.
    """
    nodes = describe(root)
    del nodes[b""]
    return nodes
