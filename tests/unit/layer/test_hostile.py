"""Archives of chance and of malice: nothing hangs, nothing escapes, and there are two kinds of errors only."""

from __future__ import annotations

import errno
import gzip
import os
import pickle
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun.errors import BadLayer
from minirun.kernel import tree
from minirun.layer import folders
from minirun.layer.needs import Needs
from minirun.layer.unpack import Unpacked, complete, unpack
from tests import tars
from tests.command import PATIENCE
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
    pax((b"path", b"p" * 145), (b"mtime", b"-1.5"), (b"uid", b"70000")) + file(b"cut", b"y" * 700),
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


# --- a few bytes that ask for a lot of work -------------------------------------------------------------------------


def unpacked_at(place: Path, *entries: bytes) -> Unpacked:
    """Unpack an archive in a directory that is made."""
    place.mkdir()
    return unpack([tar(*entries)], str(place))


def named(path: bytes, entry: bytes) -> bytes:
    """An entry under a name of any length."""
    return pax((b"path", path)) + entry


def deep(levels: int, rest: bytes = b"") -> bytes:
    return b"a/" * levels + rest


def test_a_directory_as_deep_as_a_path_goes_is_made_and_one_deeper_is_refused(tmp_path: Path) -> None:
    levels = folders.PATH_MAX_BYTES // 2
    unpacked_at(tmp_path / "whole", named(deep(levels, b"n" * 255), file(b"f")))
    subprocess.run(["rm", "-r", tmp_path / "whole"], check=True)  # pytest gives up on such a one
    with pytest.raises(BadLayer, match="a directory whose path has more than 3584 bytes"):
        unpacked_at(tmp_path / "refused", named(deep(levels + 1, b"f"), file(b"f")))
    subprocess.run(["rm", "-r", tmp_path / "refused"], check=True)


def test_symlinks_lead_no_deeper_than_names(tmp_path: Path) -> None:
    with pytest.raises(BadLayer, match="a directory whose path has more than 3584 bytes"):
        unpacked_at(
            tmp_path / "refused",
            *(
                named(b"s%d/" % number + deep(1000), directory(b"d"))
                + pax((b"linkpath", b"s%d/" % number + deep(1000)))
                + symlink(b"s%d" % (number + 1), b"x")
                for number in range(30)
            ),
        )
    subprocess.run(["rm", "-r", tmp_path / "refused"], check=True)


def test_a_lower_directory_as_deep_as_a_path_goes_gives_what_is_needed_of_it(tmp_path: Path) -> None:
    path = b"/".join([b"n" * 250] * 14 + [b""])
    unpacked_at(tmp_path / "lower", named(path, directory(b"d", 0o700)), named(path + b"f", file(b"f", b"lower")))
    upper = unpacked_at(
        tmp_path / "upper",
        named(path + b"new", file(b"f")),
        named(path + b".wh.gone", file(b"f")),
        pax((b"linkpath", path + b"f")) + hardlink(b"h", b"x"),
    )
    assert complete(upper, str(tmp_path / "upper"), [str(tmp_path / "lower")])
    assert (tmp_path / "upper/h").read_bytes() == b"lower"
    for above in (tmp_path / "lower", tmp_path / "upper"):
        subprocess.run(["rm", "-r", above], check=True)


def test_a_link_to_a_name_that_no_file_below_can_have_is_the_archives_fault(tmp_path: Path) -> None:
    unpacked_at(tmp_path / "lower", directory(b"d"))
    upper = unpacked_at(tmp_path / "upper", pax((b"linkpath", b"d/" + b"n" * 300)) + hardlink(b"h", b"x"))
    with pytest.raises(BadLayer, match="File name too long"):
        complete(upper, str(tmp_path / "upper"), [str(tmp_path / "lower")])


