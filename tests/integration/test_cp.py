"""`cp` as Docker has it: where a copy lands, what it is like there, and what is refused in which words."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.command import Minirun
from tests.running import running, state_of

Look = Callable[[str], Path]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory of the host with files, directories and links to both."""
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "d/f").write_text("f\n")
    (tmp_path / "d/sub/g").write_text("g\n")
    (tmp_path / "file").write_text("file\n")
    (tmp_path / "ld").symlink_to("d")
    (tmp_path / "lf").symlink_to("file")
    return tmp_path


@pytest.fixture
def box(store: Minirun, site: Path) -> Iterator[str]:
    """A container that has never run, with what is in `site`."""
    store("create", "--name", "box", "busybox", "true", check=True)
    try:
        store("cp", f"{site}/.", "box:/", check=True)
        yield "box"
    finally:
        store("rm", "-f", "box")


def contents(store: Minirun, path: str) -> dict[str, str]:
    """What a container has at *path*, by `cp … -`: names, and what files and links hold."""
    result = subprocess.run(store.command(("cp", path, "-")), env=store.environment(), capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    with tarfile.open(fileobj=io.BytesIO(result.stdout)) as archive:
        return {one.name: _held(archive, one) for one in archive if one.name != "."}


def _held(archive: tarfile.TarFile, one: tarfile.TarInfo) -> str:
    if one.isdir():
        return "/"
    file = archive.extractfile(one) if one.isreg() else None
    return file.read().decode(errors="surrogateescape") if file else one.linkname


def on_host(path: Path) -> dict[str, str]:
    """The same of a path of the host."""
    found = {}
    for one in [path, *path.rglob("*")]:
        name = str(one.relative_to(path.parent))
        found[name] = str(one.readlink()) if one.is_symlink() else "/" if one.is_dir() else one.read_text()
    return found


# the table of engine/copypaths.py; both sides have the same files, so each line is tried both ways
RULES = [
    ("file", "new", {"new": "file\n"}),
    ("file", "d/f", {"f": "file\n"}),
    ("file", "empty", {"empty": "/", "empty/file": "file\n"}),
    ("file", "empty/.", {"empty": "/", "empty/file": "file\n"}),
    ("d", "new", {"new": "/", "new/f": "f\n", "new/sub": "/", "new/sub/g": "g\n"}),
    ("d", "new/", {"new": "/", "new/f": "f\n", "new/sub": "/", "new/sub/g": "g\n"}),
    ("d", "empty", {"empty": "/", "empty/d": "/", "empty/d/f": "f\n", "empty/d/sub": "/", "empty/d/sub/g": "g\n"}),
    ("d/", "empty/", {"empty": "/", "empty/d": "/", "empty/d/f": "f\n", "empty/d/sub": "/", "empty/d/sub/g": "g\n"}),
    ("d/.", "empty", {"empty": "/", "empty/f": "f\n", "empty/sub": "/", "empty/sub/g": "g\n"}),
    ("d/.", "new", {"new": "/", "new/f": "f\n", "new/sub": "/", "new/sub/g": "g\n"}),
    ("d/../d/sub", "new", {"new": "/", "new/g": "g\n"}),
    ("ld", "empty", {"empty": "/", "empty/ld": "d"}),
    (
        "ld/",
        "empty",
        {"empty": "/", "empty/ld": "/", "empty/ld/f": "f\n", "empty/ld/sub": "/", "empty/ld/sub/g": "g\n"},
    ),
    ("ld/.", "empty", {"empty": "/", "empty/f": "f\n", "empty/sub": "/", "empty/sub/g": "g\n"}),
    ("d/sub", "ld", {"d": "/", "d/f": "f\n", "d/sub": "/", "d/sub/g": "g\n"}),
    ("file", "ld/sub/new", {"new": "file\n"}),
]


@pytest.mark.parametrize(("source", "target", "expected"), RULES, ids=[f"{one[0]}-{one[1]}" for one in RULES])
def test_a_copy_lands_where_docker_puts_it(
    store: Minirun, box: str, site: Path, source: str, target: str, expected: dict[str, str]
) -> None:
    landed = target.replace("ld", "d").rstrip("/.")
    store("cp", f"{site}/{source}", f"box:/{target}", check=True)
    assert contents(store, f"box:/{landed}") == expected
    # and the other way; what was copied has made the container another than the host's directory
    store("rm", "box", check=True)
    store("create", "--name", "box", "busybox", "true", check=True)
    store("cp", f"{site}/.", "box:/", check=True)
    store("cp", f"box:/{source}", f"{site}/{target}", check=True)
    assert on_host(site / landed) == expected


def test_a_link_is_followed_with_l_and_the_copy_is_called_as_the_link(store: Minirun, box: str, site: Path) -> None:
    store("cp", "-L", site / "lf", "box:/empty", check=True)
    store("cp", "-L", site / "ld", "box:/empty", check=True)
    assert contents(store, "box:/empty/lf") == {"lf": "file\n"}
    assert contents(store, "box:/empty/ld")["ld/sub/g"] == "g\n"
    store("cp", "--follow-link", "box:/lf", site / "empty", check=True)
    store("cp", "--follow-link", "box:/ld", site / "empty", check=True)
    assert (site / "empty/lf").read_text() == "file\n"
    assert (site / "empty/ld/sub/g").read_text() == "g\n"
    assert not (site / "empty/lf").is_symlink()


REFUSED = [
    ("{site}/file", "box:/nowhere/", "no such directory"),
    ("{site}/file", "box:/nowhere/x", "could not find the file /nowhere in container box"),
    ("{site}/file", "box:/file/", "no such directory"),
    ("{site}/d", "box:/file/", "cannot overwrite non-directory box:/file/ with a directory"),
    ("{site}/d", "box:/file", "cannot copy directory"),
    ("{site}/d/.", "box:/lf", "cannot copy directory"),
    ("{site}/file", "box:/file/x", "/file/x: not a directory"),
    ("{site}/missing", "box:/", "/missing: no such file or directory"),
    ("{site}/file/", "box:/", "/file/: not a directory"),
    ("{site}/file", "nobody:/", "no such container"),
    ("{site}/file", "{site}/new", "must specify at least one container source"),
    ("box:/missing", "{site}/", "could not find the file /missing in container box"),
    ("box:/file/", "{site}/", "/file/: not a directory"),
    ("box:/file", "{site}/nowhere/", "no such directory"),
    ("box:/file", "{site}/nowhere/x", 'nowhere" does not exist'),
    ("box:/file", "{site}/file/", "not a directory"),
    ("box:/d", "{site}/file", "cannot copy directory"),
    ("box:/file", "/dev/null", 'destination "/dev/null" must be a directory or a regular file'),
    ("box:/d", "box:/d/sub", "a directory cannot be copied into itself"),
    ("box:/file", "box:/file", "'file' would be copied onto itself"),
    ("box:/file", "box:/d/../lf", "'file' would be copied onto itself"),
]


@pytest.mark.parametrize(("source", "target", "reason"), REFUSED, ids=[f"{one[0]}-{one[1]}" for one in REFUSED])
def test_what_cannot_be_copied_is_refused_in_dockers_words(
    store: Minirun, box: str, site: Path, source: str, target: str, reason: str
) -> None:
    result = store("cp", source.format(site=site), target.format(site=site))
    assert result.returncode == 125
    assert result.stderr.startswith("minirun: cannot ")
    assert reason in result.stderr
    assert "Traceback" not in result.stderr
    assert contents(store, "box:/file") == {"file": "file\n"}
    assert (site / "file").read_text() == "file\n"


def test_a_directory_is_not_replaced_by_a_file_nor_a_file_by_a_directory(store: Minirun, box: str, site: Path) -> None:
    (site / "m/d").mkdir(parents=True)
    (site / "m/d/sub").write_text("a file where the container has a directory")
    (site / "n/d/f").mkdir(parents=True)
    result = store("cp", f"{site}/m/.", "box:/")
    assert "cannot overwrite directory 'sub' with non-directory" in result.stderr
    result = store("cp", f"{site}/n/.", "box:/")
    assert "cannot overwrite non-directory 'f' with a directory" in result.stderr
    assert contents(store, "box:/d") == {"d": "/", "d/f": "f\n", "d/sub": "/", "d/sub/g": "g\n"}


def test_a_path_of_the_host_may_have_a_colon(store: Minirun, box: str, site: Path) -> None:
    (site / "a:b").write_text("colon\n")
    command = store.command(("cp", "./a:b", "box:/empty/c:d"))
    subprocess.run(command, env=store.environment(), cwd=site, check=True, capture_output=True)
    assert contents(store, "box:/empty/c:d") == {"c:d": "colon\n"}
    command = store.command(("cp", "box:empty/c:d", "."))
    subprocess.run(command, env=store.environment(), cwd=site, check=True, capture_output=True)
    assert (site / "c:d").read_text() == "colon\n"


def make_everything(folder: Path) -> None:
    """Fill *folder* with one of each kind, and with names that are no UTF-8."""
    folder.mkdir()
    odd = os.fsencode(folder) + b"/odd \xff\n"
    Path(os.fsdecode(odd)).write_bytes(b"odd\n")
    (folder / "setuid").write_text("s")
    (folder / "setuid").chmod(0o6755)
    (folder / "hard").write_text("h")
    os.link(folder / "hard", folder / "linked")
    with (folder / "sparse").open("wb") as hollow:
        hollow.seek(64 << 20)
        hollow.write(b"end")
    os.mkfifo(folder / "fifo", 0o640)
    os.mknod(folder / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.mknod(folder / "whiteout", stat.S_IFCHR, os.makedev(0, 0))
    (folder / "link").symlink_to("/nowhere")
    (folder / ".wh.hard").write_text("no whiteout")
    (folder / "sticky").mkdir()
    (folder / "sticky").chmod(0o3777)
    (folder / "sticky/deep").write_text("d")
    os.setxattr(folder / "hard", "user.colour", b"blue\0")
    os.setxattr(folder / "sticky", "user.colour", b"red")
    for path in folder.rglob("*"):
        os.chown(path, 1234, 4321, follow_symlinks=False)
    (folder / "setuid").chmod(0o6755)  # which chown took away
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 1_000_000_000_123_456_789 + number), follow_symlinks=False)


