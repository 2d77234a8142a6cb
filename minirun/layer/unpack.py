"""A layer's blob becomes a directory in overlayfs form.

    blob ──▶ tar ──▶ entries ──▶ files            threads: see blob.py, form: see extraction.py
      ╰digest  ╰diff_id       ╰▶ needs            what only the layers below can tell: see needs.py

The order of one unpacking: entries in the order of the tar; to the end of the blob, for its digest; the digests are
compared; directories get their metadata. Until then, and after any exception, the directory is worth nothing.
"""

from __future__ import annotations

import errno
import os

from minirun.errors import BadLayer
from minirun.kernel.descent import DIRECTORY
from minirun.layer import borrowing, estargz, tar
from minirun.layer.blob import Blob, check_head
from minirun.layer.extraction import Extraction
from minirun.layer.field import Malformed, called
from minirun.layer.needs import Needs
from minirun.layer.stream import BLOCK_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from minirun.layer.blobs import Keeper

    Progress = Callable[[int], None]

# An entry takes ten microseconds and more, whatever it is. Names and numbers of real files, nothing else of them, have
# 13 bytes each once zstd or xz is done with them, one entry again and again has none: what is small is refused soon.
ENTRIES_MAX = 2_000_000
ENTRIES_FREE = 250_000
ENTRY_BYTES = 8  # of the blob, for each that is not free
_REMEDY = "it is damaged, or means harm: get it again from where it came"

# What an archive asks for and no file system grants; anything else (ENOSPC, EIO, EROFS …) is not the archive's fault.
_ITS_FAULT = {
    errno.ENAMETOOLONG,
    errno.EFBIG,
    errno.EINVAL,
    errno.ELOOP,
    errno.EMLINK,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.E2BIG,
    errno.ERANGE,
    errno.EILSEQ,
    errno.EOVERFLOW,
}


