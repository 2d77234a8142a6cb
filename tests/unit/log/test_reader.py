"""Reading: from any place, backwards without reading all, while it is written and rotated."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirun.log import entries, follower
from minirun.log.reader import Reader
from tests.pumping import Logged, child

Make = Callable[..., Logged]


def numbered(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, last))


def all_of(reader: Reader) -> bytes:
    found = b""
    while some := reader.read():
        found += b"".join(entry[2] for entry in some)
    return found


@pytest.fixture(params=["plain", "packed"])
def rotated(make: Make, request: pytest.FixtureRequest) -> Logged:
    """A log of a thousand lines in many files."""
    logged = make(max_bytes=20_000)
    for first in range(0, 1000, 100):
        logged.write(1, numbered(first, first + 100))
    if request.param == "packed":
        logged.pack()
    assert len(logged.files()) > 3
    return logged


def test_a_log_is_read_in_the_order_in_which_it_was_written(rotated: Logged) -> None:
    with Reader(str(rotated.path)) as reader:
        assert all_of(reader) == numbered(0, 1000)
        assert (reader.lost, reader.damaged) == (0, 0)


@pytest.mark.parametrize("count", [0, 1, 2, 99, 100, 255, 256, 999, 1000, 1001, 10**9])
def test_the_last_lines_are_found_from_the_end(rotated: Logged, count: int) -> None:
    with Reader(str(rotated.path)) as reader:
        reader.skip_to_tail(count)
        assert all_of(reader) == numbered(max(0, 1000 - count), 1000)


def test_a_line_is_one_however_many_entries_it_has(make: Make) -> None:
    logged = make()
    for part in (b"one\n", b"tw", b"o", b"\n", b"x" * 100_000 + b"\n", b"en", b"d"):
        logged.write(1, part)
    for count, expected in (
        (1, b"end"), (2, b"x" * 100_000 + b"\nend"), (3, b"two\n" + b"x" * 100_000 + b"\nend"),
    ):  # fmt: skip
        with Reader(str(logged.path)) as reader:
            reader.skip_to_tail(count)
            assert all_of(reader) == expected


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_is_whole_also_where_one_of_the_other_stream_came_in_between(make: Make, packed: bool) -> None:
    logged = make(max_bytes=10_000)
    for stream, part in ((1, b"a\n"), (1, b"b"), (2, b"x"), (1, b"-"), (2, b"y\n"), (1, b"c\n"), (2, b"z\n")):
        logged.write(stream, part)
    if packed:
        logged.write(1, b"f" * 9_990 + b"\n" * 10)
        logged.pack()
    for count, out, err in ((1, b"", b"z\n"), (2, b"b-c\n", b"z\n"), (3, b"b-c\n", b"xy\nz\n")):
        with Reader(str(logged.path)) as reader:
            reader.skip_to_tail(count + (10 if packed else 0))
            found = {"stdout": b"", "stderr": b""}
            while some := reader.read():
                for name, _, data, _ in some:
                    found[name] += data
        assert found["stdout"].partition(b"f")[0] == out
        assert found["stderr"] == err


def test_half_a_line_of_each_stream_is_a_line_of_each(make: Make) -> None:
    logged = make()
    for stream, part in ((1, b"one\n"), (2, b"two\n"), (1, b"three"), (2, b"four")):
        logged.write(stream, part)
    with Reader(str(logged.path)) as reader:
        reader.skip_to_tail(2)
        assert all_of(reader) == b"threefour"


def test_a_tail_of_a_large_log_does_not_read_it(make: Make) -> None:
    logged = make()
    logged.log.mkdir()
    line = entries.write(b"x" * 99 + b"\n", entries.ending("stdout", 0))
    with logged.path.open("wb") as file:
        for _ in range(30):
            file.write(line * (1_000_000 // len(line)))

    def read_bytes() -> int:
        io = Path("/proc/self/io").read_text()
        return int(io.split("rchar:")[1].split()[0])

    before = read_bytes()
    with Reader(str(logged.path)) as reader:
        reader.skip_to_tail(10)
        assert all_of(reader) == (b"x" * 99 + b"\n") * 10
    assert read_bytes() - before < 1_000_000


def test_files_from_before_a_time_are_not_read(rotated: Logged) -> None:
    for path in rotated.files()[:2]:
        os.utime(path, (1000, 1000))
    with Reader(str(rotated.path)) as reader:
        reader.skip_until(2000)
        rest = all_of(reader)
    assert numbered(0, 1000).endswith(rest)
    assert b"line 0\n" not in rest


def test_a_damaged_packed_file_is_told_of_and_the_next_is_read(rotated: Logged) -> None:
    oldest = rotated.files()[0]
    if oldest.suffix != ".gz":
        pytest.skip("not packed")
    data = oldest.read_bytes()
    oldest.write_bytes(data[:100] + bytes(100) + data[200:])
    with Reader(str(rotated.path)) as reader:
        assert all_of(reader).endswith(numbered(500, 1000))
        assert reader.damaged


def test_half_an_entry_is_not_read_until_it_is_whole(make: Make) -> None:
    logged = make()
    logged.write(1, b"one\n")
    whole = entries.write(b"two\n", entries.ending("stdout", 0))
    with Reader(str(logged.path)) as reader, logged.path.open("ab", 0) as file:
        assert all_of(reader) == b"one\n"
        file.write(whole[:20])
        assert all_of(reader) == b""
        file.write(whole[20:])
        assert all_of(reader) == b"two\n"


def test_a_position_is_where_the_log_ends_now(make: Make) -> None:
    logged = make(max_bytes=1000, max_files=2)
    logged.write(1, numbered(0, 50))
    with follower.position(str(logged.path)) as reader:
        logged.write(1, numbered(50, 200))
        assert all_of(reader) == numbered(50, 200)


def test_a_position_in_a_log_that_is_not_there_yet_is_its_beginning(make: Make) -> None:
    logged = make()
    with follower.position(str(logged.path)) as reader:
        logged.write(1, b"first\n")
        assert all_of(reader) == b"first\n"


def outputs(logged: Logged, reader: Reader, ended: Callable[[], bool]) -> Iterator[tuple[str, bytes]]:
    return follower.output(reader, ended, beside=str(logged.folder))


def test_a_follower_gets_all_and_ends_when_the_container_has_ended(make: Make) -> None:
    logged = make(max_bytes=5000, max_files=2)
    gone = logged.folder / "ended"

    def work() -> None:
        out, err = logged.pumps()
        for number in range(300):
            os.write(logged.writers[0], b"out %d\n" % number)
            os.write(logged.writers[1], b"err %d\n" % number)
            out.ready()
            err.ready()
            if number % 100 == 99:
                time.sleep(0.05)
        gone.touch()

    logged.write(2, b"begin\n")
    found = {"stdout": b"", "stderr": b""}
    with Reader(str(logged.path)) as reader:
        assert all_of(reader) == b"begin\n"
        writer = child(work)
        for stream, data in outputs(logged, reader, gone.exists):
            found[stream] += data
    os.waitpid(writer, 0)
    assert found["stdout"] == b"".join(b"out %d\n" % number for number in range(300))
    assert found["stderr"] == b"".join(b"err %d\n" % number for number in range(300))


def test_a_slow_follower_loses_nothing_by_rotations(make: Make) -> None:
    logged = make(max_bytes=3000, max_files=2, compress=1)
    logged.write(1, b"begin\n")
    found = b""
    with Reader(str(logged.path)) as reader:
        reading = outputs(logged, reader, lambda: True)
        found += next(reading)[1]
        for first in range(0, 2000, 100):
            logged.write(1, numbered(first, first + 100))
        found += b"".join(data for _, data in reading)
    assert found == b"begin\n" + numbered(0, 2000)


def test_a_follower_sees_what_a_killed_pump_wrote_once_though_it_is_written_again(make: Make) -> None:
    logged = make()
    out, err = logged.pumps()
    os.write(logged.writers[0], numbered(0, 100))
    out.ready()
    reader = Reader(str(logged.path))
    assert all_of(reader) == numbered(0, 100)
    for pump in (out, err):
        pump.close()  # and the sink is not: as killed before the spool was emptied
    assert logged.spool.stat().st_size > 64
    logged.write(1, numbered(100, 200))
    assert all_of(reader) == numbered(100, 200)
    assert reader.damaged == 0
    reader.close()


def test_who_follows_learns_of_what_comes_within_milliseconds(make: Make) -> None:
    logged = make()
    logged.write(1, b"first\n")
    reader = Reader(str(logged.path))
    reading = outputs(logged, reader, lambda: False)
    next(reading)

    def work() -> None:
        out, _ = logged.pumps()
        for _ in range(20):
            time.sleep(0.02)
            os.write(logged.writers[0], b"%d\n" % time.monotonic_ns())
            out.ready()

    writer = child(work)
    delays = sorted((time.monotonic_ns() - int(next(reading)[1])) / 1e6 for _ in range(20))
    os.waitpid(writer, 0)
    reader.close()
    assert delays[10] < 50


def test_who_follows_for_nobody_ends(make: Make) -> None:
    logged = make()
    logged.write(1, b"first\n")
    reading, writing = os.pipe()
    with Reader(str(logged.path)) as reader:
        found = follower.follow(reader, lambda: False, listeners=[writing])
        assert next(found)
        os.close(reading)
        with pytest.raises(BrokenPipeError):
            next(found)
    os.close(writing)
