"""The modules that `minirun run` imports, in one file: read once, instead of looked for fifty times.

    hot.cpython-311.bin      marshal of {module: (is package, path, mtime in ns, size, marshal of its code)}

Finding a module costs six system calls and unmarshalling what a start never reads (docstrings, columns of lines); that
was a quarter of a start. `make setup` writes the file. It is used only while every source in it is as it was then, so
that whoever changes a source runs the source.
"""

from __future__ import annotations

import marshal
import sys
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Entry = tuple[bool, str, int, int, bytes]

# What `cli.fast` imports at once is found by importing it; this is what it imports while a container runs or ends.
LATER = ("minirun.kernel.tree", "minirun.kernel.descent", "minirun.image.sources")

_modules: dict[str, Entry] = {}


class Finder:
    """A finder and loader for sys.meta_path; see importlib.abc."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Tell where *name* is, if it is here."""
        entry = _modules.get(name)
        if entry is None:
            return None
        spec: Any = type(sys.__spec__)(name, Finder, origin=entry[1], is_package=entry[0])  # type: ignore[arg-type]
        if entry[0]:
            spec.submodule_search_locations.append(entry[1].rpartition("/")[0])
        spec.has_location = True
        return spec  # type: ignore[no-any-return]

    @staticmethod
    def create_module(_spec: ModuleSpec) -> None:
        """Let the import system make an ordinary module."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Fill *module* by running its code."""
        exec(marshal.loads(_modules[module.__name__][4]), module.__dict__)  # noqa: S102, S302 - our own code


def path() -> str:
    """Where the file is, for this interpreter."""
    return f"{__file__.rpartition('/')[0]}/hot.{sys.implementation.cache_tag}.bin"


def install() -> None:
    """Import from the file from now on, if it is there and up to date."""
    try:
        with open(path(), "rb", 0) as file:
            entries: dict[str, Entry] = marshal.loads(file.readall())  # noqa: S302 - written by ourselves, like a .pyc
        for _, source, mtime_ns, size, _ in entries.values():
            now = stat(source)
            if now.st_mtime_ns != mtime_ns or now.st_size != size:
                return
    except (OSError, ValueError, EOFError, TypeError):
        return
    _modules.update(entries)
    sys.meta_path.insert(0, Finder)


def build() -> None:
    """Write the file, for the interpreter that runs this.

    Started as ``python -I -S -X no_debug_ranges``, it leaves out what only tracebacks show.
    """
    import importlib
    import os

    for name in ("minirun.__main__", "minirun.cli.fast", "minirun.engine.run", *LATER):
        importlib.import_module(name)
    entries: dict[str, Entry] = {}
    for name, module in sorted(sys.modules.items()):
        source = getattr(module, "__file__", None) or ""
        if name.startswith("minirun") and name not in ("minirun", __name__, "minirun.hot") and source.endswith(".py"):
            status = os.stat(source)
            with open(source, "rb") as file:
                code = compile(file.read(), source, "exec", dont_inherit=True, optimize=2)
            is_package = hasattr(module, "__path__")
            entries[name] = (is_package, source, status.st_mtime_ns, status.st_size, marshal.dumps(code))
    temporary = f"{path()}.{os.getpid()}.tmp"
    with open(temporary, "wb") as file:
        file.write(marshal.dumps(entries))
    os.rename(temporary, path())


if __name__ == "__main__":
    build()
