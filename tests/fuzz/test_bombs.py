"""Small archives that would become large ones: taken, or refused and nothing left, in seconds and 200 MB."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import zstandard
from isal import isal_zlib

from tests import busybox, family, tars
from tests.command import PATIENCE, Minirun
from tests.tars import directory, file, hardlink, header, pax, symlink, tar

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the store is root's")

MEMORY_MAX_MB = 200
TIME_MAX_S = 10
GIB = 1 << 30
RANDOM = random.Random(1).randbytes(1 << 20)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system in memory, so that minirun is measured and not the disk; what it holds counts as nobody's."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def zeros(count: int) -> Iterator[bytes]:
    """A file of nothing, and its archive's end."""
    yield header(b"zeros", size=count)
    yield from (bytes(1 << 20) for _ in range(count >> 20))
    yield tars.END


def by_gzip(parts: Iterable[bytes]) -> Iterator[bytes]:
    compressor = isal_zlib.compressobj(3, isal_zlib.DEFLATED, 31)
    yield from map(compressor.compress, parts)
    yield compressor.flush()


def by_zstd(parts: Iterable[bytes], window_log: int = 0) -> Iterator[bytes]:
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, compression_level=1)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    yield from map(compressor.compress, parts)
    yield compressor.flush()


def by_xz(parts: Iterable[bytes], dictionary_bytes: int = 1 << 20) -> Iterator[bytes]:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": dictionary_bytes}]
    compressor = lzma.LZMACompressor(filters=filters)
    yield from map(compressor.compress, parts)
    yield compressor.flush()


def noise(count: int, number: int) -> Iterator[bytes]:
    """An archive that does not compress, another for every *number*."""
    for place in range(count):
        yield file(b"%d-%d" % (number, place), RANDOM)
    yield tars.END


def same(count: int, *entries: bytes) -> Iterator[bytes]:
    """The same entries again and again."""
    once = b"".join(entries)
    yield from (once for _ in range(count))
    yield tars.END


def hole(size: int) -> bytes:
    """A sparse file without data."""
    return tar(pax((b"GNU.sparse.map", b""), (b"GNU.sparse.size", b"%d" % size)) + file(b"f"))


def links(start: int) -> bytes:
    """A file and 50,000 names of it: some file systems have no more than 65,000."""
    names = range(start, start + 50_000)
    return file(b"f") + b"".join(hardlink(b"h%d" % number, b"f") for number in names)


def deep(levels: int, rest: bytes = b"") -> bytes:
    return b"a/" * levels + rest


def named(path: bytes, entry: bytes) -> bytes:
    """An entry under a name of any length."""
    return pax((b"path", path)) + entry


