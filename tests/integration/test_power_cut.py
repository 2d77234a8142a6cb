"""The power goes while a command writes: what the disk has by then is a store that opens, with nothing half there.

    store on ext4 ── loop device ──▶ file ── read again and again while the command runs

A copy is what has been written to the device until then: what ext4 still kept in memory is lost, as it is with the
power. Mounted, its journal is replayed; the runtime directory is empty, as after a boot.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import busybox, inject
from tests.command import Minirun

SIZE = 32 << 20
CHECKED = 40 if inject.THOROUGH else 5
SYNCS = "fsync,fdatasync,syncfs"
SLOWLY = f"inject={SYNCS}:delay_exit=50000"  # what is on the disk after each is there for 50 ms
TEXT = "line of a file that has to come back whole\n" * 2000


@contextmanager
def mounted(image: Path, point: Path) -> Iterator[None]:
    """Mount *image* at *point*: always the same one, for a store knows where it is."""
    point.mkdir(exist_ok=True)
    # a short interval of the journal, so that copies differ
    subprocess.run(["mount", "-o", "loop,commit=1", image, point], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", point], check=True)


@pytest.fixture
def disk(root: None, tmp_path: Path) -> Path:
    """A file that is a disk for a store."""
    if subprocess.run(["losetup", "-f"], capture_output=True, check=False).returncode:
        pytest.skip("this host has no loop devices")
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, SIZE)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    return image


def cut(minirun: Minirun, image: Path, folder: Path, *words: str | Path) -> list[Path]:
    """Run a command; returns copies of the disk, one of its end and others of moments before, in their order.

    What has changed while it was read is of no moment: two readings have to be the same.
    """
    seen: list[bytes] = []
    words = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={SYNCS}", "-e", SLOWLY, *minirun.command(words))
    with subprocess.Popen(words, env=minirun.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            now = image.read_bytes()
            if now == image.read_bytes() and now not in seen[-1:]:
                seen.append(now)
        assert process.returncode == 0, process.communicate()
    picked = sorted(random.Random(7).sample(range(len(seen)), min(CHECKED, len(seen))))
    copies = []
    for number, content in enumerate([*(seen[number] for number in picked), image.read_bytes()]):
        copies.append(folder / f"copy{number}")
        copies[-1].write_bytes(content)
    return copies


def sound(after: Minirun, texts: dict[str, str]) -> None:
    """Look at a store as the next boot finds it; *texts* is what of images has to be in /text, if they are there."""
    after("gc", check=True)
    assert os.listdir(after.root / "marks") == []
    checked = after("system", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # an image whose name was still to come may be there without one
    images = dict(line.split() for line in after("images", "--format", "{{.ID}} {{.Repository}}").stdout.splitlines())
    assert "base" in images.values()
    for image, name in images.items():
        told = after("run", "--rm", image, "cat", "/text", check=True).stdout
        assert told == texts["base" if name == "base" else "later"], name
    for box in after("ps", "-aq", check=True).stdout.split():
        after("inspect", box, check=True)
        after("rm", "-f", box, check=True)


@pytest.mark.parametrize("command", ["commit", "import", "run"])
def test_whenever_the_power_goes_the_store_is_sound(disk: Path, tmp_path: Path, command: str) -> None:
    for name, text in (("base", "base\n"), ("more", TEXT)):
        base = busybox.tree(tmp_path / name)
        (base / "text").write_text(text)
    point = tmp_path / "point"
    minirun = Minirun(point / "root", tmp_path / "runtime")
    script = "for n in $(busybox seq 2000); do echo 'line of a file that has to come back whole'; done >/text"
    words: dict[str, tuple[str | Path, ...]] = {
        "commit": ("commit", "changed", "later"),
        "import": ("import", tmp_path / "more", "later"),
        "run": ("run", "--name", "second", "base", "sh", "-c", "cat /text >/copy; sleep 0.2"),
    }
    with mounted(disk, point):
        minirun("import", tmp_path / "base", "base", check=True)
        minirun("run", "--name", "changed", "base", "/bin/busybox", "sh", "-c", script, check=True)
        os.sync()
        copies = cut(minirun, disk, tmp_path, *words[command])
    for number, copy in enumerate(copies):
        with mounted(copy, point):
            sound(Minirun(minirun.root, tmp_path / f"runtime{number}"), {"base": "base\n", "later": TEXT})
