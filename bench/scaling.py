"""Much of everything: containers that live, images and layers in the store, layers below one container.

alive    ALIVE containers: the last starts against the first, memory of who watches them, `ps`, the end of all
stored   `run` with one image in the store against `run` beside STORED images of WIDE layers each; `images` then
deep     `run` of DEEP layers against `run` of peers.LAYERS
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

from bench import peers, report
from bench.contest import Contestant, Outcome, Stage
from bench.scratch import CGROUP_MOUNT, Scratch

ALIVE, ENDS = 1000, 50
LATER, SUPERVISION_MB, PS_MS, REMOVED_S = 1.3, 20, 150, 20
STORED, WIDE = 10_000, 10
BESIDE, IMAGES_S = 1.1, 1.0
DEEP, DEEPER = 128, 1.3
FEW_NAME, MANY_NAME = "one image in the store", f"{STORED:,} images and {STORED * WIDE:,} layers"
SHALLOW_NAME, DEEP_NAME = f"{peers.LAYERS} layers", f"{DEEP} layers"
WARM_UPS = 3

Words = Sequence[str | Path]
Environment = dict[str, str]


class Alive:
    """What ALIVE containers cost.

    Attributes:
        first_ms, last_ms: medians of the first and of the last ENDS `run -d`.
        supervision_mb: of all processes that watch them; what several of them share is counted once.
        ps_ms: the median.
        removed_s: `rm -f` of all.
    """

    __slots__ = ("first_ms", "last_ms", "ps_ms", "removed_s", "supervision_mb")

    first_ms: float
    last_ms: float
    supervision_mb: float
    ps_ms: float
    removed_s: float


def alive(minirun: Path, scratch: Scratch, stage: Stage, tell: Callable[[str], None]) -> Alive:
    """Start them one after the other, look at them, and remove them at once."""
    ours = _store(minirun, scratch, stage, "alive")
    names = [f"alive-{number}" for number in range(ALIVE)]
    found, times = Alive(), []
    try:
        for number, name in enumerate(names):
            if number % 50 == 0:
                tell(f"starting {ALIVE} containers: {number}")
            words: Words = [
                minirun, "run", "-d", "--network=none", "--name", name, "bench", "/bin/busybox", "sleep", "1000000",
            ]  # fmt: skip
            times.append(stage.leave_running(words, ours).wall_s * 1e3)
        found.first_ms, found.last_ms = statistics.median(times[:ENDS]), statistics.median(times[-ENDS:])
        time.sleep(1)  # what is done after the reply
        found.supervision_mb = _supervision_kb(ours["MINIRUN_RUNTIME"]) / 1000
        listing: Words = [minirun, "ps"]
        found.ps_ms = statistics.median(stage.run(listing, ours).wall_s for _ in range(11)) * 1e3
    finally:
        tell(f"removing {ALIVE} containers")
        every: Words = [minirun, "rm", "-f", *names]
        found.removed_s = stage.leave_running(every, ours).wall_s
    return found


def _supervision_kb(runtime: str) -> int:
    """What the processes in the group of those who watch take: see minirun/container/supervision.py."""
    group = CGROUP_MOUNT / "minirun" / f"supervision{runtime.replace('/', '-')}"
    total = 0
    for folder, _, _ in os.walk(group):
        for pid in (Path(folder) / "cgroup.procs").read_text().split():
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.partition("\nPss:")[2].split()[0])
    return total


def stored(
    minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]
) -> tuple[Outcome, float]:
    """Start containers in a store with one image, and in one with many.

    Returns:
        The outcome, and the median of `images` in the second store, in seconds.
    """
    few = _store(minirun, scratch, stage, "few")
    many = _store(minirun, scratch, stage, "many")
    tell(f"storing {STORED} images")
    _copy(Path(many["MINIRUN_ROOT"]))
    listing: Words = [minirun, "images", "-q"]
    stage.run(listing, many)  # what is noted once is noted
    images_s = statistics.median(stage.run(listing, many).wall_s for _ in range(5))
    contestants = [_starting(minirun, FEW_NAME, few), _starting(minirun, MANY_NAME, many)]
    outcome = stage.compete(contestants, rounds, WARM_UPS, tell=tell)
    for name in (FEW_NAME, MANY_NAME):
        outcome.require(name)
    return outcome, images_s


def _copy(root: Path) -> None:
    """Store STORED more of the one image there is, of WIDE layers: records with ids of their own, and directories."""
    (original,) = (root / "images").glob("*.json")
    image = json.loads(original.read_text())
    layer = json.loads((root / "layers" / f"{image['layers'][0]}.json").read_text())
    for number in range(STORED):
        ids = [sha256(f"layer {number} {place}".encode()).hexdigest() for place in range(WIDE)]
        for parent, layer_id in zip([None, *ids], ids, strict=False):
            record = {**layer, "id": layer_id, "parent": parent, "diff": layer_id, "diff_id": f"sha256:{layer_id}"}
            (root / "layers" / f"{layer_id}.json").write_text(json.dumps(record))
            (root / "diffs" / layer_id).mkdir()
        image_id = sha256(f"image {number}".encode()).hexdigest()
        record = {**image, "id": image_id, "layers": ids, "stack": ids, "digest": f"sha256:{image_id}"}
        (root / "images" / f"{image_id}.json").write_text(json.dumps(record))
        (root / "tags" / f"copy-{number}:latest").symlink_to(f"../images/{image_id}.json")


def deep(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> Outcome:
    """Start containers of few layers, and of many."""
    shallow = _store(minirun, scratch, stage, "shallow")
    layers = scratch.folder("deep-image")
    peers.write_layers(layers, DEEP)
    ours = _environment(scratch, "deep")
    stage.run([minirun, "import", layers, "bench"], ours)
    contestants = [_starting(minirun, SHALLOW_NAME, shallow), _starting(minirun, DEEP_NAME, ours)]
    outcome = stage.compete(contestants, rounds, WARM_UPS, tell=tell)
    for name in (SHALLOW_NAME, DEEP_NAME):
        outcome.require(name)
    return outcome


def _starting(minirun: Path, name: str, environment: Environment) -> Contestant:
    words: Words = [minirun, "run", "--rm", "--network=none", "bench", "/bin/true"]
    return Contestant(name=name, command=lambda _round: words, environment=environment)


def _store(minirun: Path, scratch: Scratch, stage: Stage, name: str) -> Environment:
    """A store of that name with the image ``bench``."""
    layers, ours = scratch.folder("scale-image"), _environment(scratch, name)
    if not any(layers.iterdir()):
        peers.write_layers(layers)
    stage.run([minirun, "import", layers, "bench"], ours)
    return ours


def _environment(scratch: Scratch, name: str) -> Environment:
    return {"MINIRUN_ROOT": f"{scratch.path}/scale-{name}", "MINIRUN_RUNTIME": f"{scratch.path}/scale-{name}-runtime"}


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Have much of everything: its section of the results."""
    many = alive(minirun, scratch, stage, tell)
    beside_many, images_s = stored(minirun, scratch, stage, rounds, tell)
    on_many = deep(minirun, scratch, stage, rounds, tell)
    later = many.last_ms / many.first_ms
    figures = [
        (later <= LATER, f"the last {ENDS} start in at most {LATER} of the first: {later:.2f}"),
        (
            many.supervision_mb <= SUPERVISION_MB,
            f"who watches them takes at most {SUPERVISION_MB} MB: {many.supervision_mb:.1f} MB",
        ),
        (many.ps_ms <= PS_MS, f"`ps` in at most {PS_MS} ms: {many.ps_ms:.0f} ms"),
        (
            many.removed_s <= REMOVED_S,
            f"`rm -f` of all in at most {REMOVED_S} s: {many.removed_s:.1f} s",
        ),
    ]
    told = "".join(f"- {'met' if met else '**missed**'}: {what}\n" for met, what in figures)
    beside = report.targets(beside_many, MANY_NAME, [(FEW_NAME, BESIDE)])
    word = "met" if images_s <= IMAGES_S else "**missed**"
    text = f"""## Scale

{ALIVE:,} containers alive; the first {ENDS} started in {many.first_ms:.1f} ms each, the last in
{many.last_ms:.1f} ms:

{told}
`run --rm`, {rounds} rounds:

{report.times(beside_many, MANY_NAME, 1e-3, "ms")}
{beside}- {word}: `images` in at most {IMAGES_S:.0f} s: {images_s:.2f} s

{report.times(on_many, DEEP_NAME, 1e-3, "ms")}
{report.targets(on_many, DEEP_NAME, [(SHALLOW_NAME, DEEPER)])}"""
    rows = [report.Row(f"{ALIVE:,} containers", f"the last {ENDS} starts against the first", f"× {later:.2f}")]
    samples = {"stored": report.samples(beside_many), "deep": report.samples(on_many)}
    return report.Part(text, rows, samples)
