"""--restart: what it may say, and when a container is started again."""

from __future__ import annotations

import pytest

from minirun.container import restart
from minirun.container.state import State
from minirun.errors import BadInput


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("no", ["no", 0]),
        ("always", ["always", 0]),
        ("unless-stopped", ["unless-stopped", 0]),
        ("on-failure", ["on-failure", 0]),
        ("on-failure:5", ["on-failure", 5]),
    ],
)
def test_a_policy_is_read(text: str, policy: list[str | int]) -> None:
    assert restart.read(text) == policy


@pytest.mark.parametrize("text", ["", "yes", "always:3", "no:1", "on-failure:", "on-failure:-1", "on-failure:x"])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        restart.read(text)


def delay(
    text: str, code: int, *, restarts: int = 0, before: float = 0, ran_s: float = 1, by_hand: bool = False
) -> float | None:
    state = State("running", started=1000, restarts=restarts, delay=before)
    return restart.delay(restart.read(text), state, code, 1000 + ran_s, by_hand=by_hand)


@pytest.mark.parametrize(
    ("text", "code", "again"),
    [
        ("no", 1, False),
        ("always", 0, True),
        ("unless-stopped", 0, True),
        ("on-failure", 0, False),
        ("on-failure", 1, True),
    ],
)
def test_the_policy_says_whether_it_is_started_again(text: str, code: int, again: bool) -> None:
    assert (delay(text, code) is not None) == again


@pytest.mark.parametrize("text", ["always", "unless-stopped", "on-failure"])
def test_what_a_person_ended_is_not_started_again(text: str) -> None:
    assert delay(text, 1, by_hand=True) is None


def test_failures_are_counted() -> None:
    assert delay("on-failure:2", 1, restarts=1) is not None
    assert delay("on-failure:2", 1, restarts=2) is None


def test_each_time_takes_twice_as_long_up_to_a_minute() -> None:
    delays, last = [], 0.0
    for _ in range(12):
        last = delay("always", 0, before=last) or 0
        delays.append(last)
    assert delays[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert delays[-2:] == [60, 60]


def test_after_ten_seconds_it_begins_anew() -> None:
    assert delay("always", 0, before=30, ran_s=9.9) == 60
    assert delay("always", 0, before=30, ran_s=10) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "last", "starts"),
    [
        ("no", State("running"), False),
        ("always", State("running"), True),
        ("always", State("exited", by_hand=True), True),
        ("always", State("created"), False),
        ("unless-stopped", State("running"), True),
        ("unless-stopped", State("restarting"), True),
        ("unless-stopped", State("exited", exit_code=0), True),
        ("unless-stopped", State("exited", by_hand=True), False),
        ("unless-stopped", State("created"), False),
        ("on-failure", State("running"), True),
        ("on-failure", State("exited", exit_code=0), False),
        ("on-failure", State("exited", exit_code=0, halted=True), True),
        ("on-failure", State("exited", exit_code=255), True),
        ("on-failure", State("exited", exit_code=137, by_hand=True), False),
        ("on-failure:3", State("running", restarts=2), True),
        ("on-failure:3", State("running", restarts=3), False),
        ("on-failure:3", State("exited", restarts=3, halted=True), False),
    ],
)
def test_what_starts_with_the_host(text: str, last: State, starts: bool) -> None:
    assert restart.at_boot(restart.read(text), last) == starts
