"""A log that cannot be written stops nobody: what is dropped is counted, and told of when there is room again."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pumping import Logged

MISSING = "minirun: {} bytes of output are missing here: they could not be written\n"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root")
    directory = tmp_path / "small"
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", directory], check=True)
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


@pytest.fixture
def logged(tmp_path: Path, small: Path) -> Iterator[Logged]:
    """A log on that file system; its spool is elsewhere."""
    folder = tmp_path / "container"
    folder.mkdir()
    made = Logged(folder)
    (small / "log").mkdir()
    made.log.symlink_to(small / "log")
    yield made
    made.close()


def test_what_a_full_disk_does_not_take_is_dropped_and_told_of_later(logged: Logged, small: Path) -> None:
    told: list[int | None] = []
    out, err = logged.pumps(told=lambda error: told.append(error.errno))
    line = b"x" * 99 + b"\n"
    for _ in range(10):
        os.write(logged.writers[0], line * 600)
        out.drain()
    sink = out.sink
    assert told == [28]
    assert 200_000 < sink.dropped == sink.dropped_in_all < 600_000
    assert logged.path.read_bytes().endswith(b"}\n"), "half an entry is there"
    kept = logged.printed("stdout")
    assert len(kept) + sink.dropped == 600_000

    first = logged.path.read_bytes()
    logged.path.write_bytes(first[: first.index(b"\n") + 1])  # somebody makes room
    os.write(logged.writers[0], b"again\n")
    out.drain()
    found = [(entry[0], entry[2]) for entry in logged.entries()]
    assert found == [("stdout", line), ("stderr", MISSING.format(600_000 - len(kept)).encode()), ("stdout", b"again\n")]
    assert sink.dropped == 0
    for pump in (out, err):
        pump.close()
    sink.close()


def test_what_was_dropped_is_remembered_by_whoever_comes_next(logged: Logged, small: Path) -> None:
    (small / "filler").write_bytes(bytes(256 << 10)[: shutil.disk_usage(small).free])
    logged.write(1, b"lost\n")
    logged.write(2, b"lost, too\n")
    (small / "filler").unlink()
    logged.write(1, b"kept\n")
    assert [entry[2] for entry in logged.entries()] == [MISSING.format(15).encode(), b"kept\n"]


def test_what_was_dropped_last_is_told_of_when_the_log_is_closed(logged: Logged, small: Path) -> None:
    (small / "filler").write_bytes(bytes(256 << 10)[: shutil.disk_usage(small).free])
    out, err = logged.pumps()
    os.write(logged.writers[0], b"lost\n")
    out.drain()
    (small / "filler").unlink()
    for pump in (out, err):
        pump.close()
    out.sink.close()
    assert [entry[2] for entry in logged.entries()] == [MISSING.format(5).encode()]
    logged.write(1, b"kept\n")
    assert [entry[2] for entry in logged.entries()] == [MISSING.format(5).encode(), b"kept\n"]


def test_a_file_system_that_becomes_read_only_stops_nobody(logged: Logged, small: Path) -> None:
    logged.write(1, b"before\n")
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    logged.write(1, b"lost\n")
    subprocess.run(["mount", "-o", "remount,rw", small], check=True)
    logged.write(1, b"after\n")
    assert [entry[2] for entry in logged.entries()] == [b"before\n", MISSING.format(5).encode(), b"after\n"]


def test_a_directory_that_was_removed_is_made_again(tmp_path: Path) -> None:
    logged = Logged(tmp_path)
    out, err = logged.pumps()
    os.write(logged.writers[0], b"removed\n")
    out.ready()
    shutil.rmtree(logged.log)
    os.write(logged.writers[0], b"after\n")
    out.ready()
    assert logged.printed("stdout") == b"after\n"
    for pump in (out, err):
        pump.close()
    logged.close()


def test_without_the_containers_directory_output_is_dropped_and_the_pump_goes_on(tmp_path: Path) -> None:
    logged = Logged(tmp_path)
    logged.path = tmp_path / "gone" / "log" / "x-json.log"
    out, err = logged.pumps()
    os.write(logged.writers[0], b"dropped\n")
    out.drain()
    assert out.sink.dropped == 8
    for pump in (out, err):
        pump.close()
    out.sink.close()
    logged.close()


def test_a_log_that_was_emptied_goes_on_from_its_beginning(tmp_path: Path) -> None:
    logged = Logged(tmp_path)
    out, err = logged.pumps()
    os.write(logged.writers[0], b"before\n")
    out.ready()
    os.truncate(logged.path, 0)
    os.write(logged.writers[0], b"after\n")
    out.ready()
    assert logged.printed("stdout") == b"after\n"
    for pump in (out, err):
        pump.close()
    out.sink.close()
    logged.write(1, b"more\n")
    assert logged.printed("stdout") == b"after\nmore\n"
    logged.close()


def test_a_full_runtime_directory_stops_nobody(tmp_path: Path, small: Path) -> None:
    logged = Logged(tmp_path)
    logged.spool = small / "output.spool"
    out, err = logged.pumps()
    os.write(logged.writers[0], b"before\n")
    out.ready()
    (small / "filler").write_bytes(bytes(256 << 10)[: shutil.disk_usage(small).free])
    os.write(logged.writers[0], b"x" * 60_000 + b"\n")
    out.drain()
    (small / "filler").unlink()
    os.write(logged.writers[0], b"after\n")
    out.drain()
    assert logged.printed("stdout") == b"before\n" + b"x" * 60_000 + b"\nafter\n"
    for pump in (out, err):
        pump.close()
    logged.close()


def test_half_an_entry_that_a_power_cut_left_is_taken_off(tmp_path: Path) -> None:
    logged = Logged(tmp_path)
    logged.write(1, b"whole\n")
    with logged.path.open("ab") as file:
        file.write(b'{"log":"hal' + bytes(100_000))
    logged.spool.unlink()
    logged.write(1, b"after\n")
    assert logged.printed("stdout") == b"whole\nafter\n"
    logged.close()
