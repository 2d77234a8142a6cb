"""What a start costs is kept in tests/budget.toml, and does not grow unseen: counted, not timed.

A failure says what is new: which modules, which files, which system calls. Whoever has a reason for it writes the new
numbers down, with ``python -m tests.costs``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

import pytest

from tests import costs
from tests.command import Minirun

MARGIN = 0.05
MEASURED_WITH = (3, 11)


@pytest.fixture(scope="module", autouse=True)
def _comparable() -> None:
    """Skip where other things are counted: another interpreter, a kernel before `lowerdir+`, a bundle that is old."""
    if sys.version_info[:2] != MEASURED_WITH:
        pytest.skip(f"the budget is of Python {MEASURED_WITH[0]}.{MEASURED_WITH[1]}, whose own start is part of it")
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 8):
        pytest.skip("before Linux 6.8 an overlay is tried twice, which costs more")
    if not costs.is_bundle_fresh():
        pytest.skip("a source is newer than the bundle that a start reads: `sudo make setup`")


@pytest.fixture(scope="module")
def prepared(store: Minirun) -> Iterator[Minirun]:
    """A store with a container `idle`, a bridge and a supervisor: what only the first start does is done."""
    with costs.ready(store):
        yield store


@pytest.mark.parametrize("name", costs.COMMANDS)
def test_a_start_costs_no_more_than_it_did(prepared: Minirun, name: str) -> None:
    cost, kept = costs.measure(prepared, name), costs.budget()[name]
    over = [
        f"{what}: {kept[what]} in the budget, now {number}"
        for what, number in cost.numbers().items()
        if number > kept[what] * (1 + MARGIN) + 1
    ]
    assert not over, "\n".join([*over, *new(cost, kept)])


def new(cost: costs.Cost, kept: Mapping[str, object]) -> Iterator[str]:
    """What a command does that it did not do when the budget was written, one line a thing."""
    for what, names in (("imports", cost.modules), ("opens", cost.files)):
        before = kept[what]
        assert isinstance(before, set)
        yield from (f"  {what} {name}" for name in sorted(names - before))
    before = kept["calls"]
    assert isinstance(before, dict)
    for call, count in cost.calls.items():
        if call not in costs.UNSTEADY and count > before.get(call, 0):
            yield f"  calls {call} {count} times, not {before.get(call, 0)}"


def test_a_failure_says_what_is_new() -> None:
    kept = {"imports": {"os"}, "opens": {"/proc"}, "calls": {"read": 2}}
    cost = costs.Cost(frozenset(("os", "json")), frozenset(("/proc", "/sys")), {"read": 3, "brk": 9}, 0, 0, 0)
    assert list(new(cost, kept)) == ["  imports json", "  opens /sys", "  calls read 3 times, not 2"]
