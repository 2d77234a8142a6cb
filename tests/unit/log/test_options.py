"""--log-driver and --log-opt: what is read, and what is refused with a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirun.errors import BadInput, Unsupported
from minirun.log import driver, journald, options


@pytest.mark.parametrize(
    ("text", "size"),
    [("10m", 10_000_000), ("1k", 1000), ("1.5MB", 1_500_000), ("500", 500), ("1 g", 10**9), ("7b", 7), ("-1", 0)],
)
def test_sizes_are_read_as_docker_reads_them(text: str, size: int) -> None:
    assert options.max_bytes({"max-size": text}) == size


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("max-size=0", "not a number of bytes"),
        ("max-size=", "not a number of bytes"),
        ("max-size=-5", "not a number of bytes"),
        ("max-size=1e3", "not a number of bytes"),
        ("max-size=0.1", "not a number of bytes"),
        ("max-size=١٢", "not a number of bytes"),
        ("max-size", "it has no value"),
        ("max-file=0", "from 1 to 1000"),
        ("max-file=1001", "from 1 to 1000"),
        ("max-file=two", "from 1 to 1000"),
        ("compress=maybe", "it is true or false"),
        ("tag={{.Nonsense}}", "in braces"),
        ("mode=non-blocking", "has no option 'mode'"),
        ("=1", "has no option ''"),
    ],
)
def test_what_has_no_meaning_is_refused(given: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        options.read(None, [given])


@pytest.mark.parametrize("given", [["max-file=1"], ["max-size=-1"]])
def test_nothing_is_compressed_where_nothing_is_rotated(given: list[str]) -> None:
    with pytest.raises(BadInput, match="only files that are rotated"):
        options.read("json-file", ["compress=true", *given])


def test_an_unknown_driver_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(BadInput, match="json-file, none, journald"):
        options.read("syslog", [])


def test_a_driver_has_its_own_options() -> None:
    with pytest.raises(BadInput, match="the log driver none has no option 'max-size'"):
        options.read("none", ["max-size=1m"])


def test_without_a_journal_there_is_no_driver_for_it() -> None:
    if Path(journald.SOCKET).exists():
        pytest.skip("this host has a journal")
    with pytest.raises(Unsupported, match="this host has no journal"):
        options.read("journald", [])


def test_values_are_kept_as_they_were_given() -> None:
    given = ["max-size=1m", "max-file=2", "compress=true", "labels=a,b"]
    assert options.read("json-file", given) == {
        "driver": "json-file", "options": {"max-size": "1m", "max-file": "2", "compress": "true", "labels": "a,b"}
    }  # fmt: skip


def test_labels_variables_and_a_tag_are_chosen() -> None:
    subject = driver.Subject(
        "0123456789abcdef", "web", image_name="shop:1", image_id="sha256:fedcba9876543210",
        labels={"tier": "front", "other": "1"}, env=["A=1", "B=2=3"],
    )  # fmt: skip
    given = {"labels": "tier,absent", "env": "B", "tag": "{{.Name}}/{{.ID}}/{{.ImageName}}/{{.ImageID}}"}
    assert driver.chosen(given, subject) == {
        "tier": "front", "B": "2=3", "tag": "web/0123456789ab/shop:1/fedcba987654"
    }  # fmt: skip
