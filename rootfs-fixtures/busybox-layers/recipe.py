#!/usr/bin/python3
"""Make four layers that between them do everything a layer can do; README.md beside this lists it.

00-base.tar   01-change.tar.gz   02-odd.tar.zst   03-late.tar.xz   image.json

The bytes depend on the busybox binary and on the compressors alone: every entry has a fixed time and owner.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
NOON = 1_700_000_000  # 2023-11-14T22:13:20Z, the time of everything
ALICE = 1000
HIGHEST_ID = 4_294_967_294  # 2³² - 2; 2³² - 1 means "leave it" to chown(2)
# struct vfs_cap_data, revision 2, effective: cap_net_raw (bit 13) permitted. See capabilities(7).
CAP_NET_RAW = b"\x01\x00\x00\x02" + b"\x00\x20\x00\x00" + bytes(12)

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
alice:x:1000:1000:Alice:/home/alice:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
"""
GROUP = """\
root:x:0:
daemon:x:1:
audio:x:29:alice
staff:x:50:daemon,alice
alice:x:1000:
nogroup:x:65534:
"""


class Layer:
    """A layer tar that is being written, in memory."""

    def __init__(self) -> None:
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - end() closes it

    def entry(
        self,
        name: str,
        kind: bytes = tarfile.REGTYPE,
        *,
        mode: int = 0o644,
        data: bytes = b"",
        link: str = "",
        owner: tuple[int, int] = (0, 0),
        pax: dict[str, str] | None = None,
        ustar: bool = False,
    ) -> None:
        """Append one entry; *pax* holds records as they stand in the archive; *ustar* allows none."""
        member = tarfile.TarInfo(name)
        member.type, member.mode, member.linkname = kind, mode, link
        member.uid, member.gid = owner
        member.size, member.mtime = len(data), NOON
        member.pax_headers = pax or {}
        self.tar.format = tarfile.USTAR_FORMAT if ustar else tarfile.PAX_FORMAT
        self.tar.addfile(member, io.BytesIO(data))

    def file(self, name: str, text: str, mode: int = 0o644, **how: object) -> None:
        """Append a regular file."""
        self.entry(name, mode=mode, data=text.encode(), **how)  # type: ignore[arg-type]

    def directory(self, name: str, mode: int = 0o755, **how: object) -> None:
        """Append a directory."""
        self.entry(name, tarfile.DIRTYPE, mode=mode, **how)  # type: ignore[arg-type]

    def symlink(self, name: str, target: str) -> None:
        """Append a symbolic link."""
        self.entry(name, tarfile.SYMTYPE, mode=0o777, link=target)

    def hardlink(self, name: str, target: str) -> None:
        """Append a hard link to *target*, a name from the root of the image."""
        self.entry(name, tarfile.LNKTYPE, link=target)

    def whiteout(self, name: str) -> None:
        """Hide *name* of the layers below."""
        directory, _, leaf = name.rpartition("/")
        self.file(f"{directory}/.wh.{leaf}", "", mode=0)

    def opaque(self, name: str) -> None:
        """Hide what the layers below have inside the directory *name*."""
        self.file(f"{name}/.wh..wh..opq", "", mode=0)

    def end(self) -> bytes:
        """Return the whole archive."""
        self.tar.close()
        return self.bytes.getvalue()


def base() -> bytes:
    """A small userland, and under /srv something for every later layer to change."""
    layer = Layer()
    for name in ("bin", "sbin", "dev", "etc", "home", "mnt", "opt", "proc", "run", "srv", "sys", "usr", "var"):
        layer.directory(name)
    for name in ("usr/bin", "usr/sbin", "usr/local", "usr/local/bin", "var/log", "var/lib"):
        layer.directory(name)
    layer.directory("root", 0o700)
    layer.directory("tmp", 0o1777)
    layer.directory("var/tmp", 0o1777)
    layer.symlink("var/run", "../run")
    layer.directory("home/alice", 0o750, owner=(ALICE, ALICE))

    layer.entry("bin/busybox", mode=0o755, data=BUSYBOX.read_bytes())
    layer.hardlink("bin/sh", "bin/busybox")
    applets = subprocess.run([BUSYBOX, "--list-full"], check=True, capture_output=True, text=True).stdout.split()
    for applet in sorted(set(applets) - {"bin/busybox", "bin/sh"}):
        layer.symlink(applet, "/bin/busybox")

    layer.file("etc/passwd", PASSWD)
    layer.file("etc/group", GROUP)
    layer.file("etc/shadow", "root:*:19675::::::\nalice:*:19675::::::\n", 0o640)
    layer.file("etc/profile", "export PS1='\\u@\\h:\\w\\$ '\n")
    layer.file("home/alice/notes", "alice's\n", 0o600, owner=(ALICE, ALICE))

    layer.directory("srv/files")
    for name in ("kept", "replaced", "removed", "recreated", "becomes-directory"):
        layer.file(f"srv/files/{name}", f"{name}, base\n")
    layer.directory("srv/files/becomes-file")
    layer.file("srv/files/becomes-file/inside", "base\n")
    layer.directory("srv/removed-directory")
    layer.file("srv/removed-directory/inside", "base\n")
    layer.directory("srv/opaque", 0o750)
    layer.file("srv/opaque/old", "base\n")
    layer.directory("srv/opaque/nested")
    layer.file("srv/opaque/nested/old", "base\n")
    layer.directory("srv/links")
    layer.file("srv/links/first", "one inode\n")
    layer.hardlink("srv/links/twin", "srv/links/first")
    layer.file("srv/links/target", "target, base\n")
    layer.symlink("srv/links/removed", "target")
    layer.symlink("srv/links/replaced", "target")
    layer.symlink("srv/links/absolute", "/srv/links/target")
    layer.symlink("srv/links/dangling", "nowhere")
    return layer.end()


