"""Health checks: the flags, the image's, and what becomes of results."""

from __future__ import annotations

from typing import Any

import pytest

from minirun.container import health, options
from minirun.container.health import Health, Result
from minirun.errors import BadInput

IMAGE = {"Test": ["CMD", "true"], "Interval": 2_000_000_000, "Retries": 7}


def complete(flags: dict[str, Any], of_image: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """The check of a container that is run with *flags*, of an image that has *of_image*."""
    found = health.read(flags)
    health.complete(found, of_image)
    check: dict[str, Any] | None = found.get("health")
    return check


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1m30s", 90), ("1h", 3600), ("500ms", 0.5), ("1.5s", 1.5), ("2000us", 0.002), ("0", 0), ("0s", 0)],
)
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert health.seconds("--health-interval", text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "30", "s", "-1s", "1d", "1s1", "1.2.3s", ".s", "1us", "1 s", "\uff11s", "9999999999h"]
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        health.seconds("--health-interval", text)


@pytest.mark.parametrize(
    ("command", "test"),
    [
        ("true", ["CMD-SHELL", "true"]),
        ('["CMD", "a", "b"]', ["CMD", "a", "b"]),
        ('["a", "b"]', ["CMD", "a", "b"]),
        ('["CMD-SHELL", "a | b"]', ["CMD-SHELL", "a | b"]),
    ],
)
def test_a_command_is_one_for_the_shell_or_words(command: str, test: list[str]) -> None:
    assert (complete({"health-cmd": command}) or {})["test"] == test


@pytest.mark.parametrize("command", ["[a", "[]", "[1]"])
def test_words_that_are_none_are_refused(command: str) -> None:
    with pytest.raises(BadInput):
        health.read({"health-cmd": command})


def test_without_flags_there_is_what_the_image_has() -> None:
    check = complete({}, IMAGE)
    assert check == {**health.DEFAULTS, "test": ["CMD", "true"], "interval": 2.0, "retries": 7}
    assert complete({}) is None
    assert complete({}, {"Test": ["NONE"]}) is None


def test_flags_replace_what_the_image_has_one_by_one() -> None:
    check = complete({"health-retries": "2", "health-timeout": "3s", "health-interval": "0"}, IMAGE) or {}
    assert (check["test"], check["retries"], check["timeout"], check["interval"]) == (["CMD", "true"], 2, 3, 2)


@pytest.mark.parametrize("flags", [{"no-healthcheck": True}, {"health-cmd": "none"}])
def test_the_images_can_be_left_out(flags: dict[str, Any]) -> None:
    check = complete(flags, IMAGE)
    assert check == {"test": ["NONE"]}
    assert health.of({"health": check}) is None
    assert health.described({"health": check}) == {"Test": ["NONE"]}


@pytest.mark.parametrize(
    "flags",
    [
        {"no-healthcheck": True, "health-cmd": "true"},
        {"health-cmd": "none", "health-retries": "1"},
        {"health-interval": "1s"},
        {"health-on-failure": "kill"},
        {"health-cmd": "true", "health-on-failure": "reboot"},
        {"health-cmd": "true", "health-retries": "-1"},
    ],
)
def test_what_contradicts_itself_or_checks_nothing_is_refused(flags: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        complete(flags)


@pytest.mark.parametrize(
    "raw", [{"Test": "true"}, {"Test": ["RUN", "a"]}, {"Test": ["CMD"]}, {**IMAGE, "Retries": "3"}]
)
def test_an_image_whose_check_means_nothing_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="--no-healthcheck"):
        complete({}, raw)
    assert complete({"no-healthcheck": True}, raw) == {"test": ["NONE"]}


def test_it_is_described_as_docker_does() -> None:
    check = complete({"health-cmd": "true", "health-start-period": "1m"})
    assert health.described({"health": check}) == {
        "Test": ["CMD-SHELL", "true"], "Interval": 30_000_000_000, "Timeout": 30_000_000_000, "Retries": 3,
        "StartPeriod": 60_000_000_000, "StartInterval": 5_000_000_000,
    }  # fmt: skip


def take(found: Health, codes: list[int], check: dict[str, Any], at: float = 100.0) -> list[str]:
    """The statuses after checks that end so, a second apart, of a container that runs since 0."""
    statuses = []
    for number, code in enumerate(codes):
        found.take(Result(at + number, at + number, code, ""), check, 0.0)
        statuses.append(found.status)
    return statuses


def test_failures_in_a_row_make_it_unhealthy_and_one_success_healthy() -> None:
    found = Health()
    statuses = take(found, [1, 0, 1, -1, 1, 1, 0], {**health.DEFAULTS, "retries": 3})
    assert statuses == ["starting", "healthy", "healthy", "healthy", "unhealthy", "unhealthy", "healthy"]
    assert found.streak == 0
    assert [result.exit_code for result in found.log] == [1, -1, 1, 1, 0]


def test_failures_in_the_start_period_do_not_count() -> None:
    found, check = Health(), {**health.DEFAULTS, "retries": 1, "start_period": 102.0}
    assert take(found, [1, 1], check) == ["starting", "starting"]
    assert found.streak == 0
    assert take(found, [1], check, at=102.0) == ["unhealthy"]


def test_once_it_was_healthy_the_start_period_is_over() -> None:
    check = {**health.DEFAULTS, "retries": 1, "start_period": 1000.0}
    assert take(Health(), [0, 1], check) == ["healthy", "unhealthy"]


def test_the_next_check_is_an_interval_after_the_end_of_the_last() -> None:
    check = {**health.DEFAULTS, "start_period": 60.0}
    assert health.due(check, 1000.0, Health(), 1000.0) == 5  # within the start period, at the interval for that
    assert health.due(check, 1000.0, Health(), 1100.0) == -70  # who checked was gone for long
    found = Health("healthy")
    found.log = [Result(1009.0, 1010.0, 0, "")]
    assert health.due(check, 1000.0, found, 1015.0) == 25


def test_what_is_written_is_read_again() -> None:
    found = Health()
    take(found, [1, 0], dict(health.DEFAULTS))
    assert Health(**found.to_json()).to_json() == found.to_json()


def test_the_flags_that_are_read_are_those_that_have_it_imported() -> None:
    assert {f"health-{name}".replace("_", "-") for name in ("cmd", *health.DEFAULTS)} | {
        "no-healthcheck"
    } == options.HEALTH
