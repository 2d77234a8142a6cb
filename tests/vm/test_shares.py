"""What a container has beside others reaches the groups that stand beside others'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from tests.command import Minirun
from tests.vm.box import READY, Box

MIB = 1 << 20
WAIT = f"{READY} sleep 600"


def beside(box: Box) -> Path:
    """The group of *box* that stands beside those of other containers: its scope, under systemd."""
    return box.group.parent if hierarchy.is_scope(str(box.group.parent)) else box.group


def test_a_weight_is_that_of_the_group_that_others_stand_beside(start: Callable[..., Box], store: Minirun) -> None:
    box = start("--cpu-shares", "3072", "busybox", "sh", "-c", WAIT)
    assert (beside(box) / "cpu.weight").read_text() == box.read("cpu.weight") + "\n" == "118\n"
    store("update", "--cpu-shares", "512", box.id, check=True)
    assert (beside(box) / "cpu.weight").read_text() == box.read("cpu.weight") + "\n" == "20\n"


def test_memory_is_protected_as_far_up_as_minirun_reaches(start: Callable[..., Box], store: Minirun) -> None:
    one = start("--memory-reservation", "32m", "busybox", "sh", "-c", WAIT)
    assert (beside(one) / "memory.low").read_text() == f"{32 * MIB}\n"
    if hierarchy.is_scope(str(one.group.parent)):
        pytest.skip("under systemd the groups above a scope are systemd's")
    two = start("--memory-reservation", "16m", "--cgroup-parent", "web", "busybox", "sh", "-c", WAIT)
    own = Path(hierarchy.own(), "memory.low")
    assert own.read_text() == f"{48 * MIB}\n"
    assert (two.group.parent / "memory.low").read_text() == f"{16 * MIB}\n"
    store("update", "--memory-reservation", "8m", two.id, check=True)
    assert own.read_text() == f"{40 * MIB}\n"
    store("rm", "-f", two.id, check=True)
    assert own.read_text() == f"{32 * MIB}\n"
