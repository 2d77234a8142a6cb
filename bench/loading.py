"""The loading of a minbase layer, gzip-compressed in an OCI archive, into a store that is not there yet.

00-base.tar ─▶ gzip ─▶ umoci ─▶ layout ─▶ layout.tar       as one layer, and as two halves
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import peers, report
from bench.contest import Contestant, Failure, Outcome, Stage
from bench.scratch import Scratch
from tests import family

WARM_UPS = 1
MINIRUN = "minirun load"
HALVES = "minirun load, the same in two layers"
UMOCI = "umoci unpack"
PODMAN = "podman load"
TAR_GZIP = "tar xzf"
TAR = "tar xf, not compressed"
TARGETS = ((UMOCI, 1 / 3), (PODMAN, 1 / 6), (TAR, 1.6))
MEMORY_MB = 100
LAYER = Path(__file__).resolve().parent.parent / "rootfs-fixtures" / "out" / "ubuntu-layers" / "00-base.tar"


class Archive:
    """An image of some layers, as the contestants take it.

    Args:
        name: of the image, and of its files.
        tars: its layers, bottom to top, not compressed.
        scratch: where its forms go.
        stage: runs the programs that make them.
    """

    def __init__(self, name: str, tars: Sequence[Path], scratch: Scratch, stage: Stage) -> None:
        self.layout = scratch.path / f"{name}-oci"
        self.file = scratch.path / f"{name}-oci.tar"
        peers.write_oci(stage, tars, self.layout)  # umoci compresses by gzip -6
        stage.run(["tar", "--create", "--file", self.file, "--directory", self.layout, "."], {})
        self.diff_ids = [_sha256(tar) for tar in tars]
        self.paths: set[str] = set()
        for tar in tars:
            with tarfile.open(tar) as entries:
                self.paths |= {os.path.normpath(entry.name) for entry in entries} - {"."}

    def check(self, *folders: Path) -> None:
        """Raise Failure unless every path of the layers, and nothing else, is in *folders*."""
        found: set[str] = set()
        for folder in folders:
            for where, directories, files in os.walk(folder):
                base = where[len(f"{folder}") + 1 :]
                found.update(os.path.join(base, name) for name in (*directories, *files))  # noqa: PTH118 - 9,000 of them
        if found != self.paths:
            missing, more = self.paths - found, found - self.paths
            raise Failure(f"{len(missing)} paths are missing, {len(more)} too many: {sorted(missing | more)[:3]}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def halve(tar: Path, first: Path, second: Path) -> None:
    """Write *tar* as two tars of about the same size: directories to both, each hardlink beside its target."""
    half, written = tar.stat().st_size // 2, 0
    with tarfile.open(tar) as entries, tarfile.open(first, "w") as one, tarfile.open(second, "w") as two:
        places: dict[str, tarfile.TarFile] = {}
        for entry in entries:
            if entry.isdir():
                one.addfile(entry)
                two.addfile(entry)
                continue
            target = places[entry.linkname] if entry.islnk() else one if written < half else two
            target.addfile(entry, entries.extractfile(entry) if entry.isreg() else None)
            places[entry.name] = target
            written += entry.size + tarfile.BLOCKSIZE


def contest(
    minirun: Path, tar: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]
) -> tuple[Outcome, Archive, float]:
    """Run it.

    Returns:
        The outcome; what was loaded; and the most memory that minirun had, in MB.
    """
    tell("compressing the layer")
    folder = scratch.folder("layer")
    halves = [folder / "first.tar", folder / "second.tar"]
    halve(tar, *halves)
    whole, two = Archive("whole", [tar], scratch, stage), Archive("two", halves, scratch, stage)
    compressed = folder / "base.tar.gz"
    stage.run(["gzip", "-6", "-c", tar], {}, compressed)
    needed = (rounds + WARM_UPS) * 6 * tar.stat().st_size * 1.5
    free = shutil.disk_usage(scratch.path).free
    if free < needed:
        raise Failure(f"{needed / 1e9:.0f} GB are needed for {rounds} rounds, and {free / 1e9:.0f} are free")
    place = scratch.folder("trees")

    def fresh(name: str, number: int) -> Path:
        return place / f"{name}-{number + WARM_UPS}"

    def load(name: str, archive: Archive, number: int) -> list[str | Path]:
        # env(1): the store is another one each round; it costs half a millisecond
        root = fresh(name, number)
        return ["env", f"MINIRUN_ROOT={root}", f"MINIRUN_RUNTIME={root}/run", minirun, "load", "-q", "-i", archive.file]

    def ours(label: str, name: str, archive: Archive) -> Contestant:
        return Contestant(
            name=label,
            command=lambda number: load(name, archive, number),
            check=lambda number: archive.check(*(fresh(name, number) / "diffs" / one for one in archive.diff_ids)),
        )

    stores: dict[int, peers.Podman] = {}

    def store(number: int) -> None:
        stores[number] = peers.Podman(scratch, f"trees/podman-{number + WARM_UPS}")

    def podman(number: int) -> list[str | Path]:
        settings = (f"{name}={value}" for name, value in stores[number].environment.items())
        return ["env", *settings, *stores[number]("load", "--quiet", "--input", whole.file)]

    contestants = [
        ours(MINIRUN, "minirun", whole),
        ours(HALVES, "halves", two),
        Contestant(
            name=UMOCI,
            command=lambda number: ["umoci", "unpack", "--image", f"{whole.layout}:bench", fresh("umoci", number)],
            check=lambda number: whole.check(fresh("umoci", number) / "rootfs"),
        ),
        Contestant(
            name=PODMAN,
            prepare=store,
            command=podman,
            check=lambda number: whole.check(stores[number].root / "storage" / "overlay" / whole.diff_ids[0] / "diff"),
        ),
    ]
    for name, tree, source in ((TAR_GZIP, "tar-gzip", compressed), (TAR, "tar", tar)):
        contestants.append(_tar(name, lambda number, tree=tree: fresh(tree, number), source, whole))  # type: ignore[misc]
    # nothing is removed between the rounds: see scratch.py
    outcome = stage.compete(contestants, rounds, WARM_UPS, sync=True, tell=tell)
    outcome.require(MINIRUN)
    taken = family.watch([os.fspath(word) for word in load("memory", two, rounds)], os.environ)
    if taken.status:
        raise Failure(f"minirun load ended with {taken.status}: {taken.stderr.strip()[-200:]}")
    return outcome, whole, taken.peak_mb


def _tar(name: str, target: Callable[[int], Path], source: Path, archive: Archive) -> Contestant:
    return Contestant(
        name=name,
        prepare=lambda number: target(number).mkdir(),
        command=lambda number: [
            "tar", "--extract", "--file", source, "--directory", target(number), "--xattrs", "--xattrs-include=*",
            "--same-permissions", "--numeric-owner",
        ],
        check=lambda number: archive.check(target(number)),
    )  # fmt: skip


def part(minirun: Path, scratch: Scratch, stage: Stage, rounds: int, tell: Callable[[str], None]) -> report.Part:
    """Load images: its section of the results."""
    outcome, image, peak_mb = contest(minirun, LAYER, scratch, stage, rounds, tell)
    size = f"{LAYER.stat().st_size / 1e6:.0f} MB, {len(image.paths):,} paths"
    word = "met" if peak_mb <= MEMORY_MB else "**missed**"
    memory = f"- {word}: at most {MEMORY_MB} MB of memory for two layers, in all processes: {peak_mb:.0f} MB"
    text = f"""## Load: a minbase layer of {size}, gzip -6, {rounds} rounds

{report.times(outcome, MINIRUN, 1, "s")}
{report.targets(outcome, MINIRUN, TARGETS)}{memory}

Into a store that is not there yet, with nothing left to write out from before; for umoci it is a bundle. minirun and
podman read an OCI archive; umoci reads none, and gets the layout in it. All three check the digests of the blob and of
the tar in it, and tar checks nothing. minirun keeps the compressed layer, too, so that it can leave with every digest
that it came with. What minirun made is on the disk when it ends; the others leave that to the kernel. Each result was
compared with the layer, path by path.
"""
    return report.Part(text, report.short(outcome, "load a minbase layer", 1, "s"), report.samples(outcome))