def change() -> bytes:
    """Add, replace, remove, make opaque, link within the layer and into the one below."""
    layer = Layer()
    layer.file("srv/files/added", "added, change\n")
    layer.file("srv/files/replaced", "replaced, change\n", 0o600)
    layer.whiteout("srv/files/removed")
    layer.whiteout("srv/files/recreated")
    layer.directory("srv/files/becomes-directory")
    layer.file("srv/files/becomes-directory/inside", "change\n")
    layer.file("srv/files/becomes-file", "a file, change\n")
    layer.whiteout("srv/removed-directory")
    # Opaque hides what is below and keeps what its own layer has, whether that stands before or after the mark.
    layer.directory("srv/opaque", 0o755)
    layer.file("srv/opaque/new-before", "change\n")
    layer.opaque("srv/opaque")
    layer.file("srv/opaque/new-after", "change\n")
    layer.whiteout("srv/links/removed")
    layer.file("srv/links/replaced", "a file, not written through the link\n")
    layer.file("srv/links/second", "one inode of the change\n")
    layer.hardlink("srv/links/second-twin", "srv/links/second")
    layer.hardlink("srv/links/first-from-above", "srv/links/first")
    return layer.end()


def odd() -> bytes:
    """What is rare: setuid, capabilities, xattrs, a FIFO, odd names, odd times, odd owners; and files come back."""
    layer = Layer()
    layer.file("srv/files/recreated", "recreated, odd\n")
    layer.directory("srv/removed-directory", 0o700)
    layer.file("srv/removed-directory/again", "odd\n")
    layer.directory("srv/odd")
    layer.file("srv/odd/setuid", "#!/bin/sh\n", 0o4755)
    layer.file("srv/odd/setgid", "#!/bin/sh\n", 0o2755, owner=(0, 50))
    layer.directory("srv/odd/sticky", 0o3777, owner=(ALICE, 50))
    layer.file("srv/odd/mode-0", "nobody may\n", 0)
    layer.file(
        "srv/odd/capable", "#!/bin/sh\n", 0o755, pax={"SCHILY.xattr.security.capability": CAP_NET_RAW.decode("ascii")}
    )
    layer.file("srv/odd/xattrs", "", pax={"SCHILY.xattr.user.colour": "blue", "SCHILY.xattr.user.shape": "round"})
    layer.directory("srv/odd/xattrs-directory", pax={"SCHILY.xattr.user.colour": "green"})
    layer.entry("srv/odd/fifo", tarfile.FIFOTYPE, mode=0o620)
    # Bytes that are no UTF-8: as ustar has them, and as pax has them (hdrcharset=BINARY).
    layer.file("srv/odd/latin-\udce9", "", ustar=True)
    layer.file("srv/odd/latin-\udcff-in-pax", "")
    layer.file("srv/odd/grüße", "")
    layer.file("srv/odd/line\nbreak", "")
    layer.file("srv/odd/" + "long-" * 51, "255 bytes in all\n")
    layer.file("srv/odd/owned-high", "", owner=(HIGHEST_ID, HIGHEST_ID))
    layer.file("srv/odd/nanoseconds", "", pax={"mtime": f"{NOON}.123456789"})
    layer.file("srv/odd/before-1970", "", pax={"mtime": "-1.5"})
    layer.entry(
        "srv/odd/link-nanoseconds", tarfile.SYMTYPE, mode=0o777, link="nanoseconds", pax={"mtime": f"{NOON}.987654321"}
    )
    layer.directory("srv/odd/directory-nanoseconds", pax={"mtime": f"{NOON}.000000001"})
    layer.file("srv/odd/directory-nanoseconds/child", "written after its directory\n")
    return layer.end()


def late() -> bytes:
    """Remove what the layers between brought, and link to what the lowest one has."""
    layer = Layer()
    layer.whiteout("srv/files/added")
    layer.whiteout("srv/files/becomes-directory")
    layer.whiteout("srv/links/second")
    layer.opaque("srv/removed-directory")
    layer.file("srv/removed-directory/late", "late\n")
    layer.hardlink("usr/local/bin/busybox", "bin/busybox")
    layer.directory("srv/late")
    layer.symlink("srv/late/up", "../../etc/passwd")
    return layer.end()


def image() -> dict[str, object]:
    """Return the OCI image config (image-spec, config.md), without what follows from the layers."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "created": "2023-11-14T22:13:20Z",
        "author": "rootfs-fixtures/busybox-layers",
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "FIXTURE=busybox"],
            "Cmd": ["sh"],
            "WorkingDir": "/home",
            "Labels": {"minirun.fixture": "busybox-layers"},
            "StopSignal": "SIGTERM",
        },
    }


def zstd(data: bytes) -> bytes:
    """Compress by the tool: Python has no zstd before 3.14. One thread, as the result depends on their number."""
    return subprocess.run(["zstd", "-q", "-c", "--single-thread"], input=data, check=True, capture_output=True).stdout


def main(directory: Path) -> None:
    """Write the layers and image.json into *directory*, which is made."""
    directory.mkdir()
    (directory / "00-base.tar").write_bytes(base())
    (directory / "01-change.tar.gz").write_bytes(gzip.compress(change(), mtime=0))
    (directory / "02-odd.tar.zst").write_bytes(zstd(odd()))
    (directory / "03-late.tar.xz").write_bytes(lzma.compress(late()))
    (directory / "image.json").write_text(json.dumps(image(), indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