def looks(folder: Path) -> dict[str, tuple[object, ...]]:
    """What of each entry below *folder* a copy keeps."""
    return {str(path.relative_to(folder)): look(path) for path in folder.rglob("*")}


def look(path: Path) -> tuple[object, ...]:
    """What of one entry a copy keeps; the last: whether it has holes."""
    status = path.lstat()
    said = [
        (name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)
    ]
    what = (oct(status.st_mode), status.st_mtime_ns, status.st_rdev, status.st_uid, status.st_gid, sorted(said))
    if not stat.S_ISREG(status.st_mode):
        return *what, str(path.readlink()) if path.is_symlink() else ""
    return *what, path.read_bytes(), status.st_nlink, status.st_blocks * 512 < status.st_size


@pytest.mark.parametrize("running_", [False, True], ids=["stopped", "running"])
def test_with_a_all_that_an_entry_has_goes_in_and_comes_out(store: Minirun, tmp_path: Path, running_: bool) -> None:
    make_everything(tmp_path / "all")
    expected = looks(tmp_path / "all")

    def both_ways(name: str) -> None:
        result = store("cp", "-a", tmp_path / "all", f"{name}:/copy", check=True)
        assert "device 0:0 means something to overlayfs" in result.stderr
        assert store("cp", "-a", f"{name}:/copy", tmp_path, check=True).stderr == ""

    if running_:
        with running(store, "web", "sleep", "1000"):
            both_ways("web")
    else:
        store("create", "--name", "web", "busybox", "true", check=True)
        both_ways("web")
        store("rm", "web", check=True)
    del expected["whiteout"]
    assert looks(tmp_path / "copy") == expected
    assert (tmp_path / "all").stat().st_mtime_ns == (tmp_path / "copy").stat().st_mtime_ns


