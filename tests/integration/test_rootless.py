"""An ordinary user runs containers: minirun is started by one of the tests' own, see tests/commoner.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import commoner
from tests.command import Minirun


@pytest.fixture(scope="module")
def own(root: None, busybox_layers: Path) -> Minirun:
    """His store, which has the image `busybox`."""
    home = commoner.folder()
    minirun = Minirun(home / "root", home / "runtime", commoner=True)
    minirun("import", busybox_layers, "busybox", check=True)
    return minirun


def test_he_is_root_in_there_and_himself_outside(own: Minirun) -> None:
    maps = own("run", "--rm", "busybox", "cat", "/proc/self/uid_map", check=True).stdout.split()
    assert maps == ["0", str(commoner.UID), "1", "1", str(commoner.FIRST), str(commoner.COUNT)]
