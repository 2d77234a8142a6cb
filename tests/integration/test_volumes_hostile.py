"""Volumes whose contents mean harm: links that are swapped, archives that lead out, many who want the same one."""

from __future__ import annotations

import ctypes
import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.command import Minirun

SWAPS = 200
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def data(store: Minirun, name: str) -> Path:
    return store.root / "volumes" / name / "_data"


def names(store: Minirun) -> list[str]:
    return store("volume", "ls", "-q", check=True).stdout.split()


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A directory of the host with a file that nobody may change, or get to see."""
    (tmp_path / "canary").mkdir()
    (tmp_path / "canary/secret").write_text("host's\n")
    return tmp_path / "canary"


class Swapper(threading.Thread):
    """Has a directory of a volume be a link to somewhere else, every other moment, as a container could."""

    def __init__(self, place: Path, elsewhere: Path) -> None:
        super().__init__()
        self.place, self.elsewhere = place, elsewhere
        self.over = False

    def run(self) -> None:
        link = self.place.with_name("link")
        link.symlink_to(self.elsewhere)
        exchange = ctypes.CDLL(None, use_errno=True).renameat2
        while not self.over:
            assert exchange(AT_FDCWD, bytes(self.place), AT_FDCWD, bytes(link), RENAME_EXCHANGE) == 0
        if self.place.is_symlink():
            exchange(AT_FDCWD, bytes(self.place), AT_FDCWD, bytes(link), RENAME_EXCHANGE)

    def __enter__(self) -> Swapper:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over = True
        self.join()


def test_a_subpath_that_is_swapped_for_a_link_never_leads_out(store: Minirun, canary: Path) -> None:
    store("run", "--rm", "-v", "swapped:/v", "busybox", "sh", "-c", "mkdir /v/part; touch /v/part/own", check=True)
    outcomes = set()
    with Swapper(data(store, "swapped") / "part", canary):
        for _ in range(SWAPS // 4):
            flags = ("--mount", "src=swapped,dst=/p,volume-subpath=part")
            result = store("run", "--rm", *flags, "busybox", "ls", "/p")
            outcomes.add(result.stdout if result.returncode == 0 else "refused")
    assert outcomes <= {"own\n", "refused"}
    assert "own\n" in outcomes
    store("volume", "rm", "swapped", check=True)


def test_a_mount_point_in_a_shared_volume_that_is_swapped_for_a_link_stays_inside(store: Minirun, canary: Path) -> None:
    store("run", "--rm", "-v", "swapped:/v", "busybox", "mkdir", "/v/part", check=True)
    mounts = Path("/proc/self/mountinfo").read_text()
    with Swapper(data(store, "swapped") / "part", canary):
        for _ in range(SWAPS // 4):
            flags = ("-v", "swapped:/v", "-v", "inner:/v/part/deep", "--tmpfs", "/v/part/m")
            store("run", "--rm", *flags, "busybox", "true")
    assert sorted(os.listdir(canary)) == ["secret"]
    assert (canary / "secret").read_text() == "host's\n"
    assert Path("/proc/self/mountinfo").read_text() == mounts
    store("volume", "rm", "-f", "swapped", "inner")


def test_what_is_swapped_for_a_link_while_it_is_copied_is_not_followed(
    store: Minirun, canary: Path, tmp_path: Path
) -> None:
    store("run", "--rm", "-v", "swapped:/v", "busybox", "sh", "-c", "mkdir /v/part; touch /v/part/own", check=True)
    with Swapper(data(store, "swapped") / "part", canary):
        for number in range(SWAPS // 10):
            store("volume", "export", "-o", tmp_path / "out.tar", "swapped")
            if (tmp_path / "out.tar").exists():
                with tarfile.open(tmp_path / "out.tar") as tar:
                    assert not [name for name in tar.getnames() if name.endswith("secret")]
            if store("volume", "clone", "swapped", f"copy{number}").returncode == 0:
                assert not list(data(store, f"copy{number}").rglob("secret"))
    for name in names(store):
        store("volume", "rm", name, check=True)


def archive(path: Path, *entries: tuple[str, Mapping[str, object], bytes]) -> Path:
    """A tar of *entries*: name, attributes of its TarInfo, data."""
    with tarfile.open(path, "w") as tar:
        for name, attributes, contents in entries:
            info = tarfile.TarInfo(name)
            info.size = len(contents)
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(contents))
    return path


def test_an_archive_leads_nowhere_out_of_the_volume(store: Minirun, canary: Path, tmp_path: Path) -> None:
    store("volume", "create", "target", check=True)
    (data(store, "target") / "way").symlink_to(canary)  # as a container may have left it
    link = {"type": tarfile.SYMTYPE, "linkname": str(canary)}
    tar = archive(
        tmp_path / "a.tar", ("way/secret", {}, b"evil"), ("out", link, b""), ("out/secret", {}, b"evil"),
        ("../../up", {}, b"evil"), ("/abs", {}, b"evil"),
    )  # fmt: skip
    store("volume", "import", "target", tar)
    assert (canary / "secret").read_text() == "host's\n"
    assert not (store.root / "volumes/up").exists()
    assert not (store.root / "up").exists()
    assert not Path("/abs").exists()
    store("volume", "rm", "target", check=True)


def test_an_archive_that_is_damaged_or_a_layers_changes_nothing(store: Minirun, tmp_path: Path) -> None:
    store("run", "--rm", "-v", "target:/v", "busybox", "touch", "/v/before", check=True)
    (tmp_path / "damaged").write_bytes(archive(tmp_path / "a", ("x", {}, b"x" * 5000)).read_bytes()[:3000])
    hard = {"type": tarfile.LNKTYPE, "linkname": "nothing"}
    cases = (
        (tmp_path / "damaged", "it ends in the middle"), (archive(tmp_path / "b", (".wh.before", {}, b"")), ".wh."),
        (archive(tmp_path / "c", ("x/.wh..wh..opq", {}, b"")), ".wh."),
        (archive(tmp_path / "d", ("x", hard, b"")), "hard link to what the tar has not got"),
    )  # fmt: skip
    for tar, reason in cases:
        result = store("volume", "import", "target", tar)
        assert result.returncode == 125, tar
        assert reason in result.stderr
        assert os.listdir(data(store, "target")) == ["before"]
    assert store("volume", "import", "nosuch", tmp_path / "b").returncode == 125
    store("volume", "rm", "target", check=True)


def test_what_is_exported_comes_back_and_what_is_there_gives_way(store: Minirun, tmp_path: Path) -> None:
    script = """cd /v; mkdir -m 750 dir; echo data >dir/file; ln dir/file same; ln -s /etc link; chown -R 5:6 dir
                mkfifo fifo; echo . >.wh.odd; rm .wh.odd; chmod 1777 /v"""
    store("run", "--rm", "-v", "one:/v", "busybox", "sh", "-c", script, check=True)
    store("volume", "export", "-o", tmp_path / "one.tar", "one", check=True)
    store("run", "--rm", "-v", "two:/v", "busybox", "sh", "-c", "cd /v; mkdir same; touch same/x dir stays", check=True)
    store("volume", "import", "two", tmp_path / "one.tar", check=True)
    one, two = data(store, "one"), data(store, "two")
    assert sorted(os.listdir(two)) == ["dir", "fifo", "link", "same", "stays"]
    assert (two / "same").samefile(two / "dir/file")
    assert (two / "same").read_text() == "data\n"
    for name in ("", "dir", "dir/file", "link", "fifo"):
        before, after = os.lstat(one / name), os.lstat(two / name)
        assert (before.st_mode, before.st_uid, before.st_gid) == (after.st_mode, after.st_uid, after.st_gid), name
    store("volume", "clone", "one", "three", check=True)
    subprocess.run(["diff", "-r", "--no-dereference", one / "dir", data(store, "three") / "dir"], check=True)
    assert (data(store, "three") / "same").samefile(data(store, "three") / "dir/file")
    assert "there is one of that name" in store("volume", "clone", "one", "two").stderr
    store("volume", "rm", "one", "two", "three", check=True)


def test_many_who_want_one_new_volume_get_the_same(store: Minirun) -> None:
    flags = ("-v", "wanted:/etc", "-v", "/own")
    scripts = [f"ls /etc/passwd; echo >/etc/{number}" for number in range(8)]
    commands = [store.start("run", "--rm", *flags, "busybox", "sh", "-c", script) for script in scripts]
    for command in commands:
        stdout, stderr = command.communicate(timeout=60)
        assert (command.returncode, stdout) == (0, b"/etc/passwd\n"), stderr
    assert {str(number) for number in range(8)} <= set(os.listdir(data(store, "wanted")))
    assert names(store) == ["wanted"]
    store("volume", "rm", "wanted", check=True)


def test_a_volume_is_never_removed_under_a_container_that_is_being_made(store: Minirun) -> None:
    for _ in range(6):
        making = [store.start("run", "--rm", "-v", "fought:/v", "busybox", "touch", "/v/x") for _ in range(3)]
        removing = [store.start("volume", "rm", "-f", "fought"), store.start("volume", "prune", "-af")]
        for command in making:
            _, stderr = command.communicate(timeout=60)
            assert command.returncode == 0, stderr
        for command in removing:
            _, stderr = command.communicate(timeout=60)
            assert command.returncode == 0 or b"in use" in stderr, stderr
    store("volume", "rm", "-f", "fought", check=True)
    assert names(store) == []
    assert store("system", "check", "-q").returncode == 0
