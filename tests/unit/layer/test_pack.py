"""Packing: the same tree comes out of the tar, by our own hand and by others', and the same bytes every time."""

from __future__ import annotations

import errno
import hashlib
import os
import socket
import stat
import subprocess
import tarfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from isal import igzip_lib
from zstandard import ZstdDecompressor

from minirun.errors import BadInput
from minirun.kernel import tree
from minirun.layer import header, stack, tar
from minirun.layer.field import Malformed
from minirun.layer.pack import COMPRESSIONS, Packed, pack, recompress, stream
from minirun.layer.unpack import unpack
from tests.trees import Node, describe

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

CAPABILITY = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def furnish(top: Path) -> None:
    """One of everything that a layer can hold."""
    for folder in ("empty", "d/e", "opaque/inside", "n" * 200 + "/" + "m" * 200):
        (top / folder).mkdir(parents=True)
    (top / "d/file").write_bytes(b"content" * 999)
    os.link(top / "d/file", top / "d/e/linked")
    (top / "zero").touch()
    (top / "setuid").write_bytes(b"#!")
    os.chown(top / "setuid", 4294967294, 3_000_000)
    (top / "setuid").chmod(0o6755)
    os.setxattr(top / "setuid", "security.capability", CAPABILITY)
    os.setxattr(top / "d", "user.colour", b"a\0=\nb")
    os.setxattr(top / "opaque", stack.OPAQUE, b"y")
    (top / "link").symlink_to("t/" * 150)
    os.link(top / "link", top / "linked-link", follow_symlinks=False)
    os.chown(top / "link", 7, 8, follow_symlinks=False)
    os.mkfifo(top / "fifo")
    os.mknod(top / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(top / "loop", stat.S_IFBLK | 0o660, os.makedev(7, 300))
    whiteout(top / "gone")
    os.link(top / "gone", top / "d/gone")  # overlayfs makes all its whiteouts names of one inode
    for name in (b"\xff\xfe", b"new\nline", b"\xff" * 150, "ü".encode() * 100):
        (top / os.fsdecode(name)).write_bytes(name)
    (top / "sticky").mkdir()
    (top / "sticky").chmod(0o3777)
    with (top / "holes").open("wb") as file:
        file.seek(3 << 20)
        file.write(b"data")
        file.truncate(5_000_001)
    for number, path in enumerate(sorted(top.rglob("*"), reverse=True)):
        os.utime(path, ns=(0, 10**9 * (number - 3) + 100 * number), follow_symlinks=False)
    os.utime(top, ns=(0, -1))


def whole(nodes: dict[bytes, Node]) -> dict[bytes, Node]:
    """Without what a whiteout's own metadata are: nobody sees them."""
    return {
        name: replace(node, uid=0, gid=0, mtime_ns=0, first=b"") if is_whiteout(node) else node
        for name, node in nodes.items()
    }


def is_whiteout(node: Node) -> bool:
    """Whether *node* is a character device 0:0."""
    return (node.kind, node.device) == ("character", (0, 0))


def packed_by(directory: Path, compression: str = "none") -> tuple[bytes, Packed]:
    parts: list[bytes] = []
    result = pack(str(directory), parts.append, compression=compression)
    return b"".join(parts), result


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_was_packed_unpacks_to_the_same(compression: str, tmp_path: Path) -> None:
    furnish(tmp_path / "source")
    (tmp_path / "target").mkdir()
    blob, packed = packed_by(tmp_path / "source", compression)
    unpacked = unpack([blob], str(tmp_path / "target"))
    assert whole(describe(tmp_path / "target", overlay=True)) == whole(describe(tmp_path / "source", overlay=True))
    assert (packed.digest, packed.size) == (f"sha256:{hashlib.sha256(blob).hexdigest()}", len(blob))
    assert (unpacked.blob_digest, unpacked.diff_id) == (packed.digest, packed.diff_id)
    assert (packed.entries, packed.warnings) == (unpacked.entries, ())
    again, packed_again = packed_by(tmp_path / "target", compression)
    assert (again, packed_again) == (blob, packed)


def test_a_descriptor_and_a_pipe_do_as_well(tmp_path: Path) -> None:
    furnish(tmp_path / "source")
    directory = os.open(tmp_path / "source", os.O_RDONLY)
    with (tmp_path / "blob").open("wb") as out:
        packed = pack(directory, out.fileno(), compression="gzip")
    os.close(directory)
    blob, expected = packed_by(tmp_path / "source", "gzip")
    assert (tmp_path / "blob").read_bytes() == blob
    assert packed == expected
    assert igzip_lib.decompress(blob, igzip_lib.DECOMP_GZIP) == b"".join(stream(str(tmp_path / "source")))
    assert ZstdDecompressor().decompressobj().decompress(packed_by(tmp_path / "source", "zstd")[0])


def test_other_readers_see_the_same(tmp_path: Path) -> None:
    furnish(tmp_path / "source")
    blob, _ = packed_by(tmp_path / "source")
    (tmp_path / "tar").write_bytes(blob)
    (tmp_path / "gnu").mkdir()
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", tmp_path / "tar", "-C", tmp_path / "gnu"],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    theirs, ours = describe(tmp_path / "gnu"), describe(tmp_path / "source")
    for name in (b"gone", b"d/gone"):
        above, _, own = name.rpartition(b"/")
        assert theirs.pop(above + b"/.wh." * bool(above) + own if above else b".wh." + own).content == b""
        del ours[name]
    assert theirs.pop(b"opaque/.wh..wh..opq").content == b""
    assert theirs == ours
    with tarfile.open(tmp_path / "tar") as read:
        assert len(read.getnames()) == len(ours) + 3


def test_opaque_comes_first_in_its_directory_and_names_are_sorted(tmp_path: Path) -> None:
    furnish(tmp_path / "source")
    (tmp_path / "tar").write_bytes(packed_by(tmp_path / "source")[0])
    with tarfile.open(tmp_path / "tar", errors="surrogateescape") as read:
        names = [os.fsencode(name) for name in read.getnames()]
    at = names.index(b"opaque")
    assert names[at : at + 3] == [b"opaque", b"opaque/.wh..wh..opq", b"opaque/inside"]
    assert names[0] == b"."
    top = [name for name in names[1:] if b"/" not in name]
    assert [name.removeprefix(b".wh.") for name in top] == sorted(name.removeprefix(b".wh.") for name in top)


def test_sockets_and_names_like_whiteouts_are_left_out(tmp_path: Path) -> None:
    (tmp_path / ".wh.x").mkdir()
    (tmp_path / ".wh.x/.wh.y").touch()
    (tmp_path / ".wh.x/deeper").mkdir()
    (tmp_path / ".wh.x/deeper/name").touch()  # would come back as a name in a directory .wh.x
    (tmp_path / "kept").touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        os.link(tmp_path / "socket", tmp_path / "socket-too")
        blob, packed = packed_by(tmp_path)
    assert packed.warnings == ("'.wh.x' was left out: its name would be taken for a whiteout",)
    (tmp_path / "target").mkdir()
    unpack([blob], str(tmp_path / "target"))
    assert set(describe(tmp_path / "target")) == {b"", b"kept"}


def test_a_literal_tar_has_them(tmp_path: Path) -> None:
    (tmp_path / "source/d").mkdir(parents=True)
    (tmp_path / "source/d/.wh.y").write_bytes(b"y")
    parts: list[bytes] = []
    packed = pack(str(tmp_path / "source"), parts.append, compression="none", literal=True)
    (tmp_path / "tar").write_bytes(b"".join(parts))
    with tarfile.open(tmp_path / "tar") as read:
        assert read.getnames() == [".", "d", "d/.wh.y"]
    assert packed.warnings == ()


def test_a_file_that_changes_keeps_its_announced_size(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    growing, shrinking = tmp_path / "source/a", tmp_path / "source/b"
    growing.write_bytes(b"x" * 3_000_000)
    shrinking.write_bytes(b"y" * 3_000_000)
    parts = []
    for part in stream(str(tmp_path / "source")):
        parts.append(part)
        with growing.open("ab") as more:
            more.write(b"more")
        os.truncate(shrinking, 1_000_000)
    (tmp_path / "target").mkdir()
    unpack([b"".join(parts)], str(tmp_path / "target"))
    assert (tmp_path / "target/a").stat().st_size == 3_000_000
    assert (tmp_path / "target/b").stat().st_size in (1_000_000, 3_000_000)


def test_nothing_is_younger_than_the_latest_time_and_what_is_older_keeps_its_own(tmp_path: Path) -> None:
    latest_ns = 1_700_000_000_500_000_000
    for name in ("first", "second"):
        furnish(tmp_path / name)
        (tmp_path / name / "young").write_text("young")
        os.utime(tmp_path / name, None)
    os.utime(tmp_path / "second/young", (0, 3_000_000_000))
    parts: list[list[bytes]] = [[], []]
    for name, blob in zip(("first", "second"), parts, strict=True):
        pack(str(tmp_path / name), blob.append, compression="gzip", latest_ns=latest_ns)
    assert parts[0] == parts[1]
    (tmp_path / "target").mkdir()
    unpack(parts[0], str(tmp_path / "target"))
    times = {
        name: node.mtime_ns
        for name, node in whole(describe(tmp_path / "target")).items()
        if not is_whiteout(node)
    }  # fmt: skip
    before = {name: node.mtime_ns for name, node in whole(describe(tmp_path / "first")).items() if name in times}
    assert times == {name: min(mtime_ns, latest_ns) for name, mtime_ns in before.items()}
    assert times[b"young"] == times[b""] == latest_ns
    assert times[b"d/file"] < latest_ns


def test_progress_is_told_in_bytes_of_the_tar(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5_000_000))
    told: list[int] = []
    size = len(b"".join(stream(str(tmp_path))))
    packed = pack(str(tmp_path), lambda _data: None, compression="gzip", progress=told.append)
    assert told == sorted(told)
    assert told[-1] == size > packed.size


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("before", COMPRESSIONS)
def test_a_layer_that_is_compressed_in_another_way_is_as_if_it_was_packed_so(
    before: str, compression: str, tmp_path: Path
) -> None:
    furnish(tmp_path / "source")
    blob, packed = packed_by(tmp_path / "source", before)
    parts: list[bytes] = []
    told: list[int] = []
    again = recompress([blob[:100_000], blob[100_000:]], parts.append, compression=compression, progress=told.append)
    other, expected = packed_by(tmp_path / "source", compression)
    assert b"".join(parts) == other
    assert (again.diff_id, again.digest, again.size) == (packed.diff_id, expected.digest, len(other))
    assert told[-1] == len(blob)


def test_a_damaged_layer_is_not_compressed_anew(tmp_path: Path) -> None:
    threads = threading.active_count()
    furnish(tmp_path / "source")
    blob, _ = packed_by(tmp_path / "source", "gzip")
    for damaged in (blob[:-20], blob[:2000] + b"\0\1\2\3" + blob[2004:]):
        with pytest.raises(Malformed):
            recompress([damaged], lambda _data: None, compression="zstd")
    assert threading.active_count() == threads


# names whose bytes sum up to more than adler32 can tell, just as much, and less
@pytest.mark.parametrize("count", [1, 50, 99, 100, 101, 155, 199, 200, 256])
@pytest.mark.parametrize("byte", [b"a", b"\xff"])
def test_the_checksum_of_a_header_is_the_sum_of_its_bytes(count: int, byte: bytes) -> None:
    names = [byte * count, byte * (count // 2) + b"/" + byte * (count // 2)]
    for name in names:
        block = header.entry(name, tar.SYMLINK, mode=0o7777, uid=2097151, size=0, mtime_ns=10**18, link=byte * 100)
        own = block[-512:]
        assert int(own[148:154], 8) == sum(own[:148]) + 8 * 32 + sum(own[156:])
        assert len(block) % 512 == 0


def test_a_writer_that_fails_ends_it(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / str(number)).write_bytes(os.urandom(1 << 20))
    threads = threading.active_count()
    for compression in COMPRESSIONS:
        with pytest.raises(OSError, match="No space left") as caught, Path("/dev/full").open("wb", 0) as full:
            pack(str(tmp_path), full.fileno(), compression=compression)
        assert caught.value.errno == errno.ENOSPC
    assert threading.active_count() == threads


def test_a_missing_directory_and_an_unknown_compression_are_refused(tmp_path: Path) -> None:
    threads = threading.active_count()
    with pytest.raises(FileNotFoundError):
        packed_by(tmp_path / "missing")
    with pytest.raises(BadInput, match="none, gzip, zstd"):
        packed_by(tmp_path, "lzma")
    assert threading.active_count() == threads


def test_a_path_that_no_layer_can_hold_is_an_error(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(40):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(OSError, match="too long") as caught:
        packed_by(tmp_path)
    assert caught.value.errno == errno.ENAMETOOLONG
    tree.remove(str(tmp_path / ("d" * 200)))


# --- any tree -----------------------------------------------------------------------------------------------------

NAMES = st.lists(
    st.sampled_from([b"a", b"b", b"c", b"\xff", b"n" * 120, b" ", b"-", "ü".encode()]), min_size=1, max_size=3
).map(lambda parts: os.fsdecode(b"/".join(parts)))
TIMES = st.integers(-(2**31) * 10**9, 2**33 * 10**9)
OWNERS = st.sampled_from([0, 1, 1000, 0o7777777, 0o10000000, 4294967294])
XATTRS = st.dictionaries(st.sampled_from(["user.a", "trusted.b"]), st.binary(max_size=20), max_size=2)


KINDS = ("file", "file", "directory", "directory", "symlink", "link", "fifo", "null", "whiteout", "opaque")


@dataclass(frozen=True)
class Wanted:
    """An entry to be made, if it can be."""

    name: str
    kind: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: dict[str, bytes]
    content: bytes
    target: str


WANTED = st.builds(
    Wanted,
    name=NAMES,
    kind=st.sampled_from(KINDS),
    mode=st.integers(0, 0o7777),
    uid=OWNERS,
    gid=OWNERS,
    mtime_ns=TIMES,
    xattrs=XATTRS,
    content=st.binary(max_size=1500),
    target=NAMES,
)


def make(top: Path, wanted: list[Wanted]) -> None:
    """Make what can be made of *wanted*; whiteouts only where an overlay would have them."""
    made: list[tuple[Wanted, Path]] = []
    for one in wanted:
        path = top / one.name
        try:
            if path.parent.resolve() != path.parent:
                continue  # through a symlink
            path.parent.mkdir(parents=True, exist_ok=True)
            inside = [above for above in path.parents if above == top or top in above.parents]
            if one.kind == "whiteout":
                if not any(map(stack.is_opaque, map(str, inside))):
                    whiteout(path)
                continue
            if one.kind in ("directory", "opaque"):
                path.mkdir()
                if one.kind == "opaque":
                    os.setxattr(path, stack.OPAQUE, b"y")
            elif one.kind == "file":
                with path.open("xb") as file:
                    file.write(one.content)
            elif one.kind == "symlink":
                path.symlink_to(one.target)
            elif one.kind == "fifo":
                os.mkfifo(path)
            elif one.kind == "null":
                os.mknod(path, stat.S_IFCHR, os.makedev(1, 3))
            else:
                linked = [other for other, _ in made if other.kind not in ("directory", "opaque")]
                if linked:
                    os.link(top / linked[-1].name, path, follow_symlinks=False)
                continue
        except (FileExistsError, NotADirectoryError, RuntimeError):
            continue
        made.append((one, path))
        os.chown(path, one.uid, one.gid, follow_symlinks=False)
        if one.kind != "symlink":
            path.chmod(one.mode)
        if one.kind in ("file", "directory"):
            for key, value in one.xattrs.items():
                os.setxattr(path, key, value)
    for one, path in reversed(made):
        os.utime(path, ns=(0, one.mtime_ns), follow_symlinks=False)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(wanted=st.lists(WANTED, max_size=12), compression=st.sampled_from(COMPRESSIONS))
def test_any_tree_survives(tmp_path_factory: pytest.TempPathFactory, wanted: list[Wanted], compression: str) -> None:
    scratch = tmp_path_factory.mktemp("any")
    (scratch / "source").mkdir()
    make(scratch / "source", wanted)
    (scratch / "target").mkdir()
    blob, packed = packed_by(scratch / "source", compression)
    unpacked = unpack([blob], str(scratch / "target"))
    source, target = (whole(describe(scratch / name, overlay=True)) for name in ("source", "target"))
    assert target == source
    assert (packed.entries, packed.diff_id) == (unpacked.entries, unpacked.diff_id)
    assert not unpacked.needs
    assert packed_by(scratch / "target", compression) == (blob, packed)
    tree.remove(str(scratch))
