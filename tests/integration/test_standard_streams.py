"""Standard input and output: byte-exact, in order, and never a way to a file of the host."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

from tests.command import Minirun

REOPEN = "for n in 0 1 2; do readlink /proc/self/fd/$n; done; echo evil > /proc/self/fd/0"


def run(store: Minirun, script: str, **streams: object) -> int:
    command = store.command(("run", "--rm", "-i", "busybox", "sh", "-c", script))
    return subprocess.run(command, env=store.environment(None), check=False, timeout=60, **streams).returncode  # type: ignore[call-overload, no-any-return]


def test_a_file_given_as_input_cannot_be_written_by_the_container(store: Minirun, tmp_path: Path) -> None:
    given, out = tmp_path / "given", tmp_path / "out"
    given.write_text("precious")
    with given.open() as stdin, out.open("w") as stdout:
        run(store, REOPEN, stdin=stdin, stdout=stdout, stderr=stdout)
    assert given.read_text() == "precious"
    assert str(tmp_path) not in out.read_text()
    assert out.read_text().count("pipe:[") >= 3


def test_a_file_open_for_appending_cannot_be_shortened(store: Minirun, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("a") as stdout:
        assert run(store, ": > /proc/self/fd/1; echo after", stdin=subprocess.DEVNULL, stdout=stdout) == 0
    assert log.read_text() == "before\nafter\n"


def test_output_and_errors_of_one_file_keep_their_order(store: Minirun, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "for n in 1 2 3 4 5 6 7 8 9; do echo out $n; echo err $n >&2; done"
    with log.open("w") as both:
        assert run(store, script, stdin=subprocess.DEVNULL, stdout=both, stderr=both) == 0
    assert log.read_text() == "".join(f"out {n}\nerr {n}\n" for n in range(1, 10))


def test_output_and_errors_of_two_files_stay_apart(store: Minirun, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        assert run(store, "echo out; echo err >&2; exit 3", stdin=subprocess.DEVNULL, stdout=out, stderr=err) == 3
    assert (tmp_path / "out").read_text() == "out\n"
    assert (tmp_path / "err").read_text() == "err\n"


def test_many_bytes_from_file_to_file_are_the_same_bytes(store: Minirun, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 20
    (tmp_path / "in").write_bytes(data)
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        assert run(store, "cat", stdin=stdin, stdout=stdout) == 0
    assert hashlib.sha256((tmp_path / "out").read_bytes()).digest() == hashlib.sha256(data).digest()


def test_a_container_that_reads_nothing_ends_though_its_input_is_long(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(bytes(1 << 20))
    with (tmp_path / "in").open("rb") as stdin:
        assert run(store, "exit 5", stdin=stdin) == 5


def test_a_full_disk_ends_the_writer_and_not_minirun(store: Minirun) -> None:
    with Path("/dev/full").open("w") as full:  # a device of the host's, and so behind a pipe
        assert run(store, "cat /dev/zero", stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.DEVNULL) == 1


def test_a_reader_that_goes_away_ends_the_writer(store: Minirun) -> None:
    command = store.command(("run", "--rm", "busybox", "sh", "-c", "echo line; exec cat /dev/zero"))
    with subprocess.Popen(
        command, env=store.environment(None), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.wait(timeout=30) == 1
