"""A small image in three layers, with one of everything, and a store that has it and containers of it."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from pathlib import Path

from tests.command import Minirun

APPLETS = ("sh", "true", "cat", "echo", "ln", "mkdir", "rm", "sleep", "touch", "dd")


def small_layers(target: Path, busybox_layers: Path) -> Path:
    """Make the directory *target* of three layers, from busybox's."""
    with tarfile.open(busybox_layers / "00-base.tar") as base:
        member = base.extractfile("bin/busybox")
        assert member
        program = member.read()
    target.mkdir()
    with tarfile.open(target / "00-base.tar.gz", "w:gz", compresslevel=1) as tar:
        for name in ("bin", "etc", "data", "data/old", "proc", "sys", "dev"):
            _add(tar, name, tarfile.DIRTYPE, mode=0o755)
        _add(tar, "bin/busybox", data=program, mode=0o755)
        for name in APPLETS:
            _add(tar, f"bin/{name}", tarfile.SYMTYPE, link="busybox")
        _add(tar, "etc/passwd", data=b"root:x:0:0:root:/:/bin/sh\n")
        _add(tar, "data/one", data=b"1" * 5000, mode=0o4755)
        _add(tar, "data/two", tarfile.LNKTYPE, link="data/one")
        _add(tar, "data/old/a", data=b"a")
        _add(tar, "data/fifo", tarfile.FIFOTYPE)
    with tarfile.open(target / "01-change.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "data/.wh.two")
        _add(tar, "data/old/.wh..wh..opq")
        _add(tar, "data/old/b", data=b"b", pax={"SCHILY.xattr.user.mark": "yes"})
        _add(tar, "data/one", data=b"another")
    folder = target / "02-site"
    (folder / "srv").mkdir(parents=True)
    (folder / "srv/page").write_text("page\n")
    return target


def _add(
    tar: tarfile.TarFile, name: str, kind: bytes = tarfile.REGTYPE, *, data: bytes = b"", mode: int = 0o644,
    link: str = "", pax: dict[str, str] | None = None,
) -> None:  # fmt: skip
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname, member.size = kind, mode, link, len(data)
    member.mtime = 1_700_000_000
    member.pax_headers = pax or {}
    tar.addfile(member, io.BytesIO(data))


def ground(minirun: Minirun, layers: Path) -> None:
    """Fill a store: the image `small`, also `small:other`; `unused:1` with a layer of its own; three containers.

    `made` was only created, `ended` has written files, `committed` was committed and has written again.
    """
    write = "mkdir -p /d && echo x >/d/x && ln -f /d/x /d/y && rm -f /etc/passwd && echo 0 >/zero"
    minirun("import", layers, "small", check=True)
    minirun("tag", "small", "small:other", check=True)
    minirun("create", "--name", "made", "small", "true", check=True)
    minirun("run", "--name", "ended", "small", "sh", "-c", write, check=True)
    minirun("run", "--name", "committed", "small", "sh", "-c", write, check=True)
    minirun("commit", "committed", "kept:1", check=True)
    minirun("start", "-a", "committed")
    minirun("run", "--name", "passing", "small", "sh", "-c", write, check=True)
    minirun("commit", "passing", "unused:1", check=True)
    minirun("rm", "passing", check=True)
    for box in (minirun.root / "containers").iterdir():
        _forget_origin(box)


def _forget_origin(box: Path) -> None:
    """Let a container be started in a copy of the store: overlayfs knows its layers by their inodes."""
    shutil.rmtree(box / "work")
    (box / "work").mkdir(mode=0o700)
    for path in (box / "upper", *(box / "upper").rglob("*")):
        for name in os.listxattr(path, follow_symlinks=False):
            if name in ("trusted.overlay.origin", "trusted.overlay.uuid", "trusted.overlay.nlink"):
                os.removexattr(path, name, follow_symlinks=False)


def litter(root: Path) -> None:
    """Leave contents and mount points that nothing names, and a cut short operation, in a store: work for `gc`."""
    stray = root / "diffs" / ("5" * 64)
    (stray / "deep/er").mkdir(parents=True)
    (stray / "deep/file").write_text("nobody names this\n")
    mounts = root / "diffs" / ("6" * 64 + "-mounts")
    (mounts / "proc").mkdir(parents=True)
    (root / "tmp/unfinished").mkdir()
    (root / "marks/unfinished").write_text(f'["remove_tree", "{root}/tmp/unfinished"]\n')
