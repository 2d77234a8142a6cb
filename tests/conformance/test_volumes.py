"""What goes out of a volume and in again, beside podman."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import peers
from tests.command import Minirun

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture(scope="module")
def podman() -> Iterator[peers.Podman]:
    """A podman with a store of its own."""
    with peers.podman() as podman:
        yield podman


def entries(path: Path) -> dict[str, tuple[object, ...]]:
    """What a tar has, but for times, which some tools cut to seconds, and for its root directory's name."""
    with tarfile.open(path) as tar:
        return {
            info.name.removeprefix("./").rstrip("/"): (
                info.type, oct(info.mode & 0o7777), info.uid, info.gid, info.linkname.removeprefix("./"),
                tar.extractfile(info).read() if info.isreg() else b"",  # type: ignore[union-attr]  # a file has contents
            )
            for info in tar if info.name.strip("./")
        }  # fmt: skip


def test_each_imports_what_the_other_exports(
    minirun: Minirun, podman: peers.Podman, busybox_layers: Path, tmp_path: Path
) -> None:
    script = "cd /v; mkdir -m 2750 d; echo x >d/f; ln d/f same; ln -s f d/link; chown -R 3:4 d; mkfifo fifo"
    minirun("run", "--rm", "-v", "ours:/v", busybox_layers, "sh", "-c", script, check=True)
    minirun("volume", "export", "-o", tmp_path / "1.tar", "ours", check=True)
    podman("volume", "create", "theirs")
    podman("volume", "import", "theirs", tmp_path / "1.tar")
    podman("volume", "export", "-o", tmp_path / "2.tar", "theirs")
    minirun("volume", "create", "back", check=True)
    minirun("volume", "import", "back", tmp_path / "2.tar", check=True)
    minirun("volume", "export", "-o", tmp_path / "3.tar", "back", check=True)
    assert entries(tmp_path / "1.tar") == entries(tmp_path / "2.tar") == entries(tmp_path / "3.tar")
