"""Other people's tools as tests start them: each with its state in a directory of the test's own."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.registries import APART, needed
from tests.trees import Node

PROJECT = Path(__file__).resolve().parent.parent
# run where podman's mounts are: calls "module:function" with a path, and prints what that returns
_CALL = """
import importlib, pathlib, pickle, sys
module, _, function = sys.argv[1].partition(":")
found = getattr(importlib.import_module(module), function)(pathlib.Path(sys.argv[2]))
sys.stdout.buffer.write(pickle.dumps(found))
"""
_MOUNTED = 'call=$1 && shift && place=$("$@" mount "$IT") && exec "$PYTHON" -c "$CALL" "$call" "$place"'
# Where the useful controllers are in hierarchies of cgroup v1 podman would make groups in each; here it sees v2 alone,
# and its parent goes with its container.
_UNIFIED = (
    "unshare", "-m", "sh", "-c",
    'mount -t cgroup2 none /sys/fs/cgroup && "$@"; status=$?\n'
    "find /sys/fs/cgroup/libpod_parent -depth -type d -exec rmdir {} +; exit $status", "sh",
)  # fmt: skip


def run(*words: str | Path) -> str:
    """Run a command to its end; returns what it prints, and fails the test with what it says."""
    return _run([str(word) for word in words], {}, None).decode()


def _run(words: Sequence[str], environment: dict[str, str], folder: Path | None) -> bytes:
    done = subprocess.run(
        words, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        timeout=120, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.decode(errors='replace')}"
    return done.stdout


@contextmanager
def podman() -> Iterator[Podman]:
    """Give a podman with an empty store, until the end of the block."""
    needed("podman", "runc")
    # not among pytest's: it refuses a runroot of more than 50 letters
    with tempfile.TemporaryDirectory(prefix="podman-") as folder:
        yield Podman(Path(folder))


class Podman:
    """podman with a store of its own; what it mounts is in a namespace that ends with each command.

    Args:
        folder: where its store goes.
    """

    def __init__(self, folder: Path) -> None:
        (folder / "tmp").mkdir()
        settings = folder / "containers.conf"
        # file locks: the shared memory that it uses otherwise is the host's
        settings.write_text(
            '[engine]\nlock_type = "file"\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\nruntime = "runc"\n'
            f'static_dir = "{folder}/libpod"\nvolume_path = "{folder}/volumes"\ntmp_dir = "{folder}/tmp"\n'
        )
        self._environment = {
            "CONTAINERS_CONF": f"{settings}", "TMPDIR": f"{folder}/tmp", "PYTHON": sys.executable, "CALL": _CALL,
            "PYTHONPATH": f"{PROJECT}",
        }  # fmt: skip
        self._words = [
            "podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "overlay"
        ]  # fmt: skip

    def __call__(self, *arguments: str | Path, folder: Path | None = None) -> str:
        """Run a command; returns what it prints.

        Args:
            arguments: what comes after the command's name and its global options.
            folder: where it runs: it makes a name of the path of a layout, which not every path can be.
        """
        return _run([*APART, *self._words, *map(str, arguments)], self._environment, folder).decode().strip()

    def run(self, *arguments: str | Path) -> str:
        """Run a container to its end, without limits; returns what it prints."""
        fixed = ("run", "--rm", "--log-driver=none", "--pids-limit=-1", *map(str, arguments))
        return _run([*_UNIFIED, *APART, *self._words, *fixed], self._environment, None).decode()

    def inspect(self, image: str) -> dict[str, Any]:
        """What it says of an image."""
        (found,) = json.loads(self("image", "inspect", image))
        return dict(found)

    def tree(self, image: str) -> dict[bytes, Node]:
        """The root file system of an image, as `tests.medley.tree` describes it."""
        words = [*APART, "sh", "-c", _MOUNTED, "sh", "tests.medley:tree", *self._words, "image"]
        nodes = pickle.loads(_run(words, {**self._environment, "IT": image}, None))
        return dict(nodes)

    def alter(self, container: str) -> None:
        """Have `tests.medley.alter` change the root file system of a container."""
        words = [*APART, "sh", "-c", _MOUNTED, "sh", "tests.medley:alter", *self._words]
        _run(words, {**self._environment, "IT": container}, None)
        self("unmount", container)
