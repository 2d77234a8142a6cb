"""A container's root file system as a tar: all of it, as the container saw it."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from tests.command import Minirun


def exported(store: Minirun, name: str, tmp_path: Path) -> dict[str, tarfile.TarInfo]:
    """The entries of a container's export, by name."""
    store("export", "--output", tmp_path / "out.tar", name, check=True)
    with tarfile.open(tmp_path / "out.tar") as archive:
        return {member.name.removeprefix("./"): member for member in archive}


def test_an_export_has_what_the_image_had_and_what_the_container_changed(store: Minirun, tmp_path: Path) -> None:
    script = "echo new > /new; rm /etc/passwd; mkdir -m 1777 /d; ln /new /d/link; chown 7:8 /new; ln -s /new /s"
    store("run", "--name", "exported", "busybox", "sh", "-c", script, check=True)
    entries = exported(store, "exported", tmp_path)
    assert "bin/busybox" in entries
    assert "etc/passwd" not in entries
    assert not [name for name in entries if ".wh." in name]
    assert (entries["d"].mode & 0o7777, entries["s"].linkname) == (0o1777, "/new")
    names = {"new", "d/link"}
    links = [name for name in names if entries[name].islnk()]
    assert len(links) == 1
    file = entries[(names - set(links)).pop()]
    assert (file.uid, file.gid, file.size) == (7, 8, 4)
    store("rm", "exported", check=True)


def test_a_file_whose_name_looks_like_a_whiteout_is_exported_as_the_file_it_is(store: Minirun, tmp_path: Path) -> None:
    store("run", "--name", "odd", "busybox", "sh", "-c", "echo x > /.wh.odd; echo y > /etc/.wh..wh..opq", check=True)
    entries = exported(store, "odd", tmp_path)
    assert {".wh.odd", "etc/.wh..wh..opq", "etc/passwd"} <= set(entries)
    store("rm", "odd", check=True)


def test_a_running_container_is_exported_as_it_is(store: Minirun, tmp_path: Path) -> None:
    command = ("run", "--rm", "-i", "--name", "on", "busybox", "sh", "-c", "touch /now; echo on; read x")
    with store.start(*command, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        assert "now" in exported(store, "on", tmp_path)
        process.communicate(b"\n")
