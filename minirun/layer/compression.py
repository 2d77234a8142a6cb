"""How a layer is compressed, told by its first bytes, and undone in pieces of bounded size.

1f 8b               gzip    members one after the other; what follows the last is not looked at
28 b5 2f fd         zstd    frames one after the other, also skippable ones (5? 2a 4d 18)
fd 37 7a 58 5a 00   xz      streams one after the other, with zeros between them
a tar header        none

What zstd and xz look back at may be 128 MiB, and several layers are unpacked at once, by processes that are forks of
one: who needs that much waits until all others have finished theirs, and they for it.
"""

from __future__ import annotations

import fcntl
import lzma
import os

from isal import igzip_lib, isal_zlib

from minirun.layer import zstd
from minirun.layer.field import Malformed, octal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    class Decompressor(Protocol):
        """What igzip_lib.IgzipDecompressor and lzma.LZMADecompressor have in common."""

        @property
        def eof(self) -> bool:
            """Whether the end of the member was reached."""

        @property
        def needs_input(self) -> bool:
            """Whether there is nothing left of what was given."""

        @property
        def unused_data(self) -> bytes:
            """What was given beyond the end."""

        def decompress(self, data: bytes | memoryview, max_length: int = -1) -> bytes:
            """Decompress *data* into at most *max_length* bytes; what is left over is kept for the next call."""


HEAD_BYTES = 512
PIECE_BYTES = 1 << 18
MEMORY_MAX_BYTES = 128 << 20  # for the window of zstd --ultra -22; xz -9 needs half of that
LARGE_BYTES = 16 << 20  # `zstd -19` looks back at 8 MiB, `xz -6` too
_SMALL_PIECE_BYTES = 1 << 12
_XZ_OVERHEAD_BYTES = 1 << 20

_OTHERS = (
    (b"BZh", "a bzip2 file"),
    (b"PK\3\4", "a zip archive"),
    (b"\x7fELF", "an ELF program"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x04\x22\x4d\x18", "an lz4 file"),
    (b"LZIP", "an lzip file"),
    (b"\x5d\0\0", "an lzma file"),
    (b"\x1f\x9d", "a file of compress(1)"),
    (b"\x89LZO", "an lzop file"),
    (b"!<arch>\n", "an ar archive (a .deb?)"),
    (b"0707", "a cpio archive"),
    (b"hsqs", "a squashfs image"),
    (b"#!", "a script"),
    (b"\x89PNG", "a picture"),
    (b"%PDF", "a PDF document"),
)


def detect(head: bytes) -> str:
    """Name the compression of a file that begins with *head*: ``gzip``, ``zstd``, ``xz`` or ``none``.

    Raises:
        Malformed: it is neither compressed in a known way nor a tar archive; says what it looks like.
    """
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:4] == b"\x28\xb5\x2f\xfd" or (head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F):
        return "zstd"
    if head[:6] == b"\xfd7zXZ\0":
        return "xz"
    if not head or is_tar(head):
        return "none"
    raise Malformed(resemblance(head))


def is_tar(head: bytes) -> bool:
    """Say whether a file that begins with *head* may be a tar archive, be it damaged further on."""
    if head[257:262] == b"ustar" or not head.strip(b"\0"):
        return True
    try:
        expected = octal(head[148:156]) if len(head) >= HEAD_BYTES else -1
    except Malformed:
        return False
    return expected == sum(head[:512]) - sum(head[148:156]) + 256


def resemblance(head: bytes) -> str:
    """Half a sentence about what a file that is no tar archive looks like."""
    for magic, name in _OTHERS:
        if head.startswith(magic):
            known = "unknown compression" if " file" in name else "not a tar archive"
            return f"{known}: it looks like {name}"
    text = head.lstrip()
    if text[:1] in (b"{", b"["):
        return "not a tar archive: it looks like JSON"
    if text[:1] == b"<":
        return "not a tar archive: it looks like HTML or XML"
    if text.isascii() and text.replace(b"\n", b"").replace(b"\t", b"").replace(b"\r", b"").decode().isprintable():
        return "not a tar archive: it looks like text"
    return "not a tar archive, and of no known compression"


def pieces(compression: str, read: Callable[[], bytes]) -> Iterator[bytes]:
    """Decompress what *read* returns, again and again until it returns nothing, into pieces of PIECE_BYTES.

    Raises:
        Malformed: the data are damaged or cut off.
    """
    turn = _Turn()
    try:
        if compression == "gzip":
            yield from _gzip(read)
        elif compression == "xz":
            yield from _xz(read, turn)
        elif compression == "zstd":
            yield from _zstd(read, turn)
        else:
            yield from iter(read, b"")
    finally:
        turn.over()


