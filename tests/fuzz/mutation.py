"""Mutants of archives: bytes that are changed anywhere, and headers that lie under a checksum that is right."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tests import tars
from tests.fuzz.seeds import sealed

BLOCK = tars.END[:512]
# offset and length of the fields of a header: see minirun/layer/tar.py
_FIELDS = (
    (0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (329, 8), (337, 8),
    (345, 155), (386, 12), (398, 12), (482, 1), (483, 12), (500, 12),
)  # fmt: skip
_NUMBERS = (
    b"", b"0", b"7" * 11, b"7" * 12, b"-1", b"8", b"0x1", b"1_0", b" 1 ", b"1 1", b"\xff" * 12, b"\x80" * 12,
    b"\x80" + bytes(11), b"\x80\0\0\0\x7f" + b"\xff" * 7, b"\xbf" + b"\xff" * 11, b"\xc0" + bytes(11), b"\0" * 12,
    b"1\0" * 6, b"37777777777",
)  # fmt: skip
_NAMES = (
    b"", b".", b"..", b"/", b"a/", b"d/f", b"s", b"s/x", b"../../x", b"/etc/passwd", b".wh.", b".wh.a", b".wh..wh..opq",
    b"d/.wh..wh..opq", b"n" * 100, b"a/" * 50, b"\xff\xfe", b"d/../s", b".wh..wh.plnk/x",
)  # fmt: skip
_KINDS = b"\x000123456789gxLKSVDMNX\xff"
_KEYS = (
    b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"SCHILY.xattr.user.a", b"SCHILY.xattr.",
    b"GNU.sparse.map", b"GNU.sparse.size", b"GNU.sparse.name", b"GNU.sparse.realsize", b"GNU.sparse.major",
    b"GNU.sparse.minor", b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"GNU.sparse.numblocks", b"GNU.sparse.", b"",
    b"\0", b"comment",
)  # fmt: skip
_VALUES = (
    b"", b"0", b"1", b"-1", b"18446744073709551616", b"9223372036854775807", b"1.5", b"-1.999999999999", b".", b"1e9",
    b"0,512,2000,512", b"0,0," * 99 + b"0,0", b"5,1,4,1", b"a/" * 2000 + b"f", b"n" * 300, b"a\0b", b"\xb2",
    b"x" * 70000,
)  # fmt: skip

_WORD = re.compile(rb'"[^"\0]*"|[0-9]+|null|true|\[[^][{}\0]*\]|\{[^][{}\0]*\}')
_WORDS = (
    b"", b"0", b"-1", b"1e999", b"9" * 40, b"null", b"true", b"[]", b"{}", b'""', b'"../../x"', b'"/etc/passwd"',
    b'"sha256:"',
    b'"sha256:../../../../etc/passwd"', b'"\\ud800"', b'"\xff"', b"NaN", b"[[[[[[", b'{"a":{}}', b'"sha512:abc"',
    b'"a\\u0000"',
)  # fmt: skip


class Mutator:
    """Makes mutants, the same ones for the same *seed*.

    Args:
        seed: of chance.
        archives: what is mutated, and what parts of it are mixed with.
    """

    def __init__(self, seed: int, archives: Sequence[bytes]) -> None:
        self.chance = random.Random(seed)
        self.archives = archives
        self._changes: list[Callable[[bytearray], None]] = [
            self._flip, self._overwrite, self._insert, self._delete, self._copy, self._cut, self._splice,
            *[self._field] * 6, *[self._block] * 3, *[self._extension] * 3,
        ]  # fmt: skip

    def mutant(self) -> bytes:
        """The next one."""
        data = bytearray(self.chance.choice(self.archives))
        for _ in range(self.chance.choice((1, 1, 1, 2, 3, 5, 9))):
            self.chance.choice(self._changes)(data)
        return bytes(data)

    def mutant_text(self) -> bytes:
        """The next one, of which only words of JSON are others; lengths, and so the tar, stay as they are."""
        return self.changed_text(self.chance.choice(self.archives))

    def changed_text(self, text: bytes) -> bytes:
        """Other words in *text*, of the same length."""
        data = bytearray(text)
        words = list(_WORD.finditer(data))
        for _ in range(self.chance.choice((1, 1, 2, 4))):
            word = self.chance.choice(words)
            length = word.end() - word.start()
            other = self.chance.choice((*_WORDS, self.chance.choice(words).group()))[:length]
            data[word.start() : word.end()] = other.ljust(length)
        return bytes(data)

    def _place(self, data: bytearray) -> int:
        return self.chance.randrange(len(data) + 1)

    def _length(self) -> int:
        return self.chance.choice((1, 2, 4, 8, 100, 512, 1024, 5000))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)

    def _overwrite(self, data: bytearray) -> None:
        at = self._place(data)
        some = self.chance.choice((*_NUMBERS, *_NAMES, self.chance.randbytes(self.chance.choice((1, 4, 30)))))
        data[at : at + len(some)] = some

    def _insert(self, data: bytearray) -> None:
        at = self._place(data)
        data[at:at] = self.chance.choice((bytes(self._length()), self.chance.randbytes(self._length())))

    def _delete(self, data: bytearray) -> None:
        at = self._place(data)
        del data[at : at + self._length()]

    def _copy(self, data: bytearray) -> None:
        start, to = self._place(data), self._place(data)
        data[to:to] = data[start : start + self._length()]

    def _cut(self, data: bytearray) -> None:
        del data[self._place(data) :]

    def _splice(self, data: bytearray) -> None:
        other = self.chance.choice(self.archives)
        at = self._place(data) & ~511
        start = self.chance.randrange(len(other) + 1) & ~511
        data[at:] = other[start:]

    def _header(self, data: bytearray) -> int:
        """The offset of a header, or of any block where there is none."""
        at = (self._place(data) & ~511) if data else 0
        for start in range(at, len(data) - 511, 512):
            if data[start + 257 : start + 262] == b"ustar":
                return start
        return at

    def _field(self, data: bytearray) -> None:
        at = self._header(data)
        if len(data) - at < 512:
            return
        start, length = self.chance.choice(_FIELDS)
        if length == 1:
            value = bytes([self.chance.choice(_KINDS)])
        elif length in (8, 12):
            value = self.chance.choice((*_NUMBERS, self.chance.randbytes(length), b"%o" % self.chance.getrandbits(33)))
        else:
            value = self.chance.choice((*_NAMES, self.chance.randbytes(length)))
        data[at + start : at + start + length] = value[:length].ljust(length, b"\0")
        data[at : at + 512] = sealed(bytes(data[at : at + 512]))

    def _block(self, data: bytearray) -> None:
        """Move, double, drop or blank a block."""
        at, to = self._header(data), self._place(data) & ~511
        block = data[at : at + 512]
        what = self.chance.randrange(4)
        if what == 0:
            del data[at : at + 512]
        if what <= 2:
            data[to:to] = block
        elif len(block) == 512:
            data[at : at + 512] = BLOCK

    def _extension(self, data: bytearray) -> None:
        """Put a pax header, or a long name, before an entry."""
        at = self._header(data)
        if self.chance.random() < 0.2:
            extension = tars.long(self.chance.choice((*_NAMES, *_VALUES)), self.chance.choice((b"L", b"K")))
        else:
            count = self.chance.choice((1, 1, 2, 5, 40))
            records = [(self.chance.choice(_KEYS), self.chance.choice(_VALUES)) for _ in range(count)]
            written = bytearray(b"".join(map(tars.record, records)))
            if self.chance.random() < 0.3:
                self._overwrite(written)
            extension = tars.raw_pax(bytes(written), self.chance.choice((b"x", b"x", b"g")))
        data[at:at] = extension
