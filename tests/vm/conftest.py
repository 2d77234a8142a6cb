"""These tests run in the guest of `make vm-test`, and nowhere else: they fill its memory, its processors and its disk.

Every controller is there and nobody else works in the guest, so none of them skips in it. Each leaves the tree of
groups as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.command import Minirun
from tests.vm.box import Box, running

GUEST = "MINIRUN_TEST_GUEST"  # set by the guest's first process: the series of its kernel
TREE = Path("/sys/fs/cgroup")


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
    """Every group there is."""
    return {folder for folder, _, _ in os.walk(TREE)}


@pytest.fixture
def start(store: Minirun, tmp_path: Path) -> Iterator[Callable[..., Box]]:
    """Start containers of the image `busybox` in the background; they end with the test."""
    with ExitStack() as ended:
        yield lambda *arguments: ended.enter_context(running(store, tmp_path, *arguments))
