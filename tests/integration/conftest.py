"""Every test here runs as root on the real kernel, and leaves the host as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.command import Minirun


@pytest.fixture(autouse=True, scope="session")
def root() -> None:
    """Skip all of it for anyone else."""
    if os.geteuid() != 0:
        pytest.skip("integration tests make namespaces and mounts: run as root")


@pytest.fixture(autouse=True)
def same_host(root: None, leaves_nothing: None) -> None:
    """Compare the host before and after each test."""


@pytest.fixture(scope="session")
def userland(root: None, tmp_path_factory: pytest.TempPathFactory, ubuntu_layers: Path) -> Minirun:
    """The command, with a store that the whole session shares, in which *ubuntu_layers* is unpacked already."""
    home = tmp_path_factory.mktemp("userland")
    minirun = Minirun(home / "root", home / "runtime")
    minirun("run", "--rm", ubuntu_layers, "true", check=True)
    return minirun
