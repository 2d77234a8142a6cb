"""Containers on disk: found by name and id, named once, held by one at a time; their states and moves."""

from __future__ import annotations

import fcntl
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from minirun.cgroup import hierarchy
from minirun.container import names, state
from minirun.container import record as records
from minirun.container.record import Record
from minirun.errors import BadInput, Conflict, MinirunError, NotFound
from minirun.home import Home
from minirun.kernel import jsonfile


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    return home


def make(home: Home, name: str, container_id: str | None = None, **fields: Any) -> Record:
    """A container with a name, on disk."""
    given: dict[str, Any] = {
        "id": container_id or records.new_id(), "name": name, "created": time.time(), "image": "i", "image_name": "i",
        "stack": ["a", "b"], "committed": [], "options": {"argv": ["é", "\udcff"]}, "remove": False, **fields,
    }  # fmt: skip
    box = Record(**given)
    Path(home.container(box.id)).mkdir()
    records.reserve_name(home, name, box.id)
    records.write(home, box)
    return box


def test_a_container_is_found_by_its_name_its_id_and_the_beginning_of_it(home: Home) -> None:
    one, two = make(home, "one", "ab" + "0" * 62), make(home, "two", "ac" + "0" * 62)
    for text, box in (("one", one), (two.id, two), ("ab0", one), ("ac", two)):
        assert records.find(home, text).to_json() == box.to_json()
    with pytest.raises(Conflict, match="2 containers' ids begin so"):
        records.find(home, "a")


@pytest.mark.parametrize("text", ["", ".", "..", "../names/one", "one/", "three", "/", "ab1", "0" * 64])
def test_what_names_none_is_not_found(home: Home, text: str) -> None:
    make(home, "one", "ab" + "0" * 62)
    with pytest.raises(NotFound):
        records.find(home, text)


def test_a_name_wins_over_the_beginning_of_an_id(home: Home) -> None:
    make(home, "one", "ab" + "0" * 62)
    named = make(home, "ab", "cd" + "0" * 62)
    assert records.find(home, "ab").id == named.id


def test_a_name_belongs_to_one(home: Home) -> None:
    one = make(home, "same")
    with pytest.raises(Conflict, match=f"in use by container {one.id[:12]}"):
        make(home, "same")
    records.release_name(home.name("same"), "somebody else")
    assert records.find(home, "same").id == one.id
    for _ in range(2):
        records.release_name(home.name("same"), one.id)
    assert make(home, "same").id != one.id


def test_a_name_that_leads_to_nothing_is_taken_over(home: Home) -> None:
    Path(home.name("left")).symlink_to("../containers/gone")
    assert records.find(home, make(home, "left").id).name == "left"


@pytest.mark.parametrize("name", ["", "a", "-ab", ".ab", "_ab", "a b", "a/b", "ä1", "ab\n", "x" * 129, "\udcff\udcff"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput):
        records.check_name(name)


def test_names_that_docker_allows_are_allowed_and_random_ones_are_such() -> None:
    for name in ("ab", "A.b-c_9", "0x", "x" * 128, *(names.random_name() for _ in range(200))):
        records.check_name(name)
    assert re.fullmatch("[a-z]+_[a-z]+", names.random_name())
    assert len({names.random_name() for _ in range(50)}) > 25


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"id": 1}', b"\xff"])
def test_a_record_that_is_damaged_is_told_with_its_path(home: Home, data: bytes) -> None:
    box = make(home, "one")
    path = Path(home.container(box.id), "container.json")
    path.write_bytes(data)
    with pytest.raises(MinirunError, match="is damaged") as caught:
        records.read(home, box.id)
    assert str(path) in str(caught.value)


def test_the_base_is_the_stack_without_what_was_committed(home: Home) -> None:
    assert make(home, "one").base == ["a", "b"]
    assert make(home, "two", stack=["a", "b", "c", "d"], committed=["c", "d"]).base == ["a", "b"]


def test_all_are_listed_the_newest_first_and_halves_are_not(home: Home) -> None:
    first, second = make(home, "one", created=1.0), make(home, "two", created=2.0)
    Path(home.container("half")).mkdir()
    assert [box.id for box in records.list_all(home)] == [second.id, first.id]


def test_who_holds_a_container_holds_it_alone(home: Home) -> None:
    box = make(home, "one")
    held = records.hold(home, box)
    other = os.open(home.container(box.id), os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(held)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    Path(home.container(box.id), "container.json").unlink()
    with pytest.raises(NotFound):
        records.hold(home, box)


def test_a_cidfile_is_written_once_and_removed_only_if_it_is_ours(tmp_path: Path) -> None:
    path = str(tmp_path / "cid")
    records.write_cidfile(path, "a" * 64)
    with pytest.raises(BadInput, match="EEXIST"):
        records.write_cidfile(path, "b" * 64)
    records.remove_cidfile(path, "b" * 64)
    assert Path(path).read_text() == "a" * 64
    for _ in range(2):
        records.remove_cidfile(path, "a" * 64)
    assert not Path(path).exists()


def test_a_container_that_never_started_is_created(home: Home) -> None:
    box = make(home, "one")
    now = state.read(home, box)
    assert (now.status, now.alive, now.exit_code) == ("created", False, 0)


def test_one_that_says_it_runs_and_has_no_process_has_exited_with_255(home: Home) -> None:
    box = make(home, "one")
    state.running(home, box, state.State(), 4711, hierarchy.path(box.id))
    now = state.read(home, box)
    assert (now.status, now.pid, now.exit_code) == ("exited", 0, 255)
    assert now.finished >= now.started > 0


def test_states_move_only_as_drawn(home: Home) -> None:
    box = make(home, "one")
    running = state.running(home, box, state.State(), 1, "")
    with pytest.raises(Conflict):
        state.running(home, box, running, 2, "")
    exited = state.exited(home, box, running, 3)
    assert state.read(home, box).exit_code == 3
    with pytest.raises(Conflict):
        state.exited(home, box, exited, 4)
    state.running(home, box, exited, 5, "")


def test_a_state_that_is_damaged_is_that_of_one_that_never_started(home: Home) -> None:
    box = make(home, "one")
    for text in ("", "{", '{"unknown": 1}'):
        Path(home.container(box.id), "state.json").write_text(text)
        assert state.read(home, box).status == "created"


def test_records_keep_bytes_that_are_no_utf8(home: Home) -> None:
    box = make(home, "one")
    assert records.read(home, box.id).options == {"argv": ["é", "\udcff"]}
    assert jsonfile.read(f"{home.container(box.id)}/container.json")["name"] == "one"
