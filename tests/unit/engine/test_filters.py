"""What `ps --filter` and `images --filter` let through."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirun.container.record import Record
from minirun.container.state import State
from minirun.engine import filters
from minirun.errors import BadInput
from minirun.home import Home
from minirun.image.config import Config
from minirun.image.store import Image


def box(name: str, **labels: str) -> Record:
    return Record(
        id=name[0] * 64, name=name, created=0.0, image="f" * 64, image_name="x", stack=[], committed=[],
        options={"labels": labels}, remove=False,
    )  # fmt: skip


CONTAINERS = [
    (box("web", tier="front", team="red"), State("running", 7)),
    (box("web-db", tier="back"), State("exited", exit_code=1)),
    (box("job", team="red"), State("exited", exit_code=0)),
    (box("new"), State()),
    (box("held"), State("paused", 8)),
]
IMAGES = [
    (Image(Config({"config": {"Labels": {"a": "1"}}}), [], id="1" * 64), ["debian:12", "team/app:1.2"]),
    (Image(Config({}), [], id="2" * 64), ["localhost:5000/team/app:latest"]),
    (Image(Config({}), [], id="3" * 64), []),
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(str(tmp_path), str(tmp_path))


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["name=web"], ["web", "web-db"]),
        (["name=^/web$"], ["web"]),
        (["name=^web$", "name=job"], ["web", "job"]),
        (["id=j"], ["job"]),
        (["status=exited"], ["web-db", "job"]),
        (["status=created", "status=paused"], ["new", "held"]),
        (["exited=1"], ["web-db"]),
        (["label=tier"], ["web", "web-db"]),
        (["label=tier=back"], ["web-db"]),
        (["label=tier", "label=team=red"], ["web"]),
        (["label=team", "status=exited"], ["job"]),
        (["name=nothing"], []),
    ],
)
def test_filters_of_one_word_are_alternatives_and_of_several_conditions(
    home: Home, given: list[str], names: list[str]
) -> None:
    assert [box.name for box, _ in filters.containers(home, CONTAINERS, given)] == names


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["dangling=true"], [[]]),
        (["dangling=false"], [["debian:12", "team/app:1.2"], ["localhost:5000/team/app:latest"]]),
        (["label=a=1"], [["debian:12", "team/app:1.2"]]),
        (["reference=debian"], [["debian:12"]]),
        (["reference=deb*:1?"], [["debian:12"]]),
        (["reference=team/*"], [["team/app:1.2"]]),
        (["reference=*"], [["debian:12"]]),
        (["reference=*/*/app", "reference=debian:12"], [["debian:12"], ["localhost:5000/team/app:latest"]]),
        (["reference=app"], []),
    ],
)
def test_images_are_filtered_by_what_they_are_called(home: Home, given: list[str], names: list[list[str]]) -> None:
    assert [tags for _, tags in filters.images(home, IMAGES, given)] == names


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("nome=x", "there is no filter of that name"),
        ("web", "it is not of the form"),
        ("status=happy", "no container ever has that"),
        ("exited=soon", "not an exit code"),
        ("name=(", "no regular expression"),
    ],
)
def test_a_filter_that_is_none_is_refused(home: Home, given: str, reason: str) -> None:
    with pytest.raises(BadInput) as refused:
        filters.containers(home, CONTAINERS, [given])
    assert reason in refused.value.reason


def test_dangling_is_true_or_false(home: Home) -> None:
    with pytest.raises(BadInput, match="it is true or false"):
        filters.images(home, IMAGES, ["dangling=perhaps"])
