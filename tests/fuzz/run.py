"""Fuzzes the readers of layers for a while: ``python -m tests.fuzz.run --seconds 60``; needs root, and makes no mess.

What is found is written into the directory --keep, an input a file, and told; the exit status is then 1. The same
--seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fuzz import seeds, targets
from tests.fuzz.mutation import Mutator

MEMORY_MAX_MB = 200
CHECK_EVERY = 500
TARGETS = ("headers", "blobs", "layers", "images")


def inputs(name: str, seed: int) -> Iterator[bytes]:
    """Inputs without end for the target *name*."""
    if name == "images":
        yield from images(seed)
    archives = [*seeds.archives(), *(seeds.real() if name != "layers" else [])]
    mutator = Mutator(seed, archives)
    if name == "headers":
        yield from archives
        while True:
            yield mutator.mutant()
    compressors = list(seeds.COMPRESSORS.values())
    packed = [compress(archive) for archive in seeds.archives() for compress in compressors]
    of_packed = Mutator(seed, packed)
    yield from packed
    while True:
        if name == "layers":
            yield mutator.mutant()
        yield of_packed.mutant()
        yield mutator.chance.choice(compressors)(mutator.mutant())


def images(seed: int) -> Iterator[bytes]:
    """Archives of images, with changes to their tar, or to the text of the documents in them alone."""
    archives = seeds.images()
    mutator = Mutator(seed, archives)
    yield from archives
    while True:
        yield mutator.mutant()
        yield mutator.mutant_text()
        yield seeds.COMPRESSORS["zstd"](mutator.mutant_text())
        yield seeds.saved_index(seeds.ONE, mutator.changed_text)


@contextmanager
def target(name: str) -> Iterator[targets.Target]:
    """The target *name*, with a place to unpack in, in memory."""
    if name in ("layers", "images"):
        with tempfile.TemporaryDirectory() as place:
            options = "size=512m,nodev,nosuid,noexec,mode=700"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
            try:
                yield targets.Layers(Path(place)) if name == "layers" else targets.Images(Path(place))
            finally:
                subprocess.run(["umount", "--lazy", place], check=True)
    else:
        yield targets.headers if name == "headers" else targets.blobs


def fuzz(
    name: str, *, seed: int, seconds: float = 1e9, count: int = sys.maxsize, keep: Path | None = None
) -> list[str]:
    """Try inputs for so many seconds, but no more than so many; returns a line for each finding."""
    findings = []
    taken = tried = 0
    end = time.monotonic() + seconds
    with target(name) as run:
        for data in inputs(name, seed):
            try:
                taken += targets.timed(run, data)
            except Exception as error:  # noqa: BLE001 - whatever is not expected is what is looked for
                findings.append(found(name, data, error, keep))
            tried += 1
            if tried % CHECK_EVERY == 0 and isinstance(run, targets.Layers | targets.Images):
                run.check()
            if tried >= count or time.monotonic() >= end:
                break
    status = Path("/proc/self/status").read_text().splitlines()
    peak_mb = int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) / 1024
    if peak_mb > MEMORY_MAX_MB:
        findings.append(f"{name}: {peak_mb:.0f} MB")
    say(f"{name}: {tried} inputs, {taken} taken, {len(findings)} findings, {peak_mb:.0f} MB")
    return findings


def found(name: str, data: bytes, error: Exception, keep: Path | None) -> str:
    """Keep an input, and say what it did."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    line = f"{name}: {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno}), {len(data)} bytes"
    if keep is not None:
        path = keep / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
        path.write_bytes(data)
        line += f": {path}"
    say(line)
    return line


def say(line: str) -> None:
    """Tell it at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="Fuzz the readers of layers.")
    parser.add_argument("--seconds", type=float, default=60, help="in all, for the targets together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzzed"))
    return parser.parse_args()


def main() -> int:
    """Fuzz what the command line asks for."""
    asked: Any = arguments()
    if os.geteuid() != 0:
        sys.exit("fuzzing unpacks owners and devices: run it as root")
    asked.keep.mkdir(parents=True, exist_ok=True)
    chosen = asked.target or TARGETS
    findings = []
    for name in chosen:
        findings += fuzz(name, seed=asked.seed, seconds=asked.seconds / len(chosen), keep=asked.keep)
    return bool(findings)


if __name__ == "__main__":
    sys.exit(main())
