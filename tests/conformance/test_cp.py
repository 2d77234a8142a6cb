"""`cp` beside podman's: the same words put the same files in the same places, in both directions."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import peers
from tests.command import Minirun

# not "ld/": podman calls a copy of a link's directory as the directory where it comes out of a container, and Docker as
# the link, as both do where it goes in
COPIES = (
    ("file", "new"),
    ("file", "d/f"),
    ("file", "empty"),
    ("file", "empty/"),
    ("d", "new"),
    ("d", "empty"),
    ("d/", "empty/"),
    ("d/.", "empty"),
    ("d/.", "new"),
    ("ld/.", "empty"),
    ("d/sub", "ld"),
    ("file", "ld/sub/new"),
    ("d", "d2"),
)


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Podman]:
    """A podman that has an image `base`, with a directory and nothing else."""
    if os.geteuid() != 0:
        pytest.skip("containers are made by root")
    base = tmp_path_factory.mktemp("base") / "base.tar"
    with tarfile.open(base, "w") as archive:
        archive.addfile(tarfile.TarInfo("etc"))
    with peers.podman() as podman:
        podman("import", base, "base")
        yield podman


def make_site(site: Path) -> None:
    """Make files, directories and a link on the host."""
    (site / "d/sub").mkdir(parents=True)
    (site / "empty").mkdir()
    (site / "d2/sub").mkdir(parents=True)
    (site / "d/f").write_text("f\n")
    (site / "d/f").chmod(0o4750)
    (site / "d/sub/g").write_text("g\n")
    (site / "d/sub").chmod(0o1711)
    (site / "d2/sub/h").write_text("h\n")
    (site / "file").write_text("file\n")
    (site / "ld").symlink_to("d")


def described(site: Path) -> dict[str, tuple[str, int, bytes]]:
    """Kind, mode and contents of all that came from `make_site`; an image has more beside it, FIFOs, too."""
    found = {}
    for name in ("d", "d2", "empty", "file", "ld", "new"):
        for path in (site / name, *(site / name).rglob("*")):
            if os.path.lexists(path):
                link = path.is_symlink()
                what = os.fsencode(path.readlink()) if link else b"" if path.is_dir() else path.read_bytes()
                found[str(path.relative_to(site))] = "/" * path.is_dir(), path.lstat().st_mode, what
    return found


@pytest.mark.parametrize(("source", "target"), COPIES, ids=[" ".join(words) for words in COPIES])
def test_a_copy_lands_where_podman_puts_it(
    podman: peers.Podman, store: Minirun, tmp_path: Path, source: str, target: str
) -> None:
    found = {}
    for tool in ("podman", "minirun"):
        site = tmp_path / tool
        make_site(site)
        tar = subprocess.run(["tar", "-c", "-C", site, "."], check=True, capture_output=True).stdout
        inside, outside = tmp_path / f"{tool}-inside", tmp_path / f"{tool}-outside"
        make_site(outside)
        if tool == "podman":
            podman("create", "--name", "box", "base", "true")
            podman("cp", f"{site}/.", "box:/")
            podman("cp", f"{site}/{source}", f"box:/{target}")
            podman("cp", "box:/.", inside)
            podman("cp", f"box:/{source}", f"{outside}/{target}")
            podman("rm", "-f", "box")
        else:
            store("create", "--name", "box", "busybox", "true", check=True)
            command = store.command(("cp", "-", "box:/"))
            subprocess.run(command, env=store.environment(), input=tar, check=True, capture_output=True)
            store("cp", f"{site}/{source}", f"box:/{target}", check=True)
            store("cp", "box:/.", inside, check=True)
            store("cp", f"box:/{source}", f"{outside}/{target}", check=True)
            store("rm", "box", check=True)
        found[tool] = described(inside), described(outside)
    assert found["minirun"] == found["podman"]
