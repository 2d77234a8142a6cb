"""The unpacking of one gzip-compressed minbase layer into a directory that is not there yet."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

from bench import peers
from bench.contest import Contestant, Failure, Outcome, Stage
from bench.scratch import Scratch

WARM_UPS = 1
MINIRUN = "minirun import"
UMOCI = "umoci unpack"
PODMAN = "podman pull oci:"
TAR_GZIP = "tar xzf"
TAR = "tar xf, not compressed"
TARGETS = ((UMOCI, 1 / 2.5),)


class Layer:
    """The layer that is unpacked, in the forms that the contestants take.

    Args:
        tar: it, not compressed.
        scratch: where its forms go.
        stage: runs the programs that make them.
    """

    def __init__(self, tar: Path, scratch: Scratch, stage: Stage) -> None:
        self.tar = tar
        self.folder = scratch.folder("layer")  # what `minirun import` takes
        self.gzip = self.folder / "00-base.tar.gz"
        stage.run(["gzip", "-6", "-c", tar], {}, self.gzip)
        self.layout = scratch.path / "layer-oci"
        with tar.open("rb") as file:
            self.diff_id = hashlib.file_digest(file, "sha256").hexdigest()
        self.bytes = tar.stat().st_size
        with tarfile.open(tar) as entries:
            self.paths = {os.path.normpath(entry.name) for entry in entries} - {"."}

    def check(self, folder: Path) -> None:
        """Raise Failure unless every path of the layer, and nothing else, is in *folder*."""
        found: set[str] = set()
        for where, folders, files in os.walk(folder):
            base = where[len(f"{folder}") + 1 :]
            found.update(os.path.join(base, name) for name in (*folders, *files))  # noqa: PTH118 - 9,000 of them
        if found != self.paths:
            missing, more = self.paths - found, found - self.paths
            raise Failure(f"{len(missing)} paths are missing, {len(more)} too many: {sorted(missing | more)[:3]}")


def contest(
    minirun: Path, tar: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]
) -> tuple[Outcome, Layer]:
    """Run it.

    Returns:
        The outcome, and the layer that was unpacked.
    """
    tell("compressing the layer")
    layer = Layer(tar, scratch, stage)
    needed = (rounds + WARM_UPS) * 5 * layer.bytes * 1.3
    free = shutil.disk_usage(scratch.path).free
    if free < needed:
        raise Failure(f"{needed / 1e9:.0f} GB are needed for {rounds} rounds, and {free / 1e9:.0f} are free")
    place = scratch.folder("trees")

    def fresh(name: str, number: int) -> Path:
        return place / f"{name}-{number + WARM_UPS}"

    contestants = [
        Contestant(
            name=MINIRUN,
            # env(1): the store is another one each round; it costs half a millisecond
            command=lambda number: [
                "env", f"MINIRUN_ROOT={fresh('minirun', number)}", f"MINIRUN_RUNTIME={fresh('minirun', number)}/run",
                minirun, "import", layer.folder, "bench",
            ],
            check=lambda number: layer.check(fresh("minirun", number) / "diffs" / layer.diff_id),
        )
    ]  # fmt: skip
    left_out = {}
    try:
        peers.write_oci(stage, [tar], layer.layout)
    except (Failure, OSError) as failure:
        left_out = dict.fromkeys((UMOCI, PODMAN), f"umoci: {failure}")
    else:
        stores: dict[int, peers.Podman] = {}

        def store(number: int) -> None:
            stores[number] = peers.Podman(scratch, f"trees/podman-{number + WARM_UPS}")

        def pull(number: int) -> list[str | Path]:
            settings = (f"{name}={value}" for name, value in stores[number].environment.items())
            return ["env", *settings, *stores[number]("pull", "--quiet", f"oci:{layer.layout}:bench")]

        contestants += [
            Contestant(
                name=UMOCI,
                command=lambda number: ["umoci", "unpack", "--image", f"{layer.layout}:bench", fresh("umoci", number)],
                check=lambda number: layer.check(fresh("umoci", number) / "rootfs"),
            ),
            Contestant(
                name=PODMAN,
                prepare=store,
                command=pull,
                check=lambda number: layer.check(stores[number].root / "storage" / "overlay" / layer.diff_id / "diff"),
            ),
        ]
    for name, folder, source in ((TAR_GZIP, "tar-gzip", layer.gzip), (TAR, "tar", layer.tar)):
        contestants.append(_tar(name, lambda number, folder=folder: fresh(folder, number), source, layer))  # type: ignore[misc]
    # nothing is removed between the rounds: see scratch.py
    outcome = stage.compete(contestants, rounds, WARM_UPS, sync=True, tell=tell)
    outcome.left_out.update(left_out)
    outcome.require(MINIRUN)
    return outcome, layer


def _tar(name: str, target: Callable[[int], Path], source: Path, layer: Layer) -> Contestant:
    return Contestant(
        name=name,
        prepare=lambda number: target(number).mkdir(),
        command=lambda number: [
            "tar", "--extract", "--file", source, "--directory", target(number), "--xattrs", "--xattrs-include=*",
            "--same-permissions", "--numeric-owner",
        ],
        check=lambda number: layer.check(target(number)),
    )  # fmt: skip
