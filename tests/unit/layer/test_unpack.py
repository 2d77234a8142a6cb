"""Unpacking: what is read, how much memory and how many descriptors it takes, and what is left when it goes wrong."""

from __future__ import annotations

import errno
import gzip
import hashlib
import lzma
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from isal import isal_zlib

from minirun.errors import BadLayer
from minirun.layer import unpack as unpack_module
from minirun.layer.unpack import Unpacked, unpack
from tests import tars
from tests.command import PATIENCE
from tests.host import filesystem
from tests.tars import directory, file, hardlink, header, pax, symlink, tar, xattr
from tests.trees import describe

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and devices need root")

CHECKOUT = Path(__file__).parents[3]
CONTENT = random.Random(1).randbytes(300_000)
ARCHIVE = tar(directory(b"./"), directory(b"d"), file(b"d/random", CONTENT), file(b"zeros", bytes(2_000_000)))


@pytest.fixture
def into(tmp_path: Path) -> Path:
    place = tmp_path / "into"
    place.mkdir()
    return place


@pytest.fixture(autouse=True)
def leaves_no_thread_and_no_descriptor() -> Iterator[None]:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    yield
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def from_file(
    blob: bytes, into: Path, *, expected_digest: str | None = None, expected_diff_id: str | None = None
) -> Unpacked:
    path = into.parent / "blob"
    path.write_bytes(blob)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return unpack(descriptor, str(into), expected_digest=expected_digest, expected_diff_id=expected_diff_id)
    finally:
        os.close(descriptor)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "gzip in members": lambda data: b"".join(gzip.compress(data[at : at + 9999]) for at in range(0, len(data), 9999)),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zstd in frames": lambda data: (
        b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstandard.compress(data[:99_999]) + b"\x5f\x2a\x4d\x18\0\0\0\0"
        + zstandard.compress(data[99_999:])
    ),
    "zstd without sizes": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    "xz": lzma.compress,
    "xz in streams": lambda data: lzma.compress(data[:99_999]) + bytes(8) + lzma.compress(data[99_999:]),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPRESSORS)
def test_every_compression_gives_the_tree_and_both_digests(name: str, into: Path) -> None:
    blob = COMPRESSORS[name](ARCHIVE)
    unpacked = from_file(blob, into)
    assert (into / "d/random").read_bytes() == CONTENT
    assert unpacked.compression == name.split()[0]
    assert (unpacked.blob_digest, unpacked.blob_size) == (sha256(blob), len(blob))
    assert unpacked.diff_id == sha256(ARCHIVE)
    assert (unpacked.size, unpacked.entries) == (2_300_000, 4)


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_of_any_length_are_taken(name: str, size: int, into: Path) -> None:
    archive = tar(file(b"a", CONTENT[:5000]), file(b"b", CONTENT[:1]), directory(b"c"))
    blob = COMPRESSORS[name](archive)
    unpacked = unpack((blob[at : at + size] for at in range(0, len(blob), size)), str(into))
    assert (into / "a").read_bytes() == CONTENT[:5000]
    assert (unpacked.blob_digest, unpacked.diff_id) == (sha256(blob), sha256(archive))


@pytest.mark.parametrize("name", [name for name in COMPRESSORS if name != "none"])
def test_a_cut_blob_is_refused_wherever_it_is_cut(name: str, tmp_path: Path) -> None:
    blob = COMPRESSORS[name](tar(file(b"a", CONTENT[:3000])))
    ends = {"gzip in members", "zstd in frames", "xz in streams"}
    for cut in [*range(1, 40), *range(40, len(blob) - 1, 97), len(blob) - 1]:
        into = tmp_path / str(cut)
        into.mkdir()
        try:
            unpack([blob[:cut]], str(into))
        except BadLayer:
            continue
        # where one member ends, the compressed file is whole; the archive in it had its end already, or ends at a block
        assert name in ends
        assert cut >= 12


@pytest.mark.parametrize("name", [name for name in COMPRESSORS if name != "none"])
def test_a_damaged_blob_is_refused_or_has_another_digest(name: str, tmp_path: Path) -> None:
    chance = random.Random(2)
    blob = COMPRESSORS[name](tar(file(b"a", CONTENT[:30000])))
    for number in range(40):
        damaged = bytearray(blob)
        damaged[chance.randrange(len(blob))] ^= 1 << chance.randrange(8)
        into = tmp_path / str(number)
        into.mkdir()
        with pytest.raises(BadLayer):
            unpack([bytes(damaged)], str(into), expected_digest=sha256(blob))


