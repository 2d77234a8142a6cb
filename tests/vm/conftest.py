"""These tests run in the guest of `make vm-test`, and nowhere else: they fill its memory, its processors and its disk.

Every controller is there and nobody else works in the guest, so none of them skips in it. Each leaves the tree of
groups as it was.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.command import Minirun
from tests.vm.box import TREE, Box, running

GUEST = "MINIRUN_TEST_GUEST"  # set by the guest's first process: the series of its kernel


@pytest.fixture(autouse=True, scope="session")
def guest() -> str:
    """The series of the kernel that the guest was to have, ``6.12``."""
    if GUEST not in os.environ:
        pytest.skip("runs in the guest of `make vm-test`")
    return os.environ[GUEST]


@pytest.fixture(autouse=True)
def same_tree(guest: str) -> Iterator[None]:
    """Compare the tree of groups before and after each test."""
    before = groups()
    yield
    assert groups() == before


def groups() -> set[str]:
    """Every group there is, without those that systemd has for others."""
    found = {folder for folder, _, _ in os.walk(TREE)}
    return {one for one in found if "minirun" in one or not one.endswith((".slice", ".scope", ".service"))}


@pytest.fixture
def start(store: Minirun, tmp_path: Path) -> Iterator[Callable[..., Box]]:
    """Start containers of the image `busybox` in the background; they end with the test."""
    with ExitStack() as ended:
        yield lambda *arguments: ended.enter_context(running(store, tmp_path, *arguments))


class Disk(NamedTuple):
    """A whole disk, and where the file system on it is mounted."""

    device: Path
    point: Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """The disk with the serial number `scratch`, which the guest has for this, with an empty ext4."""
    found = [path.parent.name for path in Path("/sys/block").glob("*/serial") if path.read_text().strip() == "scratch"]
    if not found:
        pytest.skip("this machine has no disk with the serial number `scratch`")
    disk = Disk(Path("/dev", found[0]), tmp_path / "disk")
    disk.point.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", disk.device], check=True)
    subprocess.run(["mount", disk.device, disk.point], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk.point], check=True)
