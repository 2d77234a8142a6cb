"""Where an archive or a directory goes: whole, or not at all.

-o FILE       FILE.<key>.tmp beside it ─▶ to the disk ─▶ renamed     a mark says that it may be removed, so also who is
-o DIR        DIR.<key>.tmp  beside it ─▶ to the disk ─▶ renamed     killed leaves nothing for long
-o /dev/…     a device or a FIFO: what is written is written
none          standard output: the same
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager

from minirun.errors import BadInput, MinirunError
from minirun.journal import Operation
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.home import Home

_REMEDY = "name a file in a directory that can be written"
_KEY_LENGTH = 8


@contextmanager
def archive(home: Home, path: str | None) -> Iterator[int]:
    """Open what will be the file *path*, or standard output; it is there when the ``with`` ends well.

    Raises:
        BadInput: it is a directory.
        MinirunError: it cannot be written; what was there before still is.
    """
    if path is None:
        yield 1
        return
    kind = _kind(path)
    if kind == stat.S_IFDIR:
        raise BadInput(f"write {path}", "it is a directory", "name a file")
    with _refusals(path):
        if kind not in (0, stat.S_IFREG):
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
            return
        target = os.path.realpath(path)
        with Operation(home) as operation:
            temporary = f"{target}.{operation.key[:_KEY_LENGTH]}.tmp"
            operation.will("remove_file", temporary)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                yield descriptor
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(temporary, target)
            files.sync_folder(os.path.dirname(target))


@contextmanager
def folder(home: Home, path: str) -> Iterator[str]:
    """A path for what will be the directory *path*, which must be missing or empty; see `archive`.

    Who makes it writes it to the disk.

    Raises:
        BadInput: something is there.
        MinirunError: it cannot be written.
    """
    target = os.path.realpath(path)
    if os.path.lexists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        raise BadInput(f"write {path}", "there is something already", "name a directory that is empty or not there yet")
    with _refusals(path), Operation(home) as operation:
        temporary = f"{target}.{operation.key[:_KEY_LENGTH]}.tmp"
        operation.will("remove_tree", temporary)
        yield temporary
        os.rename(temporary, target)
        files.sync_folder(os.path.dirname(target))


def _kind(path: str) -> int:
    """What *path* is, 0 where nothing is there."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise MinirunError(f"write {path}", error, _REMEDY) from None


@contextmanager
def _refusals(path: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise MinirunError(f"write {path}", error, _REMEDY) from None
