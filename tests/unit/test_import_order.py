"""Imports point one way only: along the path on which a layer becomes a running root file system."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import minirun

PACKAGE = Path(minirun.__file__).parent
# Each may import itself and what stands before it; the faces, side by side in the last but one place, not each other.
ORDER = (
    ("errors", "hot"),
    ("kernel",),
    ("caller",),
    ("home",),
    ("jsonrecord",),
    ("events",),
    ("journal",),
    ("layer",),
    ("image",),
    ("registry",),
    ("rootfs",),
    ("cgroup",),
    ("network",),
    ("security",),
    ("launch",),
    ("log",),
    ("container",),
    ("attendant",),
    ("engine",),
    ("cli", "api", "oci"),
    ("__main__", "attend", "supervise"),
    ("resident",),
    ("warm",),
)
PLACES = {name: place for place, names in enumerate(ORDER) for name in names}
MODULES = sorted(path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py"))


def imported(source: str, package: str) -> Iterator[str]:
    """Yield the full names that *source*, a module of *package*, imports anywhere, also in functions and for types."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def against_the_order(module: Path, source: str) -> list[str]:
    """Return what *module* imports though it comes later on the path."""
    parts = module.with_suffix("").parts
    # the package itself imports nothing of minirun
    own = -1 if parts[1] == "__init__" else PLACES[parts[1]]
    wrong = []
    for name in imported(source, ".".join(parts[:-1])):
        top, _, rest = name.partition(".")
        station = rest.partition(".")[0]
        if top != "minirun" or station in ("", "__version__") or station == parts[1]:
            continue
        if PLACES[station] >= own:
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_only_what_comes_before_it(module: Path) -> None:
    assert against_the_order(module, (PACKAGE.parent / module).read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("minirun/kernel/mount.py", "from minirun.errors import MinirunError", []),
        ("minirun/kernel/mount.py", "import os, minirun.kernel.call", []),
        ("minirun/kernel/mount.py", "from . import call", []),
        ("minirun/kernel/mount.py", "from minirun import __version__", []),
        ("minirun/kernel/mount.py", "from minirun import image", ["minirun.image"]),
        ("minirun/kernel/mount.py", "from ..image import store", ["minirun.image.store"]),
        ("minirun/layer/pack.py", "def f():\n  import minirun.engine", ["minirun.engine"]),
        (
            "minirun/layer/pack.py",
            "if TYPE_CHECKING:\n  from minirun.rootfs.overlay import X",
            ["minirun.rootfs.overlay.X"],
        ),
        ("minirun/cli/run.py", "from minirun.api import server", ["minirun.api.server"]),
        ("minirun/engine.py", "from minirun.container.record import Record", []),
    ],
)
def test_an_import_against_the_order_is_seen(module: str, source: str, wrong: list[str]) -> None:
    assert against_the_order(Path(module), source) == wrong
