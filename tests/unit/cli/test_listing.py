"""What became of a container, in Docker's words."""

from __future__ import annotations

import time

import pytest

from minirun.cli.listing import status
from minirun.container.state import State


@pytest.mark.parametrize(
    ("status_word", "exit_code", "text"),
    [
        ("created", 0, "Created"),
        ("running", 0, "Up 2 minutes"),
        ("paused", 0, "Up 2 minutes (Paused)"),
        ("exited", 3, "Exited (3) About a minute ago"),
        ("restarting", 1, "Restarting (1) About a minute ago"),
    ],
)
def test_a_status_is_told_as_docker_does(status_word: str, exit_code: int, text: str) -> None:
    now = time.time()
    assert status(State(status_word, 0, now - 130, now - 70, exit_code)) == text