@pytest.mark.parametrize(
    ("blob", "says"),
    [
        (b"BZh91AY" + CONTENT[:1000], "unknown compression.*bzip2"),
        (b"PK\3\4" + CONTENT[:1000], "zip"),
        (Path(sys.executable).resolve().read_bytes()[:5000], "ELF"),
        (b'{"schemaVersion": 2}', "JSON"),
        (b"  <!DOCTYPE html><html>", "HTML"),
        (b"hello world\n", "text"),
        (b"#!/bin/sh\n", "script"),
        (CONTENT[:1000], "not a tar archive"),
        (gzip.compress(b"hello world\n", mtime=0), "text"),
        (gzip.compress(gzip.compress(ARCHIVE)), "not a tar archive"),
        (zstandard.compress(b"{}"), "JSON"),
    ],
)
def test_what_is_no_layer_is_refused_by_what_it_looks_like(blob: bytes, says: str, into: Path) -> None:
    with pytest.raises(BadLayer, match=says):
        from_file(blob, into)
    assert os.listdir(into) == []


def test_wrong_digests_are_refused(into: Path, tmp_path: Path) -> None:
    blob = gzip.compress(ARCHIVE)
    from_file(blob, into, expected_digest=sha256(blob), expected_diff_id=sha256(ARCHIVE))
    for number, (digest, diff_id) in enumerate([(sha256(ARCHIVE), sha256(ARCHIVE)), (sha256(blob), sha256(blob))]):
        other = tmp_path / str(number)
        other.mkdir()
        with pytest.raises(BadLayer, match="digest"):
            from_file(blob, other, expected_digest=digest, expected_diff_id=diff_id)


def test_the_umask_does_not_matter(into: Path) -> None:
    before = os.umask(0o777)
    try:
        from_file(
            tar(
                directory(b"d", 0o777),
                file(b"d/f", b"x", 0o666),
                file(b"i/f", b"x", 0o777),
                header(b"p", b"6", mode=0o622),
            ),
            into,
        )
    finally:
        os.umask(before)
    modes = {name: node.mode for name, node in describe(into).items()}
    assert modes == {b"": 0o755, b"d": 0o777, b"d/f": 0o666, b"i": 0o755, b"i/f": 0o777, b"p": 0o622}


def test_progress_is_told_in_growing_numbers(into: Path) -> None:
    told: list[int] = []
    blob = gzip.compress(tar(file(b"f", CONTENT * 10)))
    unpack([blob[at : at + 4096] for at in range(0, len(blob), 4096)], str(into), progress=told.append)
    assert told == sorted(told)
    assert told[-1] == len(blob)


def test_implied_directories_and_lower_links_are_needs(into: Path) -> None:
    unpacked = from_file(tar(file(b"a/b/c"), directory(b"a"), hardlink(b"h", b"lower"), file(b"d/.wh.x")), into)
    assert list(unpacked.needs.implied) == [b"a/b", b"d"]
    assert unpacked.needs.links == {b"h": b"lower"}
    assert list(unpacked.needs.whiteouts) == [b"d/x"]
    assert stat.S_ISCHR((into / "d/x").lstat().st_mode)


def test_xattrs_that_cannot_be_are_left_out_with_a_warning(into: Path) -> None:
    unpacked = from_file(
        tar(
            xattr(b"user.on_link", b"1") + symlink(b"s", b"x"),
            xattr(b"strange.namespace", b"1") + file(b"f"),
            xattr(b"security.capability", b"nonsense") + file(b"g"),
        ),
        into,
    )
    assert len(unpacked.warnings) == 3
    assert {node.xattrs for node in describe(into).values()} == {()}