def test_a_refusal_repeats_no_name_of_four_thousand_bytes(tmp_path: Path) -> None:
    name = deep(1000, b"f")
    upper = unpacked_at(tmp_path / "a", pax((b"path", name), (b"linkpath", name + b"2")) + hardlink(b"h", b"x"))
    with pytest.raises(BadLayer, match=r"'(a/)+'…: a hardlink to a missing target, '(a/)+'…") as caught:
        complete(upper, str(tmp_path / "a"), [])
    assert len(str(caught.value)) < 700
    with pytest.raises(BadLayer, match=r"'(a/)+'…: a name component of 256 bytes") as caught:
        unpacked_at(tmp_path / "b", named(deep(1000, b"n" * 256), file(b"f")))
    assert len(str(caught.value)) < 400
    for made in ("a", "b"):
        subprocess.run(["rm", "-r", tmp_path / made], check=True)


def many(count: int, *entries: bytes) -> Iterator[bytes]:
    """The same entries again and again: what is measured must not be how they are made."""
    once = b"".join(entries)
    return (once for _ in range(count))


EMPTY_PIECES = tars.padded(b"65000\n" + b"0\n" * 130_000)
SPARSE = pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"10"))
BOMBS: dict[str, Callable[[], Iterator[bytes]]] = {
    "long names of nothing": lambda: many(
        100, *(named(b"a" + b"/" * (3000 + number) + b"b", file(b"f")) for number in range(1000))
    ),
    "deep names in turn": lambda: many(200, *(named(deep(1700, b"%d/f" % n), file(b"f")) for n in range(600))),
    "deep names, marks and all": lambda: many(
        200, *(named(deep(1700, b"%d/.wh..wh..opq" % n), file(b"f")) for n in range(600))
    ),
    "hard links to deep names in turn": lambda: many(
        200,
        *(named(deep(1700, b"%d/f" % number), file(b"f")) for number in range(600)),
        *(pax((b"linkpath", deep(1700, b"%d/f" % number))) + hardlink(b"h", b"x") for number in range(600)),
    ),
    "hard links to what is not in deep directories": lambda: many(
        200,
        named(deep(1700), directory(b"d")),
        *(pax((b"linkpath", deep(1700, b"%d" % number))) + hardlink(b"h%d" % number, b"x") for number in range(600)),
    ),
    "deep directories in turn": lambda: many(
        200, *(named(deep(1700, b"%d/" % n), directory(b"d")) for n in range(600))
    ),
    "directories that are replaced among many whiteouts": lambda: chain(
        [b"".join(file(b"w/.wh.%d" % number) for number in range(20_000))],
        many(20_000, directory(b"d"), file(b"d/f"), file(b"d")),
    ),
    "tiny pax records": lambda: many(500, tars.raw_pax(b"6 a=b\n" * 170_000), file(b"f")),
    "sparse files of empty pieces": lambda: many(500, SPARSE, header(b"f", size=len(EMPTY_PIECES)), EMPTY_PIECES),
    "a sparse map that goes on": lambda: chain(
        [resealed(header(b"f", b"S", magic=b"ustar  \0")[:482] + b"\1" + bytes(29))],
        many(100_000, (bytes(504) + b"\1").ljust(512, b"\0") * 10),
    ),
    "extended headers without an entry": lambda: many(10_000, header(b"x", b"x") * 100),
    "whiteouts without end": lambda: (
        b"".join(header(b".wh.%d-%d" % (number, name), prefix=b"p" * 145) for name in range(100))
        for number in range(10_000)
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_would_take_minutes_is_refused_within_seconds(bomb: str, tmp_path: Path) -> None:
    # without a disk: here minirun is measured, not what it asks of one
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "into").mkdir()
        begin = time.process_time()
        with pytest.raises(BadLayer, match=r"too many|more than"):
            unpack(BOMBS[bomb](), str(tmp_path / "into"))
        assert time.process_time() - begin < 10 * PATIENCE
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_what_an_opaque_directory_makes_meaningless_is_found_in_one_walk(tmp_path: Path) -> None:
    # in an order in which each name is as far as can be from the one before
    levels = [b"x/" + deep(level) for level in range(1, 500)]
    begin = time.process_time()
    unpacked = unpacked_at(
        tmp_path / "into",
        *(named(path + b".wh.%d" % number, file(b"f")) for number in range(4) for path in levels),
        *(named(b"y/" + path + b".wh.f", file(b"f")) for path in levels[:10]),
        file(b"x/.wh..wh..opq"),
    )
    assert time.process_time() - begin < 10 * PATIENCE
    assert len(unpacked.needs.whiteouts) == 10
    assert all(path.startswith(b"y/") for path in unpacked.needs.whiteouts)
    assert all(path.startswith(b"y") or path == b"x" for path in unpacked.needs.implied)
    assert len(list((tmp_path / "into/x/a/a/a").iterdir())) == 1
    subprocess.run(["rm", "-r", tmp_path / "into"], check=True)


def test_a_whiteout_whose_directory_was_replaced_in_an_opaque_one_takes_no_other_away(tmp_path: Path) -> None:
    unpacked = unpacked_at(
        tmp_path / "into", file(b"o/.wh..wh..opq"), file(b"o/d/.wh.f"), file(b"o/d"), file(b"o/f"), file(b"o/e/.wh.f")
    )
    assert not unpacked.needs.whiteouts
    assert sorted(describe(tmp_path / "into")) == [b"", b"o", b"o/d", b"o/e", b"o/f"]


def test_xattrs_that_no_file_has_room_for_are_the_archives_fault(tmp_path: Path) -> None:
    with pytest.raises(BadLayer, match="more than listxattr"):
        unpacked_at(tmp_path / "names", pax(*((b"SCHILY.xattr.user.%05d" % n, b"") for n in range(7000))) + file(b"f"))
    told = unpacked_at(tmp_path / "dropped", xattr(b"trusted.overlay." + b"n" * 60_000, b"1"), file(b"f")).warnings
    assert [len(sentence) for sentence in told] == [
        len("xattr  was dropped: it would speak to the overlay mount") + 100
    ]
    wrong = (xattr(b"user.a", bytes(70_000)), xattr(b"", b"1"), xattr(b"user." + b"n" * 300, b"1"))
    for number, (extension, entry) in enumerate(
        (one, other) for one in wrong for other in (file(b"f"), directory(b"f"))
    ):
        with pytest.raises(BadLayer, match="no file here has room for it"):
            unpacked_at(tmp_path / str(number), extension, entry)
    (tmp_path / "probe").touch()
    try:
        os.setxattr(tmp_path / "probe", "user.a", bytes(60_000))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    else:
        pytest.skip("this file system takes xattrs of any length")
    with pytest.raises(BadLayer, match=r"'f': xattr 'user\.a' of 60000 bytes: no file here has room"):
        unpacked_at(tmp_path / "value", xattr(b"user.a", bytes(60_000)) + file(b"f"))


def test_what_aufs_kept_for_itself_is_left_out(tmp_path: Path) -> None:
    unpacked = unpacked_at(
        tmp_path / "into",
        file(b".wh..wh.aufs"),
        directory(b"./.wh..wh.plnk/"),
        file(b".wh..wh.plnk/1.2", b"x"),
        directory(b".wh..wh.orph"),
        file(b"a"),
    )
    assert sorted(describe(tmp_path / "into")) == [b"", b"a"]
    assert len(unpacked.warnings) == 3
    with pytest.raises(BadLayer, match="name"):
        unpacked_at(tmp_path / "elsewhere", directory(b"d"), file(b"d/.wh..wh.aufs"))


def test_what_is_left_to_layers_below_is_small_on_its_way_from_another_process(tmp_path: Path) -> None:
    unpacked = unpacked_at(
        tmp_path / "into",
        *(file(b"%d/.wh.gone" % number) for number in range(1000)),
        hardlink(b"h", b"lower"),
        file(b"o/.wh..wh..opq"),
    )
    needs = unpacked.needs
    packed = pickle.dumps(needs)
    assert len(packed) < 10_000
    again = pickle.loads(packed)
    assert (again.implied, again.links, again.whiteouts) == (needs.implied, needs.links, needs.whiteouts)
    assert again.has_opaque
    assert list(again.implied) == list(needs.implied)
    again = pickle.loads(pickle.dumps(pickle.loads(packed)))
    again.add_implied(b"more")
    assert len(again.implied) == len(needs.implied) + 1
    assert not pickle.loads(pickle.dumps(Needs()))
