"""Ages and sizes are in Docker's words."""

from __future__ import annotations

import time

import pytest

from minirun.cli import quantity

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "Less than a second"),
        (1.9, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (45 * 60, "45 minutes"),
        (59.9 * 60, "59 minutes"),
        (HOUR, "About an hour"),
        (1.6 * HOUR, "2 hours"),
        (47.4 * HOUR, "47 hours"),
        (48 * HOUR, "2 days"),
        (13 * DAY, "13 days"),
        (14 * DAY, "2 weeks"),
        (59 * DAY, "8 weeks"),
        (60 * DAY, "2 months"),
        (729 * DAY, "24 months"),
        (800 * DAY, "2 years"),
    ],
)
def test_a_length_of_time_is_told_as_docker_tells_it(seconds: float, words: str) -> None:
    assert quantity.duration(seconds) == words


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"), (999, "999B"), (1000, "1kB"), (1536, "1.54kB"), (999_499, "999kB"), (999_600, "1MB"),
        (72_800_000, "72.8MB"), (1_234_567_890, "1.23GB"), (5 * 10**15, "5PB"), (5 * 10**18, "5e+03PB"),
    ],
)  # fmt: skip
def test_a_size_has_three_digits_in_powers_of_a_thousand(size: int, text: str) -> None:
    assert quantity.size(size) == text


def test_what_has_no_date_is_not_half_a_century_old() -> None:
    assert quantity.ago(0) == quantity.date(0) == "N/A"


def test_a_date_has_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    assert quantity.date(1728717646) == "2024-10-12 09:20:46 +0200 CEST"
    monkeypatch.delenv("TZ")
    time.tzset()
