"""An image is found by the beginning of its id, and by its digests, without a look at all others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minirun import journal
from minirun.errors import Conflict, NotFound
from minirun.home import FOLDERS
from minirun.image import lookup, removal
from minirun.image.config import Config
from minirun.image.reference import parse
from minirun.image.store import Image, Images
from minirun.kernel import jsonfile

Make = Callable[..., Image]
DIGESTS = [f"sha256:{digit * 64}" for digit in "123"]


@pytest.fixture
def make(images: Images) -> Make:
    """Put an image without layers, which is told from others by its author."""

    def put(author: str, *tags: str, digest: str = "", repo_digests: tuple[str, ...] = ()) -> Image:
        image = Image(Config({"author": author}), [], digest=digest, repo_digests=list(repo_digests))
        return images.put(image, [parse(tag) for tag in tags])

    return put


@pytest.fixture
def looked_at(images: Images, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The directories that are listed and the records that are read, from now on."""
    seen: dict[str, list[str]] = {"listed": [], "read": []}
    real_list, real_read = os.listdir, jsonfile.read

    def listed(path: Any = ".") -> list[str]:
        seen["listed"].append(str(path).removeprefix(images.home.root))
        return real_list(path)

    def read(path: str, *limits: int) -> Any:
        seen["read"].append(path)
        return real_read(path, *limits)

    monkeypatch.setattr(os, "listdir", listed)
    monkeypatch.setattr(jsonfile, "read", read)
    return seen


def hints(images: Images) -> list[str]:
    return sorted(path.name for path in Path(images.home.folder("lookup")).glob("*/*"))


def test_one_of_many_is_found_without_the_others(images: Images, make: Make, looked_at: dict[str, list[str]]) -> None:
    made = [make(str(number), f"app:{number}", digest=f"sha256:{number:064x}") for number in range(60)]
    images.get(made[0].id[:12])  # the first time of a store
    for number, image in enumerate(made):
        for text in (f"app:{number}", image.id, image.id[:12], f"app@sha256:{number:064x}"):
            for seen in looked_at.values():
                seen.clear()
            assert images.get(text).id == image.id
            assert looked_at["listed"] in ([], [f"/lookup/{image.id[:2]}"])
            names = {f"{images.home.root}/tags/{name}" for name in (text, f"{text}:latest")}
            assert set(looked_at["read"]) <= {images.home.image(image.id), *names}
            assert len(looked_at["read"]) <= 2


def test_one_digit_is_enough_where_one_image_has_it(images: Images, make: Make) -> None:
    first = make("one")
    assert images.get("sha256:" + first.id[0]).id == first.id
    ids = [first.id, *(make(str(number)).id for number in range(16))]
    # of seventeen ids two begin with the same digit
    shared = next(digit for digit in "0123456789abcdef" if sum(image_id[0] == digit for image_id in ids) > 1)
    with pytest.raises(Conflict, match="ids begin so"):
        images.get("sha256:" + shared)


def test_an_image_is_found_by_the_digests_of_registries(images: Images, make: Make) -> None:
    names = (f"localhost:5000/one@{DIGESTS[0]}", f"quay.io/two@{DIGESTS[1]}")
    image = make("x", repo_digests=names)
    make("y")
    for name in names:
        assert images.get(name).id == image.id
    with pytest.raises(NotFound):
        images.get(f"one@{DIGESTS[2]}")
    # another digest for the same image, as a push gives one
    images.put(Image(Config({"author": "x"}), [], repo_digests=[f"quay.io/two@{DIGESTS[2]}"]))
    assert images.get(f"two@{DIGESTS[2]}").id == image.id


def test_a_digest_that_an_image_has_no_more_finds_nothing(images: Images, make: Make) -> None:
    image = make("x", digest=DIGESTS[0])
    make("x", digest=DIGESTS[1])
    assert images.get(f"x@{DIGESTS[1]}").id == image.id
    with pytest.raises(NotFound):
        images.get(f"x@{DIGESTS[0]}")
    assert hints(images) == sorted([image.id, f"{DIGESTS[1][7:]}.digest"])


def test_what_goes_is_noted_no_more(images: Images, make: Make) -> None:
    gone, kept = make("x", digest=DIGESTS[0]), make("y", digest=DIGESTS[1])
    Path(images.home.alias("5" * 64)).symlink_to(f"{gone.id}.json")
    lookup.note(images.home, "5" * 64)
    assert images.get("55555").id == gone.id
    images.remove(gone.id)
    assert hints(images) == sorted([kept.id, f"{DIGESTS[1][7:]}.digest"])


def test_a_digest_of_two_images_stays_with_the_one_that_is_left(images: Images, make: Make) -> None:
    first, second = make("x", digest=DIGESTS[0]), make("y", digest=DIGESTS[0])
    images.remove(first.id)
    assert images.get(f"x@{DIGESTS[0]}").id == second.id


def test_a_store_of_before_is_noted_when_somebody_asks(images: Images, make: Make) -> None:
    image, other = make("x", digest=DIGESTS[0]), make("y")
    for folder in FOLDERS[FOLDERS.index("lookup") :]:
        shutil.rmtree(images.home.folder(folder))
    images.home.create()
    assert images.get(image.id[:9]).id == image.id
    assert hints(images) == sorted([image.id, other.id, f"{DIGESTS[0][7:]}.digest"])


def test_a_hint_that_was_lost_is_made_again(images: Images, make: Make) -> None:
    image = make("x", digest=DIGESTS[0])
    images.get(image.id[:5])
    for text in (image.id[:5], f"x@{DIGESTS[0]}"):
        for path in Path(images.home.folder("lookup")).glob("*/*"):
            path.unlink()
        assert images.get(text).id == image.id
        assert hints(images) == sorted([image.id, f"{DIGESTS[0][7:]}.digest"])


def test_a_hint_that_leads_nowhere_is_passed_over_and_freed(images: Images, make: Make) -> None:
    image = make("x")
    lookup.note(images.home, image.id[:6] + "5" * 58, [DIGESTS[0]])
    assert images.get(image.id[:6]).id == image.id
    with pytest.raises(NotFound):
        images.get(image.id[:6] + "5")
    with pytest.raises(NotFound):
        images.get(f"x@{DIGESTS[0]}")
    assert removal.prune(images) == 0
    assert hints(images) == [image.id]


def test_where_nothing_can_be_noted_images_are_found_all_the_same(
    images: Images, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make("x", digest=DIGESTS[0])
    shutil.rmtree(images.home.folder("lookup"))

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "mknod", full)
    monkeypatch.setattr(os, "symlink", full)
    os.mkdir(images.home.folder("lookup"))  # noqa: PTH102 - as home.py does
    assert images.get(image.id[:7]).id == image.id
    assert images.get(f"x@{DIGESTS[0]}").id == image.id


@pytest.mark.parametrize("there", [True, False])
def test_a_put_that_was_cut_short_is_noted_as_it_ended(images: Images, make: Make, there: bool) -> None:
    image = make("x", digest=DIGESTS[0])
    if not there:
        Path(images.home.image(image.id)).unlink()
    operation = journal.Operation(images.home)
    operation.will("settle_lookup", images.home.root, image.id, DIGESTS[0])
    os.close(operation.descriptor)
    assert journal.recover(images.home) == 1
    assert hints(images) == (sorted([image.id, f"{DIGESTS[0][7:]}.digest"]) if there else [])