# what each layer of an image is, bottom to top, and what a refusal says; "": it is taken
BOMBS: dict[str, tuple[list[Callable[[], Iterator[bytes]]], str]] = {
    "a GiB of zeros by gzip": ([lambda: by_gzip(zeros(GIB))], ""),
    "a GiB of zeros by zstd": ([lambda: by_zstd(zeros(GIB))], ""),
    "a GiB of zeros by xz": ([lambda: by_xz(zeros(GIB))], ""),
    "a GiB behind the end, by gzip": ([lambda: by_gzip([tar(file(b"a")), *[bytes(1 << 20)] * 1024])], ""),
    "zstd with windows of 128 MiB, side by side": (
        [lambda number=number: by_zstd(noise(150, number), 27) for number in range(3)],  # type: ignore[misc] # its default
        "",
    ),
    "xz with dictionaries of 64 MiB, side by side": (
        [lambda number=number: by_xz([file(b"%d" % number), *zeros(70 << 20)], 1 << 26) for number in range(3)],  # type: ignore[misc] # the same
        "",
    ),
    "8 EiB of a hole": ([lambda: iter([hole((1 << 63) - 1)])], "File too large"),
    "a size of 8 EiB": ([lambda: iter([header(b"f", size=b"\x80" + (1 << 62).to_bytes(11, "big"))])], "ends in"),
    "a negative size": ([lambda: iter([tar(header(b"f", size=b"\xff" * 12))])], "a size of -1 bytes"),
    "a negative size of a pax header": ([lambda: iter([tar(header(b"x", b"x", size=b"\xff" * 12))])], "-1 bytes"),
    "a pax header of 8 GiB": (
        [lambda: by_gzip([header(b"x", b"x", size=(1 << 33) - 1), *[bytes(1 << 20)] * 999])],
        "an extended header of 8589934591 bytes",
    ),
    "a pax header of a mebibyte, again and again": (
        [lambda: by_gzip(same(500, tars.raw_pax(b"%d a=%b\n" % (1_000_000, b"x" * 999_989)), file(b"f")))],
        "",
    ),
    "sixty symlinks one after the other": (
        [lambda: iter([tar(*(symlink(b"s%d" % n, b"s%d/x" % (n - 1)) for n in range(60)), file(b"s59/f"))])],
        "a loop of symlinks",
    ),
    "a name of 16 MiB": (
        [lambda: by_gzip([tar(tars.long(b"n" * (16 << 20)) + file(b"f"))])],
        "an extended header of 16777217 bytes",
    ),
    "hundreds of thousands of hard links": (
        [lambda: by_gzip(map(links, range(0, 300_000, 50_000)))],
        "",
    ),
    "a hundred thousand hard links to one file": (
        [lambda: by_gzip([tar(file(b"f"), *(hardlink(b"h%d" % n, b"f") for n in range(100_000)))])],
        "",
    ),
    "a million entries by zstd": ([lambda: by_zstd(same(1_000, file(b"f") * 1_000))], "entries in"),
    "a million entries by gzip": ([lambda: by_gzip(same(1_000, file(b"f") * 1_000))], "entries in"),
    "a full directory that is whited out": (
        [lambda: by_gzip([*(file(b"d/%d" % number) for number in range(150_000)), file(b".wh.d")])],
        "",
    ),
    "ten thousand directories in each other, ten at a time": (
        [lambda: by_gzip([tar(*(directory(b"/".join([b"%d" % (n % 997)] * (n % 10 + 1))) for n in range(10_000)))])],
        "",
    ),
    "gigabytes of headers before an entry": ([lambda: by_gzip(same(2_000, header(b"x", b"x") * 100))], "more than 64"),
    "a million gzip members": ([lambda: iter([gzip.compress(b"") * 1_000_000, gzip.compress(tar(file(b"f")))])], ""),
    "a million zstd frames": (
        [lambda: iter([zstandard.compress(b"") * 1_000_000, zstandard.compress(tar(file(b"f")))])],
        "",
    ),
    "half a million xz streams": ([lambda: iter([lzma.compress(b"") * 500_000, lzma.compress(tar(file(b"f")))])], ""),
    "a gzip header with a name that goes on": (
        [lambda: iter([b"\x1f\x8b\x08\x08" + bytes(6), *[b"n" * (1 << 20)] * 300])],
        "gzip",
    ),
    "twenty thousand whiteouts a hundred levels deep, on twenty layers": (
        [
            *(lambda number=number: iter([tar(directory(deep(100)), file(b"%d" % number))]) for number in range(20)),
            lambda: by_gzip([directory(deep(100)), *(file(deep(100, b".wh.%d" % number)) for number in range(20_000))]),
        ],
        "",
    ),
    "one name as deep as a path goes, on twenty layers": (
        [
            lambda number=number: iter([tar(named(deep(1700, b"f%d" % number), file(b"f")))])  # type: ignore[misc] # the same
            for number in range(20)
        ],
        "",
    ),
    "hard links to files in two deep directories by turns": (
        [
            lambda: by_gzip(
                named(side + deep(300, b"%d" % n), file(b"f")) for side in (b"x/", b"y/") for n in range(500)
            ),
            lambda: by_gzip(
                pax((b"linkpath", side + deep(300, b"%d" % n))) + hardlink(side[:1] + b"%d-link" % n, b"f")
                for n in range(500)
                for side in (b"x/", b"y/")
            ),
        ],
        "",
    ),
    "a skippable frame of 4 GiB": ([lambda: iter([b"\x50\x2a\x4d\x18" + b"\xff" * 4, bytes(300 << 20)])], "cut off"),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_does_no_harm(bomb: str, disk: Path) -> None:
    layers, refusal = BOMBS[bomb]
    (disk / "image").mkdir()
    for number, parts in enumerate(layers):
        with (disk / f"image/{number:02}-layer.tar").open("wb") as out:
            out.writelines(parts())
    minirun = Minirun(disk / "root", disk / "runtime")
    minirun("images", check=True)
    before = busybox.contents(minirun.root)
    words = ("import", disk / "image", "bomb")
    taken = family.watch(minirun.command(words), minirun.environment())
    assert taken.peak_mb < MEMORY_MAX_MB
    assert taken.cpu_s < TIME_MAX_S * PATIENCE
    if refusal:
        assert refusal in taken.stderr
        assert taken.status == 125
        assert busybox.contents(minirun.root) == before
    else:
        assert taken.stderr == ""
        assert taken.status == 0


def test_large_windows_within_a_large_window_are_never_there_together(disk: Path) -> None:
    layers = [b"".join(by_zstd(noise(140, number), 27)) for number in range(2)]
    names = (b"00-base.tar.zst", b"01-top.tar.zst")
    whole = tar(*(file(name, layer) for name, layer in zip(names, layers, strict=True)))
    with (disk / "image.tar.zst").open("wb") as out:
        out.writelines(by_zstd([whole], 27))
    minirun = Minirun(disk / "root", disk / "runtime")
    taken = family.watch(minirun.command(("load", "-i", disk / "image.tar.zst")), minirun.environment())
    assert (taken.status, taken.stderr) == (0, "")
    assert taken.peak_mb < MEMORY_MAX_MB
