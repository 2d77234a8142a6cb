"""What tests of logs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.pumping import Logged


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Logged]]:
    """Makes a log, with the limits of a LogFile; its FIFOs are closed at the end."""
    made: list[Logged] = []

    def one(**limits: int) -> Logged:
        folder = tmp_path / f"container{len(made)}"
        folder.mkdir()
        made.append(Logged(folder, **limits))
        return made[-1]

    yield one
    for logged in made:
        logged.close()
