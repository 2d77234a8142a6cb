"""Containers in the background: run -d, stop and rm, each a contest of its own; and ps of many."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import peers, report
from bench.contest import Contestant, Failure, Outcome, Stage
from bench.scratch import Scratch

WARM_UPS = 2
MINIRUN = "minirun"
PODMAN = "podman"
TARGETS = ((PODMAN, 1 / 3),)
MANY = 500  # containers for ps
PS_MS = 100
PS_ROUNDS = 15
QUIET_S = 0.15  # for what the one before left to do after its reply
# a command that ends as soon as it is asked to: what is measured is what stops it
WAITING = ("/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done")
ENDED = ("/bin/busybox", "true")
JOBS = ("run -d", "stop", "rm")

Words = Sequence[str | Path]


class Manager:
    """One that manages containers, with a store and an image of its own.

    Args:
        name: as the tables show it.
        command: what its words come after.
        detached: command → what runs it in the background, before --name.
        environment: variables.
        image: the image.
    """

    def __init__(
        self, name: str, command: Callable[..., Words], detached: Words, environment: dict[str, str], image: str
    ) -> None:
        self.name = name
        self.command = command
        self.detached = detached
        self.environment = environment
        self.image = image

    def run(self, box: str, words: Words) -> Words:
        """What runs *words* in the background, in a container called *box*."""
        return [*self.detached, "--name", box, self.image, *words]


def contest(
    minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]
) -> tuple[dict[str, Outcome], float]:
    """Run it.

    Returns:
        Outcomes by job, and the median time of `ps` with MANY containers alive, in ms.
    """
    managers, left_out = _managers(minirun, scratch, stage)
    outcomes = {}
    for job in JOBS:
        tell(job)
        outcome = stage.compete(
            [_contestant(stage, manager, job) for manager in managers], rounds, WARM_UPS, leave=True, tell=tell
        )
        outcome.left_out.update(left_out)
        outcome.require(MINIRUN)
        outcomes[job] = outcome
    return outcomes, _ps_ms(managers[0], stage, tell)


def _contestant(stage: Stage, manager: Manager, job: str) -> Contestant:
    def box(number: int) -> str:
        return f"bench-{os.getpid()}-{job.partition(' ')[0]}-{number}"

    def leave(words: Words) -> None:
        stage.leave_running(words, manager.environment)

    def remove(number: int) -> None:
        leave(manager.command("rm", "-f", box(number)))

    def is_up(number: int) -> None:
        answer = Path(f"{os.environ.get('TMPDIR', '/tmp')}/{box(number)}")  # noqa: S108 - its name is our own
        try:
            words = manager.command("inspect", "--format", "{{.State.Running}}", box(number))
            stage.run(words, manager.environment, answer)
            if answer.read_text() != "true\n":
                raise Failure("its container does not run")
        finally:
            answer.unlink(missing_ok=True)

    def quiet() -> None:
        time.sleep(QUIET_S)

    def prepare_run(_number: int) -> None:
        quiet()

    def check_run(number: int) -> None:
        is_up(number)
        remove(number)

    def prepare_stop(number: int) -> None:
        leave(manager.run(box(number), WAITING))
        quiet()

    def prepare_rm(number: int) -> None:
        leave(manager.run(box(number), ENDED))
        leave(manager.command("wait", box(number)))
        quiet()

    words: dict[str, Callable[[int], Words]] = {
        "run -d": lambda number: manager.run(box(number), WAITING),
        "stop": lambda number: manager.command("stop", box(number)),
        "rm": lambda number: manager.command("rm", box(number)),
    }
    prepare = {"run -d": prepare_run, "stop": prepare_stop, "rm": prepare_rm}
    check: dict[str, Callable[[int], None]] = {"run -d": check_run, "stop": remove}
    return Contestant(
        name=manager.name, command=words[job], prepare=prepare[job], environment=manager.environment,
        check=check.get(job, lambda _number: None),
    )  # fmt: skip


def _ps_ms(manager: Manager, stage: Stage, tell: Callable[[str], None]) -> float:
    names = [f"bench-{os.getpid()}-many-{number}" for number in range(MANY)]
    try:
        for number, name in enumerate(names):
            if number % 50 == 0:
                tell(f"starting {MANY} containers: {number}")
            stage.leave_running(manager.run(name, ("/bin/busybox", "sleep", "100000")), manager.environment)
        times = sorted(stage.run(manager.command("ps"), manager.environment).wall_s for _ in range(PS_ROUNDS))
    finally:
        stage.leave_running(manager.command("rm", "-f", *names), manager.environment)
    return times[len(times) // 2] * 1e3


def _managers(minirun: Path, scratch: Scratch, stage: Stage) -> tuple[list[Manager], dict[str, str]]:
    layers = scratch.folder("living-image")
    peers.write_layers(layers)
    ours = {"MINIRUN_ROOT": f"{scratch.path}/living-minirun", "MINIRUN_RUNTIME": f"{scratch.path}/living-runtime"}
    stage.run([minirun, "import", layers, "bench"], ours)

    def command(*words: str | Path) -> Words:
        return [minirun, *words]

    managers = [Manager(MINIRUN, command, command("run", "-d", "--network=none"), ours, "bench")]
    podman = peers.Podman(scratch, "living-podman")
    layout = scratch.path / "living-oci"
    try:
        peers.write_oci(stage, sorted(layers.iterdir()), layout)
        identity = podman.pull(stage, layout)
        # with a log, as ours has one
        detached = [word for word in podman.run("--detach") if word != "--log-driver=none"]
        managers.append(Manager(PODMAN, podman, detached, podman.environment, identity))
    except (Failure, OSError) as failure:
        return managers, {PODMAN: str(failure)}
    return managers, {}


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Start, stop and remove containers in the background: its section of the results."""
    outcomes, ps_ms = contest(minirun, scratch, stage, rounds, tell)
    text = f"## In the background, {rounds} rounds\n"
    rows: list[report.Row] = []
    samples: dict[str, Any] = {}
    for job, outcome in outcomes.items():
        text += f"""
`{job}`:

{report.times(outcome, MINIRUN, 1e-3, "ms")}
{report.targets(outcome, MINIRUN, TARGETS)}"""
        rows += report.short(outcome, f"`{job}`", 1e-3, "ms")
        samples[job] = report.samples(outcome)
    word = "met" if ps_ms <= PS_MS else "**missed**"
    text += f"""- {word}: `ps` of {MANY} containers that run in {PS_MS} ms: {ps_ms:.0f} ms

Both keep a log. The command that is stopped ends as soon as it gets the signal. That each container ran was asked of
whoever started it; what is left to do after the reply has {QUIET_S * 1000:.0f} ms before the other's turn.
"""
    return report.Part(text, rows, samples)