def test_without_a_files_become_roots_and_devices_stay_inside(store: Minirun, box: str, tmp_path: Path) -> None:
    make_everything(tmp_path / "all")
    (tmp_path / "all/whiteout").unlink()
    store("cp", tmp_path / "all", "box:/copy", check=True)
    result = store("cp", "-a", "box:/copy", tmp_path / "kept", check=True)
    assert {(one.lstat().st_uid, one.lstat().st_gid) for one in (tmp_path / "kept").rglob("*")} == {(0, 0)}
    assert stat.S_IMODE((tmp_path / "kept/setuid").stat().st_mode) == 0o6755
    result = store("cp", "box:/copy", tmp_path / "mine", check=True)
    assert "'zero' was left out: it is a device node, which -a copies" in result.stderr
    assert not (tmp_path / "mine/zero").exists()
    result = store("cp", "box:/copy/zero", tmp_path / "zero")
    assert result.returncode == 125
    assert not (tmp_path / "zero").exists()


def test_a_tar_comes_out_and_goes_in_with_its_owners(store: Minirun, box: str, tmp_path: Path) -> None:
    make_everything(tmp_path / "all")
    (tmp_path / "all/whiteout").unlink()
    tar = subprocess.run(
        ["tar", "-c", "--xattrs", "--format=pax", "-C", tmp_path, "all"], check=True, capture_output=True
    )
    for archive in (tar.stdout, subprocess.run(["gzip"], input=tar.stdout, check=True, capture_output=True).stdout):
        command = store.command(("cp", "-", "box:/empty"))
        subprocess.run(command, env=store.environment(), input=archive, check=True, capture_output=True)
    command = store.command(("cp", "box:/empty/all", "-"))
    out = subprocess.run(command, env=store.environment(), check=True, capture_output=True).stdout
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-x", "-C", tmp_path / "out", "--xattrs", "--xattrs-include=*"], input=out, check=True)
    found, expected = looks(tmp_path / "out/all"), looks(tmp_path / "all")
    # a tar as we write it has holes as zeros
    assert {name: one[:8] for name, one in found.items()} == {name: one[:8] for name, one in expected.items()}