def _gzip(read: Callable[[], bytes]) -> Iterator[bytes]:
    input_ = _Input(read)
    try:
        while True:
            yield from input_.member(igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP), "gzip")
            if input_.peek(2) != b"\x1f\x8b":
                break
    except isal_zlib.error as error:  # type: ignore[misc] # its stub calls it an instance
        raise Malformed(f"damaged gzip data ({error})") from None
    while read():
        pass  # gzip(1) ignores it with a warning; it is part of the blob that has a digest


def _xz(read: Callable[[], bytes], turn: _Turn) -> Iterator[bytes]:
    input_ = _Input(read)
    try:
        while True:
            yield from input_.member(_xz_decompressor(input_.peek(_SMALL_PIECE_BYTES), turn), "xz")
            while input_.peek(4) == b"\0\0\0\0":
                input_.position += 4
            if not input_.peek(1):
                return
    except lzma.LZMAError as error:
        raise Malformed(f"damaged xz data ({error})") from None


def _xz_decompressor(head: bytes, turn: _Turn) -> lzma.LZMADecompressor:
    """One for the stream that begins with *head*; of its blocks the first says how much memory they take."""
    limit = LARGE_BYTES + _XZ_OVERHEAD_BYTES
    try:
        lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limit).decompress(head, 1)
    except lzma.LZMAError:  # this, or damaged, which will be told again
        turn.large()
        limit = MEMORY_MAX_BYTES
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=limit)


class _Input:
    """Compressed bytes that a member may take in part."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self.read = read
        self.data = b""
        self.position = 0

    def peek(self, count: int) -> bytes:
        while len(self.data) - self.position < count:
            more = self.read()
            if not more:
                break
            self.data = self.data[self.position :] + more
            self.position = 0
        return self.data[self.position : self.position + count]

    def member(self, decompressor: Decompressor, name: str) -> Iterator[bytes]:
        # What a member does not use is copied out of the decompressor: a file of nothing but tiny members would be
        # copied again for each of them, so each begins with a small bite.
        bite = _SMALL_PIECE_BYTES
        while not decompressor.eof:
            given: bytes | memoryview = b""
            if decompressor.needs_input:
                if not self.peek(1):
                    raise Malformed(f"the {name} data are cut off")
                given = memoryview(self.data)[self.position : self.position + bite]
                self.position += len(given)
                bite = min(2 * bite, PIECE_BYTES)
            piece = decompressor.decompress(given, PIECE_BYTES)
            if piece:
                yield piece
        self.position -= len(decompressor.unused_data)


def _zstd(read: Callable[[], bytes], turn: _Turn) -> Iterator[bytes]:
    import zstandard  # and much of the standard library with it

    frames = zstd.Frames(read, lambda window: turn.large() if window > LARGE_BYTES else None)
    decompressor = zstandard.ZstdDecompressor(max_window_size=MEMORY_MAX_BYTES)
    try:
        # of what is taken for a file only read() is called
        with decompressor.stream_reader(
            frames,  # type: ignore[arg-type]
            read_size=PIECE_BYTES,
            read_across_frames=True,
        ) as reader:
            while piece := reader.read(PIECE_BYTES):
                yield piece
    except zstandard.ZstdError as error:
        raise Malformed(f"damaged zstd data ({error})") from None
    if not frames.whole:
        raise Malformed("the zstd data are cut off")


# Locked by fcntl(2), for those belong to a process and not, as flock(2)'s do, to the file that forks share.
_TURNS = os.memfd_create("minirun decompresses")


class _Turn:
    """The right of this process to decompress: beside others, or with much memory and alone.

    Whoever forks processes that decompress has none itself, else it would wait for them and they for it.
    """

    def __init__(self) -> None:
        self._is_large = False
        fcntl.lockf(_TURNS, fcntl.LOCK_SH)

    def large(self) -> None:
        """Wait until nobody else decompresses."""
        if not self._is_large:
            self._is_large = True
            fcntl.lockf(_TURNS, fcntl.LOCK_UN)  # two who keep theirs would wait for each other
            fcntl.lockf(_TURNS, fcntl.LOCK_EX)

    def over(self) -> None:
        """Let others."""
        fcntl.lockf(_TURNS, fcntl.LOCK_UN)
