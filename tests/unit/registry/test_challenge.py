"""What a registry wants is read from its header."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from minirun.registry.challenge import Challenge, parse


def test_docker_hub_wants_a_token() -> None:
    header = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'
    parameters = {
        "realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:a/b:pull,push"
    }  # fmt: skip
    assert parse([header]) == [Challenge("bearer", parameters)]


def test_several_challenges_are_told_apart() -> None:
    found = parse(['Basic realm="a \\"b\\", c", charset=UTF-8, Bearer realm=https://x', "Negotiate"])
    assert [(one.scheme, dict(one.parameters)) for one in found] == [
        ("basic", {"realm": 'a "b", c', "charset": "UTF-8"}),
        ("bearer", {"realm": "https://x"}),
        ("negotiate", {}),
    ]


def test_no_header_is_no_challenge() -> None:
    assert parse([]) == []
    assert parse([""]) == []
    assert parse(['="', '"', "=,=,"]) == []


@given(st.lists(st.text(max_size=200), max_size=3))
def test_any_text_is_read_without_a_fault(headers: list[str]) -> None:
    for one in parse(headers):
        assert one.scheme
        assert all(isinstance(value, str) for value in one.parameters.values())


def test_a_hostile_header_takes_no_time() -> None:
    begun = time.monotonic()
    parse([" ," * 1_000_000, 'a b="' + "\\" * 1_000_000, "a" * 1_000_000, "a=," * 1_000_000])
    assert time.monotonic() - begun < 2