def test_a_tar_goes_through_links_of_the_container_and_no_further(store: Minirun, box: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, target in (("up", "../../../../../../../.."), ("abs", str(outside)), ("etc", "/d")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name in ("up/at-root", "etc/in-d", "../../dots", "/absolute", "made/on/the/way"):
            file = tarfile.TarInfo(name)
            file.size = 2
            archive.addfile(file, io.BytesIO(b"x\n"))
    command = store.command(("cp", "-", "box:/empty"))
    subprocess.run(command, env=store.environment(), input=data.getvalue(), check=True, capture_output=True)
    assert contents(store, "box:/at-root") == {"at-root": "x\n"}
    assert contents(store, "box:/d/in-d") == {"in-d": "x\n"}
    assert {"empty/dots", "empty/absolute", "empty/made/on/the/way"} <= set(contents(store, "box:/empty"))
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("abs/canary"))
    result = subprocess.run(command, env=store.environment(), input=data.getvalue(), check=False, capture_output=True)
    assert result.returncode == 125  # the container has no such directory
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"hello\n", "not a tar archive: it looks like text"),
        (b"\x1f\x8bnonsense", "damaged gzip data"),
    ],
    ids=["empty", "text", "damaged"],
)
def test_what_is_no_tar_is_refused(store: Minirun, box: str, data: bytes, reason: str) -> None:
    command = store.command(("cp", "-", "box:/"))
    result = subprocess.run(command, env=store.environment(), input=data, check=False, capture_output=True)
    assert result.returncode == 125
    assert reason in result.stderr.decode()
    result = subprocess.run(
        store.command(("cp", "-", "box:/file")), env=store.environment(), input=data, check=False, capture_output=True
    )
    assert b'destination "box:/file" must be a directory' in result.stderr


