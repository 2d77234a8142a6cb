"""A directory in overlayfs form becomes an OCI layer tar, the same bytes for the same tree.

on disk                                in the tar, sorted by the bytes of the names, a directory before its contents
-------------------------------------  ------------------------------------------------------------------------------
the directory itself                   ./
trusted.overlay.opaque = "y"           <directory>/ and then <directory>/.wh..wh..opq
char device 0:0                        .wh.<name>
a further name of one inode            a hardlink to the first
a socket                               nothing
xattrs                                 SCHILY.xattr.…, but never trusted.overlay.* and user.overlay.*

walk ──▶ chunks ──┬──▶ sha256 (diff_id)                     thread 1
                  └──▶ compress ──▶ sha256, write (blob)    thread 2
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading

from isal import isal_zlib

from minirun.errors import BadInput
from minirun.kernel import files
from minirun.kernel.descent import DIRECTORY
from minirun.layer.archive import CHUNK_BYTES, Archive
from minirun.layer.blob import Blob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType
    from typing import Protocol

    class Compressor(Protocol):
        """What isal's and zstandard's compressing objects have in common."""

        def compress(self, data: bytes) -> bytes:
            """Take *data*, give what is ready."""

        def flush(self) -> bytes:
            """Give the rest."""


COMPRESSIONS = ("none", "gzip", "zstd")
_AHEAD = 8  # chunks, each of archive.CHUNK_BYTES
_GZIP = 31  # wbits: a gzip header and the largest window


class Packed:
    """What was packed.

    Attributes:
        diff_id: ``sha256:…`` of the tar.
        digest: ``sha256:…`` of what was written.
        size: its bytes.
        entries: how many the tar has.
        warnings: sentences about what was left out.
    """

    __slots__ = ("diff_id", "digest", "entries", "size", "warnings")

    def __init__(self, diff_id: str, digest: str, size: int, entries: int, warnings: tuple[str, ...]) -> None:
        self.diff_id = diff_id
        self.digest = digest
        self.size = size
        self.entries = entries
        self.warnings = warnings

    def __eq__(self, other: object) -> bool:
        """Whether both say the same."""
        return isinstance(other, Packed) and all(getattr(self, one) == getattr(other, one) for one in self.__slots__)

    def __hash__(self) -> int:
        """By what was written."""
        return hash(self.digest)


def pack(
    directory: int | str,
    write: int | Callable[[bytes], object],
    *,
    compression: str = "gzip",
    literal: bool = False,
    latest_ns: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Packed:
    """Pack *directory*.

    Args:
        directory: path or descriptor of a directory.
        write: a descriptor, or what takes the blob in pieces; called in another thread.
        compression: one of COMPRESSIONS.
        literal: a name that begins with ``.wh.`` goes into the tar as it is, as in a tar that is no layer; otherwise it
            would be taken for a whiteout, and is left out with a warning.
        latest_ns: what is younger gets this time, in nanoseconds since 1970; None leaves every time as it is.
        progress: called now and then with how many bytes of the tar there are so far.

    Raises:
        BadInput: *compression* is none of them.
        OSError: *directory* could not be read or the blob not written. ENAMETOOLONG: a path beyond 4,096 bytes.
    """
    if compression not in COMPRESSIONS:
        raise BadInput(
            f"compress by {compression!r}", "no such compression", f"one of these: {', '.join(COMPRESSIONS)}"
        )
    write_all = (lambda data: files.write_all(write, data)) if isinstance(write, int) else write
    archive = Archive(literal=literal, latest_ns=latest_ns)
    done = 0
    with _Sink(write_all, _compressor(compression)) as sink:
        for chunk in _chunks(archive, directory):
            sink.put(chunk)
            if progress:
                done += len(chunk)
                progress(done)
        sink.finish()
    return Packed(sink.diff_id, sink.digest, sink.size, archive.entries, tuple(archive.warnings))


def recompress(
    source: int | Iterable[bytes],
    write: Callable[[bytes], object],
    *,
    compression: str,
    progress: Callable[[int], None] | None = None,
) -> Packed:
    """Compress a layer in another way; the tar in it stays the same, byte for byte.

    Args:
        source: the blob: see blob.Blob.
        write: what takes the new blob in pieces; called in another thread.
        compression: one of COMPRESSIONS.
        progress: called now and then with how many bytes of the old blob have been read.

    Returns:
        What was packed; nobody counts the entries.

    Raises:
        Malformed: the blob is damaged.
        OSError: it could not be read, or not be written.
    """
    with Blob(source, progress) as blob, _Sink(write, _compressor(compression)) as sink:
        for chunk in _cut(blob):
            sink.put(chunk)
        sink.finish()
    return Packed(sink.diff_id, sink.digest, sink.size, 0, ())


def _cut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks of CHUNK_BYTES, as an archive comes: what a compressor makes depends on it."""
    waiting = bytearray()
    for piece in pieces:
        waiting += piece
        while len(waiting) >= CHUNK_BYTES:
            yield bytes(waiting[:CHUNK_BYTES])
            del waiting[:CHUNK_BYTES]
    if waiting:
        yield bytes(waiting)


