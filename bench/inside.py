"""Work inside a container against the same work outside of one: what the walls cost whoever is within them.

    host        busybox sh -c WORK    in a directory of the disk
    container   busybox sh -c WORK    in its own layer, or on a volume; that disk keeps both

Each says itself how long it took: what starts and ends a container is not in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from bench import peers, report
from bench.contest import Failure, Stage, quartiles
from bench.scratch import Scratch

WITHIN = 0.02
NAME = f"minirun-bench-{os.getpid()}-inside"
BUSYBOX = "/bin/busybox"
FILES = (
    f"{BUSYBOX} mkdir there; i=0; "
    "while [ $i -lt 30000 ]; do echo $i >there/$i; read line <there/$i; i=$((i + 1)); done; "
    f"{BUSYBOX} mv there then; {BUSYBOX} rm -r then"
)
LAYER, VOLUME = "/var", "/volume"
# What is done is enough for some two seconds: the clock of /proc/uptime has steps of 10 ms.
WORK = {
    "a shell that counts": (LAYER, "i=0; while [ $i -lt 4000000 ]; do i=$((i + 1)); done"),
    "sha256 of 600 MB": (
        LAYER,
        f"{BUSYBOX} dd if=/dev/zero bs=64k count=9600 2>/dev/null | {BUSYBOX} sha256sum >/dev/null",
    ),
    "6,000,000 reads of 512 bytes, and as many writes": (
        LAYER,
        f"{BUSYBOX} dd if=/dev/zero of=/dev/null bs=512 count=6000000 2>/dev/null",
    ),
    "2,000 programs": (LAYER, f"i=0; while [ $i -lt 2000 ]; do {BUSYBOX} true; i=$((i + 1)); done"),
    "30,000 files on a volume: make, write, read, rename, remove": (VOLUME, FILES),
    "the same in the container's own layer": (LAYER, FILES),
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
    run = (
        minirun, "run", "-d", "--network=none", "--name", NAME, "-v", f"work:{VOLUME}",
        "bench", BUSYBOX, "sleep", "1000000",
    )  # fmt: skip
    stage.leave_running(run, ours)
    answer = scratch.path / "inside-answer"

    def on_host(work: str) -> float:
        stage.run([BUSYBOX, "sh", "-c", _TIMED % (outside, BUSYBOX, work)], {}, answer)
        return _took(answer)

    def in_container(place: str, work: str) -> float:
        stage.run([minirun, "exec", NAME, BUSYBOX, "sh", "-c", _TIMED % (place, BUSYBOX, work)], ours, answer)
        return _took(answer)

    found: dict[str, list[tuple[float, float]]] = {name: [] for name in WORK}
    try:
        for number in range(-1, rounds):
            for name, (place, work) in WORK.items():
                tell(f"{name}: round {number + 2} of {rounds + 1}")
                if number % 2:
                    host_s, inside_s = on_host(work), in_container(place, work)
                else:
                    inside_s, host_s = in_container(place, work), on_host(work)
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


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Work inside: its section of the results."""
    found = contest(minirun, scratch, stage, rounds, tell)
    rows, targets = [], ""
    for name, times in found.items():
        host_s, inside_s = (quartiles(list(part))[1] for part in zip(*times, strict=True))
        low, middle, high = quartiles([there / here for here, there in times])
        rows.append([name, f"{host_s:.2f}", f"{inside_s:.2f}", f"**{middle:.3f}** ({low:.3f}–{high:.3f})"])
        word = "met" if middle <= 1 + WITHIN else "**missed**"
        targets += f"- {word}: at most {1 + WITHIN:.2f} of the host: {name}: {middle:.3f}\n"
    text = f"""## Inside: the same work on the host and in a container, {rounds} rounds

{report.table(["", "host, s", "container, s", "container ÷ host"], rows)}
{targets}
The container has every default: its filter of system calls, its namespaces, its group. The disk below its layer
and its volume is the one on which the host's files are made. Each work is timed where it is done.
"""
    shown = [report.Row("work in a container", name, f"{times} of the host") for name, _, _, times in rows]
    return report.Part(text, shown, {name: [list(pair) for pair in times] for name, times in found.items()})