def test_one_container_copies_to_another_whether_they_run_or_not(store: Minirun, box: str) -> None:
    with running(store, "web", "sleep", "1000"):
        store("cp", "box:/d", "web:/tmp/", check=True)
        assert contents(store, "web:/tmp/d")["d/sub/g"] == "g\n"
        store("cp", "web:/tmp/d/.", "box:/empty", check=True)
        store("cp", "web:/tmp/d/f", "web:/tmp/twice", check=True)
        assert contents(store, "web:/tmp/twice") == {"twice": "f\n"}
    assert contents(store, "box:/empty/sub") == {"sub": "/", "sub/g": "g\n"}
    store("cp", "box:/file", f"{store('ps', '-aq', '-f', 'name=box').stdout.strip()}:/empty/again", check=True)
    assert contents(store, "box:/empty/again") == {"again": "file\n"}


def test_what_was_copied_into_a_stopped_container_is_its_own(store: Minirun, site: Path) -> None:
    store("create", "--name", "later", "busybox", "sh", "-c", "cat /etc/motd; ls -l /etc/motd", check=True)
    (site / "motd").write_text("hello\n")
    store("cp", site / "motd", "later:/etc/motd", check=True)
    assert "A /etc/motd" in store("diff", "later").stdout
    assert store("start", "-a", "later", check=True).stdout.startswith("hello\n")
    assert "hello" not in store("run", "--rm", "busybox", "sh", "-c", "cat /etc/motd 2>&1; true").stdout
    store("rm", "later", check=True)


def test_a_paused_container_is_copied_from_and_to(store: Minirun, site: Path) -> None:
    with running(store, "web", "sleep", "1000") as now:
        (Path(now.cgroup) / "cgroup.freeze").write_text("1")
        store("cp", site / "file", "web:/tmp/", check=True)
        assert contents(store, "web:/tmp/file") == {"file": "file\n"}
        (Path(now.cgroup) / "cgroup.freeze").write_text("0")


def test_volumes_are_reached_and_what_is_read_only_refuses(store: Minirun, site: Path) -> None:
    (site / "single").write_text("before\n")
    flags = ("-v", f"{site}/empty:/vol", "-v", f"{site}/d:/ro:ro", "-v", f"{site}/single:/single", "--tmpfs", "/mem")
    with running(store, "web", "sleep", "1000", flags=flags):
        store("cp", site / "file", "web:/vol/", check=True)
        assert (site / "empty/file").read_text() == "file\n"
        assert contents(store, "web:/ro")["ro/sub/g"] == "g\n"
        result = store("cp", site / "file", "web:/ro/")
        assert (result.returncode, "mounted volume is marked read-only" in result.stderr) == (125, True)
        # what is mounted on a file stays mounted, and is written
        inode = (site / "single").stat().st_ino
        store("cp", site / "file", "web:/single", check=True)
        assert (site / "single").read_text() == "file\n"
        assert (site / "single").stat().st_ino == inode
        assert contents(store, "web:/single") == {"single": "file\n"}
        store("cp", site / "file", "web:/mem/x", check=True)
        assert contents(store, "web:/mem") == {"mem": "/", "mem/x": "file\n"}
        store("cp", site / "file", "web:/etc/hosts", check=True)
        assert contents(store, "web:/etc/hosts") == {"hosts": "file\n"}
    store("create", "--name", "later", *flags, "busybox", "true", check=True)
    store("cp", "later:/vol/file", site / "out", check=True)
    store("cp", site / "single", "later:/vol/more", check=True)
    assert (site / "empty/more").read_text() == "file\n"
    assert "mounted volume is marked read-only" in store("cp", site / "file", "later:/ro/").stderr
    store("rm", "later", check=True)


