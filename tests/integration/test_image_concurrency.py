"""Sixteen commands at once bring in the same images from the same sources, use them, name them and remove them."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from tests import crowd, inject
from tests.command import PATIENCE, Minirun
from tests.small import small_layers

WORKERS = 16
SECONDS = 120 if inject.THOROUGH else 8 * PATIENCE
TAGS = ["a:1", "b:1", "localhost:5000/c", "small"]
# what may happen to somebody who is not alone; anything else is a fault
LEGITIMATE = re.compile(
    r"minirun: cannot "
    r"(find image \S+: no image of that name or id is stored"
    r"|remove image \S+: container \w+ \(\w+\) uses it"
    r"|remove image \S+: it is mounted at /\S+"
    r"|remove image \S+: it has \d names"
    r"|squash image \S+: (it has 1 layer: |from layer 2 on )there is nothing to merge"
    r"|find image \S+: \d ids begin so)"
)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory in memory."""
    with tempfile.TemporaryDirectory(prefix="minirun-images-", dir="/dev/shm") as path:
        yield Path(path)


class Sources:
    """The same image in several forms, and another one that has its lower layers.

    Attributes:
        layers: a directory of three layers.
        more: one of these and a fourth.
        archives: files that `load` takes, of both.
    """

    def __init__(self, place: Path, busybox_layers: Path) -> None:
        self.layers = small_layers(place / "layers", busybox_layers)
        self.more = small_layers(place / "more", busybox_layers)
        (self.more / "03-more/srv").mkdir(parents=True)
        (self.more / "03-more/srv/more").write_text("more\n")
        maker = Minirun(place / "maker", place / "maker-runtime")
        maker("import", self.layers, "small", check=True)
        maker("import", self.more, "more", check=True)
        self.archives = []
        for form in ("docker", "oci"):
            self.archives.append(place / f"{form}.tar")
            maker("save", "--format", form, "-o", self.archives[-1], "small", "more", check=True)


class Worker(crowd.Worker):
    """Somebody who brings images in, uses them, names them and removes them."""

    legitimate = LEGITIMATE
    environment: ClassVar[Mapping[str, str]] = {"MINIRUN_DEBUG": "1"}
    killed_within_s = 0.4

    def __init__(self, minirun: Minirun, sources: Sources, seed: int, end: float, killing: int) -> None:
        super().__init__(minirun, seed, end, killing)
        self.sources = sources

    def command(self) -> Sequence[str]:
        """Choose one."""
        pick, sources = self.random.choice, self.sources
        tag, directory = pick(TAGS), str(pick([sources.layers, sources.more]))
        image = pick([*TAGS, self.id()])
        return pick([
            ["load", "-q", "-i", str(pick(sources.archives))],
            ["load", "-q", "-i", str(pick(sources.archives))],
            ["import", directory, tag],
            ["import", directory],
            ["run", "--rm", "--pull", "never", image, "cat", "/srv/page"],
            ["run", "--rm", directory, "cat", "/data/one"],
            ["tag", image, tag],
            ["rmi", image],
            ["rmi", "-f", image, tag],
            ["image", "prune", "-f"],
            ["image", "prune", "-af"],
            ["image", "squash", "--from", "2", image, tag],
            ["image", "mount", image],
            ["image", "unmount", "-f", image],
            ["save", "-o", f"{sources.layers.parent}/saved-{self.random.random()}", image],
            ["images"],
            ["image", "tree"],
            ["system", "df"],
            ["inspect", "--type", "image", image],
            ["gc"],
        ])  # fmt: skip

    def id(self) -> str:
        """Some digits of the id of an image that is there now, perhaps."""
        names = [name for name in os.listdir(self.minirun.root / "images") if name.endswith(".json")]
        return self.random.choice(names)[: self.random.choice([7, 12, 64])] if names else "0123456789ab"


@pytest.mark.parametrize("killing", [0, 6], ids=["all-live", "some-are-killed"])
def test_images_come_and_go_at_once(killing: int, place: Path, busybox_layers: Path) -> None:
    sources = Sources(place, busybox_layers)
    minirun = Minirun(place / "root", place / "runtime")
    minirun("images", check=True)
    thorough = ("load", "import", "run", "rmi", "tag", "gc", "image squash", "image mount", "save")
    wanted = thorough if inject.THOROUGH else ("load", "import", "run", "rmi")
    crowd.work(WORKERS, SECONDS, lambda seed, end: Worker(minirun, sources, seed, end, killing), wanted)
    minirun("image", "unmount", "-af", check=True)
    look(minirun, sources)
    empty(minirun)


def look(minirun: Minirun, sources: Sources) -> None:
    """Everything that is there can be used, and the same image is the same."""
    checked = minirun("system", "check", "--format", "json")
    # what nothing needs may be left for gc: an undo that somebody was in the way of
    left = [json.loads(line) for line in checked.stdout.splitlines()]
    assert {one["State"] for one in left} <= {"remains"}, left
    minirun("gc", check=True)
    assert minirun("system", "check").stdout.endswith("sound\n")
    assert os.listdir(minirun.root / "marks") == os.listdir(minirun.root / "tmp") == []
    loaded = minirun("load", "-q", "-i", sources.archives[0], check=True).stdout
    assert minirun("load", "-q", "-i", sources.archives[1], check=True).stdout.split()[-1] == loaded.split()[-1]
    made = minirun("import", sources.layers, "again", check=True).stdout.strip()
    assert minirun("inspect", "-f", "{{.Id}}", "small", check=True).stdout.strip() == made
    for image in minirun("images", "-q", "--no-trunc", check=True).stdout.split():
        result = minirun("run", "--rm", image, "cat", "/srv/page", "/data/one", check=True)
        assert result.stdout == "page\nanother"
        minirun("history", image, check=True)


def empty(minirun: Minirun) -> None:
    """Remove everything by its commands; then nothing may be left."""
    images = minirun("images", "-q", "--no-trunc", check=True).stdout.split()
    minirun("rmi", "-f", *dict.fromkeys(images), check=True)
    for folder in ("diffs", "layers", "images", "blobs", "tags", "containers", "names", "marks", "tmp"):
        assert os.listdir(minirun.root / folder) == [], folder
    assert list((minirun.root / "lookup").glob("*/*")) == []
    assert list(minirun.runtime.glob("images/*")) == []
