"""Archives of chance and of malice: nothing hangs, nothing escapes, and there are two kinds of errors only."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun.errors import BadLayer
from minirun.kernel import tree
from minirun.layer.unpack import complete, unpack
from tests import tars
from tests.tars import device, directory, file, hardlink, header, pax, symlink, tar, xattr
from tests.trees import describe

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

WHOLE = tar(
    directory(b"./"),
    directory(b"d", 0o2755, gid=5),
    file(b"d/f", b"content" * 200),
    symlink(b"s", b"d"),
    file(b"s/through", b"x"),
    hardlink(b"h", b"d/f"),
    pax((b"path", b"p" * 150), (b"mtime", b"-1.5"), (b"uid", b"70000")) + file(b"cut", b"y" * 700),
    tars.long(b"l" * 150) + file(b"cut", b"z"),
    xattr(b"user.a", b"1") + file(b"x"),
    device(b"null", 1, 3),
    header(b"fifo", b"6"),
    file(b".wh.gone"),
    directory(b"o"),
    file(b"o/.wh..wh..opq"),
    pax(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"holes"),
        (b"GNU.sparse.realsize", b"3000"),
    )
    + header(b"cut", size=1536) + tars.padded(b"2\n0\n512\n2000\n512\n") + b"A" * 1024,
    file(b"implied/f"),
    file(b"d/f", b"again"),
    directory(b"s"),
)  # fmt: skip
COMPRESSORS: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, zstandard.compress]


def try_to_unpack(blob: bytes, scratch: Path) -> bool:
    """Unpack in a directory among others that must not change; tells whether it was taken."""
    (scratch / "into").mkdir()
    (scratch / "into-too").mkdir()
    (scratch / "into-too/file").write_bytes(b"canary")
    before = describe(scratch / "into-too")
    try:
        unpacked = unpack([blob], str(scratch / "into"))
        complete(unpacked, str(scratch / "into"), [])
    except BadLayer:
        return False
    finally:
        assert describe(scratch / "into-too") == before
        assert sorted(os.listdir(scratch)) == ["into", "into-too"]
        tree.remove(str(scratch / "into"))
        tree.remove(str(scratch / "into-too"))
    return True


@settings(max_examples=300, deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), compress=st.sampled_from(COMPRESSORS))
def test_flipped_bits_are_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, compress: Callable[[bytes], bytes]
) -> None:
    blob = bytearray(compress(WHOLE))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    scratch = tmp_path_factory.mktemp("flipped")
    try_to_unpack(bytes(blob), scratch)
    scratch.rmdir()


def resealed(block: bytes) -> bytes:
    """A header block with the checksum that its other bytes ask for."""
    total = sum(block) - sum(block[148:156]) + 256
    return block[:148] + b"%06o\0 " % total + block[156:]


@settings(max_examples=300, deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_headers_that_lie_with_a_good_checksum_are_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    blocks = [WHOLE[at : at + 512] for at in range(0, len(WHOLE), 512)]
    headers = [number for number, block in enumerate(blocks) if block[257:262] == b"ustar"]
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.sampled_from(headers))
        start, end = data.draw(st.sampled_from([(0, 100), (100, 148), (124, 136), (156, 157), (157, 257), (329, 500)]))
        piece = data.draw(st.binary(max_size=end - start))
        blocks[at] = resealed(blocks[at][:start] + piece.ljust(end - start, b"\0") + blocks[at][end:])
    scratch = tmp_path_factory.mktemp("lies")
    try_to_unpack(b"".join(blocks), scratch)
    scratch.rmdir()


@settings(max_examples=150, deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=3000), st.booleans())
def test_garbage_is_refused(tmp_path_factory: pytest.TempPathFactory, garbage: bytes, behind_a_file: bool) -> None:
    scratch = tmp_path_factory.mktemp("garbage")
    blob = (file(b"a") if behind_a_file else b"") + garbage
    assert not try_to_unpack(blob, scratch) or not garbage.strip(b"\0") or len(garbage) < 512
    scratch.rmdir()


PARTS = st.lists(
    st.sampled_from([b"a", b"b", b"c", b".", b"..", b"", b".wh.a", b".wh..wh..opq", b"s"]), min_size=1, max_size=5
).map(b"/".join)
ENTRIES = st.one_of(
    st.builds(file, PARTS, st.binary(max_size=9)),
    st.builds(directory, PARTS),
    st.builds(symlink, PARTS, PARTS),
    st.builds(hardlink, PARTS, PARTS),
)


@settings(max_examples=400, deadline=10_000, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ENTRIES, max_size=12), st.lists(ENTRIES, max_size=6))
def test_any_mixture_of_links_and_whiteouts_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, entries: list[bytes], below: list[bytes]
) -> None:
    scratch = tmp_path_factory.mktemp("mixture")
    lower = scratch / "lower"
    lower.mkdir()
    try:
        unpacked = unpack([tar(*below)], str(lower))
        complete(unpacked, str(lower), [])
    except BadLayer:
        tree.remove(str(lower))
        lower.mkdir()
    before = describe(lower, overlay=True)
    (scratch / "into").mkdir()
    try:
        unpacked = unpack([tar(*entries)], str(scratch / "into"))
        complete(unpacked, str(scratch / "into"), [str(lower)])
    except BadLayer:
        pass
    else:
        names = [name.rpartition(b"/")[2] for name in describe(scratch / "into")]
        assert not any(name.startswith(b".wh.") for name in names)
    assert describe(lower, overlay=True) == before
    assert sorted(os.listdir(scratch)) == ["into", "lower"]
    tree.remove(str(scratch))


def test_blocks_shuffled_are_taken_or_refused(tmp_path: Path) -> None:
    chance = random.Random(3)
    blocks = [WHOLE[at : at + 512] for at in range(0, len(WHOLE), 512)]
    for number in range(200):
        chance.shuffle(blocks)
        scratch = tmp_path / str(number)
        scratch.mkdir()
        try_to_unpack(b"".join(blocks), scratch)
