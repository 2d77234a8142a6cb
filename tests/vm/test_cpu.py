"""--cpus, --cpu-shares, --cpuset-cpus: how much of which processors."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.command import Minirun
from tests.vm.box import READY, Box, within

SPIN = f"{READY} while :; do :; done"


def test_a_spinner_gets_its_part_of_a_processor_and_another_when_it_is_changed(
    start: Callable[..., Box], store: Minirun
) -> None:
    box = start("--cpus", "0.5", "busybox", "sh", "-c", SPIN)
    within(0.45, 0.55, lambda: box.cpu_share(3))
    assert box.count("cpu.stat", "nr_throttled") > 0
    store("update", "--cpus", "0.2", box.id, check=True)
    within(0.17, 0.23, lambda: box.cpu_share(3))


def test_two_spinners_share_a_processor_by_their_weights(start: Callable[..., Box], store: Minirun) -> None:
    heavy = start("--cpu-shares", "3072", "--cpuset-cpus", "0", "busybox", "sh", "-c", SPIN)
    light = start("--cpu-shares", "1024", "--cpuset-cpus", "0", "busybox", "sh", "-c", SPIN)

    def ratio() -> float:
        before = [box.count("cpu.stat", "usage_usec") for box in (heavy, light)]
        heavy.cpu_share(4)
        grown = [box.count("cpu.stat", "usage_usec") - used for box, used in zip((heavy, light), before, strict=True)]
        return grown[0] / grown[1]

    within(3 * 0.85, 3 * 1.15, ratio)
    store("update", "--cpu-shares", "3072", light.id, check=True)
    within(0.85, 1.15, ratio)


@pytest.mark.skipif(os.cpu_count() == 1, reason="this machine has one processor, and no choice")
def test_processes_stay_on_their_processors_and_follow_a_change(start: Callable[..., Box], store: Minirun) -> None:
    box = start("--cpuset-cpus", "1", "busybox", "sh", "-c", f"(while :; do :; done) & {SPIN}")
    pids = [int(pid) for pid in box.read("cgroup.procs").split()]
    assert len(pids) == 2
    assert box.read("cpuset.cpus.effective") == "1"
    for pid in pids:
        with pytest.raises(OSError, match="Invalid argument"):
            os.sched_setaffinity(pid, {0})
    # two that want a processor each have one together
    within(0.9, 1.05, lambda: box.cpu_share(2))
    store("update", "--cpuset-cpus", "0", box.id, check=True)
    assert [os.sched_getaffinity(pid) for pid in pids] == [{0}, {0}]