@pytest.mark.parametrize(
    "entry",
    [
        header(b"f", size=b"-0000000001") + tars.END,
        header(b"f", size=b"\xff" * 12) + tars.END,
        header(b"f", size=b"\x80" + b"\xff" * 11) + tars.END,
        header(b"f", size=b"\x80\0\0\0\x7f" + b"\xff" * 7) + b"x" * 5000,
        header(b"f", size=b"7" * 11) + b"x" * 5000,
        pax((b"size", b"9" * 30)) + file(b"f") + tars.END,
        pax((b"size", b"9223372036854775807")) + file(b"f") + tars.END,
        pax((b"size", b"-1")) + file(b"f") + tars.END,
        pax((b"uid", b"4294967295")) + file(b"f") + tars.END,
        pax((b"uid", b"1_0")) + file(b"f") + tars.END,
        pax((b"mtime", b"9" * 18 + b"9" * 18)) + file(b"f") + tars.END,
        pax((b"mtime", b"1e9")) + file(b"f") + tars.END,
        pax((b"mtime", b"--1")) + file(b"f") + tars.END,
        pax((b"mtime", b".")) + file(b"f") + tars.END,
        header(b"f", uid=b"1_0") + tars.END,
        header(b"f", b"3", device=(0o7777777, 1)) + tars.END,
        header(b"f", b"V") + tars.END,
        header(b"f", b"x", size=b"77777777777") + tars.END,
        header(b"f", b"L", size=b"77777777777") + tars.END,
        header(b"f", b"g", size=2 << 20) + bytes(2 << 20) + tars.END,
        tars.long(b"n/" * 3000) + file(b"f") + tars.END,
        symlink(b"s", b"t" * 4096) + tars.END,
        bytes(512) + file(b"hidden") + tars.END,
        tar(pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"10"))
            + header(b"f", size=512) + tars.padded(b"99999999\n")),
        tar(pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"10"))
            + header(b"f", size=512) + b"1" * 512),
        tar(pax((b"GNU.sparse.map", b"0,5,3,5"), (b"GNU.sparse.size", b"10")) + file(b"f", b"x" * 10)),
        tar(pax((b"GNU.sparse.map", b"0,5,100,5"), (b"GNU.sparse.size", b"10")) + file(b"f", b"x" * 10)),
        tar(pax((b"GNU.sparse.map", b"0,5"), (b"GNU.sparse.size", b"10")) + file(b"f", b"x" * 10)),
        tar(pax((b"GNU.sparse.map", b"0"), (b"GNU.sparse.size", b"10")) + file(b"f", b"x" * 10)),
        file(b"d") + file(b"d/f") + tars.END,
        file(b".wh.d/f") + tars.END,
        symlink(b"s", b".wh.x") + file(b"s/f") + tars.END,
        file(b".wh..wh.x") + tars.END,
        symlink(b"s", b"n" * 256) + file(b"s/f") + tars.END,
    ],
)  # fmt: skip
def test_nonsense_is_refused(entry: bytes, into: Path) -> None:
    with pytest.raises(BadLayer):
        from_file(entry, into)


def test_a_sparse_file_of_8_eib_is_refused(into: Path) -> None:
    if filesystem(into.parent) == "tmpfs":
        pytest.skip("a tmpfs takes files of 8 EiB")
    with pytest.raises(BadLayer, match="File too large"):
        from_file(
            tar(
                pax((b"GNU.sparse.map", b"0,5,9223372036854775802,5"), (b"GNU.sparse.size", b"9223372036854775807"))
                + file(b"f", b"x" * 10)
            ),
            into,
        )


def test_too_many_entries_are_refused(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack_module, "ENTRIES_MAX", 100)
    with pytest.raises(BadLayer, match="more than 100 entries"):
        from_file(b"".join(file(b"%d" % number) for number in range(101)), into)


def test_a_deep_tree_takes_its_times_and_few_descriptors(into: Path) -> None:
    code = """
        import resource, sys
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        from minirun.layer.unpack import unpack
        with open(sys.argv[1], "rb") as blob:
            unpack(blob.fileno(), sys.argv[2])
    """
    paths = [b"/".join([b"d%d" % (level % 3)] * level) for level in range(1, 700)]
    wide = [b"w/%d" % number for number in range(300)]
    (into.parent / "blob").write_bytes(
        tar(
            *(directory(path, mtime=len(path)) for path in paths),
            *(directory(path, mtime=9) for path in [b"w", *wide]),
            *(file(path + b"/f", mtime=5) for path in [*wide[::-1], *paths[::-3]]),
        )
    )
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), into.parent / "blob", into], check=True, cwd=CHECKOUT)
    for path in (*paths[::100], *wide):
        info = (into / os.fsdecode(path)).lstat()
        assert info.st_mtime == (9 if path.startswith(b"w") else len(path))
    assert (into / "w/299/f").exists()


