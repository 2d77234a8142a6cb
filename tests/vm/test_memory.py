"""--memory, and what happens at it."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.command import Minirun
from tests.vm.box import READY, Box

MIB = 1 << 20


def take(mib: int) -> str:
    """A command that takes that much memory, gives it back and ends well."""
    return f"dd if=/dev/zero of=/dev/null bs={mib}M count=1 2>/dev/null"


def test_who_takes_more_than_the_limit_is_killed_and_a_neighbour_lives(start: Callable[..., Box]) -> None:
    keep = f"dd if=/dev/zero of=/dev/shm/kept bs=1M count=20 2>/dev/null; {READY} sleep 1000"
    neighbour = start("--memory", "64m", "busybox", "sh", "-c", keep)
    greedy = start(
        "--memory", "32m", "busybox", "sh", "-c", f"{READY} {take(24)}; echo $?; {take(64)}; echo $?; sleep 1000"
    )
    assert [greedy.line(), greedy.line()] == ["0", "137"]
    assert greedy.count("memory.events", "oom_kill") == 1
    assert 24 * MIB < int(greedy.read("memory.peak")) <= 32 * MIB
    assert neighbour.count("memory.events", "oom_kill") == 0
    assert neighbour.count("cgroup.events", "populated") == 1
    assert int(neighbour.read("memory.current")) > 20 * MIB


def test_a_container_that_is_killed_for_its_memory_says_so(store: Minirun) -> None:
    result = store("run", "--name", "greedy", "--memory", "16m", "busybox", "sh", "-c", f"exec {take(64)}")
    assert result.returncode == 137
    (described,) = json.loads(store("inspect", "greedy", check=True).stdout)
    assert described["State"]["OOMKilled"] is True
    assert described["State"]["ExitCode"] == 137
    store("rm", "greedy", check=True)


def test_an_update_gives_more_memory_and_takes_away_none_that_is_held(
    start: Callable[..., Box], store: Minirun
) -> None:
    script = f"{READY} while read mib; do dd if=/dev/zero of=/dev/shm/$mib bs=1M count=$mib 2>/dev/null; echo $?; done"
    box = start("-i", "--memory", "16m", "busybox", "sh", "-c", script)
    store("update", "--memory", "64m", box.id, check=True)
    assert box.read("memory.max") == str(64 * MIB)
    assert box.ask("40") == "0"
    refused = store("update", "--memory", "32m", box.id)
    assert refused.returncode == 125
    assert "the kernel would kill it at 32m" in refused.stderr
    assert box.read("memory.max") == str(64 * MIB)
    assert box.count("memory.events", "oom_kill") == 0
