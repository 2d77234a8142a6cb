"""Images are found by names and ids, stored whole or not at all, and removed without a trace."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirun import journal
from minirun.errors import BadInput, Conflict, MinirunError, NotFound
from minirun.home import Home
from minirun.image import lifecycle, lookup, removal
from minirun.image.config import Config
from minirun.image.history import entries, extend
from minirun.image.reference import parse
from minirun.image.store import Image, Images
from minirun.kernel import files, jsonfile

Make = Callable[..., Image]


@pytest.fixture
def make(images: Images) -> Make:
    """Put an image without layers, which anybody can make."""

    def put(*tags: str, **config: object) -> Image:
        return images.put(Image(Config({"os": "linux", **config}), []), [parse(tag) for tag in tags])

    return put


def contents(home: Home) -> list[str]:
    """Every path in the store, but for the shelves of lookup/ and the note that it is complete."""
    paths = [path.relative_to(home.root) for path in Path(home.root).rglob("*") if path.name != "lock"]
    return sorted(str(path) for path in paths if path.parts[0] != "lookup" or len(path.parts) == 3)


@pytest.fixture
def unchanged(images: Images) -> Iterator[None]:
    before = contents(images.home)
    yield
    assert contents(images.home) == before


def test_an_image_is_found_by_name_by_id_and_by_the_beginning_of_its_id(images: Images, make: Make) -> None:
    stored = make("app:1", "localhost:5000/app")
    names = ["app:1", "docker.io/library/app:1", "library/app:1", "localhost:5000/app", "localhost:5000/app:latest"]
    ids = [stored.id, stored.short_id, stored.id[:2], "sha256:" + stored.id, "sha256:" + stored.id[:7]]
    for text in names + ids:
        assert images.get(text).record() == stored.record()
    assert images.get(parse("app:1")).id == stored.id


def test_a_name_wins_over_the_beginning_of_an_id(images: Images, make: Make) -> None:
    first = make("other")
    second = make(first.id[:6], author="x")
    assert images.get(first.id[:6]).id == second.id
    assert images.get(first.id[:7]).id == first.id


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("text", ["app", "app:2", "0123abc", "sha256:0123", "f" * 64, "x@sha256:" + "0" * 64])
def test_what_is_not_stored_is_not_found(images: Images, text: str) -> None:
    with pytest.raises(NotFound, match="minirun images"):
        images.get(text)


def test_the_beginning_of_several_ids_is_refused(images: Images, make: Make) -> None:
    ids = [make(author=str(number)).id for number in range(17)]
    # of seventeen ids two begin with the same digit
    shared = next(digit for digit in "0123456789abcdef" if sum(image_id[0] == digit for image_id in ids) > 1)
    with pytest.raises(Conflict, match="ids begin so"):
        images.get("sha256:" + shared)


@pytest.mark.parametrize("text", ["", "../../etc/passwd", "UPPER", "/x", "sha256:"])
def test_what_can_be_no_name_is_refused(images: Images, text: str) -> None:
    with pytest.raises(BadInput):
        images.get(text)


def test_the_same_config_is_the_same_image(images: Images, make: Make) -> None:
    assert make("a", author="x").id == make("b", author="x").id
    [(image, tags)] = images.list()
    assert tags == ["a:latest", "b:latest"]
    assert image.config.raw["author"] == "x"


def test_a_config_that_came_from_outside_is_kept_byte_for_byte(images: Images) -> None:
    exact = b'{ "os":"linux",\n "rootfs":{"diff_ids":[],"type":"layers"} }'
    stored = images.put(Image(Config(jsonfile.loads(exact.decode())), []), exact=exact)
    assert images.exact(stored) == exact
    composed = images.put(Image(Config({"os": "linux"}), []))
    assert jsonfile.loads(images.exact(composed).decode()) == composed.config.raw


def test_a_name_moves_to_another_image(images: Images, make: Make) -> None:
    old, new = make("app"), make(author="x")
    images.tag(new.id, parse("app"))
    assert images.get("app").id == new.id
    assert images.tags() == {new.id: ["app:latest"]}
    assert images.get(old.id).id == old.id


def test_the_longest_name_can_be_given(images: Images, make: Make) -> None:
    longest = "a" * 200 + ":" + "t" * 54
    stored = make(longest)
    assert images.tags() == {stored.id: [longest]}


def test_a_digest_is_not_given_as_a_name(images: Images, make: Make) -> None:
    stored = make("app")
    with pytest.raises(BadInput, match="digest"):
        images.tag(stored.id, parse("app@sha256:" + "a" * 64))


def test_a_name_is_taken_away_once(images: Images, make: Make) -> None:
    stored = make("app", "other")
    images.untag(parse("app"))
    assert images.tags() == {stored.id: ["other:latest"]}
    with pytest.raises(NotFound):
        images.untag(parse("app"))


def test_the_youngest_image_is_listed_first(images: Images, make: Make) -> None:
    dates = ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.123456789+01:00", "2025-01-01T00:00:00Z", "nonsense", ""]
    for date in dates:
        make(created=date)
    found = [image.created for image, _ in images.list()]
    assert found[:3] == [dates[2], dates[0], dates[1]]
    assert set(found[3:]) == {"nonsense", ""}


def test_a_removed_image_leaves_nothing(images: Images, make: Make) -> None:
    before = contents(images.home)
    exact = b'{"os":  "linux"}'
    stored = images.put(Image(Config({"os": "linux"}), []), [parse("a"), parse("b/c:d")], exact=exact)
    kept = make("kept", author="x")
    images.remove(stored.id)
    images.remove(stored.id)
    assert [image.id for image, _ in images.list()] == [kept.id]
    images.remove(kept.id)
    assert contents(images.home) == before


def test_an_image_without_layers_has_all_mount_points(images: Images, make: Make) -> None:
    [top] = make("empty").paths(images.home)
    assert sorted(os.listdir(top)) == ["dev", "etc", "proc", "sys"]
    assert sorted(os.listdir(f"{top}/etc")) == ["hostname", "hosts", "resolv.conf"]
    assert Path(top).stat().st_mode & 0o7777 == 0o755


def test_a_damaged_record_is_told_with_its_path(images: Images, make: Make) -> None:
    stored = make("app")
    for text in ("", "[]", '{"config": 5}'):
        Path(images.home.image(stored.id)).write_text(text)
        with pytest.raises(MinirunError, match="is damaged"):
            images.get("app")
    images.remove(stored.id)
    assert images.ids() == []


def test_putting_undoes_itself_when_it_cannot_be_ended(images: Images, make: Make) -> None:
    make("there")
    before = contents(images.home)
    folder = Path(images.home.folder("images"))
    folder.rename(folder.with_name("away"))
    try:
        with pytest.raises(MinirunError, match="ENOENT"):
            make(author="x")
    finally:
        folder.with_name("away").rename(folder)
    removal.prune(images)
    assert contents(images.home) == before


def test_what_was_removed_in_part_is_removed_by_the_next_command(images: Images, make: Make) -> None:
    before = contents(images.home)
    stored = make("app")
    operation = journal.Operation(images.home)
    operation.will_all([
        *(["remove_file", path] for path in lookup.paths(images.home, stored.id)),
        ["remove_tree", images.home.diff(stored.mounts)],
        ["remove_file", images.home.image(stored.id)],
        ["remove_file", images.home.folder("tags") + "/app:latest"],
    ])  # fmt: skip
    os.close(operation.descriptor)
    assert journal.recover(images.home) == 1
    assert contents(images.home) == before


def test_an_image_that_is_there_is_not_discarded(images: Images, make: Make) -> None:
    stored = make("app")
    before = contents(images.home)
    lifecycle.discard_image(images.home.root, stored.id)
    assert contents(images.home) == before
    Path(images.home.image(stored.id)).unlink()
    reader = files.lock(images.home.lock, exclusive=False)
    with pytest.raises(BlockingIOError):
        lifecycle.discard_image(images.home.root, stored.id)
    assert Path(images.home.diff(stored.mounts)).exists()
    os.close(reader)
    lifecycle.discard_image(images.home.root, stored.id)
    assert not Path(images.home.diff(stored.mounts)).exists()


def test_pruning_removes_what_leads_nowhere_and_nothing_else(images: Images, make: Make) -> None:
    kept, lost = make("kept"), make("lost", author="x")
    assert removal.prune(images) == 0
    Path(images.home.image(lost.id)).unlink()
    assert removal.prune(images) == 2
    assert images.tags() == {kept.id: ["kept:latest"]}
    assert os.listdir(images.home.folder("diffs")) == [kept.mounts]


class Layer:
    """What history asks of a layer."""

    def __init__(self, number: int) -> None:
        self.id = str(number) * 64
        self.created = f"200{number}-01-01T00:00:00Z"
        self.created_by = f"own {number}"
        self.comment = ""
        self.size = number


def told(image: Image, *layers: Layer) -> list[tuple[str, str, int]]:
    return [(entry.layer[:1], entry.created_by, entry.size) for entry in entries(image, layers)]  # type: ignore[arg-type]  # as much of a layer as it looks at


def test_history_lays_the_configs_beside_the_layers() -> None:
    history = [{"created_by": "ADD"}, {"created_by": "CMD", "empty_layer": True}, {"created_by": "RUN"}]
    image = Image(Config({"history": history}), ["1" * 64, "2" * 64])
    assert told(image, Layer(1), Layer(2)) == [("2", "RUN", 2), ("", "CMD", 0), ("1", "ADD", 1)]


def test_history_that_tells_of_other_layers_is_not_believed() -> None:
    for history in (None, [], [{"created_by": "one"}], [{"created_by": "one"}] * 3):
        image = Image(Config({"history": history}), ["1" * 64, "2" * 64])
        assert told(image, Layer(1), Layer(2)) == [("2", "own 2", 2), ("1", "own 1", 1)]


def test_a_commit_adds_to_the_history_and_forgets_digests_it_does_not_know() -> None:
    raw = {"author": "a", "rootfs": {"diff_ids": ["sha256:x"]}, "history": [{"created_by": "ADD"}], "odd": 1}
    committed = extend(raw, created="2025-01-01T00:00:00Z", created_by="sh", comment="why")
    assert committed["history"] == [
        {"created_by": "ADD"}, {"created": "2025-01-01T00:00:00Z", "created_by": "sh", "comment": "why"},
    ]  # fmt: skip
    assert "rootfs" not in committed
    assert (committed["author"], committed["odd"], committed["created"]) == ("a", 1, "2025-01-01T00:00:00Z")
    assert len(raw["history"]) == 1  # type: ignore[arg-type]  # the values are of several types
