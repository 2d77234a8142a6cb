"""Layers that others read lazily, eStargz and zstd:chunked: to minirun the layers that they are compatible with.

    eStargz        gzip │ gzip │ … │ gzip: stargz.index.json, the end of the tar │ gzip: nothing, and where that begins
    zstd:chunked   zstd │ zstd │ … │ skippable: table of contents │ skippable: tar-split │ skippable: where they are

See estargz.md of containerd's stargz-snapshotter, and containers-storage-zstd-chunked.md of containers/storage.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from minirun.errors import BadLayer
from minirun.home import Home
from minirun.layer.store import Layers
from minirun.layer.unpack import unpack
from tests import tars
from tests.command import Minirun
from tests.registries import APART
from tests.tars import directory, file, header, padded, symlink
from tests.trees import describe

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and mounts need root")

INDEX = b"stargz.index.json"
LANDMARK = b".no.prefetch.landmark"
LARGE = bytes(range(256)) * 1000
CONTENTS = {b"bin/app": LARGE, b"etc/app.conf": b"setting\n", b"empty": b""}
OCI = "application/vnd.oci.image."


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def entries(*, landmark: bytes = LANDMARK) -> list[tuple[dict[str, Any], bytes, bytes]]:
    """What the layer has: the entry in a table of contents, the header, the data."""
    found: list[tuple[dict[str, Any], bytes, bytes]] = []
    if landmark:
        found.append(({"name": landmark.decode(), "type": "reg", "size": 1}, header(landmark, size=1), b"\x0f"))
    for name in (b"bin/", b"etc/"):
        found.append(({"name": name.decode(), "type": "dir"}, directory(name), b""))
    for name, data in CONTENTS.items():
        found.append(({"name": name.decode(), "type": "reg", "size": len(data)}, header(name, size=len(data)), data))
    found.append(({"name": "link", "type": "symlink", "linkName": "bin/app"}, symlink(b"link", b"bin/app"), b""))
    return found


def footer(offset: int) -> bytes:
    """The last member of an eStargz blob: 51 bytes, in whose extra field the place of the table stands."""
    extra = b"SG" + struct.pack("<H", 22) + b"%016xSTARGZ" % offset
    whole = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H", len(extra)) + extra + b"\1\0\0\xff\xff" + bytes(8)
    assert len(whole) == 51
    return whole


def estargz(*, landmark: bytes = LANDMARK, chunk: int = 100_000) -> tuple[bytes, bytes, str]:
    """An eStargz blob, the tar in it, and the digest of its table of contents."""
    blob = whole = waiting = b""
    table: list[dict[str, Any]] = []
    for said, head, data in entries(landmark=landmark):
        waiting += head
        whole += head + padded(data)
        table.append({**said, "mode": 0o644, "modtime": "2001-09-09T01:46:40Z"})
        for at in range(0, len(data), chunk):
            blob += gzip.compress(waiting, mtime=0) if waiting else b""
            waiting = b""
            piece = data[at : at + chunk]
            place = {"offset": len(blob), "chunkOffset": at, "chunkSize": len(piece), "chunkDigest": digest(piece)}
            if at:
                table.append({"name": said["name"], "type": "chunk", **place})
            else:
                table[-1] |= {**place, "digest": digest(data)}
            blob += gzip.compress(piece, mtime=0)
        waiting += bytes(-len(data) % 512)
    blob += gzip.compress(waiting, mtime=0)
    document = json.dumps({"version": 1, "entries": table}).encode()
    last = header(INDEX, size=len(document), mode=0o444) + padded(document) + tars.END
    return blob + gzip.compress(last, mtime=0) + footer(len(blob)), whole + last, digest(document)


def skippable(data: bytes) -> bytes:
    return b"\x50\x2a\x4d\x18" + struct.pack("<I", len(data)) + data


def zstd_chunked() -> tuple[bytes, bytes, dict[str, str]]:
    """A zstd:chunked blob, the tar in it, and the annotations that tell where its tables are."""
    blob = whole = waiting = b""
    table: list[dict[str, Any]] = []
    for said, head, data in entries(landmark=b""):
        waiting += head
        whole += head + padded(data)
        table.append({**said, "mode": 0o644})
        if data:
            blob += zstandard.compress(waiting)
            frame = zstandard.compress(data)
            table[-1] |= {"digest": digest(data), "offset": len(blob), "endOffset": len(blob) + len(frame)}
            blob += frame
            waiting = bytes(-len(data) % 512)
    blob += zstandard.compress(waiting + tars.END)
    document = json.dumps({"version": 1, "entries": table}).encode()
    packed, split = zstandard.compress(document), zstandard.compress(b'{"type": 2}\n')
    at, split_at = len(blob) + 8, len(blob) + 8 + len(packed) + 8
    numbers = (at, len(packed), len(document), 1, split_at, len(split), 12)
    blob += skippable(packed) + skippable(split) + skippable(struct.pack("<7Q", *numbers) + b"GNUlInUx")
    name = "io.github.containers.zstd-chunked."
    annotations = {
        f"{name}manifest-checksum": digest(packed),
        f"{name}manifest-position": f"{at}:{len(packed)}:{len(document)}:1",
        f"{name}tarsplit-position": f"{split_at}:{len(split)}:12",
    }
    return blob, whole + tars.END, annotations


def unpacked(blob: bytes, into: Path, whole: bytes) -> set[bytes]:
    """Unpack *blob*, see that its digests are right, and tell what there is."""
    into.mkdir()
    made = unpack([blob], str(into), expected_digest=digest(blob), expected_diff_id=digest(whole))
    found = describe(into)
    for name, data in CONTENTS.items():
        assert found[name].content == data
    assert found[b"link"].content == b"bin/app"
    assert made.size == sum(len(node.content) for node in found.values() if node.kind == "file")
    assert found[b""].mtime_ns == 0
    return found.keys() - CONTENTS.keys() - {b"", b"bin", b"etc", b"link"}


@pytest.mark.parametrize("landmark", [b".prefetch.landmark", LANDMARK])
@pytest.mark.parametrize("chunk", [100_000, 1000])
def test_estargz_is_a_gzip_layer_without_its_table_of_contents(landmark: bytes, chunk: int, tmp_path: Path) -> None:
    blob, whole, _ = estargz(landmark=landmark, chunk=chunk)
    assert gzip.decompress(blob) == whole
    at = int(blob[-51:][16:32], 16)
    assert zlib.decompressobj(31).decompress(blob[at:]).startswith(INDEX)  # as who reads it lazily finds it
    assert unpacked(blob, tmp_path / "gzip", whole) == set()
    # the same contents where the layer comes in another form
    assert unpacked(whole, tmp_path / "none", whole) == set()
    assert unpacked(zstandard.compress(whole), tmp_path / "zstd", whole) == set()


@pytest.mark.parametrize(
    "kept",
    [
        [file(INDEX, b"{}")],
        [file(LANDMARK, b"\x0f")],
        [file(LANDMARK, b"\x0f"), file(INDEX, b"{}"), file(b"last")],
        [file(LANDMARK, b"\x0e"), file(INDEX, b"{}")],
        [file(LANDMARK, b"\x0f\x0f"), file(INDEX, b"{}")],
        [symlink(LANDMARK, b"/"), file(INDEX, b"{}")],
        [file(LANDMARK, b"\x0f"), symlink(INDEX, b"x")],
        [file(b"d/" + LANDMARK, b"\x0f"), file(b"d/" + INDEX, b"{}")],
    ],
)
def test_files_that_only_have_such_names_stay(kept: list[bytes], tmp_path: Path) -> None:
    (tmp_path / "into").mkdir()
    unpack([tars.tar(*kept)], str(tmp_path / "into"))
    files = [node for node in describe(tmp_path / "into").values() if node.kind != "directory"]
    assert len(files) == len(kept)


def test_zstd_chunked_is_a_zstd_layer(tmp_path: Path) -> None:
    blob, whole, _ = zstd_chunked()
    assert unpacked(blob, tmp_path / "zstd", whole) == set()


UNITS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0), "zstd": zstandard.compress, "xz": lzma.compress,
}  # fmt: skip


@pytest.mark.parametrize("compression", UNITS)
@pytest.mark.parametrize(
    ("tail", "taken_by"),
    [
        (b"", {"gzip", "zstd", "xz"}),
        (bytes(4096), {"gzip", "xz"}),  # gzip(1) ignores it, to xz(1) it is padding, to zstd(1) an unknown format
        (bytes(4095), {"gzip"}),  # padding of xz comes by four
        (b"junk behind it", {"gzip"}),
    ],
)
def test_what_follows_the_last_unit_is_taken_as_their_own_tools_take_it(
    compression: str, tail: bytes, taken_by: set[str], tmp_path: Path
) -> None:
    if shutil.which(compression) is None:
        pytest.skip(f"needs {compression}")
    whole = tars.tar(*(head + padded(data) for _, head, data in entries(landmark=b"")))
    pack = UNITS[compression]
    blob = b"".join(pack(whole[at : at + 10_000]) for at in range(0, len(whole), 10_000)) + pack(b"") + tail
    own = subprocess.run([compression, "-dc"], input=blob, capture_output=True, check=False)
    assert (own.returncode != 1) == (compression in taken_by), own.stderr  # 2 is gzip's warning
    if compression in taken_by:
        assert own.stdout == whole
        assert unpacked(blob, tmp_path / "into", whole) == set()
    else:
        (tmp_path / "into").mkdir()
        with pytest.raises(BadLayer, match=compression):
            unpack([blob], str(tmp_path / "into"))


def lay_out(top: Path, layers: list[tuple[bytes, bytes, str, dict[str, str]]]) -> None:
    """An OCI layout of the image `lazy:x`: of each layer the blob, the tar in it, the compression and annotations."""
    (top / "blobs/sha256").mkdir(parents=True)

    def put(data: bytes, kind: str, **more: object) -> dict[str, object]:
        (top / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        return {"mediaType": f"{OCI}{kind}", "digest": digest(data), "size": len(data), **more}

    rootfs = {"type": "layers", "diff_ids": [digest(whole) for _, whole, _, _ in layers]}
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode(), "config.v1+json")
    described = [put(blob, f"layer.v1.tar+{how}", annotations=said) for blob, _, how, said in layers]
    manifest = json.dumps({"schemaVersion": 2, "config": config, "layers": described}, indent=3).encode()
    named = put(manifest, "manifest.v1+json", annotations={"org.opencontainers.image.ref.name": "lazy:x"})
    (top / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (top / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def leaves_as_it_came(minirun: Minirun, name: str, layout: Path, saved: Path) -> None:
    """Save an image to a layout with the manifest and every blob of the one that it came in, byte for byte."""
    minirun("save", "--format", "oci-dir", "-o", saved, name, check=True)
    came, left = (
        {path.name: path.read_bytes() for path in (top / "blobs/sha256").iterdir()} for top in (layout, saved)
    )
    assert left == came
    digests = [json.loads((top / "index.json").read_text())["manifests"][0]["digest"] for top in (layout, saved)]
    assert digests[0] == digests[1]


def test_annotations_and_blobs_leave_as_they_came(minirun: Minirun, tmp_path: Path) -> None:
    blob, whole, table = estargz()
    chunked, chunked_whole, annotations = zstd_chunked()
    said = {
        "containerd.io/snapshot/stargz/toc.digest": table,
        "io.containers.estargz.uncompressed-size": str(len(whole)),
    }
    lay_out(tmp_path / "layout", [(blob, whole, "gzip", said), (chunked, chunked_whole, "zstd", annotations)])
    minirun("load", "-i", tmp_path / "layout", check=True)
    leaves_as_it_came(minirun, "lazy:x", tmp_path / "layout", tmp_path / "saved")
    layers = Layers(Home(str(minirun.root), str(minirun.runtime)))
    for layer in layers.list():
        assert INDEX not in describe(layers.home.diff(layer.diff))


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_what_skopeo_writes_as_zstd_chunked_is_the_same_image(minirun: Minirun, tmp_path: Path) -> None:
    # without more zeros at the end than a tar must have: skopeo before 1.14 leaves those out, and no digest is right
    # any more (containers/storage#1771)
    whole = tars.tar(*(head + padded(data) for _, head, data in entries(landmark=b"")))
    lay_out(tmp_path / "plain", [(gzip.compress(whole), whole, "gzip", {})])
    layout = tmp_path / "layout"
    copy = ["skopeo", "copy", "--dest-compress-format", "zstd:chunked"]
    done = subprocess.run(
        [*APART, *copy, f"oci:{tmp_path}/plain:lazy:x", f"oci:{layout}:a:x"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "algorithm" in done.stderr:
        pytest.skip("this skopeo does not write zstd:chunked")
    assert done.returncode == 0, done.stderr
    index = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    (layer,) = json.loads((layout / "blobs/sha256" / index[7:]).read_text())["layers"]
    assert any("zstd-chunked.manifest-checksum" in name for name in layer["annotations"])
    blob = (layout / "blobs/sha256" / layer["digest"][7:]).read_bytes()
    assert blob[-8:].lower() == b"gnulinux"
    assert unpacked(blob, tmp_path / "into", whole) == set()
    minirun("load", "-i", layout, check=True)
    leaves_as_it_came(minirun, "a:x", layout, tmp_path / "saved")
