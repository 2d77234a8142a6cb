"""/bin/true in a container that runs already, from the command line to the exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import peers, report
from bench.contest import Contestant, Failure, Outcome, Stage
from bench.scratch import Scratch

WARM_UPS = 3
MINIRUN = "minirun exec"
RUNC = "runc exec"
CRUN = "crun exec"
PODMAN = "podman exec"
INTERPRETER = "the interpreter alone"
TARGETS = ((RUNC, 0.6), (PODMAN, 1 / 5))
NAME = f"minirun-bench-{os.getpid()}"  # of each one's container
SLEEP = ("/bin/busybox", "sleep", "1000000")

Words = Sequence[str | Path]


def contest(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> Outcome:
    """Run it: every contestant has a container that sleeps, and is asked first who is PID 1 where its command runs."""
    environments: dict[str, dict[str, str]] = {}
    executing: dict[str, Words] = {}
    removing: dict[str, Words] = {}
    left_out: dict[str, str] = {}
    answer = scratch.path / "exec-answer"
    try:
        for name, (start, execute, remove, environment) in _prepare(minirun, scratch, stage, left_out).items():
            tell(f"starting the container of {name}")
            environments[name] = environment
            try:
                stage.leave_running(start, environment)
                removing[name] = remove
                stage.run([*execute, "cat", "/proc/1/cmdline"], environment, answer)
                _check(answer.read_bytes())
                executing[name] = execute
            except (Failure, OSError) as failure:
                left_out[name] = str(failure)
        contestants = [
            Contestant(name=name, command=_true(words), environment=environments[name])
            for name, words in executing.items()
        ]
        python = minirun.read_text().partition("\n")[0].removeprefix("#!").split()
        contestants.append(Contestant(name=INTERPRETER, command=lambda _number: [*python, "-c", "pass"]))
        outcome = stage.compete(contestants, rounds, WARM_UPS, tell=tell)
    finally:
        for name, words in removing.items():
            stage.leave_running(words, environments[name])
    outcome.left_out.update(left_out)
    outcome.require(MINIRUN)
    return outcome


def _check(first: bytes) -> None:
    if not first.startswith(b"/bin/busybox\0sleep"):
        raise Failure("its command does not see the container's processes")


def _true(words: Words) -> Callable[[int], Words]:
    return lambda _number: [*words, "/bin/true"]


def _prepare(
    minirun: Path, scratch: Scratch, stage: Stage, left_out: dict[str, str]
) -> dict[str, tuple[Words, Words, Words, dict[str, str]]]:
    # contestant → (what starts its container, what comes before a command in it, what removes it, variables)
    layers = scratch.folder("exec-image")
    peers.write_layers(layers)
    ours = {"MINIRUN_ROOT": f"{scratch.path}/exec-minirun", "MINIRUN_RUNTIME": f"{scratch.path}/exec-runtime"}
    stage.run([minirun, "import", layers, "bench"], ours)
    prepared: dict[str, tuple[Words, Words, Words, dict[str, str]]] = {
        MINIRUN: (
            [minirun, "run", "-d", "--network=none", "--name", NAME, "bench", *SLEEP],
            [minirun, "exec", NAME], [minirun, "rm", "-f", NAME], ours,
        )
    }  # fmt: skip
    layout = scratch.path / "exec-oci"
    try:
        peers.write_oci(stage, sorted(layers.iterdir()), layout)
        stage.run(["umoci", "unpack", "--image", f"{layout}:bench", scratch.path / "exec-unpacked"], {})
    except (Failure, OSError) as failure:
        left_out |= dict.fromkeys((RUNC, CRUN, PODMAN), f"umoci: {failure}")
        return prepared
    root = scratch.path / "exec-unpacked" / "rootfs"
    for name, runtime in ((RUNC, "runc"), (CRUN, "crun")):
        bundle, before = scratch.path / f"exec-bundle-{runtime}", [runtime, "--root", f"{scratch.path}/exec-{runtime}"]
        peers.write_bundle(root, bundle, SLEEP, filter_devices=peers.may_filter_devices(runtime))
        prepared[name] = (
            [*before, "run", "--detach", "--bundle", bundle, NAME],
            [*before, "exec", NAME], [*before, "delete", "--force", NAME], {},
        )  # fmt: skip
    podman = peers.Podman(scratch, "exec-podman")
    try:
        identity = podman.pull(stage, layout)
    except (Failure, OSError) as failure:
        left_out[PODMAN] = str(failure)
        return prepared
    prepared[PODMAN] = (
        podman.run("--detach", "--name", NAME, identity, *SLEEP),
        podman("exec", NAME), podman("rm", "--force", "--time=0", NAME), podman.environment,
    )  # fmt: skip
    return prepared


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Execute commands in containers: its section of the results."""
    outcome = contest(minirun, scratch, stage, rounds, tell)
    text = f"""## Exec: `/bin/true` in a container that runs, {rounds} rounds

{report.times(outcome, MINIRUN, 1e-3, "ms")}
{report.targets(outcome, MINIRUN, TARGETS)}
Each has a container of its own that sleeps, of the image and with the isolation of the part on starts; output goes to
/dev/null. All wait for the command and end with its exit code. The interpreter alone is the part of minirun's time in
which nothing of minirun runs.
"""
    return report.Part(text, report.short(outcome, "`/bin/true` in a running one", 1e-3, "ms"), report.samples(outcome))
