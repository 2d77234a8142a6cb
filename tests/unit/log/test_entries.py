"""Entries: whatever was printed is read back, and the lines are what Docker's are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirun.log import entries

END = entries.ending("stdout", 1_793_714_709_123_456_789)


def test_a_line_is_an_entry_as_docker_writes_it() -> None:
    assert entries.write(b"a \"line\"\n", END) == (
        rb'{"log":"a \"line\"\n","stream":"stdout","time":"2026-11-03T14:05:09.123456789Z"}' b"\n"
    )  # fmt: skip


def test_attributes_stand_before_the_time() -> None:
    written = entries.write(b"x", entries.ending("stderr", 0, '{"tier":"web"}'))
    assert json.loads(written) == {
        "log": "x", "stream": "stderr", "attrs": {"tier": "web"}, "time": "1970-01-01T00:00:00.000000000Z"
    }  # fmt: skip


@given(st.binary(min_size=1))
def test_every_byte_comes_back(data: bytes) -> None:
    written = entries.write(data, END)
    found, damaged = entries.read(written)
    assert (b"".join(entry[2] for entry in found), damaged) == (data, 0)
    assert all(entry[2].count(b"\n") == (1 if entry[2].endswith(b"\n") else 0) for entry in found)
    assert written.isascii()
    assert len([json.loads(line) for line in written.splitlines()]) == len(found)


@pytest.mark.parametrize(
    "data", ["é\u2028\x85\x0b\x1c𝄞\n".encode(), b"\xed\xa0\x80\xed\xb0\x80\n", b"\xff\xfe\r\n", b"\xf0\x9f\n"],
    ids=["ends of lines that are none", "surrogates in UTF-8", "no UTF-8", "half a character"],
)  # fmt: skip
def test_bytes_that_look_like_something_are_bytes(data: bytes) -> None:
    found, _ = entries.read(entries.write(data, END))
    assert [entry[2] for entry in found] == [data]


def test_lines_that_are_no_entries_are_counted_and_left_out() -> None:
    good = entries.write(b"good\n", END)
    found, damaged = entries.read(good + b"\0\0\0\n" + b'{"log":1}\n' + b"[]\n" + good)
    assert ([entry[2] for entry in found], damaged) == ([b"good\n", b"good\n"], 3)


def test_lines_of_dockers_are_read() -> None:
    line = '{"log":"ü\\u0000\\n","stream":"stdout","attrs":{"a":"b"},"time":"2026-11-03T10:05:09.1Z"}\n'
    assert entries.read(line.encode())[0] == [("stdout", "2026-11-03T10:05:09.1Z", "ü\0\n".encode(), {"a": "b"})]


def test_times_are_sorted_as_they_are_written() -> None:
    times = [0, 999_999_999, 1_000_000_000, 1_793_714_709_000_000_001, 1_793_714_709_100_000_000]
    assert sorted(map(entries.stamp, times)) == [*map(entries.stamp, times)]
