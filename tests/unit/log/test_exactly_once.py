"""What a container prints is in its log once and whole, whoever is killed meanwhile."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pumping import Logged, child

KILLS = 300
PAUSE_S = 0.004


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("MINIRUN_TEST_SEED", "5"))


def lines(stream: int, seed: int) -> Iterator[bytes]:
    """Numbered lines of all lengths, some of any bytes, some that arrive in parts."""
    chance = random.Random(seed + stream)
    number = 0
    while True:
        kind = chance.random()
        size = chance.choice((0, 1, 20, 100, 3000)) if kind < 0.98 else chance.randrange(150_000)
        filling = chance.randbytes(size).replace(b"\n", b"\\") if kind < 0.3 else b"x" * size
        yield b"%d %d %s\n" % (stream, number, filling)
        number += 1


def print_lines(descriptor: int, stream: int, seed: int, stop: Path) -> int:
    """Write until *stop* is there; how many lines that were."""
    count = 0
    for line in lines(stream, seed):
        view = memoryview(line)
        while view:
            view = view[os.write(descriptor, view) :]
        count += 1
        if count % 64 == 0 and stop.exists():
            break
    return count


def expected(stream: int, seed: int, count: int) -> bytes:
    source = lines(stream, seed)
    return b"".join(next(source) for _ in range(count))


@pytest.mark.parametrize(
    "limits",
    [{}, {"max_bytes": 200_000}, {"max_bytes": 3000}, {"max_bytes": 200_000, "compress": 1}],
    ids=["one file", "rotated", "rotated often", "compressed"],
)
def test_a_pump_that_is_killed_at_any_moment_loses_nothing_and_repeats_nothing(
    tmp_path: Path, limits: dict[str, int], seed: int
) -> None:
    logged = Logged(tmp_path, **limits)
    stop, chance = tmp_path / "stop", random.Random(seed)
    kills = KILLS if limits.get("max_bytes", 1 << 20) > 100_000 else KILLS // 3

    def printing(stream: int) -> None:
        count = print_lines(logged.writers[stream - 1], stream, seed, stop)
        (tmp_path / f"count{stream}").write_text(str(count))

    printers = [child(lambda stream=stream: printing(stream)) for stream in (1, 2)]  # type: ignore[misc]  # bound now
    interrupted = 0
    for _ in range(kills):
        pump = child(logged.pump_for_ever)
        time.sleep(chance.random() * PAUSE_S)
        os.kill(pump, signal.SIGKILL)
        assert os.waitpid(pump, 0)[1] == signal.SIGKILL
        interrupted += logged.spool.exists() and logged.spool.stat().st_size > 64
    stop.touch()
    pump = child(logged.pump_for_ever)
    for printer in printers:
        assert os.waitpid(printer, 0)[1] == 0
    os.kill(pump, signal.SIGKILL)
    os.waitpid(pump, 0)
    logged.drain()
    assert interrupted > kills // 10, "too few were killed at work"
    for stream, name in ((1, "stdout"), (2, "stderr")):
        count = int((tmp_path / f"count{stream}").read_text())
        assert logged.printed(name) == expected(stream, seed, count), f"{name}, {count} lines"
    if "max_bytes" in limits:
        assert len(logged.files()) > 3
    logged.close()
