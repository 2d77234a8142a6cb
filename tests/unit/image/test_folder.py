"""Files of a directory that is not trusted are opened inside it, or not at all."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.errors import BadInput, BadLayer
from minirun.image.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    inside = tmp_path / "inside"
    (inside / "deep").mkdir(parents=True)
    (inside / "file").write_text("contents")
    (tmp_path / "outside").write_text("secret")
    with Folder(str(inside)) as opened:
        yield opened


def test_a_file_is_read_through_links_that_stay_inside(folder: Folder) -> None:
    Path(f"{folder.path}/deep/link").symlink_to("../deep/../file")
    Path(f"{folder.path}/link").symlink_to("deep/link")
    Path(f"{folder.path}/folder").symlink_to("deep")
    for name in ("file", "./file", "deep/link", "link", "folder/link", "deep//link"):
        assert folder.read(name, 100) == b"contents"
    assert folder.seen["link"].st_ino == Path(folder.path, "file").stat().st_ino


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../outside", "deep/../../outside", "deep/../file", "a\0b", "x" * 5000]
)
def test_a_name_that_is_no_path_inside_is_refused(folder: Folder, name: str) -> None:
    with pytest.raises(BadLayer, match="not a path inside"):
        folder.open(name)


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../outside", "deep/../../outside", "../inside/file", "loop", "deep/loop/x"]
)
def test_a_link_that_leads_out_or_nowhere_is_refused(folder: Folder, target: str) -> None:
    Path(f"{folder.path}/loop").symlink_to(target)
    with pytest.raises(BadLayer):
        folder.open("loop")
    assert list(folder.seen) == ["."]


@pytest.mark.parametrize("name", ["missing", "missing/x", "file/x", "deep", "deep/", ".", "\ud800"])
def test_what_is_no_file_is_refused(folder: Folder, name: str) -> None:
    with pytest.raises(BadLayer):
        folder.open(name)


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_a_fifo_or_a_device_is_refused_and_not_waited_for(folder: Folder, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(f"{folder.path}/odd")
    elif os.geteuid() != 0:
        pytest.skip("device nodes are made by root")
    else:
        os.mknod(f"{folder.path}/odd", 0o020666, os.makedev(1, 5))
    with pytest.raises(BadLayer, match="not a regular file"):
        folder.open("odd")


def test_what_is_too_long_is_refused_without_being_read_whole(folder: Folder) -> None:
    os.truncate(f"{folder.path}/file", 1 << 43)
    with pytest.raises(BadLayer, match="longer than 100 bytes"):
        folder.read("file", 100)


@pytest.mark.parametrize(
    "text", ["", "{", "[NaN]", "[1e999]", "[" * 5000, "[" * 101 + "]" * 101, "\ufeff{}", "{} {}", b"\xff", "9" * 5000]
)
def test_what_is_no_json_is_refused(folder: Folder, text: str | bytes) -> None:
    Path(folder.path, "file").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadLayer, match="it is not JSON"):
        folder.read_json("file")


def test_no_descriptor_is_left_open(folder: Folder) -> None:
    Path(f"{folder.path}/link").symlink_to("deep/../file")
    before = os.listdir("/proc/self/fd")
    os.close(folder.open("link"))
    for name in ("missing", "file/x", "deep", "../x"):
        with pytest.raises(BadLayer):
            folder.open(name)
    assert os.listdir("/proc/self/fd") == before


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ENOENT"):
        Folder(str(tmp_path / "missing"))
