"""An image archive where the tar of a root file system is wanted, told by how it begins.

    blobs/sha256/<digest>   <digest>.tar[.gz]   <id>.json   <id>/layer.tar   oci-layout     an image archive begins so
    bin/…   usr/…   etc/…                                                                   and has none of these

Unpacked as a root file system it would be an image that holds the files of an image, which nobody wants. A pipe is
looked into by tee(2), so that nothing is taken out of it.
"""

from __future__ import annotations

import os
import stat

from minirun.errors import BadInput
from minirun.image.members import inside
from minirun.image.reference import is_id
from minirun.layer import compression, tar
from minirun.layer.field import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_BYTES = 64 << 10  # what a pipe holds, see pipe(7)
_LOOKED_AT_BYTES = 1 << 20  # uncompressed
_NAMES = 100
_ENDINGS = (".json", ".tar", ".tar.gz", ".tar.zst")
_OF_A_ROOT = {"bin", "boot", "dev", "etc", "home", "lib", "proc", "root", "sbin", "sys", "tmp", "usr", "var"}


def refuse(descriptor: int, path: str, remedy: str) -> None:
    """Raise BadInput if what *descriptor* gives is an image archive.

    Args:
        descriptor: of a regular file or a pipe; nothing is taken from it. What else it may be is not looked at.
        path: what to call it.
        remedy: how to load it.

    Raises:
        OSError: it cannot be read.
    """
    names = _names(_peek(descriptor))
    if any(map(_is_of_an_image, names)) and not any(name.partition("/")[0] in _OF_A_ROOT for name in names):
        reason = "it is an archive of images, not the tar of a root file system"
        raise BadInput(f"import {path}", reason, f"`{remedy}` stores them, with their names")


def refuse_file(path: str) -> None:
    """The same of a file; what is none, or cannot be read, is left to others to refuse."""
    if not os.path.isfile(path):
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return
    try:
        refuse(descriptor, path, f"minirun load -i {path}")
    finally:
        os.close(descriptor)


def _peek(descriptor: int) -> bytes:
    """What comes next, up to HEAD_BYTES of it; of a pipe what is in it, once something is."""
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.pread(descriptor, HEAD_BYTES, os.lseek(descriptor, 0, os.SEEK_CUR))
    if not stat.S_ISFIFO(mode):
        return b""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    reading, writing = os.pipe()
    try:
        count: int = libc.tee(descriptor, writing, ctypes.c_size_t(HEAD_BYTES), 0)
        if count < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return os.read(reading, count) if count else b""
    finally:
        os.close(reading)
        os.close(writing)


def _names(head: bytes) -> list[str]:
    found: list[str] = []
    parts = iter((head,))
    try:
        pieces = compression.pieces(compression.detect(head[: compression.HEAD_BYTES]), lambda: next(parts, b""))
        reader = tar.Reader(_first(pieces))
        while len(found) < _NAMES and (entry := reader.next()) is not None:
            found.append(inside(os.fsdecode(entry.name)))
    except Malformed:
        pass  # it goes on beyond the head, or is damaged: who unpacks it says so
    return found


def _first(pieces: Iterator[bytes]) -> Iterator[bytes]:
    count = 0
    for piece in pieces:
        yield piece
        count += len(piece)
        if count >= _LOOKED_AT_BYTES:
            return


def _is_of_an_image(name: str) -> bool:
    top, _slash, below = name.partition("/")
    if top == "blobs":
        return below.startswith("sha256/") and is_id(below[7:])
    if is_id(top):
        return below in ("json", "layer.tar", "VERSION")
    digits = top.removeprefix("sha256:")[:64]
    return name == "oci-layout" or (not below and is_id(digits) and top.removeprefix("sha256:")[64:] in ("", *_ENDINGS))
