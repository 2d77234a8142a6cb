"""How long a container is to live: --restart, --timeout, --stop-timeout."""

from __future__ import annotations

import pytest

from minirun.container import lifetime, options
from minirun.errors import BadInput


def test_the_flags_that_are_read_are_those_that_have_it_imported() -> None:
    assert options.LIFETIME == lifetime.FLAGS


def test_what_is_not_given_is_not_there() -> None:
    assert lifetime.read({}) == {}
    assert lifetime.stop_seconds({}) == lifetime.STOP_S


def test_what_is_given_is() -> None:
    found = lifetime.read({"restart": "on-failure:2", "stop-timeout": "-1", "timeout": "90"})
    assert found == {"restart": ["on-failure", 2], "stop_timeout": -1, "timeout": 90}
    assert lifetime.stop_seconds(found) == -1
    assert lifetime.stop_seconds({"stop_timeout": 0}) == 0


@pytest.mark.parametrize("flags", [{"stop-timeout": "-2"}, {"stop-timeout": "1s"}, {"timeout": "-1"}, {"timeout": ""}])
def test_what_is_no_number_of_seconds_is_refused(flags: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="it is not a number of seconds"):
        lifetime.read(flags)


def test_what_is_removed_at_its_end_is_not_started_again() -> None:
    with pytest.raises(BadInput, match="leave one of them out"):
        lifetime.read({"rm": True, "restart": "always"})
    assert lifetime.read({"rm": True, "restart": "no"}) == {"restart": ["no", 0]}
