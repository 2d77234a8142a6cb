"""What came, byte for byte: compressed layers and manifests, so that an image can leave with the digests it came with.

    blobs/<hex>         the sha256 of the file is <hex>
    blobs/<hex>.zst     it came uncompressed: what this decompresses to has that sha256
      zstd frames, and at the end a skippable one:  50 2a 4d 18   08 00 00 00   the size of the original, 64 bits

A blob is needed while the record of an image names it, see image/record.py; how often is counted nowhere. One is put
in its place by whoever holds ``home.lock`` shared until its image is there, and removed by who holds it exclusively.
A blob that is unpacked again is compared with its digest again. One that leaves is copied: whoever gets it compares it,
and so does `system check`.
"""

from __future__ import annotations

import os
import struct

from minirun import jsonrecord
from minirun.errors import MinirunError, NotFound
from minirun.kernel import files, writeback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.home import Home

    Names = Sequence[str]  # within Blobs, list is its method

ZSTD = ".zst"
_PIECE_BYTES = 1 << 18
_BEGIN_BYTES = 8 << 20
_LEVEL = 1  # tar compresses well by any, and this one keeps up with unpacking
_SIZE = struct.Struct("<IIQ")  # of the last frame: magic, bytes of contents, contents
_SKIPPABLE = 0x184D2A50


class Blobs:
    """The blobs of one home; digests are ``sha256:…`` of the original bytes."""

    __slots__ = ("home",)

    def __init__(self, home: Home) -> None:
        self.home = home

    def path(self, digest: str) -> str:
        """Where the blob is kept as it came, or would be."""
        return f"{self.home.folder('blobs')}/{digest[7:]}"

    def has(self, digest: str) -> bool:
        """Whether the blob is kept, in either form."""
        return os.path.exists(self.path(digest)) or os.path.exists(self.path(digest) + ZSTD)

    def open(self, digest: str) -> int | Iterator[bytes]:
        """The blob from its beginning: a descriptor of a regular file, which the caller closes, or in chunks.

        Raises:
            NotFound: it is not kept.
        """
        try:
            return os.open(self.path(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
        self._check(digest)
        return _original(self.path(digest) + ZSTD)

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The blob in chunks, however it is kept; raises as `open`."""
        source = self.open(digest)
        return _chunks(source) if isinstance(source, int) else source

    def read(self, digest: str, limit_bytes: int) -> bytes:
        """A whole blob of at most *limit_bytes*, one that `put` put.

        Raises:
            NotFound: it is not kept.
            MinirunError: it is damaged.
        """
        from hashlib import sha256

        data = b"".join(self.chunks(digest)) if self.size(digest) <= limit_bytes else b""
        if sha256(data).hexdigest() != digest[7:]:
            remedy = "`minirun system check` tells what else is; load or pull its image again"
            raise MinirunError(f"read blob {digest[:19]}", "its contents are not those its digest names", remedy)
        return data

    def size(self, digest: str) -> int:
        """Bytes of the original.

        Raises:
            NotFound: it is not kept.
        """
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            pass
        self._check(digest)
        with open(self.path(digest) + ZSTD, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _SIZE.size))
            last = file.read(_SIZE.size)
        if len(last) == _SIZE.size and _SIZE.unpack(last)[:2] == (_SKIPPABLE, 8):
            size: int = _SIZE.unpack(last)[2]
            return size
        raise MinirunError(f"read blob {digest[:19]}", "its end is missing", "load or pull its image again")

    def put(self, data: bytes) -> str:
        """Keep *data*, a document of some kilobytes.

        Returns:
            Its digest.
        """
        from hashlib import sha256

        digest = f"sha256:{sha256(data).hexdigest()}"
        if not os.path.exists(self.path(digest)):
            jsonrecord.replace(self.home, self.path(digest), data)
        return digest

    def adopt(self, kept: Kept) -> None:
        """Take the file of *kept*, which is on the disk already, into the store."""
        if kept.path:
            os.rename(kept.path, self.path(kept.digest) + (ZSTD if kept.packed else ""))
            files.sync_folder(self.home.folder("blobs"))

    def list(self) -> Names:
        """The digests of all blobs, sorted."""
        names = {name.removesuffix(ZSTD) for name in os.listdir(self.home.folder("blobs"))}
        return [f"sha256:{name}" for name in sorted(names) if len(name) == 64]

    def usage(self, digest: str) -> int:
        """Bytes that the blob takes in the store; 0 where it is not kept."""
        return sum(os.stat(path).st_size for path in self._paths(digest) if os.path.exists(path))

    def remove(self, digest: str) -> None:
        """Forget a blob; idempotent. The caller holds ``home.lock`` exclusively, and knows that no image names it."""
        for path in self._paths(digest):
            files.remove(path)

    def _check(self, digest: str) -> None:
        if not self.has(digest):
            raise NotFound(f"find blob {digest[:19]}", "it is not kept", "load or pull its image again")

    def _paths(self, digest: str) -> tuple[str, str]:
        return self.path(digest), self.path(digest) + ZSTD


class Kept:
    """A blob that was read to its end, on its way into the store.

    Attributes:
        digest: ``sha256:…`` of it as it came.
        path: the file that has it, in tmp/; empty where the store has it already.
        packed: whether the file has it compressed.
    """

    __slots__ = ("digest", "packed", "path")

    def __init__(self, digest: str, path: str = "", *, packed: bool = False) -> None:
        self.digest = digest
        self.path = path
        self.packed = packed


class Keeper:
    """Writes a blob to a file while somebody else reads it.

    Args:
        path: of the file, which does not exist.

    Attributes:
        path: of the file.
        packed: whether it is compressed on its way.
    """

    __slots__ = ("_begun", "_compressor", "_descriptor", "_size", "_written", "packed", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.packed = False
        self._size = self._written = self._begun = 0
        self._compressor: _Compressor | None = None
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def begin(self, compression: str) -> None:
        """Say how the blob is compressed, before anything is written."""
        self.packed = compression == "none"
        if self.packed:
            import zstandard

            self._compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()

    def write(self, chunk: bytes) -> None:
        """Write the next bytes of the blob."""
        self._size += len(chunk)
        data = self._compressor.compress(chunk) if self._compressor else chunk
        files.write_all(self._descriptor, data)
        self._written += len(data)
        if self._written - self._begun >= _BEGIN_BYTES:
            writeback.begin(self._descriptor, self._begun, self._written - self._begun)
            self._begun = self._written

    def finish(self, digest: str) -> Kept:
        """The blob is whole, and has *digest*."""
        if self._compressor:
            last = _SIZE.pack(_SKIPPABLE, 8, self._size)
            files.write_all(self._descriptor, self._compressor.flush() + last)
        self.close()
        return Kept(digest, self.path, packed=self.packed)

    def close(self) -> None:
        """Close the file; idempotent. Without `finish` it is worth nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


if TYPE_CHECKING:
    from typing import Protocol

    class _Compressor(Protocol):
        def compress(self, data: bytes) -> bytes: ...
        def flush(self) -> bytes: ...


def _chunks(descriptor: int) -> Iterator[bytes]:
    try:
        while chunk := os.read(descriptor, _PIECE_BYTES):
            yield chunk
    finally:
        os.close(descriptor)


def _original(path: str) -> Iterator[bytes]:
    import zstandard

    # opened when somebody begins to read: an iterator that nobody began is not closed either
    with open(path, "rb") as file, zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
        try:
            while chunk := reader.read(_PIECE_BYTES):
                yield chunk
        except zstandard.ZstdError as error:
            raise MinirunError(f"read {path}", f"it is damaged: {error}", "load or pull its image again") from None
