"""Images arrive whole: what is missing is made ready side by side, what is there is not read again, blobs are kept."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.errors import BadLayer, NotFound
from minirun.home import Home
from minirun.image import arrival, source
from minirun.image.config import Config
from minirun.image.manifest import Manifest, Part
from minirun.image.reference import parse
from minirun.image.store import Image, Images
from minirun.kernel import files
from minirun.layer.blobs import Blobs
from minirun.layer.store import Layers
from tests import tars
from tests.command import Minirun

SIZE = 400_000  # of the one file of a layer; three are more than SMALL_BYTES


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    return home


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Shelf:
    """Holds blobs in memory, and notes which were asked for and by whom."""

    path = ""

    def __init__(self, notes: Path) -> None:
        self.blobs: dict[str, bytes] = {}
        self.notes = notes
        notes.touch()

    def look(self, part: Part) -> None:
        part.size = len(self.blobs[part.name])

    def blob(self, part: Part) -> Iterator[bytes]:
        with self.notes.open("a") as notes:
            notes.write(f"{part.name} {os.getpid()}\n")
        data = self.blobs[part.name]
        for place in range(0, len(data), 10_000):
            yield data[place : place + 10_000]

    def asked(self) -> list[tuple[str, int]]:
        """The names that were asked for since the last time, sorted, and the process that did."""
        lines = [line.split() for line in self.notes.read_text().splitlines()]
        self.notes.write_text("")
        return sorted((name, int(process)) for name, process in lines)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "notes")


def layer(name: str, size: int = SIZE) -> bytes:
    return tars.tar(tars.directory(b"etc"), tars.file(b"etc/" + name.encode(), os.urandom(size)))


def image(shelf: Shelf, *layers: bytes, packed: bool = True, promised: bool = True, author: str = "") -> Manifest:
    """A manifest of these tars, put on the shelf compressed or not, their digests promised or not."""
    parts = []
    for number, data in enumerate(layers):
        blob = gzip.compress(data, 1, mtime=0) if packed else data
        shelf.blobs[str(number)] = blob
        parts.append(Part(str(number), digest=digest(blob) if promised else "", diff_id=digest(data)))
    raw = {"os": "linux", "author": author, "rootfs": {"type": "layers", "diff_ids": [part.diff_id for part in parts]}}
    exact = json.dumps(raw).encode()
    document = json.dumps({"layers": [part.digest for part in parts]}).encode() if promised else b""
    return Manifest(
        Config(raw), parts, exact=exact, digest=digest(document) if promised else "", document=document,
        media_type="application/vnd.oci.image.manifest.v1+json" if promised else "",
    )  # fmt: skip


def kept(home: Home, found: Image) -> list[bytes]:
    return [b"".join(Blobs(home).chunks(blob)) for blob in found.blobs]


def contents(home: Home) -> set[str]:
    return {str(path) for path in Path(home.root).rglob("*") if path.name != "lock"}


def test_layers_are_unpacked_by_several_processes_and_kept_as_they_came(home: Home, shelf: Shelf) -> None:
    manifest = image(shelf, layer("a"), layer("b"), layer("c"))
    stored = source.store(home, shelf, manifest)
    processes = {process for _, process in shelf.asked()}
    assert len(processes) > 1
    assert os.getpid() not in processes
    assert kept(home, stored) == [shelf.blobs[part.name] for part in manifest.parts]
    assert Blobs(home).read(stored.digest, 1 << 20) == manifest.document
    assert [Layers(home).get(one).diff_id for one in stored.layers] == [part.diff_id for part in manifest.parts]
    assert os.listdir(home.folder("tmp")) == os.listdir(home.folder("marks")) == []


def test_small_layers_are_unpacked_here(home: Home, shelf: Shelf) -> None:
    source.store(home, shelf, image(shelf, layer("a", 10), layer("b", 10)))
    assert {process for _, process in shelf.asked()} == {os.getpid()}


def test_who_waits_is_told_of_every_layer(home: Home, shelf: Shelf) -> None:
    manifest = image(shelf, layer("a"), layer("b"), layer("c"))
    far: dict[str, list[int]] = {}
    source.store(home, shelf, manifest, progress=lambda name, _size: far.setdefault(name, []).append)
    assert {name: max(told) for name, told in far.items() if name} == {
        name: len(blob) for name, blob in shelf.blobs.items()
    }


def test_what_is_stored_is_not_asked_for(home: Home, shelf: Shelf) -> None:
    first = source.store(home, shelf, image(shelf, *(data := (layer("a"), layer("b")))))
    shelf.asked()
    before = contents(home)
    assert source.store(home, shelf, image(shelf, *data)).record() == first.record()
    assert shelf.asked() == []
    assert contents(home) == before
    other = source.store(home, shelf, image(shelf, *data, layer("c"), author="another"))
    assert [name for name, _ in shelf.asked()] == ["2"]
    assert other.layers[:2] == first.layers


def test_contents_that_were_lost_are_made_of_the_blob_that_is_kept(home: Home, shelf: Shelf) -> None:
    manifest = image(shelf, layer("a"), layer("b"))
    stored = source.store(home, shelf, manifest)
    shelf.asked()
    lost = home.diff(Layers(home).get(stored.layers[1]).diff)
    shutil.rmtree(lost)
    source.store(home, shelf, manifest)
    assert shelf.asked() == []
    assert os.listdir(f"{lost}/etc") == ["b"]


def test_a_blob_that_was_lost_is_read_again_without_unpacking(home: Home, shelf: Shelf) -> None:
    manifest = image(shelf, layer("a"), layer("b"))
    stored = source.store(home, shelf, manifest)
    shelf.asked()
    Blobs(home).remove(stored.blobs[0])
    before = Path(home.diff(Layers(home).get(stored.layers[0]).diff)).stat().st_ino
    source.store(home, shelf, manifest)
    assert [name for name, _ in shelf.asked()] == ["0"]
    assert Path(home.diff(Layers(home).get(stored.layers[0]).diff)).stat().st_ino == before
    assert kept(home, stored) == [shelf.blobs[part.name] for part in manifest.parts]


def test_the_same_layers_in_other_blobs_are_the_same_image_with_the_blobs_that_came_last(
    home: Home, shelf: Shelf
) -> None:
    data = layer("a"), layer("b")
    first = source.store(home, shelf, image(shelf, *data))
    second = source.store(home, shelf, image(shelf, *data, packed=False))
    assert second.id == first.id
    assert second.digest != first.digest
    assert kept(home, second) == list(data)
    assert Images(home).get(first.id).blobs == second.blobs


def test_a_source_that_promises_no_digests_takes_none_away(home: Home, shelf: Shelf) -> None:
    data = layer("a"), layer("b")
    first = source.store(home, shelf, image(shelf, *data))
    before = contents(home)
    assert source.store(home, shelf, image(shelf, *data, packed=False, promised=False)).record() == first.record()
    assert contents(home) == before


def test_an_uncompressed_layer_is_kept_compressed_and_is_the_same_again(home: Home, shelf: Shelf) -> None:
    data = tars.tar(tars.file(b"zeros", bytes(3 << 20)))
    stored = source.store(home, shelf, image(shelf, data, packed=False, promised=False))
    assert stored.blobs == [digest(data)]
    assert kept(home, stored) == [data]
    assert Blobs(home).size(stored.blobs[0]) == len(data)
    assert Blobs(home).usage(stored.blobs[0]) < len(data) // 100


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("harm", ["another", "cut", "longer"])
def test_a_blob_that_is_not_what_was_promised_leaves_nothing(home: Home, shelf: Shelf, which: int, harm: str) -> None:
    manifest = image(shelf, layer("a"), layer("b"), layer("c"))
    good = shelf.blobs[str(which)]
    shelf.blobs[str(which)] = {"another": gzip.compress(layer("x"), 1), "cut": good[:-9], "longer": good + b"x"}[harm]
    before = contents(home)
    with pytest.raises(BadLayer):
        source.store(home, shelf, manifest)
    assert contents(home) == before


def test_a_blob_without_a_promise_has_to_have_the_right_tar_even_if_only_the_blob_is_wanted(
    home: Home, shelf: Shelf
) -> None:
    manifest = image(shelf, layer("a"), promised=False)
    stored = source.store(home, shelf, manifest)
    Blobs(home).remove(stored.blobs[0])
    shelf.blobs["0"] = gzip.compress(layer("a"), 1, mtime=0)
    with pytest.raises(BadLayer, match="digest"):
        source.store(home, shelf, manifest)


def test_removing_an_image_frees_the_blobs_that_no_other_needs(home: Home, shelf: Shelf) -> None:
    shared, own = layer("a"), layer("b")
    first = source.store(home, shelf, image(shelf, shared))
    second = source.store(home, shelf, image(shelf, shared, own))
    lock = files.lock(home.lock, exclusive=True)
    Images(home).remove(second.id)
    assert set(Blobs(home).list()) == {first.digest, *first.blobs}
    Images(home).remove(first.id)
    os.close(lock)
    assert Blobs(home).list() == []


def test_layers_removed_while_others_are_unpacked_are_made_after_all(home: Home, shelf: Shelf) -> None:
    base, top = layer("a"), layer("b")
    first = source.store(home, shelf, image(shelf, base))
    manifest = image(shelf, base, top)

    def progress(name: str, _size: int) -> object:
        if name:
            # nobody holds the lock now, so that another command may do that
            lock = files.lock(home.lock, exclusive=True, wait=False)
            Images(home).remove(first.id)
            os.close(lock)
        return lambda _read: None

    stored = source.store(home, shelf, manifest, progress=progress)  # type: ignore[arg-type]
    assert [name for name, _ in shelf.asked()] == ["0", "0", "1"]
    assert all(Path(path).is_dir() for path in stored.paths(home))
    with pytest.raises(NotFound):
        Images(home).get(first.id)


@pytest.fixture
def large_layers(tmp_path: Path) -> Path:
    """A directory of layers that are unpacked side by side."""
    directory = tmp_path / "large-layers"
    directory.mkdir()
    for number in range(4):
        entries = [tars.file(f"etc/{number}-{name}".encode(), os.urandom(2000)) for name in range(300)]
        (directory / f"{number:02}-layer.tar").write_bytes(tars.tar(tars.directory(b"etc"), *entries))
    return directory


@pytest.mark.parametrize("part", [0.2, 0.4, 0.6, 0.8, 0.95])
def test_an_import_that_is_killed_leaves_nothing_that_works_on(
    minirun: Minirun, large_layers: Path, part: float
) -> None:
    began = time.monotonic()
    minirun("import", large_layers, check=True)
    took_s = time.monotonic() - began
    minirun("rmi", "-f", minirun("images", "-q").stdout.strip(), check=True)
    minirun("gc", check=True)
    before = contents(Home(str(minirun.root), str(minirun.runtime)))
    with minirun.start("import", large_layers) as importing:
        time.sleep(part * took_s)
        importing.kill()
    minirun("ps", check=True)
    if minirun("images", "-q").stdout:
        return  # it had come to its end
    assert {
        path for path in contents(Home(str(minirun.root), str(minirun.runtime))) if "/sources/" not in path
    } == before


def test_ctrl_c_ends_an_import_and_all_who_work_on_it(minirun: Minirun, large_layers: Path) -> None:
    for number in range(4, 30):
        shutil.copy(large_layers / "00-layer.tar", large_layers / f"{number:02}-layer.tar")
    with minirun.start("import", large_layers) as importing:
        while not list((minirun.root / "tmp").glob("*/*")):
            time.sleep(0.005)
        importing.send_signal(signal.SIGINT)
        _, errors = importing.communicate()
    assert importing.returncode == 130
    assert b"Traceback" not in errors
    assert os.listdir(minirun.root / "tmp") == os.listdir(minirun.root / "blobs") == []


def test_a_full_disk_is_told_and_all_room_is_given_back(tmp_path: Path, large_layers: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs", disk], check=True)
    try:
        full = Minirun(disk / "root", tmp_path / "runtime")
        full("images", check=True)
        before = contents(Home(str(full.root), str(full.runtime)))
        result = full("import", large_layers)
        assert result.returncode == 125
        assert "ENOSPC" in result.stderr
        assert "minirun gc" in result.stderr
        assert contents(Home(str(full.root), str(full.runtime))) == before
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_name_is_given_with_the_image(home: Home, shelf: Shelf) -> None:
    stored = source.store(home, shelf, image(shelf, layer("a", 10)), source.Wanted(tags=[parse("demo:1")]))
    assert Images(home).get("demo:1").id == stored.id


def test_as_many_layers_as_there_may_be(home: Home, shelf: Shelf) -> None:
    stored = source.store(home, shelf, image(shelf, *(layer(f"{number}", 4000) for number in range(300))))
    assert len(stored.blobs) == len(stored.layers) == 300
    assert arrival.WORKERS >= len({process for _, process in shelf.asked()}) > 1
