"""The records of the store: one small JSON file an object, replaced as a whole.

    tmp/<random>.record       flock held by whoever writes it
      │ written, synced, renamed
      ▼
    containers/<id>/state.json …

Who is killed in the middle leaves the file in tmp/, without its lock; `sweep` takes it away.
"""

from __future__ import annotations

import os

from minirun.kernel import files, jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home

_SUFFIX = ".record"


def write(home: Home, path: str, value: object, *, durable: bool = True) -> None:
    """Replace the JSON file at *path*, below the store, by *value*: a reader sees the old one or the new one.

    Args:
        home: the store.
        path: the file; its directory must be there.
        value: what it holds from now on.
        durable: see files.replace.

    Raises:
        OSError: nothing changed.
    """
    replace(home, path, f"{jsonfile.dumps(value)}\n".encode(), durable=durable)


def replace(home: Home, path: str, data: bytes, *, durable: bool = True) -> None:
    """The same with *data*, which need not be JSON."""
    temporary = home.temporary(f"{os.urandom(16).hex()}{_SUFFIX}")
    descriptor = files.hold(temporary)
    try:
        try:
            files.write_all(descriptor, data)
            if durable:
                os.fsync(descriptor)
            os.rename(temporary, path)
        except OSError:
            files.remove(temporary)
            raise
    finally:
        os.close(descriptor)
    if durable:
        files.sync_folder(os.path.dirname(path))


def is_unfinished(name: str) -> bool:
    """Whether *name*, in tmp/, is a file that `write` makes: held by a lock instead of a mark."""
    return name.endswith(_SUFFIX)


def sweep(home: Home) -> None:
    """Remove what writers left that are gone."""
    for name in os.listdir(home.folder("tmp")):
        if is_unfinished(name) and (descriptor := files.take_over(home.temporary(name))) >= 0:
            files.remove(home.temporary(name))
            os.close(descriptor)
