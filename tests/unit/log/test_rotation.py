"""Rotation: no file is longer than it may be, no more are there than may be, and who reads one keeps it."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minirun.log import packing, segments
from minirun.log.reader import Reader
from tests.pumping import Logged

Make = Callable[..., Logged]


def names(logged: Logged) -> list[str]:
    return sorted(name.removeprefix("0123-json.log") for name in os.listdir(logged.log))


def numbered(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, last))


def test_no_file_is_longer_than_it_may_be(make: Make) -> None:
    logged = make(max_bytes=1000)
    logged.write(1, numbered(0, 3000))
    sizes = [path.stat().st_size for path in logged.files()]
    assert max(sizes) <= 1000
    assert min(sizes[:-1]) > 900, "files are begun before the last was full"
    assert logged.printed("stdout") == numbered(0, 3000)


def test_an_entry_that_is_longer_than_a_file_has_one_for_itself(make: Make) -> None:
    logged = make(max_bytes=200)
    logged.write(1, b"a\n" + b"x" * 1000 + b"\nb\n")
    assert [path.read_bytes().count(b"\n") for path in logged.files()] == [1, 1, 1]
    assert logged.printed("stdout") == b"a\n" + b"x" * 1000 + b"\nb\n"


def test_no_file_is_longer_either_while_others_are_packed(make: Make) -> None:
    logged = make(max_bytes=2000, compress=1)
    out, err = logged.pumps()
    for first in range(0, 6000, 1000):
        os.write(logged.writers[0], numbered(first, first + 1000))
        out.drain()
    for pump in (out, err):
        pump.close()
    packing.finish()
    sizes = [
        len(gzip.decompress(path.read_bytes())) if path.suffix == ".gz" else path.stat().st_size
        for path in logged.files()
    ]
    assert max(sizes) <= 2000
    assert ".1.gz" in names(logged)
    assert logged.printed("stdout") == numbered(0, 6000)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_more_files_are_there_than_may_be(make: Make, count: int) -> None:
    logged = make(max_bytes=1000, max_files=count)
    logged.write(1, numbered(0, 100))
    assert names(logged) == ["", *(f".{number}" for number in range(1, count))]
    kept = logged.printed("stdout")
    assert numbered(0, 100).endswith(kept)
    assert len(kept) > 20 * count


def test_rotated_files_are_packed_and_read(make: Make) -> None:
    logged = make(max_bytes=1000, max_files=4, compress=1)
    logged.write(1, numbered(0, 30))
    logged.write(1, numbered(30, 40))
    packing.finish()
    logged.pack()
    assert names(logged) == ["", ".1.gz", ".2.gz", ".3.gz"]
    assert numbered(0, 40).endswith(logged.printed("stdout"))
    with gzip.open(logged.files()[0]) as file:
        assert file.readline().startswith(b'{"log":"line')


def test_a_packed_file_keeps_the_time_when_it_was_written_last(make: Make) -> None:
    logged = make(max_bytes=1000)
    logged.write(1, numbered(0, 20))
    plain = logged.files()[0]
    os.utime(plain, (1_000_000, 1_000_000))
    packing.pack(str(logged.path), str(plain))
    assert Path(f"{plain}.gz").stat().st_mtime == 1_000_000


def test_a_gap_among_the_numbers_is_filled(make: Make) -> None:
    logged = make(max_bytes=1000, max_files=9)
    logged.write(1, numbered(0, 60))
    before = logged.printed("stdout")
    # as somebody leaves it who is killed between two renames
    for number in range(len(logged.files()) - 1, 0, -1):
        Path(f"{logged.path}.{number}").rename(f"{logged.path}.{number + 1}")
    logged.write(1, numbered(60, 80))
    assert ".1" in names(logged)
    assert logged.printed("stdout") == before + numbered(60, 80)


def test_what_was_killed_between_packing_and_removing_is_there_once(make: Make) -> None:
    logged = make(max_bytes=1000)
    logged.write(1, numbered(0, 20))
    plain = f"{logged.path}.1"
    Path(f"{plain}.gz").write_bytes(gzip.compress(Path(plain).read_bytes()))
    Path(f"{logged.path}.77.packing").write_bytes(b"half")
    assert logged.printed("stdout") == numbered(0, 20)
    logged.limits["compress"] = 1
    logged.write(1, numbered(20, 60))
    packing.finish()
    assert not [name for name in names(logged) if name.endswith(".packing")]
    assert logged.printed("stdout") == numbered(0, 60)


def test_files_that_somebody_reads_stay_and_so_do_younger_ones(make: Make) -> None:
    logged = make(max_bytes=1000, max_files=2)
    logged.write(1, b"first\n")
    with Reader(str(logged.path)) as reader:
        assert [entry[2] for entry in reader.read()] == [b"first\n"]
        logged.write(1, numbered(0, 200))
        assert len(names(logged)) > 5
        found = []
        while entries := reader.read():
            found += [entry[2] for entry in entries]
        assert b"".join(found) == numbered(0, 200)
        assert not reader.lost
    logged.write(1, numbered(0, 20))
    assert len(names(logged)) == 2, "nobody reads them any more"


def test_when_more_than_may_be_kept_are_there_for_readers_they_go(make: Make) -> None:
    logged = make(max_bytes=1000, max_files=2, max_kept=3)
    logged.write(1, b"first\n")
    with Reader(str(logged.path)) as reader:
        reader.read()
        logged.write(1, numbered(0, 500))
        assert len(names(logged)) <= 5
        found = b""
        while entries := reader.read():
            found += b"".join(entry[2] for entry in entries)
        assert found.startswith(b"line 0\nline 1\n"), "what was left in the file that was open"
        assert numbered(0, 500).endswith(found[-100:])
        assert reader.lost == 1


def test_a_file_that_somebody_reads_is_not_packed(make: Make) -> None:
    logged = make(max_bytes=1000)
    logged.write(1, numbered(0, 10))
    with Reader(str(logged.path)) as reader:
        reader.read()
        logged.write(1, numbered(10, 40))
        logged.pack()
        assert [name for name in names(logged) if not name.endswith(".gz")] == ["", f".{len(names(logged)) - 1}"]
        assert reader.read()
    assert logged.printed("stdout") == numbered(0, 40)


def test_somebody_who_looks_for_a_name_for_long_does_not_stop_the_writer(make: Make) -> None:
    logged = make(max_bytes=1000)
    logged.write(1, b"first\n")
    held = segments.lock(str(logged.log), exclusive=False, wait=True)
    logged.write(1, numbered(0, 100))
    assert names(logged) == [""]
    os.close(held)
    logged.write(1, b"last\n")
    assert names(logged) == ["", ".1"]
    assert logged.printed("stdout") == b"first\n" + numbered(0, 100) + b"last\n"
