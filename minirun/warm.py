"""The first line of the resident process: ``python warm.py SYS.PATH``; 3 is its socket, 4 the launcher.

`minirun system warm` starts it: see engine/warming.py, and resident/zygote.py for what it does.
"""

from __future__ import annotations

import os
import sys

# this file's directory is no place to import from; what found the modules of whoever started this did
sys.path[:] = sys.argv[1].split(os.pathsep)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from minirun.kernel.inotify import Watch

_LISTENER, _LAUNCHER = 3, 4


def main() -> NoReturn:
    """Serve until a signal ends it."""
    import gc
    from importlib import import_module

    from minirun import hot

    gc.disable()  # forks are as short-lived as what the launcher starts, and share pages that nobody writes to
    changed = _watch()
    hot.install(at_once="run")
    for command in ("run", "exec", "network"):
        hot.load(command)
        for name in hot.COMMANDS[command]:
            import_module(name)
    from minirun.resident.zygote import Zygote

    Zygote(_LISTENER, _LAUNCHER, changed).run()


def _watch() -> Watch:
    """What tells of every change to a file of the package; it was there before any of them was read."""
    from minirun.kernel import inotify

    package = os.path.dirname(os.path.abspath(__file__))
    mask = inotify.IN_MODIFY | inotify.IN_MOVED_FROM | inotify.IN_MOVED_TO | inotify.IN_CREATE | inotify.IN_DELETE
    watch = inotify.Watch(package, mask)
    for entry in os.scandir(package):
        if entry.is_dir() and entry.name != "__pycache__":
            watch.add(entry.path, mask)
    return watch


if __name__ == "__main__":
    main()
