"""An unchanged directory is known again, and every change is noticed."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minirun.home import Home
from minirun.image import sources
from minirun.image.folder import Folder

IMAGE = "a" * 64


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    return home


@pytest.fixture
def directory(tmp_path: Path, home: Home) -> Path:
    """A directory with a file and a tree, remembered."""
    directory = tmp_path / "layers"
    (directory / "02-tree" / "etc").mkdir(parents=True)
    (directory / "02-tree" / "etc" / "passwd").write_text("root")
    (directory / "02-tree" / "link").symlink_to("etc")
    (directory / "01-base.tar").write_bytes(b"layer")
    remember(home, directory)
    assert sources.recall(home, str(directory)) == IMAGE
    return directory


def remember(home: Home, directory: Path) -> bool:
    with Folder(str(directory)) as folder:
        os.close(folder.open("01-base.tar"))
        sources.settle(time.time_ns())
        trees = {"02-tree": sources.tree(str(directory / "02-tree"))}
        return sources.remember(home, folder.path, IMAGE, folder.seen, trees)


def rewrite(path: Path) -> None:
    """Other bytes, of the same length, with the old mtime put back."""
    before = path.stat()
    path.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def exchange(path: Path) -> None:
    """Another file in its place, with the same size and times."""
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file is rewritten": lambda path: rewrite(path / "01-base.tar"),
    "a file is exchanged": lambda path: exchange(path / "01-base.tar"),
    "a file is touched": lambda path: (path / "01-base.tar").touch(),
    "a file is gone": lambda path: (path / "01-base.tar").unlink(),
    "a file comes": lambda path: (path / "03-more.tar").touch(),
    "a file is renamed": lambda path: (path / "01-base.tar").rename(path / "00-base.tar"),
    "a file of a tree is rewritten": lambda path: rewrite(path / "02-tree" / "etc" / "passwd"),
    "a file of a tree has another mode": lambda path: (path / "02-tree" / "etc" / "passwd").chmod(0o600),
    "a file of a tree has an xattr": lambda path: os.setxattr(path / "02-tree" / "etc" / "passwd", "user.x", b"1"),
    "a file comes to a tree": lambda path: (path / "02-tree" / "etc" / "group").touch(),
    "the tree itself has another mode": lambda path: (path / "02-tree").chmod(0o700),
    "a directory of a tree has another mode": lambda path: (path / "02-tree" / "etc").chmod(0o700),
    "everything is gone": lambda path: path.rename(path.with_name("elsewhere")),
}


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_noticed_when(home: Home, directory: Path, change: str) -> None:
    CHANGES[change](directory)
    assert sources.recall(home, str(directory)) is None


def test_reading_is_no_change(home: Home, directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            path.read_bytes()
    assert sources.recall(home, f"{directory}/../layers/") == IMAGE


def test_what_changes_while_it_is_read_is_not_remembered(home: Home, directory: Path) -> None:
    with Folder(str(directory)) as folder:
        os.close(folder.open("01-base.tar"))
        rewrite(directory / "01-base.tar")
        assert not sources.remember(home, folder.path, IMAGE, folder.seen, {})
    tree = sources.tree(str(directory / "02-tree"))
    rewrite(directory / "02-tree" / "etc" / "passwd")
    assert not sources.remember(home, str(directory), IMAGE, {}, {"02-tree": tree})
    (directory / "01-base.tar").unlink()
    assert not sources.remember(home, str(directory), IMAGE, folder.seen, {})


def test_a_change_right_after_the_reading_is_noticed(home: Home, directory: Path) -> None:
    for _ in range(20):
        rewrite(directory / "01-base.tar")
        remember(home, directory)
        rewrite(directory / "01-base.tar")
        assert sources.recall(home, str(directory)) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": 5}', '{"files": [[]], "trees": []}', '{"files": [], "trees": [5]}']
)
def test_a_damaged_record_is_nobodys_error(home: Home, directory: Path, text: str) -> None:
    [record] = Path(home.folder("sources")).iterdir()
    record.write_text(text)
    assert sources.recall(home, str(directory)) is None
    assert sources.prune(home, [IMAGE]) == 1


def test_pruning_drops_what_leads_nowhere(home: Home, directory: Path) -> None:
    assert sources.prune(home, [IMAGE]) == 0
    assert sources.prune(home, []) == 1
    remember(home, directory)
    directory.rename(directory.with_name("elsewhere"))
    assert sources.prune(home, [IMAGE]) == 1
    assert os.listdir(home.folder("sources")) == []


@pytest.mark.parametrize("name", ["a%2Fb", "ü" * 100, "x" * 250, "ö" * 125, os.fsdecode(b"\xff"), "line\nbreak", " "])
def test_every_name_of_a_directory_can_be_remembered(home: Home, tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    (directory / name).touch()
    with Folder(str(directory)) as folder:
        os.close(folder.open(name))
        assert sources.remember(home, folder.path, IMAGE, folder.seen, {})
    assert sources.recall(home, str(directory)) == IMAGE
    assert sources.recall(home, str(tmp_path)) is None
