"""Removing, copying and counting trees, on the real file system."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from minirun.kernel import tree
from minirun.kernel.descent import Descent

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def deep(top: Path, levels: int) -> None:
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_remove_takes_a_file_a_symlink_or_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "kept").touch()
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "file").touch()
    for name in ("link", "file", "missing", "missing/deeper"):
        tree.remove(str(tmp_path / name))
        assert not os.path.lexists(tmp_path / name)
    assert (target / "kept").exists()


def test_remove_never_goes_through_a_symlink_inside_the_tree(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    top = tmp_path / "top"
    (top / "a/b").mkdir(parents=True)
    (top / "a/b/link").symlink_to(outside)
    (top / "link").symlink_to(outside)
    tree.remove(str(top))
    assert not top.exists()
    assert (outside / "kept").exists()


def test_remove_copes_with_names_like_those_it_uses_itself(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for name in ("~0/~0/~0/x", "~1/~0/~1/y", "~2/a", "a/b/c/~0"):
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for number in range(5):
        (top / f"a/b/d{number}/e").mkdir(parents=True)
    tree.remove(str(top))
    assert not top.exists()


def test_remove_takes_twenty_thousand_levels_with_few_descriptors(tmp_path: Path) -> None:
    deep(tmp_path / "top", 20_000)
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16));"
        "from minirun.kernel import tree; tree.remove(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "top")], check=True, cwd=Path(__file__).parents[3])
    assert not (tmp_path / "top").exists()


@root_only
def test_remove_opens_directories_of_mode_0_for_their_owner(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "top/a/b").mkdir(parents=True)
    (home / "top/a/b/file").touch()
    for path in (home, home / "top", home / "top/a", home / "top/a/b"):
        os.chown(path, 65534, 65534)
    for path in (home / "top/a/b", home / "top/a", home / "top"):
        path.chmod(0)
    child = os.fork()
    if not child:
        os.chdir(home)
        os.setgid(65534)
        os.setuid(65534)
        try:
            tree.remove("top")
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not (home / "top").exists()


def test_remove_tells_what_it_cannot_remove(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="fdinfo") as caught:
        tree.remove("/proc/self/fdinfo")
    assert caught.value.errno in (errno.EPERM, errno.EACCES)


def furnish(top: Path) -> None:
    (top / "etc/deep").mkdir(parents=True)
    (top / "etc/file").write_bytes(b"content" * 1000)
    os.setxattr(top / "etc/file", "user.colour", b"blue\0")
    os.link(top / "etc/file", top / "etc/deep/linked")
    (top / "setuid").write_bytes(b"#!")
    os.chown(top / "setuid", 1000, 4294967294)
    (top / "setuid").chmod(0o4755)
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)
    os.setxattr(top / "setuid", "security.capability", capability)
    (top / "link").symlink_to("/nowhere")
    os.chown(top / "link", 7, 8, follow_symlinks=False)
    os.setxattr(top / "link", "trusted.on_link", b"1", follow_symlinks=False)
    os.mkfifo(top / "fifo", 0o640)
    os.mknod(top / "whiteout", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    os.mknod(top / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(top / "socket", 0o755 | stat.S_IFSOCK)
    os.setxattr(top / "etc/deep", "trusted.overlay.opaque", b"y")
    (top / "etc/deep").chmod(0)
    with (top / "sparse").open("wb") as file:
        file.seek(50 << 20)
        file.write(b"end")
        file.truncate(100 << 20)
    (top / os.fsdecode(b"\xff\n")).touch()
    for number, path in enumerate(sorted(top.rglob("*"), reverse=True)):
        os.utime(path, ns=(1, 10**9 * number - 5 * 10**9 + 123456789), follow_symlinks=False)
    os.utime(top, ns=(5, 6))


def described(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    inodes: dict[int, str] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        info = path.lstat()
        name = str(path.relative_to(top))
        xattrs = {
            key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
        }
        content: object = None
        if path.is_symlink():
            content = str(path.readlink())
        elif stat.S_ISREG(info.st_mode):
            content = path.read_bytes(), inodes.setdefault(info.st_ino, name)
        found[name] = info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_rdev, xattrs, content
    return found


@root_only
def test_copy_keeps_everything(tmp_path: Path) -> None:
    furnish(tmp_path / "source")
    before = described(tmp_path / "source")
    tree.copy(str(tmp_path / "source"), str(tmp_path / "target"))
    assert described(tmp_path / "target") == before
    assert described(tmp_path / "source") == before
    assert (tmp_path / "target/sparse").stat().st_blocks * 512 < 1 << 20


def test_copy_refuses_a_target_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    with pytest.raises(FileExistsError):
        tree.copy(str(tmp_path / "source"), str(tmp_path / "target"))


def test_copy_and_usage_take_trees_deeper_than_any_path(tmp_path: Path) -> None:
    deep(tmp_path / "source", 3000)
    tree.copy(str(tmp_path / "source"), str(tmp_path / "target"))
    assert tree.usage(str(tmp_path / "target")) == (0, 3001)
    for name in ("source", "target"):
        tree.remove(str(tmp_path / name))


def test_usage_counts_each_inode_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/c").write_bytes(b"y" * 24)
    (tmp_path / "link").symlink_to("a")
    assert tree.usage(str(tmp_path)) == (1024, 4)


def test_the_way_back_up_is_believed_only_where_it_arrives_at_the_same_directory(tmp_path: Path) -> None:
    deep(tmp_path / "top", 40)
    (tmp_path / "elsewhere").mkdir()
    above = os.open(tmp_path / "top", os.O_RDONLY)
    try:
        with Descent(above) as descent:
            for _ in range(40):
                descent.down("d" * 20)
            # levels 1 to 8 are no longer held; level 9 is moved away
            moved = tmp_path / "top" / "/".join(["d" * 20] * 9)
            moved.rename(tmp_path / "elsewhere/moved")
            for _ in range(31):
                descent.up()
            with pytest.raises(OSError, match="moved") as caught:
                descent.up()
            assert caught.value.errno == errno.ESTALE
    finally:
        os.close(above)