def test_a_read_only_root_refuses_and_its_volumes_do_not(store: Minirun, site: Path) -> None:
    flags = ("--read-only", "-v", f"{site}/empty:/vol")
    with running(store, "web", "sleep", "1000", flags=flags):
        result = store("cp", site / "file", "web:/tmp/")
        assert (result.returncode, "container rootfs is marked read-only" in result.stderr) == (125, True)
        store("cp", site / "file", "web:/vol/", check=True)
    store("create", "--name", "later", *flags, "busybox", "true", check=True)
    assert "container rootfs is marked read-only" in store("cp", site / "file", "later:/tmp/").stderr
    store("cp", site / "d", "later:/vol/", check=True)
    store("rm", "later", check=True)
    assert sorted(os.listdir(site / "empty")) == ["d", "file"]


def test_what_the_kernel_makes_up_is_neither_read_nor_written(store: Minirun, site: Path) -> None:
    with running(store, "web", "sleep", "1000"):
        for path in ("web:/proc/1/status", "web:/sys", "web:/proc/self/../1/root/etc"):
            result = store("cp", path, site / "out")
            assert result.returncode == 125
            assert not (site / "out").exists()
        result = store("cp", site / "file", "web:/proc/sys/kernel/core_pattern")
        assert result.returncode == 125
        (site / "tree/proc").mkdir(parents=True)
        (site / "tree/proc/x").write_text("x")
        assert "made up by the kernel" in store("cp", f"{site}/tree/.", "web:/").stderr
        names = contents(store, "web:/")
        assert not [name for name in names if name.startswith(("proc/", "sys/", "dev/"))]
        assert {"proc", "sys", "dev", "bin/busybox"} <= set(names)
        assert "dev/null" in contents(store, "web:/dev")


def test_a_process_that_changed_its_root_changes_nothing_about_what_is_copied(store: Minirun, site: Path) -> None:
    script = "mkdir /jail; cp /bin/busybox /jail/; exec chroot /jail /busybox sleep 1000"
    with running(store, "web", "sh", "-c", script) as now:
        while str(Path(f"/proc/{now.pid}/root").readlink()) == "/":
            pass
        assert "bin/busybox" in contents(store, "web:/")


def test_no_more_room_is_said_in_a_sentence_and_leaves_no_half_file(store: Minirun, site: Path) -> None:
    (site / "big").write_bytes(os.urandom(3 << 20))
    with running(store, "web", "sleep", "1000", flags=("--tmpfs", "/small:size=1m")):
        result = store("cp", site / "big", "web:/small/")
        assert result.returncode == 125
        assert "ENOSPC" in result.stderr
        assert "free some space where it goes" in result.stderr
        assert contents(store, "web:/small") == {"small": "/"}


def test_the_end_of_the_container_is_no_end_of_the_copy(store: Minirun, site: Path) -> None:
    (site / "big").write_bytes(bytes(1 << 20) * 8)
    with running(store, "web", "sleep", "1000", flags=("-v", f"{site}/big:/data/big:ro")):
        with store.start("cp", "web:/data/.", "-") as copy:
            assert copy.stdout is not None
            begun = copy.stdout.read(1 << 16)
            store("rm", "-f", "web", check=True)
            rest = copy.stdout.read()
        assert copy.returncode == 0
        with tarfile.open(fileobj=io.BytesIO(begun + rest)) as archive:
            assert archive.getmember("big").size == 8 << 20
        assert state_of(store, "web") is None


def test_events_tell_of_copies_in_dockers_words(store: Minirun, box: str, site: Path) -> None:
    store("cp", site / "file", "box:/empty", check=True)
    store("cp", "box:/file", site / "empty", check=True)
    lines = (store.runtime / "events").read_text().splitlines()[-2:]
    assert ['"extract-to-dir"' in lines[0], '"archive-path"' in lines[1]] == [True, True]