class Unpacked:
    """What was unpacked.

    Attributes:
        blob_digest: ``sha256:…`` of the blob as it came.
        blob_size: its bytes.
        diff_id: ``sha256:…`` of the tar in it.
        compression: ``gzip``, ``zstd``, ``xz`` or ``none``.
        size: bytes of file data.
        entries: how many.
        opaque: the layer hides everything below it.
        has_root: the tar says what the root directory itself is like; else it is 0755 root.
        needs: what it leaves to the layers below; `complete` takes it from them.
        warnings: sentences about what was left out.
    """

    __slots__ = (
        "blob_digest", "blob_size", "compression", "diff_id", "entries", "has_root", "needs", "opaque", "size",
        "warnings",
    )  # fmt: skip

    def __init__(
        self, blob_digest: str, blob_size: int, diff_id: str, compression: str, size: int, entries: int,
        opaque: bool, has_root: bool, needs: Needs, warnings: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.blob_digest = blob_digest
        self.blob_size = blob_size
        self.diff_id = diff_id
        self.compression = compression
        self.size = size
        self.entries = entries
        self.opaque = opaque
        self.has_root = has_root
        self.needs = needs
        self.warnings = warnings


def unpack(
    source: int | Iterable[bytes],
    into: str,
    *,
    expected_digest: str | None = None,
    expected_diff_id: str | None = None,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
    what: str = "the layer",
) -> Unpacked:
    """Unpack a layer.

    Args:
        source: a descriptor to read from where it stands, or the blob in chunks.
        into: an empty directory. After an exception it is the caller's to remove.
        expected_digest: ``sha256:…`` that the blob must have.
        expected_diff_id: ``sha256:…`` that the tar must have.
        progress: called now and then with how many bytes of the blob have been read.
        keeper: is given the blob as it is read.
        what: the layer in the words of whoever asked, for refusals.

    Raises:
        BadLayer: it is damaged, hostile, of an unknown form or not the expected one.
        OSError: it could not be read or written (ENOSPC, EIO …).
    """
    root = os.open(into, DIRECTORY)
    try:
        # an unnamed file of the same file system: nothing is left of it, however this ends
        extraction = Extraction(root, os.path.dirname(os.path.abspath(into)))
        try:
            with Blob(source, progress, keeper) as blob:
                return _unpack(blob, extraction, (expected_digest, expected_diff_id), what)
        finally:
            extraction.close()
    finally:
        os.close(root)


def read(
    source: int | Iterable[bytes], *, expected_digest: str | None, expected_diff_id: str | None,
    progress: Progress | None, keeper: Keeper, what: str,
) -> str:  # fmt: skip
    """Read a layer for its blob alone; the arguments are those of `unpack`.

    Returns:
        The digest of the blob.

    Raises:
        BadLayer: it is damaged, of an unknown form or not the expected one.
        OSError: it could not be read or kept.
    """
    try:
        with Blob(source, progress, keeper) as blob:
            for _piece in blob:
                pass
            _compare("blob", blob.digest, expected_digest)
            _compare("tar", blob.diff_id, expected_diff_id)
            return blob.digest
    except Malformed as error:
        raise BadLayer(f"unpack {what}", str(error), _REMEDY) from None


def complete(unpacked: Unpacked, into: str, below: Sequence[str], *, what: str = "the layer") -> bool:
    """Take from the layers *below*, bottom to top, what the layer unpacked at *into* leaves to them.

    Returns:
        Whether the layer is now bound to what is below.

    Raises:
        BadLayer: what it needs is not there.
        OSError: it could not be copied.
    """
    try:
        return borrowing.complete(unpacked.needs, into, below)
    except Malformed as error:
        raise BadLayer(f"unpack {what}", str(error), _REMEDY) from None
    except OSError as error:
        if error.errno not in _ITS_FAULT:
            raise
        raise BadLayer(f"unpack {what}", os.strerror(error.errno), _REMEDY) from None


def _unpack(blob: Blob, extraction: Extraction, expected: tuple[str | None, str | None], what: str) -> Unpacked:
    name = b""
    last = None
    size = entries = allowed = 0
    pieces = iter(blob)
    reader = tar.Reader(_checked(pieces))
    try:
        while (entry := reader.next()) is not None:
            name = entry.name
            extraction.add(entry, reader)
            name = b""
            last = entry
            size += entry.size
            entries += 1
            if entries > allowed:
                allowed = _allowed(entries, blob.size)
        for _rest in pieces:
            pass
        _compare("blob", blob.digest, expected[0])
        _compare("tar", blob.diff_id, expected[1])
        if last is not None:
            size -= estargz.remove_index(extraction.root, last)
        opaque = extraction.finish()
    except Malformed as error:
        raise BadLayer(f"unpack {what}", f"{called(name)}: {error}" if name else str(error), _REMEDY) from None
    except OSError as error:
        if error.errno not in _ITS_FAULT or not name:
            raise
        raise BadLayer(f"unpack {what}", f"{called(name)}: {os.strerror(error.errno)}", _REMEDY) from None
    return Unpacked(
        blob_digest=blob.digest,
        blob_size=blob.size,
        diff_id=blob.diff_id,
        compression=blob.compression,
        size=size,
        entries=entries,
        opaque=opaque,
        has_root=extraction.has_root,
        needs=extraction.needs,
        warnings=tuple(extraction.warnings.sentences),
    )


def _allowed(entries: int, size: int) -> int:
    """How many entries there may be when *size* bytes of the blob have been read; fewer than there are is refused."""
    allowed = ENTRIES_FREE + size // ENTRY_BYTES
    if entries > allowed:
        raise Malformed(f"more than {allowed} entries in {size} bytes")
    if entries > ENTRIES_MAX:
        raise Malformed(f"more than {ENTRIES_MAX} entries")
    return min(allowed, ENTRIES_MAX)


def _compare(of: str, actual: str, expected: str | None) -> None:
    if expected is not None and actual != expected:
        raise Malformed(f"its {of} has the digest {actual}, not {expected}")


def _checked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= BLOCK_BYTES:
            break
    if head:
        check_head(head)
        yield head
        del head
    yield from pieces
