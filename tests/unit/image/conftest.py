"""A store of images, in a directory of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirun.home import Home
from minirun.image.store import Images


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """A store without images."""
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    return Images(home)
