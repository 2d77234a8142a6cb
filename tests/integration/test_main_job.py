"""The main job: a real userland runs; what it writes lands in the container layer and nowhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.kernel import jsonfile
from tests import busybox
from tests.command import Minirun


def state(directory: Path) -> dict[str, tuple[int, ...]]:
    """Everything below *directory* with what a change changes: nobody but the kernel sets a ctime."""
    found: dict[str, tuple[int, ...]] = {}
    for folder, _, names in os.walk(directory):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            status = os.lstat(path)
            found[path] = (status.st_ctime_ns, status.st_ino, status.st_size, status.st_mode, status.st_nlink)
    return found


@pytest.fixture
def happy(userland: Minirun, ubuntu_layers: Path) -> Iterator[str]:
    """A container that wrote a file and stopped; gives its id."""
    before = set(busybox.containers(userland.root))
    userland("run", ubuntu_layers, "touch", "/happiness.txt", check=True)
    (box,) = set(busybox.containers(userland.root)) - before
    yield box
    userland("rm", box, check=True)


def test_a_file_is_in_the_container_layer_after_the_container_stopped(userland: Minirun, happy: str) -> None:
    upper = userland.root / "containers" / happy / "upper"
    assert sorted(os.listdir(upper)) == ["happiness.txt"]
    assert stat.S_ISREG((upper / "happiness.txt").stat().st_mode)
    assert userland("diff", happy, check=True).stdout == "A /happiness.txt\n"


def test_and_in_no_layer_nor_on_the_host(userland: Minirun, ubuntu_layers: Path) -> None:
    before = state(userland.root / "diffs"), state(ubuntu_layers)
    script = "echo x >/happiness.txt; echo x >>/etc/passwd; rm -r /usr/share/zoneinfo /etc/apt; mv /home /house"
    userland("run", "--name", "busy", ubuntu_layers, "sh", "-c", script, check=True)
    assert (state(userland.root / "diffs"), state(ubuntu_layers)) == before
    assert not Path("/happiness.txt").exists()
    changes = set(userland("diff", "busy", check=True).stdout.splitlines())
    assert {"A /happiness.txt", "C /etc/passwd", "D /etc/apt", "D /home", "A /house"} <= changes
    assert userland("run", "--rm", ubuntu_layers, "ls", "-d", "/home", "/etc/apt", check=True).stdout
    userland("rm", "busy", check=True)


def test_a_container_finds_what_it_wrote_when_it_starts_again(userland: Minirun, happy: str) -> None:
    script = "cat /count 2>/dev/null; echo once more >>/count"
    userland("create", "--name", "again", *_image(userland, happy), "sh", "-c", script, check=True)
    printed = [userland("start", "-a", "again", check=True).stdout for _ in range(3)]
    assert printed == ["", "once more\n", "once more\n" * 2]
    userland("rm", "again", check=True)


def _image(userland: Minirun, box: str) -> list[str]:
    return [jsonfile.read(str(userland.root / "containers" / box / "container.json"))["image"][:12]]


def test_a_real_userland_works(userland: Minirun, ubuntu_layers: Path) -> None:
    script = """
        set -e
        id -un; dpkg -s python3 | grep ^Status; python3 -c 'import json, sqlite3; print(json.dumps([1]))'
        useradd -m bob; su bob -c 'id -un; touch ~/x; mktemp /dev/shm/XXXXXX >/dev/null'; stat -c %U /home/bob/x
        perl -e 'print "perl\\n"'; test -e /usr/share/man/man1 || echo slim; apt-get --version | head -c 3"""
    printed = userland("run", "--rm", ubuntu_layers, "bash", "-c", script, check=True).stdout
    assert printed.splitlines() == ["root", "Status: install ok installed", "[1]", "bob", "bob", "perl", "slim", "apt"]
