"""Detach keys: Docker's notation, and where they are found in what is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.container.detachkeys import DetachKeys
from minirun.errors import BadInput


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b"\x10\x11"),
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("a", b"a"),
        ("ctrl-a,a", b"\x01a"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x00\x1b\x1c\x1d\x1e\x1f"),
        ("Z,1,DEL", b"Z1\x7f"),
    ],
)
def test_keys_are_written_as_docker_writes_them(text: str, keys: bytes) -> None:
    for place in range(len(keys)):
        scanner = DetachKeys(text)
        scanner.scan(keys[:place])
        assert not scanner.found
        scanner.scan(keys[place:])
        assert scanner.found


@pytest.mark.parametrize("text", ["ctrl-P", "ctrl-", "ctrl-1", "ab", "a,,b", ",", "é", "ctrl-aa", "del"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no key"):
        DetachKeys(text)


def test_what_was_typed_before_goes_on_and_what_comes_after_does_not() -> None:
    scanner = DetachKeys()
    assert scanner.scan(b"ls\r\x10\x11rm -r /\r") == b"ls\r"
    assert scanner.found
    assert scanner.scan(b"more") == b""


def test_a_beginning_waits_for_the_next_key_and_goes_on_with_it() -> None:
    scanner = DetachKeys()
    assert scanner.scan(b"a\x10") == b"a"
    assert scanner.scan(b"b") == b"\x10b"
    assert not scanner.found


def test_a_beginning_goes_on_when_nothing_more_is_typed() -> None:
    scanner = DetachKeys()
    assert scanner.scan(b"\x10") == b""
    assert scanner.rest() == b"\x10"
    assert scanner.rest() == b""


def test_a_sequence_that_begins_within_a_false_beginning_is_found() -> None:
    scanner = DetachKeys("a,a,b")
    assert scanner.scan(b"a") + scanner.scan(b"a") + scanner.scan(b"a") == b"a"
    assert scanner.scan(b"b") == b""
    assert scanner.found


@given(st.lists(st.text("ab", max_size=5)), st.text("ab", min_size=1, max_size=4))
def test_nothing_is_lost_and_the_first_occurrence_is_found_however_it_comes(pieces: list[str], keys: str) -> None:
    scanner = DetachKeys(",".join(keys))
    passed = b"".join(scanner.scan(piece.encode()) for piece in pieces)
    typed = "".join(pieces)
    place = typed.find(keys)
    assert scanner.found == (place >= 0)
    assert (passed + scanner.rest()).decode() == (typed[:place] if place >= 0 else typed)
