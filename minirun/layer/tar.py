"""Tar archives read from a stream with bounds on everything: ustar, GNU and pax, as other people's tools write them.

    offset  0         100   108  116  124   136    148       156   157      257      265         329  337  345     500
            name      mode  uid  gid  size  mtime  checksum  type  linkname magic    uname gname maj  min  prefix
            ╰ 100 ╯   8     8    8    12    12     8         1     100      8        32    32    8    8    155

    [x: pax records | L, K: GNU long names]  header  data, padded to 512  …  two zero blocks  anything

An archive that promises more than is there is cut short, never believed: nothing is allocated by a number that it says.
Nor may it take longer than its length accounts for: see Reader.
See pax(1) of POSIX, and "Basic Tar Format" and "Sparse Formats" in the manual of GNU tar.
"""

from __future__ import annotations

import os
import struct
import zlib

from minirun.layer import entries, pax, sparse
from minirun.layer.field import NUMBER_MAX, Malformed, octal
from minirun.layer.stream import BLOCK_BYTES, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
_SPARSE_GNU = b"S"
_KIND = {
    b"\0": FILE,
    b"0": FILE,
    b"7": FILE,  # contiguous: a wish about its place on the disk
    _SPARSE_GNU: FILE,
    **{kind: kind for kind in (HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO)},
}
_HEADER_ONLY = {HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY, FIFO}

NAME_MAX_BYTES = 4096
EXTENSION_MAX_BYTES = 1 << 20  # of a pax header or a GNU long name, as everybody has it
EXTENSIONS_MAX = 64  # headers before one entry; other people's tools write three at most
RECORDS_EACH = 64
RECORDS_FREE = 1_000_000  # a second's worth
UID_MAX = 0xFFFFFFFE  # -1 means "leave it" to chown(2)
_ZERO = bytes(BLOCK_BYTES)
_FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12x").unpack
_CACHED_NUMBERS = 4096


class Entry:
    """One entry of an archive.

    Attributes:
        name: as written, without NUL, at most 4,096 bytes.
        kind: FILE, HARDLINK, SYMLINK, CHARACTER, BLOCK, DIRECTORY or FIFO.
        mode: permission bits with setuid, setgid and sticky.
        uid, gid: 0 to 4294967294.
        size: of a file once it is written, holes included, in bytes.
        mtime_ns: may be negative.
        link: target of a symlink or hardlink.
        device: (major, minor).
        xattrs: name → value, by SCHILY.xattr records.
        regions: (offset, length) of what a sparse file's data are, None for other files.
    """

    __slots__ = ("device", "gid", "kind", "link", "mode", "mtime_ns", "name", "regions", "size", "uid", "xattrs")

    name: bytes
    kind: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    link: bytes
    device: tuple[int, int]
    xattrs: dict[bytes, bytes] | None
    regions: list[tuple[int, int]] | None