def measured(blob: Path, into: Path) -> tuple[str, float, float]:
    """Unpack in a process of its own; returns how it ended, its peak in MB and how long it took in seconds."""
    code = """
        import sys, time
        from minirun.errors import BadLayer
        from minirun.layer.unpack import unpack
        begin = time.monotonic()
        try:
            with open(sys.argv[1], "rb") as blob:
                unpack(blob.fileno(), sys.argv[2])
            print("unpacked", end=" ")
        except BadLayer:
            print("refused", end=" ")
        # not ru_maxrss, which begins with what the process had before exec(2)
        peak_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
        print(int(peak_kb) / 1024, time.monotonic() - begin)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), blob, into],
        check=True,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
    )
    end, peak, seconds = done.stdout.split()
    return end, float(peak), float(seconds)


def zeros_by_gzip(count: int) -> Iterator[bytes]:
    compressor = isal_zlib.compressobj(3, isal_zlib.DEFLATED, 31)
    for _ in range(count >> 20):
        yield compressor.compress(bytes(1 << 20))
    yield compressor.flush()


def zeros_by_zstd(count: int) -> bytes:
    """Runs of 128 KiB in four bytes each: 30,000 to one."""
    blocks = (count >> 17) - 1
    run = ((131072 << 3 | 1 << 1).to_bytes(3, "little")) + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x78" + run * blocks + ((131072 << 3 | 1 << 1 | 1).to_bytes(3, "little")) + b"\0"


def bomb(name: str, path: Path) -> None:
    with path.open("wb") as out:
        if name == "gzip of zeros":
            out.writelines(zeros_by_gzip(1 << 30))
        elif name == "zstd of zeros":
            out.write(zeros_by_zstd(1 << 30))
        elif name == "tiny gzip members":
            out.write(gzip.compress(b"") * 200_000)
        elif name == "many whiteouts":
            long_names = b"".join(file(b"d%d/.wh." % number + b"n" * 80) for number in range(8_000))
            out.write(gzip.compress(long_names))
        elif name == "implied directories":
            out.write(gzip.compress(b"".join(file(b"%d/" % number + b"i/" * 9 + b"f") for number in range(1_000))))
        elif name == "a pax header full of tiny records":
            records = b"6 a=b\n" * 170_000
            out.write(gzip.compress((tars.raw_pax(records) + file(b"a")) * 3))
        elif name == "xattrs of a mebibyte":
            out.write(gzip.compress(tar(xattr(b"user.a", bytes(1_000_000)) + file(b"a"))))
        elif name == "sparse maps":
            regions = b",".join(b"%d,0" % number for number in range(65_000))
            out.write(
                gzip.compress(tar(pax((b"GNU.sparse.map", regions), (b"GNU.sparse.size", b"99999")) + file(b"a")))
            )
        elif name == "zstd with a large window":
            parameters = zstandard.ZstdCompressionParameters(window_log=27, compression_level=1)
            out.write(zstandard.ZstdCompressor(compression_params=parameters).compress(ARCHIVE * 100))


@pytest.mark.parametrize(
    "name",
    [
        "gzip of zeros",
        "zstd of zeros",
        "tiny gzip members",
        "many whiteouts",
        "implied directories",
        "a pax header full of tiny records",
        "xattrs of a mebibyte",
        "sparse maps",
        "zstd with a large window",
    ],
)
def test_bombs_are_quick_and_take_little_memory(name: str, into: Path) -> None:
    bomb(name, into.parent / "blob")
    _end, peak, seconds = measured(into.parent / "blob", into)
    assert peak < 200
    assert seconds < 10 * PATIENCE


def test_a_window_of_two_gib_is_refused(into: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=31, compression_level=1, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    blob = compressor.compress(ARCHIVE) + compressor.flush()
    with pytest.raises(BadLayer, match="zstd"):
        from_file(blob, into)


def test_a_pipe_that_goes_silent_can_be_interrupted(into: Path) -> None:
    code = """
        import sys
        from minirun.layer.unpack import unpack
        try:
            unpack(0, sys.argv[1])
        except KeyboardInterrupt:
            import threading
            sys.exit(40 + threading.active_count())
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), into], stdin=subprocess.PIPE, cwd=CHECKOUT
    ) as process:
        assert process.stdin is not None
        process.stdin.write(file(b"first") + header(b"second", size=10_000))
        process.stdin.flush()
        deadline = time.monotonic() + 10
        while not (into / "first").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 41


def test_a_source_that_fails_is_its_own_error(into: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield file(b"a")
        raise OSError(errno.EIO, "the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        unpack(failing(), str(into))


def test_a_full_disk_is_the_disks_error(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        (tmp_path / "into").mkdir()
        with pytest.raises(OSError, match="No space left") as caught:
            unpack([gzip.compress(ARCHIVE)], str(tmp_path / "into"))
        assert caught.value.errno == errno.ENOSPC
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_file_size_limit_is_told_as_too_large(into: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
    try:
        with pytest.raises(BadLayer, match="'zeros': File too large"):
            unpack([ARCHIVE], str(into))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
