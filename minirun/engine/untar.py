"""The entries of a tar, put into a directory as `tar -x` does it: no rule of layers applies, and a ``.wh.x`` is a file.

    entry      its directory                                      the entry itself
    ─────────  ─────────────────────────────────────────────────  ───────────────────────────────────────────────
    ../a/b     cleaned as text: ".." stops at where it all goes   made by landing.py, in place of what has the name
    a/b        looked up below the root, so links of the target   b → /etc is a symlink; what is put through it later
               and of the archive are followed there and nowhere  lands in the /etc of that root
               else; made where it is missing
    hardlink   looked up the same way                             to what is there, be it from this archive or not

Directories get owner, mode and times at the end. Decompressed are gzip, zstd and xz.
"""

from __future__ import annotations

import os
from stat import S_IFLNK, S_ISDIR

from minirun.engine.landing import Landing, Status
from minirun.errors import BadInput
from minirun.kernel import descent
from minirun.layer import compression, metadata, tar
from minirun.layer.extraction import MAJOR_MAX, MINOR_MAX, NODE
from minirun.layer.field import Malformed
from minirun.layer.folders import COMPONENT_MAX_BYTES, clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from minirun.container.rootdir import Root

_READ_BYTES = 1 << 18
_HELD = 128


class Unpacking:
    """One archive that is put into a directory.

    Args:
        root: in which all is looked up.
        path: of the directory, from there.
        landing: makes entries.
        scratch: a directory for an unnamed temporary file.
    """

    def __init__(self, root: Root, path: bytes, landing: Landing, scratch: str) -> None:
        self._root = root
        self._path = path
        self._landing = landing
        self._folders: dict[bytes, int] = {}
        self._directories = metadata.Directories(scratch, landing.warnings)

    def unpack(self, source: int, told: Callable[[int], object]) -> int:
        """Unpack what can be read from the descriptor *source*; returns how many bytes of tar that was.

        Raises:
            BadInput: it is no archive, or cut off; what came before is there.
            OSError: it cannot be read or written.
        """
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for piece in _tar(source):
                size += len(piece)
                told(size)
                yield piece

        name = b""
        count = 0
        pieces = counted()
        reader = tar.Reader(pieces)
        try:
            while (entry := reader.next()) is not None:
                name = entry.name
                self._add(entry, reader)
                name = b""
                count += 1
            for _rest in pieces:
                pass  # whoever writes it is to come to its end
            self._directories.give(self)
        except Malformed as error:
            reason = f"{os.fsdecode(name)!r}: {error}" if name else str(error)
            raise BadInput(self._landing.attempt, reason, "what came before it is there" if count else "") from None
        return size

    def close(self) -> None:
        """Give back descriptors and the temporary file; idempotent."""
        self._forget()
        self._directories.close()

    def real(self, wanted: bytes) -> int | None:
        """Open the directory of an entry; None where there is none any more. Valid until the next call."""
        try:
            return self._folder(wanted, make=False)
        except FileNotFoundError:
            return None

    def _add(self, entry: tar.Entry, reader: tar.Reader) -> None:
        path = clean(entry.name)
        above, _, base = path.rpartition(b"/")
        if not base:
            return  # the directory itself: it is there, and stays as it is
        if len(base) > COMPONENT_MAX_BYTES:
            raise Malformed(f"a name component of {len(base)} bytes; {COMPONENT_MAX_BYTES} are allowed")
        if self._landing.removed:
            # perhaps a link on the way to one of these
            self._landing.removed = 0
            self._forget()
        directory = self._folder(above, make=True)
        if self._root.confined and not self._root.is_real(directory, os.fstat(directory)):
            raise Malformed("the kernel makes up what is there")
        status = Status(entry.mode, entry.uid, entry.gid, entry.mtime_ns, entry.xattrs)
        if entry.kind == tar.FILE:
            self._file(entry, reader, directory, base, status)
        elif entry.kind == tar.DIRECTORY:
            self._landing.directory(directory, base)
            uid, gid = self._landing.owner_of(status)
            self._directories.note(path, entry.mode, uid, gid, entry.mtime_ns, entry.xattrs, again=False)
        elif entry.kind == tar.SYMLINK:
            if not entry.link:
                raise Malformed("a symlink without a target")
            status.mode |= S_IFLNK
            self._landing.symlink(directory, base, entry.link, status)
        elif entry.kind == tar.HARDLINK:
            self._hardlink(clean(entry.link), directory, base)
        else:
            major, minor = (0, 0) if entry.kind == tar.FIFO else entry.device
            if not 0 <= major <= MAJOR_MAX or not 0 <= minor <= MINOR_MAX:
                raise Malformed(f"device {major}:{minor} is out of range")
            status.mode |= NODE[entry.kind]
            self._landing.node(directory, base, os.makedev(major, minor), status)

    def _file(self, entry: tar.Entry, reader: tar.Reader, directory: int, base: bytes, status: Status) -> None:
        writing, is_new = self._landing.file(directory, base)
        try:
            if entry.size:
                reader.copy(entry, writing)
            if is_new:
                self._landing.finish(writing, status)
        except BaseException:
            if is_new:
                os.unlink(base, dir_fd=directory)
            raise
        finally:
            os.close(writing)

    def _hardlink(self, target: bytes, directory: int, base: bytes) -> None:
        above, _, name = target.rpartition(b"/")
        directory = os.dup(directory)  # looking for the other may close this one
        try:
            folder = self._folder(above, make=False)
            stat = os.stat(name, dir_fd=folder, follow_symlinks=False)
            own = os.stat(b".", dir_fd=directory)
            if S_ISDIR(stat.st_mode) or (name == base and os.path.samestat(own, os.fstat(folder))):
                raise Malformed("a hardlink to a directory or to itself")
            self._landing.link(
                directory, base,
                lambda: os.link(name, base, src_dir_fd=folder, dst_dir_fd=directory, follow_symlinks=False),
            )  # fmt: skip
        except FileNotFoundError:
            raise Malformed("a hardlink to a missing target") from None
        finally:
            os.close(directory)

    def _folder(self, path: bytes, *, make: bool) -> int:
        """Open the directory that *path* leads to from where all goes; valid until the next call."""
        held = self._folders.get(path)
        if held is not None:
            return held
        if len(self._folders) >= _HELD:
            self._forget()
        try:
            # by its whole path, for what is a link on the way leads from the root, not from where all goes
            opened = self._root.open(self._path + b"/" + path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if not make or not path:
                raise
            above, _, name = path.rpartition(b"/")
            opened = self._made(self._folder(above, make=True), name)
        except NotADirectoryError:
            raise Malformed("its parent is not a directory") from None
        self._folders[path] = opened
        return opened

    def _made(self, above: int, name: bytes) -> int:
        self._landing.directory(above, name)
        opened = os.open(name, descent.DIRECTORY, dir_fd=above)
        self._landing.finish(opened, Status(0o755, 0, 0, os.stat(opened).st_mtime_ns, None))
        return opened

    def _forget(self) -> None:
        for descriptor in self._folders.values():
            os.close(descriptor)
        self._folders = {}


def _tar(source: int) -> Iterator[bytes]:
    """The archive that *source* has, decompressed, in pieces."""
    head = b""
    while len(head) < compression.HEAD_BYTES and (more := os.read(source, _READ_BYTES)):
        head += more
    parts = iter((head,))
    if not head:
        raise Malformed("it is empty")
    pieces = compression.pieces(compression.detect(head), lambda: next(parts, b"") or os.read(source, _READ_BYTES))
    first = next(pieces, b"")
    if len(first) >= compression.HEAD_BYTES and not compression.is_tar(first[: compression.HEAD_BYTES]):
        raise Malformed(compression.resemblance(first))
    yield first
    yield from pieces
