"""-v and --tmpfs: what of the host a container is given, where it lands, and what it may do with it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import busybox
from tests.command import Minirun


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory of the host with one file."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("host's\n")
    return tmp_path / "data"


def inside(store: Minirun, script: str, *flags: str | Path) -> str:
    return store("run", "--rm", *flags, "busybox", "sh", "-c", script, check=True).stdout


def test_a_directory_is_read_and_written_on_both_sides(store: Minirun, data: Path) -> None:
    assert inside(store, "cat /data/file; echo inside >/data/new", "-v", f"{data}:/data") == "host's\n"
    assert (data / "new").read_text() == "inside\n"


def test_ro_can_only_be_read(store: Minirun, data: Path) -> None:
    script = "cat /data/file; (: >>/data/file) 2>&1; rm /data/file 2>&1; mkdir /data/x 2>&1; chmod 0 /data 2>&1; true"
    lines = inside(store, script, "-v", f"{data}:/data:ro").splitlines()
    assert lines[0] == "host's"
    assert ["Read-only file system" in line for line in lines[1:]] == [True] * 4
    assert sorted(os.listdir(data)) == ["file"]


def test_ro_holds_for_what_is_mounted_below_it(store: Minirun, data: Path) -> None:
    (data / "below").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "below", data / "below"], check=True)
    try:
        script = "(: >/data/below/x) 2>&1; mount | grep -c ' /data/below '"
        lines = inside(store, script, "-v", f"{data}:/data:ro").splitlines()
        assert "Read-only file system" in lines[0]
        assert lines[1] == "1"
        assert list((data / "below").iterdir()) == []
    finally:
        subprocess.run(["umount", data / "below"], check=True)


def test_a_file_is_attached_as_a_file(store: Minirun, data: Path) -> None:
    script = "cat /etc/passwd /new/place; echo more >>/new/place"
    flags = ("-v", f"{data}/file:/etc/passwd:ro", "-v", f"{data}/file:/new/place")
    assert inside(store, script, *flags) == "host's\nhost's\n"
    assert (data / "file").read_text() == "host's\nmore\n"


def test_the_mount_point_is_made_and_what_was_there_is_hidden(store: Minirun, data: Path) -> None:
    assert inside(store, "ls /bin /a/b/c", "-v", f"{data}:/a/b/c", "-v", f"{data}:/home").count("file") == 1
    assert inside(store, "/bin/busybox ls /home", "-v", f"{data}:/home") == "file\n"


def test_volumes_are_attached_in_the_order_in_which_they_are_given(store: Minirun, data: Path, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/deep").write_text("deep\n")
    flags = ("-v", f"{data}:/data", "-v", f"{tmp_path}/inner:/data/inner")
    assert inside(store, "cat /data/file /data/inner/deep", *flags) == "host's\ndeep\n"
    assert (data / "inner").is_dir()  # the mount point, made on the host's directory as Docker does


def test_a_volume_goes_over_a_tmpfs(store: Minirun, data: Path) -> None:
    flags = ("-v", f"{data}:/run/data", "--tmpfs", "/run")
    assert inside(store, "cat /run/data/file", *flags) == "host's\n"


def test_a_relative_source_begins_where_the_caller_is(store: Minirun, data: Path) -> None:
    command = store.command(("run", "--rm", "-v", "./data:/data", "busybox", "cat", "/data/file"))
    result = subprocess.run(command, env=store.environment(), cwd=data.parent, capture_output=True, check=True)
    assert result.stdout == b"host's\n"


def test_a_source_is_followed_to_what_it_links_to(store: Minirun, data: Path) -> None:
    (data.parent / "link").symlink_to("data")
    assert inside(store, "cat /data/file", "-v", f"{data.parent}/link:/data") == "host's\n"


def test_names_with_blanks_and_bytes_that_are_no_utf8_are_attached(store: Minirun, tmp_path: Path) -> None:
    odd = os.fsdecode(b"a b\xff\\040")
    (tmp_path / odd).mkdir()
    (tmp_path / odd / "file").write_text("odd\n")
    assert inside(store, 'cat "/x y/file"', "-v", f"{tmp_path}/{odd}:/x y") == "odd\n"


def test_a_target_below_a_link_stays_in_the_container(store: Minirun, data: Path, tmp_path: Path) -> None:
    base = busybox.tree(tmp_path / "image")
    outside = tmp_path / "outside"
    outside.mkdir()
    (base / "escape").symlink_to(outside)  # absolute: of the host as seen from here, of the container as seen inside
    (base / "up").symlink_to("../../../../../../../..")
    command = ("sh", "-c", f"cat {outside}/in/file /up/file /file")
    flags = ("-v", f"{data}:/escape/in", "-v", f"{data}/file:/up/file")
    result = store("run", "--rm", *flags, tmp_path / "image", *command)
    assert os.listdir(outside) == []
    assert not Path("/file").exists()
    # mkdir does not follow a link that leads nowhere: refused, and nothing is made
    assert result.returncode == 125
    (base / str(outside).lstrip("/")).mkdir(parents=True)
    assert store("run", "--rm", *flags, tmp_path / "image", *command, check=True).stdout == "host's\n" * 3
    assert os.listdir(outside) == []


@pytest.mark.parametrize(
    "target", ["/proc", "/proc/self/attr", "/proc/1", "//proc", "/proc/../proc/x", "/./proc/", "/"]
)
def test_nothing_is_attached_over_the_root_or_below_proc(store: Minirun, data: Path, target: str) -> None:
    before = busybox.contents(store.root)
    for flags in (("-v", f"{data}:{target}"), ("--tmpfs", target)):
        result = store("run", *flags, "busybox", "true")
        assert result.returncode == 125
        assert "nothing can be attached at" in result.stderr
    assert busybox.contents(store.root) == before


def test_what_is_attached_through_a_link_to_proc_lies_below_the_real_one(
    store: Minirun, data: Path, tmp_path: Path
) -> None:
    base = busybox.tree(tmp_path / "image")
    (base / "link").symlink_to("proc")
    script = "ls /link/1/file /proc/1/file 2>/dev/null; cat /proc/1/comm; true"
    assert store("run", "--rm", "-v", f"{data}:/link/1", tmp_path / "image", "sh", "-c", script).stdout == "sh\n"


def test_a_tmpfs_is_empty_memory_of_the_size_and_mode_that_was_asked_for(store: Minirun) -> None:
    script = """
        ls -A /home; stat -c %a /home /small; grep -E ' /(home|small) ' /proc/mounts | cut -d ' ' -f 2,4
        dd if=/dev/zero of=/small/x bs=1M count=2 2>&1 | grep -c 'No space'"""
    flags = ("--tmpfs", "/home", "--tmpfs", "/small:size=1m,mode=0750,exec,uid=7")
    lines = inside(store, script, *flags).splitlines()
    assert lines[:2] == ["1777", "750"]
    assert lines[2].startswith("/home rw,nosuid,nodev,noexec")
    assert lines[3].startswith("/small rw,nosuid,nodev,")
    assert "noexec" not in lines[3]
    assert "uid=7" in lines[3]
    assert lines[4] == "1"


def test_two_hundred_volumes_are_attached_and_one_more_is_refused(store: Minirun, data: Path) -> None:
    flags = [word for number in range(200) for word in ("-v", f"{data}:/v{number}:ro")]
    assert inside(store, "ls -d /v*/file | wc -l", *flags) == "200\n"
    result = store("run", *flags, "-v", f"{data}:/one-more", "busybox", "true")
    assert result.returncode == 125
    assert "201 are more than 200" in result.stderr


@pytest.mark.parametrize("swapped", ["data", "data/inner"])
def test_a_link_that_came_in_place_of_a_source_is_not_followed(store: Minirun, data: Path, swapped: str) -> None:
    secret = data.parent / "secret"
    (secret / "inner").mkdir(parents=True)
    (data / "inner").mkdir()
    store("create", "--name", "later", "-v", f"{data}/inner:/x", "busybox", "ls", "/x", check=True)
    assert store("start", "-a", "later").returncode == 0
    (data.parent / swapped).rename(data.parent / "moved")
    (data.parent / swapped).symlink_to(secret / "inner" if swapped.endswith("inner") else secret)
    result = store("start", "-a", "later")
    assert result.returncode == 125
    assert f"cannot attach {data}/inner at /x: ELOOP" in result.stderr
    store("rm", "later", check=True)
