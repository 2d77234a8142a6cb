"""A layer's blob on its way to whoever unpacks it: read, hashed, decompressed and hashed again in two threads.

                          ┌──▶ kept
    descriptor ──▶ sha256 ┴ of the blob ──▶ decompress ──┬──▶ the consumer's thread
    or chunks      ╰─────────── thread 1 ────────────╯   └──▶ sha256 of the tar      thread 2

Both arrows out of thread 1 are bounded, so memory is, whatever the blob says. OpenSSL and the decompressors let go of
the interpreter's lock, so the three run side by side.
"""

from __future__ import annotations

import hashlib
import os
import queue
import select
import threading
from stat import S_ISREG

from minirun.layer import compression
from minirun.layer.field import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from minirun.layer.blobs import Keeper

READ_BYTES = 1 << 18
AHEAD = 32  # pieces of compression.PIECE_BYTES
_POLL_MS = 200


class _Closed(Exception):
    """The consumer went away."""


class Blob:
    """The tar in a blob, and what both hash to.

    Args:
        source: a descriptor to read from where it stands, which stays the caller's; or the blob in chunks, which are
            closed with this.
        progress: called now and then, in the consumer's thread, with how many bytes of the blob have been read.
        keeper: is given the blob as it is read; its end is for the caller to see to.

    Attributes:
        compression: ``gzip``, ``zstd``, ``xz`` or ``none``; set with the first piece.
        digest: ``sha256:…`` of the blob; set at the end.
        diff_id: ``sha256:…`` of the tar; set at the end.
        size: bytes of the blob so far.
    """

    def __init__(
        self, source: int | Iterable[bytes], progress: Callable[[int], None] | None = None,
        keeper: Keeper | None = None,
    ) -> None:  # fmt: skip
        self.compression = self.digest = self.diff_id = ""
        self.size = 0
        self._progress = progress
        self._keeper: Keeper | None = None
        self._keeper_waits = keeper
        self._read = iter(_from(source, self._is_closed) if isinstance(source, int) else source)
        self._blob_hash = hashlib.sha256()
        self._tar_hash = hashlib.sha256()
        self._closed = False
        self._error: BaseException | None = None
        self._pieces: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._unhashed: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(AHEAD)
        self._hash_room = threading.Semaphore(AHEAD)
        # daemons: an interpreter that ends in the middle must not wait for a pipe that nobody writes to
        self._threads = [
            threading.Thread(target=self._decompress, name="decompress", daemon=True),
            threading.Thread(target=self._hash, name="hash", daemon=True),
        ]

    def __enter__(self) -> Blob:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """Yield the tar in pieces.

        Raises:
            Malformed: the blob is damaged, cut off or of an unknown form.
            OSError: it could not be read.
        """
        while (piece := self._pieces.get()) is not None:
            yield piece
            self._room.release()
            if self._progress:
                self._progress(self.size)
        self._pieces.put(None)  # whoever asks again gets the same answer
        for thread in self._threads:
            thread.join()
        if self._error is not None:
            raise self._error
        self.digest = f"sha256:{self._blob_hash.hexdigest()}"
        self.diff_id = self.digest if self.compression == "none" else f"sha256:{self._tar_hash.hexdigest()}"

    def close(self) -> None:
        """End the threads, wherever they are, and the chunks; idempotent."""
        self._closed = True
        self._room.release(2)
        self._hash_room.release(2)
        for thread in self._threads:
            thread.join()
        # an error refers to the frames that it came through, and they to what was read: until somebody collects
        # garbage, nobody else closes it
        if (close := getattr(self._read, "close", None)) is not None:
            close()

    def _is_closed(self) -> bool:
        return self._closed

    def _decompress(self) -> None:
        try:
            head = self._first()
            self.compression = compression.detect(head)
            if self._keeper_waits is not None:
                self._keeper = self._keeper_waits
                self._keeper.begin(self.compression)
                self._keeper.write(head)
            parts = iter((head,))
            for piece in compression.pieces(self.compression, lambda: next(parts, b"") or self._next()):
                self._room.acquire()
                self._pieces.put(piece)
                if self.compression != "none":
                    self._hash_room.acquire()
                    self._unhashed.put(piece)
                if self._closed:
                    break
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer's thread
            self._error = error
        finally:
            self._unhashed.put(None)
            self._pieces.put(None)

    def _hash(self) -> None:
        while (piece := self._unhashed.get()) is not None:
            self._tar_hash.update(piece)
            self._hash_room.release()

    def _first(self) -> bytes:
        head = self._next()
        while len(head) < compression.HEAD_BYTES:
            more = self._next()
            if not more:
                break
            head += more
        return head

    def _next(self) -> bytes:
        if self._closed:
            raise _Closed
        for chunk in self._read:
            if chunk:
                self._blob_hash.update(chunk)
                self.size += len(chunk)
                if self._keeper is not None:
                    self._keeper.write(chunk)
                return chunk
        return b""


def _from(descriptor: int, closed: Callable[[], bool]) -> Iterator[bytes]:
    waits = not S_ISREG(os.fstat(descriptor).st_mode)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        while waits and not poll.poll(_POLL_MS):
            if closed():
                return
        chunk = os.read(descriptor, READ_BYTES)
        if not chunk:
            return
        yield chunk


def check_head(head: bytes) -> None:
    """Refuse what was decompressed well and is no tar archive, by a sentence that says what it looks like."""
    if not compression.is_tar(head):
        raise Malformed(compression.resemblance(head))