def stream(directory: int | str, *, literal: bool = False) -> Iterator[bytes]:
    """Yield the uncompressed tar of *directory*, which is a layer, in chunks; for *literal* see `pack`."""
    return _chunks(Archive(literal=literal, overlay=True), directory)


def _chunks(archive: Archive, directory: int | str) -> Iterator[bytes]:
    root = os.open(directory, DIRECTORY) if isinstance(directory, str) else os.dup(directory)
    try:
        yield from archive.chunks(root)
    finally:
        os.close(root)


def _compressor(compression: str) -> Compressor | None:
    if compression == "gzip":
        return isal_zlib.compressobj(isal_zlib.ISAL_DEFAULT_COMPRESSION, isal_zlib.DEFLATED, _GZIP)
    if compression == "zstd":
        import zstandard  # and much of the standard library with it

        # in the thread that it is called in: threads of its own would take 60 MB, and find no free processor
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
    return None


class _Sink:
    """Where the chunks of a tar go."""

    def __init__(self, write: Callable[[bytes], object], compressor: Compressor | None) -> None:
        self.diff_id = self.digest = ""
        self.size = 0
        self._write = write
        self._compressor = compressor
        self._blob_hash = hashlib.sha256()
        self._tar_hash = hashlib.sha256() if compressor else self._blob_hash
        self._error: BaseException | None = None
        self._room = [threading.Semaphore(_AHEAD), threading.Semaphore(_AHEAD)]
        self._queues: list[queue.SimpleQueue[bytes | None]] = [queue.SimpleQueue(), queue.SimpleQueue()]
        self._threads = [
            threading.Thread(target=self._hash, name="hash", daemon=True),
            threading.Thread(target=self._emit, name="compress", daemon=True),
        ]

    def __enter__(self) -> _Sink:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        if kind is not None:
            self._error = self._error or InterruptedError()  # nobody wants the rest any more
            self._join()

    def put(self, chunk: bytes) -> None:
        for room, waiting in zip(self._room, self._queues, strict=True):
            room.acquire()
            waiting.put(chunk)
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        self._join()
        if self._error is not None:
            raise self._error
        self.digest = f"sha256:{self._blob_hash.hexdigest()}"
        self.diff_id = f"sha256:{self._tar_hash.hexdigest()}"

    def _join(self) -> None:
        for waiting in self._queues:
            waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _hash(self) -> None:
        while (chunk := self._queues[0].get()) is not None:
            if self._compressor is not None:
                self._tar_hash.update(chunk)
            self._room[0].release()

    def _emit(self) -> None:
        while (chunk := self._queues[1].get()) is not None:
            if self._error is None:
                try:
                    self._out(self._compressor.compress(chunk) if self._compressor else chunk)
                except BaseException as error:  # noqa: BLE001 - raised again in the thread that packs
                    self._error = error
            self._room[1].release()
        if self._error is None and self._compressor:
            try:
                self._out(self._compressor.flush())
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that packs
                self._error = error

    def _out(self, data: bytes) -> None:
        if data:
            self._blob_hash.update(data)
            self.size += len(data)
            self._write(data)
