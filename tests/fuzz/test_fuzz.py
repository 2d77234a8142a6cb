"""A short part of what tests/fuzz/run.py does for longer, the same every time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import run, seeds, targets
from tests.fuzz.mutation import Mutator

CHECKOUT = Path(__file__).parents[2]
COUNTS = {"headers": 8_000, "blobs": 3_000, "layers": 700, "images": 2_000}
SEED = int.from_bytes(os.urandom(4)) if os.environ.get("MINIRUN_TEST_THOROUGH") else 0


@pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and mounts need root")
@pytest.mark.parametrize("name", COUNTS)
def test_mutants_of_archives_are_taken_or_refused(name: str, tmp_path: Path) -> None:
    code = f"""
        import sys
        from pathlib import Path
        from tests.fuzz import run
        sys.exit(bool(run.fuzz({name!r}, seed={SEED}, count={COUNTS[name]}, keep=Path({str(tmp_path)!r}))))
    """
    # in a process of its own: its memory is measured
    command = [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{name}: {COUNTS[name]} inputs, ")


def test_the_same_seed_gives_the_same_mutants_and_another_others() -> None:
    def first(seed: int) -> list[bytes]:
        mutator = Mutator(seed, seeds.archives())
        return [mutator.mutant() for _ in range(200)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_what_is_begun_with_is_taken_whole() -> None:
    for archive in seeds.archives():
        assert targets.headers(archive)
        assert all(targets.blobs(compress(archive)) for compress in seeds.COMPRESSORS.values())


def test_an_unexpected_error_is_found_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(data: bytes) -> bool:
        return bool(1 // len(data))

    monkeypatch.setattr(targets, "headers", breaks)
    monkeypatch.setattr(run, "MEMORY_MAX_MB", 1 << 20)
    (line,) = run.fuzz("headers", seed=0, count=len(seeds.archives()), keep=tmp_path)
    assert "ZeroDivisionError" in line
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == b""
