"""Every test here runs as root on the real kernel, and leaves the host as it was."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def root() -> None:
    """Skip all of it for anyone else."""
    if os.geteuid() != 0:
        pytest.skip("integration tests make namespaces and mounts: run as root")


@pytest.fixture(autouse=True)
def same_host(root: None, leaves_nothing: None) -> None:
    """Compare the host before and after each test."""
