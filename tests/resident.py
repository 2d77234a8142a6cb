"""A resident process for warm starts, with a runtime directory of its own: what it forks is no test's to count."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.command import LAUNCHER, Minirun

_START = "import sys; sys.path[0] = sys.argv[2]; from minirun.engine import warming; print(warming.start(sys.argv[1]))"


@contextmanager
def resident(launcher: Path = LAUNCHER) -> Iterator[tuple[Path, int]]:
    """Keep one for the commands of *launcher*; yields its socket and its pid."""
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        its = Minirun(Path(folder) / "root", Path(folder) / "run")
        command = [sys.executable, "-c", _START, str(launcher), str(LAUNCHER.parents[2])]
        started = subprocess.run(
            command, env=its.environment(), capture_output=True, text=True, timeout=60, check=False
        )
        assert started.returncode == 0, started.stderr
        try:
            yield its.runtime / "warm", int(started.stdout)
        finally:
            its("system", "warm", "--stop")  # unless a test has
