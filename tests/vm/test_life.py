"""All the processes of a container at once: stopped, continued, killed; and many containers, of which nothing stays."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from minirun.cgroup import group
from tests.command import Minirun
from tests.vm.box import READY, Box
from tests.vm.conftest import groups

MANY = 200


def test_a_frozen_container_uses_nothing_until_it_is_thawed(start: Callable[..., Box]) -> None:
    box = start("busybox", "sh", "-c", f"{READY} while :; do :; done")
    path = str(box.group)
    assert box.cpu_share(0.5) > 0.1
    group.freeze(path)
    assert group.frozen(path)
    assert box.cpu_share(0.5) == 0
    group.thaw(path)
    assert not group.frozen(path)
    assert box.cpu_share(0.5) > 0.1


def test_five_hundred_processes_end_at_once(start: Callable[..., Box], store: Minirun) -> None:
    # each waits for a writer, who does not come
    script = f"mkfifo /fifo; i=0; while [ $i -lt 499 ]; do (: </fifo) & i=$((i+1)); done; {READY} wait"
    box = start("busybox", "sh", "-c", script)
    assert len(group.processes(str(box.group))) == 500
    began = time.monotonic()
    group.kill(str(box.group))
    assert time.monotonic() - began < 10
    assert box.process.wait() == 137
    assert not box.group.exists()


def test_two_hundred_containers_leave_the_tree_as_it_was(store: Minirun) -> None:
    before = groups()
    limits = ["--memory", "64m", "--pids-limit", "50", "--cpus", "0.5"]
    words = [sys.executable, "-m", "tests.vm.burst", str(MANY), "8", "run", "--rm", *limits, "busybox", "true"]
    checkout = Path(__file__).parents[2]
    burst = subprocess.run(words, env=store.environment(), cwd=checkout, capture_output=True, text=True, check=False)
    assert (burst.returncode, burst.stderr) == (0, "")
    most, failed = map(int, burst.stdout.split())
    assert failed == 0
    assert most > 1  # containers at the same time
    assert groups() == before
