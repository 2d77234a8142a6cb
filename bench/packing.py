"""The packing of what a container wrote, 20,000 files, into a layer that others can read."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

from bench import peers, report
from bench.contest import Contestant, Failure, Outcome, Stage
from bench.scratch import Scratch

WARM_UPS = 1
FOLDERS, FILES = 100, 200  # files in each folder
MINIRUN = "minirun commit and save"
PODMAN = "podman commit"
PODMAN_SAVE = "podman commit and save"
TARGETS = ((PODMAN, 1 / 8),)
# each file has its own contents, of some 2 kB; echo and printf are the shell's own
SCRIPT = f"""
text=; while [ ${{#text}} -lt 2000 ]; do text="$text 0123456789"; done
folder=0; while [ $folder -lt {FOLDERS} ]; do
    mkdir -p /many/$folder; file=0
    while [ $file -lt {FILES} ]; do echo "$folder $file $text" >/many/$folder/$file; file=$((file + 1)); done
    folder=$((folder + 1))
done
"""


def contest(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> Outcome:
    """Run it; every round has containers of its own, and their images are removed outside of the timed part."""
    layers = scratch.folder("pack-image")
    peers.write_layers(layers)
    ours = {"MINIRUN_ROOT": f"{scratch.path}/pack-minirun", "MINIRUN_RUNTIME": f"{scratch.path}/pack-runtime"}
    stage.run([minirun, "import", layers, "bench"], ours)
    contestants = [
        _contestant(MINIRUN, [minirun], ["run", "--network=none"], "bench", ours, stage, scratch, "save -q -o")
    ]
    left_out = {}
    try:
        layout = scratch.path / "pack-oci"
        peers.write_oci(stage, sorted(layers.iterdir()), layout)
        for name, save in ((PODMAN, ""), (PODMAN_SAVE, "save -q -o")):
            podman = peers.Podman(scratch, f"pack-podman-{bool(save):d}")
            image = scratch.path / "pack-image-id"
            stage.run(podman("pull", "--quiet", f"oci:{layout}:bench"), podman.environment, image)
            run, before = podman.run(), podman()
            contestants.append(
                _contestant(name, before, run[len(before) :], image.read_text().strip(), podman.environment, stage,
                            scratch, save)
            )  # fmt: skip
    except (Failure, OSError) as failure:
        left_out = dict.fromkeys((PODMAN, PODMAN_SAVE), str(failure))
    outcome = stage.compete(contestants, rounds, WARM_UPS, sync=True, tell=tell)
    outcome.left_out.update(left_out)
    outcome.require(MINIRUN)
    return outcome


def _contestant(
    name: str, program: list[str | Path], run: list[str | Path], image: str, environment: dict[str, str],
    stage: Stage, scratch: Scratch, save: str,
) -> Contestant:  # fmt: skip
    archive = scratch.path / "packed.tar"

    def do(*arguments: str | Path) -> None:
        stage.run([*program, *arguments], environment)

    def write(_round: int) -> None:
        do(*run, "--name", "wrote", image, "sh", "-c", SCRIPT)

    def check(_round: int) -> None:
        if save:
            _check_archive(archive)
            archive.unlink()
        do(*run, "--rm", "packed", "sh", "-c", f"[ $(cat /many/*/* | wc -l) = {FOLDERS * FILES} ]")
        do("rm", "wrote")
        do("rmi", "packed")

    words = " ".join(str(word) for word in program)
    steps = [f"{words} commit wrote packed >/dev/null"] + ([f"{words} {save} {archive} packed"] if save else [])
    return Contestant(
        name=name,
        prepare=write,
        command=lambda _round: ["sh", "-c", " && ".join(steps)],
        check=check,
        environment=environment,
    )


def _check_archive(archive: Path) -> None:
    """Raise Failure unless a layer in *archive* has the files."""
    with tarfile.open(archive) as outer:
        for blob in outer:
            if blob.size < FOLDERS * FILES:
                continue
            data = outer.extractfile(blob)
            assert data is not None
            with tarfile.open(fileobj=data) as layer:
                files = [entry.name for entry in layer if entry.isreg() and "/.wh." not in entry.name]
                if sum("many/" in name for name in files) == FOLDERS * FILES:
                    return
    raise Failure(f"{archive.name} has no layer with {FOLDERS * FILES:,} files")


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Pack layers: its section of the results."""
    outcome = contest(minirun, scratch, stage, rounds, tell)
    text = f"""## Pack: {FOLDERS * FILES:,} files of 2 kB that a container wrote, {rounds} rounds

{report.times(outcome, MINIRUN, 1, "s")}
{report.targets(outcome, MINIRUN, TARGETS)}
minirun packs when an image is saved or pushed: into a gzip-compressed layer that it keeps, and an archive of the whole
image. podman packs at the commit, uncompressed, into its store. Each image was run, and the files in it counted; those
in each archive, too.
"""
    return report.Part(text, report.short(outcome, "pack 20,000 files", 1, "s"), report.samples(outcome))
