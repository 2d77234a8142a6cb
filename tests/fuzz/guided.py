"""Fuzzes the reader of tar headers, led by what code a mutant reaches.

    pip install atheris            (it is no dependency)
    python -m tests.fuzz.guided DIR -max_total_time=60 -max_len=20000

DIR keeps what reached something new; what comes after it is for libFuzzer. Every other mutant is libFuzzer's, and the
rest are ours: a checksum is nothing to guess.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

try:
    atheris: Any = importlib.import_module("atheris")
except ImportError:
    sys.exit("atheris is not there: `pip install atheris`")

with atheris.instrument_imports(include=["minirun.layer"]):
    from tests.fuzz import seeds, targets
    from tests.fuzz.mutation import Mutator

EVERYTHING = seeds.archives()[0]


def change(data: bytes, most: int, seed: int) -> Any:
    """One mutant of *data*, of at most so many bytes."""
    if seed % 2:
        return atheris.Mutate(data, len(data))
    return Mutator(seed, [data, EVERYTHING]).mutant()[:most]


def main() -> None:
    """Never returns."""
    corpus = Path(sys.argv[1])
    corpus.mkdir(parents=True, exist_ok=True)
    for data in [*seeds.archives(), *seeds.real()]:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    atheris.Setup(sys.argv, lambda data: int(targets.timed(targets.headers, data)) * 0, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
