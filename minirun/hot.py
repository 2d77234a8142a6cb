"""The modules that `minirun run` and `exec` import, in one file: read once and run in order, not looked for one by one.

    hot.cpython-311.bin      marshal of ({command: modules, each after those that it imports},
                                         {module: (is package, path, mtime in ns, size, marshal of its code)})

Finding a module costs six system calls and a way through the import system; its .pyc holds what a start never reads
(docstrings, columns of lines). That was a third of a start. `make setup` writes the file. It is used only while every
source in it is as it was then, so that whoever changes a source runs the source.
"""

import marshal
import sys
from posix import stat

# no `from __future__ import annotations` here: it would be one more module to find
TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Entry = tuple[bool, str, int, int, bytes]

# command → what it imports at once; and for `run`, while a container runs or ends, or when an image is a directory;
# and what `load` puts there, where it is needed
COMMANDS = {
    "run": (
        "minirun.__main__", "minirun.cli.fast", "minirun.engine.run",
        "minirun.kernel.tree", "minirun.kernel.descent", "minirun.image.sources",
    ),
    "network": ("minirun.container.networkflags", "minirun.container.entrance", "minirun.container.nameservice"),
    "names": ("minirun.container.attendance",),
    "exec": ("minirun.__main__", "minirun.cli.fast", "minirun.engine.execution"),
    "stop": ("minirun.__main__", "minirun.cli.named", "minirun.engine.lifecycle"),
    "rm": ("minirun.__main__", "minirun.cli.named", "minirun.engine.containers", "minirun.container.remove"),
}  # fmt: skip

_modules: "dict[str, Entry]" = {}
_commands: "dict[str, list[str]]" = {}


class Finder:
    """A finder and loader for sys.meta_path; see importlib.abc."""

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> "ModuleSpec | None":
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
    def create_module(_spec: "ModuleSpec") -> None:
        """Let the import system make an ordinary module."""

    @staticmethod
    def exec_module(module: "ModuleType") -> None:
        """Fill *module* by running its code."""
        exec(marshal.loads(_modules[module.__name__][4]), module.__dict__)  # noqa: S102 - our own code


def path() -> str:
    """Where the file is, for this interpreter."""
    return f"{__file__.rpartition('/')[0]}/hot.{sys.implementation.cache_tag}.bin"


def install(*, at_once: str) -> None:
    """Import from the file from now on, if it is there and up to date.

    Args:
        at_once: a command, all of whose modules are put into sys.modules now, past the import system.
    """
    commands: dict[str, list[str]]
    entries: dict[str, Entry]
    try:
        with open(path(), "rb", 0) as file:
            commands, entries = marshal.loads(file.readall())
        for _, source, mtime_ns, size, _ in entries.values():
            now = stat(source)
            if now.st_mtime_ns != mtime_ns or now.st_size != size:
                return
    except (OSError, ValueError, EOFError, TypeError):
        return
    _modules.update(entries)
    _commands.update(commands)
    sys.meta_path.insert(0, Finder)
    load(at_once)


def load(command: str) -> None:
    """Put the modules of a command that are not there yet into sys.modules; nothing without the file."""
    for name in _commands.get(command, ()):
        if name not in sys.modules:
            _fill(name, _modules[name])


def _fill(name: str, entry: "Entry") -> None:
    module = type(sys)(name)
    module.__file__ = entry[1]
    above, _, own = name.rpartition(".")
    if entry[0]:
        module.__path__ = [entry[1].rpartition("/")[0]]
    module.__package__ = name if entry[0] else above
    sys.modules[name] = module
    exec(marshal.loads(entry[4]), module.__dict__)  # noqa: S102 - our own code
    if above:
        setattr(sys.modules[above], own, module)


def build() -> None:
    """Write the file, for the interpreter that runs this.

    Started as ``python -I -S -X no_debug_ranges``, it leaves out what only tracebacks show.
    """
    import __future__

    import ast
    import os
    from importlib import import_module
    from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader

    finished: list[tuple[str, bool, str]] = []

    class Recorder(SourceFileLoader):
        """Notes each module once it is whole, so after those that it imports."""

        def exec_module(self, module: "ModuleType") -> None:
            super().exec_module(module)
            finished.append((module.__name__, hasattr(module, "__path__"), self.path))

    hook = FileFinder.path_hook((ExtensionFileLoader, EXTENSION_SUFFIXES), (Recorder, [".py"]))
    sys.path_hooks.insert(0, hook)
    sys.path_importer_cache.clear()
    commands: dict[str, list[str]] = {}
    for command, wanted in COMMANDS.items():
        # as if nothing had been imported: what the one before did has its own modules
        for name in [*sys.modules]:
            if name == "struct" or (name.startswith("minirun.") and name != __name__):
                del sys.modules[name]
                vars(sys.modules["minirun"]).pop(name.removeprefix("minirun."), None)
        before = len(finished)
        for name in wanted:
            import_module(name)
        commands[command] = [name for name, _, _ in finished[before:] if name != "__future__"]
    entries: dict[str, Entry] = {}
    for name, is_package, source in finished:
        if name == "__future__" or name in entries:
            continue
        status = os.stat(source)
        with open(source, "rb") as file:
            tree = ast.parse(file.read(), source)
        # what the import of it says to the compiler is said below; as a module it would be one more to find
        tree.body = [node for node in tree.body if getattr(node, "module", "") != "__future__"]
        code = compile(tree, source, "exec", __future__.annotations.compiler_flag, dont_inherit=True, optimize=2)
        entries[name] = (is_package, source, status.st_mtime_ns, status.st_size, marshal.dumps(code))
    temporary = f"{path()}.{os.getpid()}.tmp"
    with open(temporary, "wb") as bundle:
        bundle.write(marshal.dumps((commands, entries)))
    os.rename(temporary, path())
