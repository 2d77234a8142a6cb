"""Layers that several images use are there once: on disk, and in memory."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import time
from pathlib import Path

from tests.command import Minirun
from tests.host import filesystem

BIG_BYTES = 8 << 20


def resident_bytes(path: Path) -> int:
    """How much of a file is in the page cache. See mincore(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as pages,
    ):
        count = -(-len(pages) // mmap.PAGESIZE)
        held = (ctypes.c_ubyte * count)()
        start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        assert libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(len(pages)), held) == 0
        return sum(page & 1 for page in held) * mmap.PAGESIZE


def forget(path: Path) -> None:
    """Drop a file from the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def test_two_images_on_one_base_have_one_copy_of_it_on_disk_and_in_the_page_cache(store: Minirun) -> None:
    store("run", "--name", "big", "busybox", "sh", "-c", f"head -c {BIG_BYTES} /dev/urandom > /big", check=True)
    store("commit", "big", "base", check=True)
    for name in ("one", "two"):
        store("run", "--name", name, "base", "touch", f"/{name}", check=True)
        store("commit", name, name, check=True)
    copies = list((store.root / "diffs").glob("*/big"))
    assert len(copies) == 1
    stacks = [
        json.loads(store("inspect", "--type", "image", name, check=True).stdout)[0]["Layers"] for name in ("one", "two")
    ]
    assert stacks[0][:-1] == stacks[1][:-1]
    assert stacks[0][-1] != stacks[1][-1]

    if filesystem(copies[0]) != "tmpfs":  # whose files are in the page cache and nowhere else
        end = time.monotonic() + 10
        while resident_bytes(copies[0]) >= BIG_BYTES // 4:
            assert time.monotonic() < end
            forget(copies[0])  # but for pages that another processor has just had in its hands
    store("run", "--rm", "one", "cat", "/big", check=False)
    assert resident_bytes(copies[0]) == BIG_BYTES
    inodes = {store("run", "--rm", name, "stat", "-c", "%i", "/big", check=True).stdout for name in ("one", "two")}
    assert inodes == {f"{copies[0].stat().st_ino}\n"}
    store("rm", "big", "one", "two", check=True)
    store("rmi", "one", "two", "base", check=True)
    assert not list((store.root / "diffs").glob("*/big"))


def test_the_same_layer_below_another_image_is_not_stored_again(
    minirun: Minirun, busybox_layers: Path, tmp_path: Path
) -> None:
    minirun("import", busybox_layers, "whole", check=True)
    before = set((minirun.root / "diffs").iterdir())
    part = tmp_path / "part"
    part.mkdir()
    (part / "00-again.tar").write_bytes((busybox_layers / "00-base.tar").read_bytes())
    minirun("import", part, "part", check=True)
    added = {path.name for path in set((minirun.root / "diffs").iterdir()) - before}
    assert all(name.endswith("-mounts") for name in added)


def test_a_hundred_layers_are_one_root_file_system(minirun: Minirun, busybox_layers: Path, tmp_path: Path) -> None:
    deep = tmp_path / "deep"
    deep.mkdir()
    (deep / "000-base.tar").write_bytes((busybox_layers / "00-base.tar").read_bytes())
    for number in range(1, 100):
        (deep / f"{number:03}-one").mkdir()
        (deep / f"{number:03}-one" / f"file{number}").write_text(str(number))
        (deep / f"{number:03}-one" / "last").write_text(str(number))
    result = minirun("run", "--rm", deep, "sh", "-c", "ls / | grep -c ^file; cat /last /file1 /file99", check=True)
    assert result.stdout == "99\n99199"


def test_gc_leaves_a_container_what_it_stands_on_also_when_its_image_was_lost(
    minirun: Minirun, busybox_layers: Path
) -> None:
    minirun("create", "--name", "orphan", busybox_layers, "echo", "runs", check=True)
    for record in (minirun.root / "images").glob("*.json"):
        record.unlink()
    minirun("gc", check=True)
    assert minirun("start", "-a", "orphan", check=True).stdout == "runs\n"


def test_a_file_among_the_names_of_images_stops_no_command(minirun: Minirun, busybox_layers: Path) -> None:
    minirun("import", busybox_layers, "busybox", check=True)
    (minirun.root / "tags/stray").touch()
    assert "busybox" in minirun("images", check=True).stdout
    minirun("gc", check=True)
