"""Limits that mean nothing are refused where they could be kept, too: a sentence, 125, and nothing made."""

from __future__ import annotations

from tests import busybox
from tests.command import Minirun
from tests.vm.conftest import groups

REFUSED = [
    ("--memory -64m", "not a number of bytes"),
    ("--memory much", "not a number of bytes"),
    ("--memory 4m", "less than 6m"),
    ("--cpus 0", "not a number from 0.01"),
    ("--cpu-quota 50000", "no --cpu-period"),
    ("--cpuset-cpus 63", "no 63"),
    ("--pids-limit -2", "not a number of processes"),
    ("--device-write-bps /dev/null:1mb", "not a block device"),
    ("--cgroup-conf memory.nothing=1", "no memory.nothing"),
    ("--cgroup-parent /no/such", "ENOENT"),
]


def test_a_limit_without_meaning_is_refused_before_anything_is_made(store: Minirun) -> None:
    store("ps", check=True)
    before, tree = busybox.contents(store.root), groups()
    for flags, reason in REFUSED:
        result = store("run", *flags.split(), "busybox", "true")
        assert result.returncode == 125, flags
        assert reason in result.stderr, flags
        assert (busybox.containers(store.root), groups()) == ([], tree), flags
    assert busybox.contents(store.root) == before
