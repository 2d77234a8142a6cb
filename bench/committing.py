"""The commit of a stopped container to an image: of one that wrote a megabyte, and of one that wrote two gigabytes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from bench import peers, report
from bench.contest import Contestant, Failure, Outcome, Stage
from bench.scratch import Scratch

WARM_UPS = 1
SMALL_MB = 1
LARGE_MB = 2048
SMALL = "minirun commit, 1 MB written"
LARGE = "minirun commit, 2 GB written"
PODMAN = "podman commit, 1 MB written"


def contest(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> Outcome:
    """Run it; every round has containers of its own, and their images are removed outside of the timed part."""
    free = shutil.disk_usage(scratch.path).free
    if free < 3 * LARGE_MB << 20:
        raise Failure(f"6 GB are needed for it, and {free / 1e9:.0f} are free")
    layers = scratch.folder("commit-image")
    peers.write_layers(layers)
    ours = {"MINIRUN_ROOT": f"{scratch.path}/commit-minirun", "MINIRUN_RUNTIME": f"{scratch.path}/commit-runtime"}
    stage.run([minirun, "import", layers, "bench"], ours)

    def run_ours(*arguments: str | Path) -> None:
        stage.run([minirun, *arguments], ours)

    contestants = [
        _contestant(name, megabytes, [minirun], ["run", "--network=none"], "bench", run_ours, ours, stage, scratch)
        for name, megabytes in ((SMALL, SMALL_MB), (LARGE, LARGE_MB))
    ]
    left_out = {}
    podman = peers.Podman(scratch, "commit-podman")
    try:
        layout = scratch.path / "commit-oci"
        peers.write_oci(stage, sorted(layers.iterdir()), layout)
        image = scratch.path / "commit-image-id"
        stage.run(podman("pull", "--quiet", f"oci:{layout}:bench"), podman.environment, image)
    except (Failure, OSError) as failure:
        left_out[PODMAN] = str(failure)
    else:
        run, before = podman.run(), podman()

        def run_podman(*arguments: str | Path) -> None:
            stage.run([*before, *arguments], podman.environment)

        contestants.append(
            _contestant(
                PODMAN, SMALL_MB, before, run[len(before) :], image.read_text().strip(), run_podman,
                podman.environment, stage, scratch,
            )
        )  # fmt: skip
    outcome = stage.compete(contestants, rounds, WARM_UPS, sync=True, tell=tell)
    outcome.left_out.update(left_out)
    outcome.require(SMALL)
    return outcome


def _contestant(
    name: str,
    megabytes: int,
    program: list[str | Path],
    run: list[str | Path],
    image: str,
    do: Callable[..., None],
    environment: dict[str, str],
    stage: Stage,
    scratch: Scratch,
) -> Contestant:
    container, result = f"wrote-{megabytes}", f"committed-{megabytes}"
    answer = scratch.path / "size"

    def write(_round: int) -> None:
        do(*run, "--name", container, image, "dd", "if=/dev/zero", "of=/written", "bs=1M", f"count={megabytes}")

    def check(_round: int) -> None:
        """Ask a container of the new image for the file, then remove all three."""
        stage.run([*program, *run, "--rm", result, "stat", "-c", "%s", "/written"], environment, answer)
        if answer.read_text().strip() != f"{megabytes << 20}":
            raise Failure(f"the file in the image has {answer.read_text().strip()} bytes")
        do("rm", container)
        do("rmi", result)

    return Contestant(
        name=name,
        prepare=write,
        command=lambda _round: [*program, "commit", container, result],
        check=check,
        environment=environment,
    )


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Commit containers: its section of the results."""
    outcome = contest(minirun, scratch, stage, rounds, tell)
    text = f"""## Commit: a stopped container becomes an image, {rounds} rounds

{report.times(outcome, SMALL, 1e-3, "ms")}
minirun renames the container's layer; its digest is computed when something needs it, so that what a container wrote
takes no time. podman packs it at once. Each image was run, and asked for the file.
"""
    return report.Part(text, report.short(outcome, "commit a stopped container", 1e-3, "ms"), report.samples(outcome))
