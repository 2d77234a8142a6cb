"""Archives to begin with: of everything that a reader of layers knows something, and real ones where they are built."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import zstandard

from tests import tars
from tests.archives import OCI, Saved, archive, digest, save, save_legacy, save_today
from tests.tars import device, directory, file, hardlink, header, pax, symlink, tar, xattr

BUILT = Path(__file__).resolve().parents[2] / "rootfs-fixtures/out"
_REAL_MAX_BYTES = 1 << 14  # of a real one its beginning, for mutants are many
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "gzip in members": lambda data: gzip.compress(data[:700], mtime=0) + gzip.compress(data[700:], mtime=0) + b"junk",
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zstd in frames": lambda data: (
        b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstandard.compress(data[:999]) + zstandard.compress(data[999:])
    ),
    "zstd without a size": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    "xz": lzma.compress,
    "xz in streams": lambda data: lzma.compress(data[:999]) + bytes(8) + lzma.compress(data[999:]),
}
ONE = Saved(
    ["one:1", "localhost:5000/one:2"],
    [tar(directory(b"bin"), file(b"bin/sh", b"x")), tar(file(b".wh.bin"))],
    {
        "config": {"Cmd": ["sh"], "Env": ["A=b"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}}},
        "created": "2020-01-01T00:00:00Z",
        "history": [{"created_by": "x", "created": "2020-01-01T00:00:00Z"}, {"empty_layer": True}, {"comment": "y"}],
    },
)
_VERSION = (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0")
_PAIRS = b"%011o\0%011o\0"


def archives() -> list[bytes]:
    """The small ones."""
    content = b"content\n" * 90
    everything = [
        directory(b"./", 0o750, uid=3, gid=4, mtime=99),
        directory(b"d", 0o2755, gid=5),
        file(b"d/f", content, 0o4755, uid=1000),
        file(b"empty"),
        symlink(b"s", b"d"),
        file(b"s/through", b"x"),
        hardlink(b"h", b"d/f"),
        hardlink(b"below", b"lower/file"),
        device(b"null", 1, 3),
        device(b"loop", 7, 0, b"4"),
        header(b"fifo", b"6"),
        file(b".wh.gone"),
        file(b"d/.wh..wh..opq"),
        file(b"implied/deep/f"),
        file(b"d/f", b"again"),
        directory(b"s"),
        file(b"d"),
    ]
    long_names = [
        tars.long(b"l" * 200) + file(b"cut", b"1"),
        tars.long(b"t" * 150, b"K") + symlink(b"s", b"cut"),
        pax((b"path", b"p/" * 100 + b"f")) + file(b"cut", b"2"),
        pax((b"linkpath", b"v" * 150)) + symlink(b"v", b"cut"),
        header(b"n" * 90, prefix=b"u" * 150),
        pax((b"path", "ü".encode() * 60), (b"hdrcharset", b"BINARY")) + file(b"cut"),
    ]
    numbers = [
        pax((b"uid", b"4294967294"), (b"gid", b"70000"), (b"mtime", b"-1234567890.123456789")) + file(b"a"),
        pax((b"size", b"3"), (b"mtime", b"1000.5")) + header(b"b", size=0) + tars.padded(b"abc"),
        header(b"c", mtime=b"\xff" * 12, uid=b"\x80\0\0\0\0\1\0\0"),
        header(b"d", size=b"\x80" + (5).to_bytes(11, "big")) + tars.padded(b"12345"),
        tars.raw_pax(tars.record((b"uid", b"77")), b"g") + file(b"e"),
    ]
    xattrs = [
        xattr(b"user.a", b"1\0\n=2") + file(b"f", content),
        xattr(b"security.capability", b"\1\0\0\2\0\4\0\0" + bytes(12)) + file(b"ping", b"x", 0o755),
        xattr(b"trusted.overlay.opaque", b"y") + directory(b"d"),
        pax((b"SCHILY.xattr.user.b", b"2"), (b"LIBARCHIVE.xattr.user.c", b"MQ"), (b"comment", b"")) + directory(b"d"),
    ]
    data = b"A" * 512 + b"B" * 512
    sparse = [
        pax(*_VERSION, (b"GNU.sparse.name", b"one"), (b"GNU.sparse.realsize", b"3000"))
        + header(b"cut", size=512 + 1024) + tars.padded(b"2\n0\n512\n2000\n512\n") + data,
        pax((b"GNU.sparse.size", b"3000"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.map", b"0,512,2000,512"),
            (b"GNU.sparse.name", b"two")) + file(b"cut", data),
        pax((b"GNU.sparse.size", b"3000"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.offset", b"0"),
            (b"GNU.sparse.numbytes", b"512"), (b"GNU.sparse.offset", b"2000"), (b"GNU.sparse.numbytes", b"512"))
        + file(b"three", data),
        old_sparse(b"four", 8192, [(number * 1024, 128) for number in range(8)], b"C" * 1024),
    ]  # fmt: skip
    oddities = [
        file(b"../../up"),
        file(b"/absolute"),
        hardlink(b"x", b"/d/../absolute"),
        file(b"a//b/./c/"),
        file(b".wh..wh.aufs"),
        header(b"old/", b"\0", magic=b""),
        header(b"contiguous", b"7", size=3) + tars.padded(b"abc"),
    ]
    groups = (everything, long_names, numbers, xattrs, sparse, oddities)
    return [tar(*(entry for group in groups for entry in group)), *(tar(*group) for group in groups), b"", tars.END]


def images() -> list[bytes]:
    """Archives of images in all forms, each of two images that share a layer, and with names."""
    two = Saved([], [ONE.layers[0], b""], {"architecture": "arm64", "variant": "v8", "history": [{"created_by": "x"}]})
    return [form(ONE, two) for form in (save, save_legacy, save_today)] + [
        saved_index(ONE),
        archive(
            {"00-base.tar": ONE.layers[0], "01-top.tar.gz": gzip.compress(ONE.layers[1], mtime=0), "image.json": b"{}"}
        ),
    ]


def saved_index(image: Saved, edit: Callable[[bytes], bytes] = bytes) -> bytes:
    """An OCI archive with an index in an index, and platforms; *edit* changes each document before it has a digest."""
    blobs: dict[str, bytes] = {}

    def blob(document: object, kind: str, **more: object) -> dict[str, object]:
        data = document if isinstance(document, bytes) else edit(json.dumps(document).encode())
        blobs[f"blobs/sha256/{digest(data)}"] = data
        return {"mediaType": f"{OCI}{kind}", "digest": f"sha256:{digest(data)}", "size": len(data), **more}

    layers = [blob(gzip.compress(layer, mtime=0), "layer.v1.tar+gzip") for layer in image.layers]
    config = blob(edit(image.document()), "config.v1+json")
    manifests = [
        blob({"schemaVersion": 2, "config": config, "layers": layers, "annotations": {"n": str(number)}},
             "manifest.v1+json", platform={"os": "linux", "architecture": architecture})
        for number, architecture in enumerate(("amd64", "arm64"))
    ]  # fmt: skip
    inner = blob({"schemaVersion": 2, "manifests": manifests}, "index.v1+json")
    inner["annotations"] = {"org.opencontainers.image.ref.name": "x"}
    outer = {"schemaVersion": 2, "manifests": [inner]}
    files = {"index.json": json.dumps(outer).encode(), "oci-layout": b'{"imageLayoutVersion": "1.0.0"}', **blobs}
    return archive(files)


def old_sparse(name: bytes, real: int, regions: list[tuple[int, int]], data: bytes) -> bytes:
    """A file with holes as old GNU tar wrote it: four pieces in the header, more of them in blocks behind it."""

    def pairs(some: list[tuple[int, int]], room: int) -> bytes:
        return b"".join(_PAIRS % pair for pair in some).ljust(24 * room, b"\0")

    block = header(name, b"S", size=len(data), magic=b"ustar  \0")[:386]
    rest = regions[4:]
    block += (pairs(regions[:4], 4) + (b"\1" if rest else b"\0") + b"%011o\0" % real).ljust(126, b"\0")
    blocks = sealed(block)
    while rest:
        some, rest = rest[:21], rest[21:]
        blocks += (pairs(some, 21) + (b"\1" if rest else b"\0")).ljust(512, b"\0")
    return blocks + tars.padded(data)


def sealed(block: bytes) -> bytes:
    """A header block with the checksum that its other bytes ask for."""
    total = sum(block) - sum(block[148:156]) + 256
    return block[:148] + b"%06o\0 " % total + block[156:]


def real() -> list[bytes]:
    """The beginnings of blobs and archives below rootfs-fixtures/out, in the order of their names."""
    found = []
    for path in sorted(BUILT.rglob("*")):
        if path.is_file() and path.stat().st_size > 0:
            with path.open("rb") as blob:
                found.append(blob.read(_REAL_MAX_BYTES))
    return found
