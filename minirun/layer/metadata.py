"""What entries say besides their contents: xattrs, as far as they may be set, and all about directories, at the end.

Directories are made 0700 root:root without xattrs and get what their entries say when nothing more is put in: a setgid
bit or a default ACL would be inherited by what is, and each name changes the directory's mtime. Until then that is
noted in the order of the archive; of two notes about one directory the later one counts.
"""

from __future__ import annotations

import errno
import marshal
import os
from io import BufferedRandom, BytesIO

from minirun.layer import stack
from minirun.layer.field import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Opener(Protocol):
        """What opens directories by the paths under which they were noted."""

        def real(self, wanted: bytes) -> int | None:
            """A descriptor that is valid until the next call; None where there is none."""


OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")
WARNINGS_MAX = 50
_SPOOL_BYTES = 4 << 20  # kept in memory; more goes to an unnamed file
_LEFT_OUT = {errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL}
_CALLED_BYTES = 100  # of a name that may be a mebibyte, where it is told
_TOO_MUCH = {errno.E2BIG, errno.ERANGE}  # a value of more than 64 KiB; a name of more than 255 bytes, or of none
_LIST_MAX_BYTES = 1 << 16  # XATTR_LIST_MAX: of more, listxattr(2) tells nothing, and overlayfs cannot copy the file up


class Warnings:
    """Sentences about what was left out, each once, and not too many of them."""

    __slots__ = ("sentences",)

    def __init__(self) -> None:
        self.sentences: dict[str, None] = {}

    def add(self, sentence: str) -> None:
        """Keep *sentence*."""
        if len(self.sentences) < WARNINGS_MAX:
            self.sentences[sentence] = None


def set_xattrs(target: int | bytes, xattrs: dict[bytes, bytes], warnings: Warnings) -> None:
    """Set *xattrs* on a descriptor, or on a path that may be a symlink, but for those that speak to an overlay mount.

    Raises:
        Malformed: they are more than a file can have.
        OSError: ENOSPC, E2BIG … That this file system or this kind of file has no such xattrs is a warning only.
    """
    if sum(map(len, xattrs)) + len(xattrs) > _LIST_MAX_BYTES:
        raise Malformed(f"{len(xattrs)} xattrs, more than listxattr(2) can tell of")
    for name, value in xattrs.items():
        called = os.fsdecode(name[:_CALLED_BYTES])
        if name.startswith(OVERLAY_XATTRS):
            warnings.add(f"xattr {called} was dropped: it would speak to the overlay mount")
            continue
        try:
            os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
        except OSError as error:
            if error.errno in _TOO_MUCH or (error.errno == errno.ENOSPC and _has_space(target)):
                raise Malformed(f"xattr {called!r} of {len(value)} bytes: no file here has room for it") from None
            if error.errno not in _LEFT_OUT:
                raise
            warnings.add(f"xattr {called} was dropped: {error.strerror}")


def _has_space(target: int | bytes) -> bool:
    """Say whether the file system of *target* is not the one that is full: ext4 keeps xattrs in a block a file."""
    status = os.statvfs(target if isinstance(target, int) else os.path.dirname(target))
    return status.f_bavail * status.f_bsize > 2 * _LIST_MAX_BYTES


class Directories:
    """Notes about directories.

    Args:
        scratch: a directory for an unnamed temporary file.
        warnings: takes what is said about xattrs.
    """

    def __init__(self, scratch: str, warnings: Warnings) -> None:
        self._warnings = warnings
        self._scratch = scratch
        self._notes: BytesIO | BufferedRandom = BytesIO()

    def note(
        self,
        path: bytes,
        mode: int,
        uid: int,
        gid: int,
        mtime_ns: int,
        xattrs: dict[bytes, bytes] | None,
        *,
        again: bool,
    ) -> None:
        """Note what *path*, without symlinks, is to get; *again*: it has an earlier note, whose xattrs go."""
        marshal.dump((path, mode, uid, gid, mtime_ns, xattrs, again), self._notes)
        if isinstance(self._notes, BytesIO) and self._notes.tell() > _SPOOL_BYTES:
            import tempfile

            file = tempfile.TemporaryFile(dir=self._scratch)  # noqa: SIM115 - closed by close
            file.write(self._notes.getbuffer())
            self._notes = file

    def give(self, folders: Opener) -> None:
        """Give every directory what was noted; once, at the end."""
        marshal.dump(None, self._notes)
        self._notes.seek(0)
        while (note := marshal.load(self._notes)) is not None:
            path, mode, uid, gid, mtime_ns, xattrs, again = note
            try:
                directory = folders.real(path)
            except NotADirectoryError:
                continue  # something else took its place
            if directory is None:
                continue
            if again:
                for name in os.listxattr(directory):
                    if name != stack.OPAQUE:
                        os.removexattr(directory, name)
            if xattrs:
                set_xattrs(directory, xattrs, self._warnings)
            give_directory(directory, mode, uid, gid, mtime_ns)

    def close(self) -> None:
        """Give back the temporary file; idempotent."""
        self._notes.close()


def give_directory(directory: int, mode: int, uid: int, gid: int, mtime_ns: int) -> None:
    """Give the directory, a descriptor, its owner, mode and times."""
    os.fchown(directory, uid, gid)
    os.fchmod(directory, mode)
    os.utime(directory, ns=(mtime_ns, mtime_ns))
