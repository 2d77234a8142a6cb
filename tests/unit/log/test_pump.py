"""Pumps: what waits gets into the log, in bounded steps, whatever it is and wherever it comes from."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from minirun.log.pump import Pump
from minirun.log.spool import CHUNK_BYTES
from tests.pumping import Logged, child

Make = Callable[..., Logged]


def test_both_streams_come_into_one_log(make: Make) -> None:
    logged = make()
    logged.write(1, b"one\n")
    logged.write(2, b"two\n")
    logged.write(1, b"three")
    assert [entry[:1] + entry[2:3] for entry in logged.entries()] == [
        ("stdout", b"one\n"), ("stderr", b"two\n"), ("stdout", b"three")
    ]  # fmt: skip


def test_what_is_no_line_yet_is_written_at_once(make: Make) -> None:
    logged = make()
    out, _ = logged.pumps()
    os.write(logged.writers[0], b"password: ")
    assert not out.ready()
    assert logged.printed("stdout") == b"password: "
    out.close()


def test_ready_moves_a_bounded_amount_and_says_that_there_is_more(make: Make) -> None:
    logged = make()
    out, _ = logged.pumps()
    import fcntl

    fcntl.fcntl(logged.writers[0], fcntl.F_SETPIPE_SZ, 4 * CHUNK_BYTES)
    os.write(logged.writers[0], b"x" * (2 * CHUNK_BYTES + 10))
    assert [out.ready(), out.ready(), out.ready(), out.ready()] == [True, True, False, False]
    assert logged.printed("stdout") == b"x" * (2 * CHUNK_BYTES + 10)
    out.close()


def test_a_fifo_that_nobody_has_open_for_writing_has_ended(make: Make) -> None:
    logged = make()
    out, err = logged.pumps()
    os.write(logged.writers[0], b"last\n")
    os.close(logged.writers.pop(0))
    out.drain()
    assert not out.ready()
    assert (out.ended, err.ended) == (True, False)
    assert logged.printed("stdout") == b"last\n"
    out.close()
    err.close()


def test_somebody_else_gets_the_same_bytes_once_they_are_in_the_log(make: Make) -> None:
    logged = make()
    seen: list[tuple[bytes, bytes]] = []
    pump = Pump(logged.source(1), 1, logged.sink(), also=lambda data: seen.append((data, logged.printed("stdout"))))
    os.write(logged.writers[0], b"a\nb")
    pump.drain()
    pump.close()
    assert seen == [(b"a\nb", b"a\nb")]


def test_what_somebody_else_refuses_is_in_the_log(make: Make) -> None:
    logged = make()

    def refuse(_data: bytes) -> None:
        raise BrokenPipeError

    pump = Pump(logged.source(1), 1, logged.sink(), also=refuse)
    os.write(logged.writers[0], b"a\n")
    with pytest.raises(BrokenPipeError):
        pump.ready()
    os.write(logged.writers[0], b"b\n")
    pump.also = None
    pump.drain()
    pump.close()
    assert logged.printed("stdout") == b"a\nb\n"


def test_a_terminal_goes_through_a_fifo(make: Make) -> None:
    logged = make()
    master, slave = pty.openpty()
    tty.setraw(slave)
    fifo = os.open(logged.folder / "stdout", os.O_RDWR)
    pump = Pump(master, 1, logged.sink(), fifo=fifo)
    os.write(slave, b"$ ")
    pump.ready()
    assert logged.printed("stdout") == b"$ "
    text = b"".join(b"%d\r\n" % number for number in range(30_000))
    writer = child(lambda: _print(slave, text))
    os.close(slave)
    while not pump.ended:
        pump.ready()
    os.waitpid(writer, 0)
    pump.drain()
    pump.close()
    assert logged.printed("stdout") == b"$ " + text


def _print(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def test_what_was_in_the_fifo_of_a_terminal_when_its_pump_was_killed_is_not_lost(make: Make) -> None:
    logged = make()
    os.write(logged.writers[0], b"spliced by the dead\n")
    master, slave = pty.openpty()
    pump = Pump(master, 1, logged.sink(), fifo=os.open(logged.folder / "stdout", os.O_RDWR))
    pump.ready()
    pump.close()
    os.close(slave)
    assert logged.printed("stdout") == b"spliced by the dead\n"


def test_five_hundred_containers_hold_two_descriptors_each_and_few_more(tmp_path: Path) -> None:
    # in a process that has a limit of its own, and no other descriptors
    work = f"""
import os, resource
from pathlib import Path
from tests.pumping import Logged
resource.setrlimit(resource.RLIMIT_NOFILE, (2600, 2600))
logs = []
for number in range(500):
    folder = Path({str(tmp_path)!r}) / str(number)
    folder.mkdir()
    logs.append(Logged(folder))
before = len(os.listdir("/proc/self/fd"))
pumps = [pump for logged in logs for pump in logged.pumps()]
for turn in range(2):
    for logged, pump in zip(logs, pumps[::2]):
        os.write(logged.writers[0], b"line\\n")
        pump.ready()
print(len(os.listdir("/proc/self/fd")) - before - len(pumps))
# and where none is left, some of those rest
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, 2600))
for logged, pump in zip(logs, pumps[::2]):
    os.write(logged.writers[0], b"line\\n")
    pump.ready()
resource.setrlimit(resource.RLIMIT_NOFILE, (2600, 2600))
assert all(logged.printed("stdout") == b"line\\n" * 3 for logged in logs)
"""
    result = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True)
    assert int(result.stdout) <= 32


def test_without_descriptors_what_waits_waits(make: Make) -> None:
    import resource

    logged = make()
    out, _ = logged.pumps()
    os.write(logged.writers[0], b"line\n")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OSError, match="Too many open files") as refused:
            out.ready()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert refused.value.errno == errno.EMFILE
    out.drain()
    out.close()
    assert logged.printed("stdout") == b"line\n"


def test_the_pumping_side_imports_little() -> None:
    work = "import sys; before = set(sys.modules); import minirun.log.driver, minirun.log.pump, minirun.log.journald; "
    work += "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - {'minirun'}))"
    command = [sys.executable, "-ISXutf8", "-c", f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); {work}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) <= {
        "__future__", "_collections_abc", "_json", "_socket", "_stat", "_struct", "atexit", "errno", "fcntl",
        "genericpath", "os", "posixpath", "select", "stat", "struct",
    }  # fmt: skip
