"""Work inside a container against the same work outside of one: what the walls cost whoever is within them.

    host        busybox sh -c WORK    in a directory of the disk
    container   busybox sh -c WORK    in /var of a container, which that disk keeps; with every default

Each says itself how long it took: what starts and ends a container is not in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bench import peers
from bench.contest import Failure, Stage
from bench.scratch import Scratch

WITHIN = 0.02
NAME = f"minirun-bench-{os.getpid()}-inside"
BUSYBOX = "/bin/busybox"
# What is done is enough for some two seconds: the clock of /proc/uptime has steps of 10 ms.
WORK = {
    "a shell that counts": "i=0; while [ $i -lt 4000000 ]; do i=$((i + 1)); done",
    "sha256 of 600 MB": f"{BUSYBOX} dd if=/dev/zero bs=64k count=9600 2>/dev/null | {BUSYBOX} sha256sum >/dev/null",
    "6,000,000 reads of 512 bytes, and as many writes": (
        f"{BUSYBOX} dd if=/dev/zero of=/dev/null bs=512 count=6000000 2>/dev/null"
    ),
    "30,000 files: make, write, read, rename, remove": (
        f"{BUSYBOX} mkdir there; i=0; "
        "while [ $i -lt 30000 ]; do echo $i >there/$i; read line <there/$i; i=$((i + 1)); done; "
        f"{BUSYBOX} mv there then; {BUSYBOX} rm -r then"
    ),
    "2,000 programs": f"i=0; while [ $i -lt 2000 ]; do {BUSYBOX} true; i=$((i + 1)); done",
}
_TIMED = "cd %s && %s sync; read begun _ </proc/uptime; %s; read ended _ </proc/uptime; echo $begun $ended"


def contest(
    minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]
) -> dict[str, list[tuple[float, float]]]:
    """Run it; who is first changes every round.

    Returns:
        By work, for each round the seconds that it took (on the host, in a container).
    """
    ours = {"MINIRUN_ROOT": f"{scratch.path}/inside-minirun", "MINIRUN_RUNTIME": f"{scratch.path}/inside-runtime"}
    layers, outside = scratch.folder("inside-image"), scratch.folder("inside-work")
    peers.write_layers(layers)
    stage.run([minirun, "import", layers, "bench"], ours)
    run = (minirun, "run", "-d", "--network=none", "--name", NAME, "bench", BUSYBOX, "sleep", "1000000")
    stage.leave_running(run, ours)
    answer = scratch.path / "inside-answer"

    def on_host(work: str) -> float:
        stage.run([BUSYBOX, "sh", "-c", _TIMED % (outside, BUSYBOX, work)], {}, answer)
        return _took(answer)

    def in_container(work: str) -> float:
        stage.run([minirun, "exec", NAME, BUSYBOX, "sh", "-c", _TIMED % ("/var", BUSYBOX, work)], ours, answer)
        return _took(answer)

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WORK}
    try:
        for number in range(-1, rounds):
            for name, work in WORK.items():
                tell(f"{name}: round {number + 2} of {rounds + 1}")
                if number % 2:
                    host_s, inside_s = on_host(work), in_container(work)
                else:
                    inside_s, host_s = in_container(work), on_host(work)
                if number >= 0:
                    found[name].append((host_s, inside_s))
    finally:
        stage.leave_running([minirun, "rm", "-f", NAME], ours)
    return found


def _took(answer: Path) -> float:
    try:
        begun, ended = map(float, answer.read_text().split())
    except ValueError:
        raise Failure(f"the work did not say how long it took: {answer.read_text()!r}") from None
    return ended - begun
