"""Processes that work side by side, and are gone with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minirun.errors import BadLayer
from minirun.kernel import workers


def square(number: int, told: Callable[[int], None]) -> tuple[int, int]:
    told(number)
    return number * number, os.getpid()


@pytest.mark.parametrize("width", [1, 2, 5])
def test_results_come_in_the_order_of_the_tasks(width: int) -> None:
    results = workers.run(20, square, width=width)
    assert [result for result, _ in results] == [number * number for number in range(20)]
    processes = {process for _, process in results}
    assert (processes == {os.getpid()}) == (width == 1)
    assert len(processes) <= width


def test_nothing_is_a_result_too() -> None:
    assert workers.run(3, lambda _number, _told: None, width=2) == [None, None, None]
    assert workers.run(0, square, width=2) == []


@pytest.mark.parametrize("width", [1, 3])
def test_who_waits_is_told_how_far_each_task_is_and_when_it_is_done(width: int) -> None:
    told: dict[int, list[int]] = {}

    def begun(number: int) -> Callable[[int], None]:
        return told.setdefault(number, []).append

    ended: list[int] = []
    workers.run(6, square, width=width, begun=begun, ended=ended.append)
    assert sorted(ended) == list(range(6))
    assert told == {number: [number] for number in range(6)}


def test_two_tasks_are_done_at_once() -> None:
    reading, writing = os.pipe()

    def meet(number: int, _told: Callable[[int], None]) -> bytes:
        if number:
            os.write(writing, b"x")
            return b""
        return os.read(reading, 1)

    assert workers.run(2, meet, width=2) == [b"x", b""]
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("error", [BadLayer("unpack it", "no reason", "none"), OSError(28, "full", "/x")])
def test_what_a_task_raises_is_raised_and_the_others_are_ended(error: Exception) -> None:
    def fail(number: int, _told: Callable[[int], None]) -> None:
        if number == 1:
            raise error
        time.sleep(600)

    with pytest.raises(type(error)) as caught:
        workers.run(3, fail, width=3)
    assert str(caught.value) == str(error)
    assert children() == []


def test_a_worker_that_is_killed_is_an_error() -> None:
    def die(number: int, _told: Callable[[int], None]) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ChildProcessError, match="was ended"):
        workers.run(2, die, width=2)
    assert children() == []


def test_workers_end_with_their_parent() -> None:
    program = """
import os, time
from minirun.kernel import workers
def wait(number, told):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(600)
workers.run(2, wait, width=2)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        parent.kill()
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_descriptor_is_left() -> None:
    before = os.listdir("/proc/self/fd")
    workers.run(4, square, width=2)
    assert os.listdir("/proc/self/fd") == before


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
