"""The loop calls whoever waits, in order, and goes on whatever goes wrong."""

from __future__ import annotations

import os

import pytest

from minirun.attendant.loop import READ, WRITE, Loop


def test_what_is_due_is_done_in_its_order_and_what_was_cancelled_is_not() -> None:
    loop, done = Loop(), []
    for number in (3, 1, 2, 1):
        loop.later(number / 1000, lambda number=number: done.append(number))  # type: ignore[misc]
    loop.later(0.0025, lambda: done.append(99)).cancel()
    loop.later(0.02, loop.stop)
    loop.run()
    assert done == [1, 1, 2, 3]


def test_a_descriptor_is_heard_until_nobody_watches_it() -> None:
    loop, heard = Loop(), []
    reading, writing = os.pipe()

    def ready(events: int) -> None:
        heard.append((events, os.read(reading, 1)))
        if len(heard) == 2:
            loop.unwatch(reading)
            loop.unwatch(reading)
            loop.later(0.02, loop.stop)

    loop.watch(reading, ready)
    os.write(writing, b"abc")
    loop.run()
    assert heard == [(READ, b"a"), (READ, b"b")]
    os.close(reading)
    os.close(writing)


def test_what_is_watched_for_can_be_changed() -> None:
    loop, heard = Loop(), []
    reading, writing = os.pipe()

    def ready(events: int) -> None:
        heard.append(events)
        loop.stop()

    loop.watch(writing, ready, 0)
    loop.later(0.01, lambda: loop.watch(writing, ready, WRITE))
    loop.run()
    assert heard == [WRITE]
    os.close(reading)
    os.close(writing)


def test_who_fails_is_told_of_and_the_others_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    loop, done = Loop(), []
    reading, writing = os.pipe()

    def ready(_events: int) -> None:
        os.read(reading, 1)
        raise ValueError("of a handler")

    def fail() -> None:
        raise ValueError("of a timer")

    loop.watch(reading, ready)
    os.write(writing, b"a")
    loop.later(0.001, fail)
    loop.later(0.01, lambda: done.append(1))
    loop.later(0.02, loop.stop)
    loop.run()
    assert done == [1]
    said = capfd.readouterr().err
    assert "of a handler" in said
    assert "of a timer" in said
    os.close(reading)
    os.close(writing)
