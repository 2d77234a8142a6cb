"""From what a user names to an archive whose members can be read in any order.

    a directory ─────────────────────────────────────────────────────────────▶ Folder
    a tar in a regular file, also as standard input ── index: by seeking ────▶ TarFolder of that file
    gzip, zstd, xz; a pipe, a FIFO, a device ── decompressed, and indexed as
                      it passes, into an unnamed file of the store's tmp/ ───▶ TarFolder of this file

Of an unnamed file nothing is left, however this ends; O_TMPFILE of open(2). What follows an archive's end is read,
so that its writer is not cut off and a compressed one is known to be whole; but not kept, and not without end.
"""

from __future__ import annotations

import os
import stat

from minirun.errors import LOOK_AT_STORE, BadInput, BadLayer, MinirunError
from minirun.image import members
from minirun.image.folder import Folder
from minirun.image.tarfolder import TarFolder
from minirun.kernel import files
from minirun.layer import compression
from minirun.layer.field import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.home import Home

STANDARD_INPUT = "-"
READ_BYTES = 1 << 18
BEYOND_BYTES = 64 << 20  # that may follow an archive's end; tar fills up to 10 KiB
_REMEDY = "an image archive is a tar, as `docker save` and `skopeo copy … oci-archive:FILE` write it"
_KEEP = "keep an archive in the store while it is read"


def open_path(home: Home, path: str) -> Folder | TarFolder:
    """Open the directory or the archive *path*; a FIFO is waited for.

    Args:
        home: where what has to be decompressed, or comes through a pipe, is put meanwhile.
        path: may be reached through symlinks, it is the user who named it; ``-`` is standard input.

    Raises:
        BadInput: there is no such file.
        BadLayer: it is no archive, or a damaged one.
        MinirunError: it could not be read, or not be put into the store.
    """
    if path == STANDARD_INPUT:
        return open_descriptor(home, "standard input", os.dup(0))
    if os.path.isdir(path):
        return Folder(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise BadInput(f"read {path}", error, "name an image archive, or a directory that holds images") from None
    return open_descriptor(home, os.path.abspath(path), descriptor)


def open_descriptor(home: Home, path: str, descriptor: int) -> TarFolder:
    """Open the archive that *descriptor*, which is taken over, gives from where it stands; else as `open_path`.

    Args:
        home: see `open_path`.
        path: what to call it.
        descriptor: of any kind of file.
    """
    attempt = f"read {path}"
    taken = [descriptor]
    try:
        head = _head(descriptor)
        if not head:
            raise BadLayer(attempt, "it is empty", _REMEDY)
        form = compression.detect(head)
        if form == "none" and stat.S_ISREG(os.fstat(descriptor).st_mode):
            start = os.lseek(descriptor, 0, os.SEEK_CUR) - len(head)
            found = members.index(members.File(descriptor, start))
            return TarFolder(path, taken.pop(), found)
        taken.append(_unnamed(home))
        parts = iter((head,))
        pieces = compression.pieces(form, lambda: next(parts, b"") or os.read(descriptor, READ_BYTES))
        found = members.index(members.Stream(_kept(_checked(pieces), taken[1])))
        _pass(pieces)
        return TarFolder(path, taken.pop(), found)
    except Malformed as error:
        raise BadLayer(attempt, str(error), _REMEDY) from None
    except OSError as error:
        raise MinirunError(attempt, error, "look whether the disk is sound") from None
    finally:
        for left in taken:
            os.close(left)


def _head(descriptor: int) -> bytes:
    head = b""
    while len(head) < compression.HEAD_BYTES and (more := os.read(descriptor, compression.HEAD_BYTES - len(head))):
        head += more
    return head


def _unnamed(home: Home) -> int:
    import tempfile  # of those that lie in a file, nobody needs it

    try:
        with tempfile.TemporaryFile(dir=home.folder("tmp")) as file:
            return os.dup(file.fileno())
    except OSError as error:
        raise MinirunError(_KEEP, error, LOOK_AT_STORE) from None


def _checked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The *pieces* of what must be a tar, now that it is no longer compressed."""
    head = b""
    while len(head) < compression.HEAD_BYTES and (piece := next(pieces, b"")):
        head += piece
    if not compression.is_tar(head):
        raise Malformed(compression.resemblance(head))
    yield head
    del head
    yield from pieces


def _kept(pieces: Iterator[bytes], descriptor: int) -> Iterator[bytes]:
    for piece in pieces:
        try:
            files.write_all(descriptor, piece)
        except OSError as error:
            raise MinirunError(_KEEP, error, LOOK_AT_STORE) from None
        yield piece


def _pass(pieces: Iterator[bytes]) -> None:
    """Read what follows the end of the archive."""
    count = 0
    for piece in pieces:
        count += len(piece)
        if count > BEYOND_BYTES:
            raise Malformed(f"more than {BEYOND_BYTES >> 20} MiB follow its end")