class Reader(Stream):
    """The entries of an archive in the order in which they come.

    An archive of nothing but tiny pax records, or pieces of sparse files, is small once it is compressed and takes
    minutes to read: an entry may have RECORDS_EACH of either, and all that have more RECORDS_FREE together.

    Args:
        chunks: the archive in pieces of any length.
    """

    __slots__ = ("_numbers", "_records", "_unread")

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__(chunks)
        self._records = RECORDS_FREE
        self._unread = 0  # data and padding of the current entry that nobody took
        self._numbers: dict[bytes, int] = {}

    def next(self) -> Entry | None:
        """Read the next entry; None at the end of the archive, marked or not.

        Raises:
            Malformed: what follows is no valid entry, or is cut off.
        """
        if self._unread and not self._skip_unread():
            return None
        plain = entries.plain(self._buffer, self._position)
        if plain is not None:
            entry = Entry()
            (
                self._position, entry.name, entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.mtime_ns,
                entry.link,
            ) = plain  # fmt: skip
            entry.xattrs = entry.regions = None
            self._unread = (entry.size + 511) & ~511
            return entry
        records = pax.NONE
        long_name = long_link = b""
        for _number in range(EXTENSIONS_MAX + 1):
            header = self._header()
            if header is None:
                return None
            fields = _FIELDS(header)
            kind = fields[7]
            if kind == b"x":
                records = pax.parse(self._extension(fields[4]))
                self._account(records.count)
            elif kind == b"g":
                self._extension(fields[4])
            elif kind == b"L":
                long_name = self._extension(fields[4]).partition(b"\0")[0]
            elif kind == b"K":
                long_link = self._extension(fields[4]).partition(b"\0")[0]
            else:
                return self._entry(header, fields, records, long_name, long_link)
        raise Malformed(f"more than {EXTENSIONS_MAX} extended headers before one entry")

    def _account(self, count: int) -> None:
        if count > RECORDS_EACH:
            self._records -= count - RECORDS_EACH
            if self._records < 0:
                raise Malformed("too many pax records, or pieces of sparse files")

    def _entry(
        self, header: bytes, fields: tuple[bytes, ...], records: pax.Records, long_name: bytes, long_link: bytes
    ) -> Entry:
        name, mode, uid, gid, size, mtime, _sum, kind, link, magic, major, minor, prefix = fields
        entry = Entry()
        number = self._number
        if long_name:
            name = long_name
        else:
            name = name.partition(b"\0")[0]
            if magic[:6] == b"ustar\0" and prefix[0]:
                if header[508:] == b"tar\0":
                    prefix = prefix[:131]  # star keeps times behind it
                name = prefix.partition(b"\0")[0] + b"/" + name
        try:
            entry.kind = _KIND[kind]
        except KeyError:
            raise Malformed(f"an entry of unknown type {kind!r}") from None
        if entry.kind == FILE and name[-1:] == b"/":
            entry.kind = DIRECTORY  # before POSIX directories had no type of their own
        entry.name = name
        entry.link = long_link or link.partition(b"\0")[0]
        entry.mode = number(mode) & 0o7777
        entry.uid = number(uid)
        entry.gid = number(gid)
        entry.mtime_ns = number(mtime) * 1_000_000_000
        stored = number(size)
        entry.xattrs = entry.regions = None
        if entry.kind in (CHARACTER, BLOCK):
            entry.device = number(major), number(minor)
        if records is not pax.NONE:
            stored = _apply(entry, records, stored)
        if not 0 <= entry.uid <= UID_MAX or not 0 <= entry.gid <= UID_MAX:
            raise Malformed(f"owner {entry.uid}:{entry.gid} is out of range")
        if not 0 <= stored <= NUMBER_MAX:
            raise Malformed(f"a size of {stored} bytes")
        if len(entry.name) > NAME_MAX_BYTES or len(entry.link) > NAME_MAX_BYTES:
            raise Malformed(f"a name of more than {NAME_MAX_BYTES} bytes")
        if entry.kind in _HEADER_ONLY:
            stored = 0
        entry.size = stored
        self._unread = stored + (-stored & 511)
        if entry.kind == FILE and (kind == _SPARSE_GNU or records.sparse):
            self._sparse(entry, header, kind, records)
        return entry

    def _sparse(self, entry: Entry, header: bytes, kind: bytes, records: pax.Records) -> None:
        stored = entry.size
        before = self._unread
        if kind == _SPARSE_GNU:
            # its further maps stand between header and data and are not counted in the size
            entry.size, entry.regions = sparse.read_gnu(header, self._take_block)
        else:
            entry.size, entry.regions = sparse.read_pax(records.sparse, stored, self._take_data_block)
            stored -= before - self._unread
        self._account(len(entry.regions))
        sparse.check(entry.regions, entry.size, stored)

    def _take_block(self) -> bytes:
        return self._take(512)

    def _take_data_block(self) -> bytes:
        if self._unread < 512:
            raise Malformed("a sparse map that is longer than its file")
        self._unread -= 512
        return self._take(512)

    def make(self, entry: Entry, directory: int, name: bytes, uid: int, gid: int) -> bool:
        """Make a file of the *entry* that was read last, if that is plain and all of it here; see entries.make."""
        size = entry.size
        if size > self._end - self._position or entry.regions is not None or entry.xattrs:
            return False
        if not entries.make(
            directory, name, self._buffer, self._position, size, uid, gid, entry.mode, entry.mtime_ns
        ):  # fmt: skip
            return False
        self._position += size
        self._unread -= size
        return True

    def copy(self, entry: Entry, descriptor: int) -> None:
        """Write the data of the *entry* that was read last into an empty file.

        Raises:
            Malformed: the archive ends before.
            OSError: of write(2), lseek(2) or ftruncate(2).
        """
        if entry.regions is None:
            self._copy(descriptor, entry.size)
            return
        os.ftruncate(descriptor, entry.size)
        for offset, length in entry.regions:
            if length:
                os.lseek(descriptor, offset, os.SEEK_SET)
                self._copy(descriptor, length)

    def _copy(self, descriptor: int, size: int) -> None:
        self._unread -= size
        while size:
            if self._position == self._end:
                self._refill()
            written = os.write(descriptor, self._buffer[self._position : self._position + size])
            self._position += written
            size -= written

    def _header(self) -> bytes | None:
        position = self._position
        if self._end - position >= 512:
            self._position = position + 512
            header = bytes(self._buffer[position : position + 512])
        else:
            maybe = self._take_or_end()
            if maybe is None:
                return None
            header = maybe
        if header[0] == 0 and header == _ZERO:
            second = self._take_or_end()
            if second is not None and second != _ZERO:
                raise Malformed("a lone zero block")
            return None
        _check(header)
        return header

    def _extension(self, field: bytes) -> bytes:
        size = self._number(field)
        if not 0 <= size <= EXTENSION_MAX_BYTES:
            raise Malformed(f"an extended header of {size} bytes; {EXTENSION_MAX_BYTES} are allowed")
        return self._take(size + (-size & 511))[:size]

    def _skip_unread(self) -> bool:
        while self._unread:
            if self._position == self._end and not self._more():
                if self._unread >= 512:
                    raise Malformed("it ends in the middle of an entry's data")
                return False  # only padding is missing
            count = min(self._unread, self._end - self._position)
            self._position += count
            self._unread -= count
        return True

    def _number(self, field: bytes) -> int:
        """Read a numeric field: octal text, or base-256 where the first bit is set."""
        try:
            return self._numbers[field]  # owners, modes and even times are few
        except KeyError:
            value = octal(field)
        if len(self._numbers) < _CACHED_NUMBERS:
            self._numbers[field] = value
        return value


def _check(header: bytes) -> None:
    """Compare the checksum: the sum of all bytes, its own eight taken as blanks."""
    own = header[148:156]
    expected = octal(own)
    # Adler's first half is this sum plus one, modulo 65521, at a tenth of the price of sum().
    if zlib.adler32(header) & 0xFFFF == (expected + sum(own) - 255) % 65521:
        return
    signed = sum(header) - sum(own) + 256 - 256 * sum(byte > 127 for byte in header[:148] + header[156:])
    if expected != signed:  # some old writers added signed characters
        raise Malformed("a header with a wrong checksum")


def _apply(entry: Entry, records: pax.Records, stored: int) -> int:
    """Let pax *records* overrule what the header said; returns the size of the stored data."""
    if records.path:
        entry.name = records.path
        if entry.kind == FILE and entry.name[-1:] == b"/":
            entry.kind = DIRECTORY
    if records.link:
        entry.link = records.link
    if records.uid is not None:
        entry.uid = records.uid
    if records.gid is not None:
        entry.gid = records.gid
    if records.mtime_ns is not None:
        entry.mtime_ns = records.mtime_ns
    entry.xattrs = records.xattrs
    return stored if records.size is None else records.size
