"""The C part and Python: whatever _entries.c answers, Python would have answered; and all goes on without it."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from minirun.kernel import tree
from minirun.layer import entries, header, tar
from minirun.layer.field import Malformed
from minirun.layer.pack import pack
from minirun.layer.unpack import unpack
from tests import tars
from tests.trees import describe

compiled = pytest.mark.skipif(entries.plain is entries._plain, reason="_entries.c was not compiled: `make setup`")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="owners need root")

# as `tar --format=posix`, minirun and old writers have them
HEADERS = (
    tars.pax((b"mtime", b"1700000000.123456789"), (b"atime", b"1.5"), (b"ctime", b"2")) + tars.file(b"posix", b"data"),
    header.entry(b"a/name", tar.FILE, mode=0o4755, uid=7, gid=8, size=3, mtime_ns=1_700_000_000_500_000_000) + b"abc",
    header.entry(b"d/", tar.DIRECTORY, mode=0o2755),
    header.entry(b"x" * 90 + b"/" + b"y" * 90, tar.FILE, size=1) + b"z",
    header.entry(b"link", tar.SYMLINK, link=b"t" * 100),
    header.entry(b"hard", tar.HARDLINK, link=b"a/name"),
    tars.header(b"slash/", b"0"),
    tars.header(b"old", b"\0"),
    tars.pax((b"mtime", b"12.")) + tars.file(b"dot"),
)  # fmt: skip
NAMES = ("plain", "make", "read")


@contextmanager
def without_c() -> Iterator[None]:
    """Have everything done by Python."""
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setattr(entries, name, getattr(entries, f"_{name}"))
        yield


def read(archive: bytes, cut: int = 1 << 20) -> list[object]:
    """Everything that a reader says of *archive*, given in pieces of *cut* bytes."""
    reader = tar.Reader(archive[at : at + cut] for at in range(0, len(archive), cut))
    said: list[object] = []
    try:
        while (entry := reader.next()) is not None:
            said.append([getattr(entry, name, None) for name in tar.Entry.__slots__])
    except Malformed as error:
        said.append(str(error))
    return said


def sealed(block: bytes) -> bytes:
    """A header block with the checksum that it should have."""
    return block[:148] + b"%06o\0 " % (sum(block[:148]) + sum(block[156:]) + 256) + block[156:]


@compiled
def test_what_nearly_all_entries_are_is_plain() -> None:
    for archive in HEADERS:
        assert entries.plain(archive, 0) is not None
    assert entries.plain(memoryview(bytes(512) + HEADERS[2]), 512) is not None


@compiled
@pytest.mark.parametrize(
    "archive",
    [
        bytes(512), b"", b"x" * 511, b"x" * 512,
        HEADERS[2][:511], HEADERS[0][:1024], HEADERS[0][:1100],
        header.entry(b"y" * 101, tar.FILE), header.entry(b"f", tar.FILE, uid=3_000_000),
        header.entry(b"f", tar.FILE, mtime_ns=-1), header.entry(b"f", tar.FILE, xattrs=[("user.a", b"b")]),
        header.entry(b"null", tar.CHARACTER, device=os.makedev(1, 3)),
        sealed(HEADERS[2][:136] + b"777777777777" + HEADERS[2][148:]),
    ],
)  # fmt: skip
def test_anything_else_is_left_to_python(archive: bytes) -> None:
    assert entries.plain(archive, 0) is None


@compiled
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_both_read_the_same_headers(data: st.DataObject) -> None:
    archive = bytearray(b"".join(data.draw(st.lists(st.sampled_from(HEADERS), min_size=1, max_size=3))))
    archive += bytes(-len(archive) & 511)
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(archive) - 1))
        piece = data.draw(st.sampled_from([b"\0", b" ", b"7", b"8", b"/", b"\x80", b"\xff", b"\n", b"x", b"0000000"]))
        archive[at : at + len(piece)] = piece
        block = at & ~511
        if data.draw(st.booleans()):
            archive[block : block + 512] = sealed(bytes(archive[block : block + 512]))
    given_ = bytes(archive[: data.draw(st.integers(0, len(archive)))]) if data.draw(st.booleans()) else bytes(archive)
    cut = data.draw(st.sampled_from([1 << 20, 512, 700, 1536]))
    ours = read(given_, cut)
    with without_c():
        assert read(given_, cut) == ours


@compiled
@settings(max_examples=1500, deadline=None)
@given(
    records=st.lists(
        st.tuples(
            st.sampled_from([b"mtime", b"atime", b"ctime", b"Mtime", b"mtimes", b"path", b"", b"m\0ime"]),
            st.text(alphabet="0123456789.-\n\0 ", max_size=24).map(str.encode),
        ),
        max_size=4,
    ),
    shift=st.integers(-2, 2),
    zeros=st.integers(0, 9),
)
@example(records=[(b"mtime", b"9223372035.999999999")], shift=0, zeros=0)
@example(records=[(b"mtime", b"9223372036.999999999")], shift=0, zeros=0)
@example(records=[(b"mtime", b"1.9999999999999")], shift=0, zeros=6)
def test_both_read_the_same_records(records: list[tuple[bytes, bytes]], shift: int, zeros: int) -> None:
    data = b""
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = rest + len(b"%d" % rest) + shift + zeros
        data += b"%s%d %s=%s\n" % (b"0" * zeros, length, key, value)
    block = header.entry(b"PaxHeaders/x", b"x", size=len(data))
    archive = block + data + bytes(-len(data) & 511) + HEADERS[1]
    ours = read(archive)
    with without_c():
        assert read(archive) == ours


FILES = st.builds(
    tars.file,
    st.sampled_from([b"a", b"b", b"d/c", b"d", b"./e", b"f"]),
    st.one_of(st.binary(max_size=1500), st.just(b"l" * 200_000)),
    st.integers(0, 0o7777),
    uid=st.sampled_from([0, 1, 2_000_000]),
    gid=st.sampled_from([0, 9]),
)


@compiled
@as_root
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parts=st.lists(FILES, min_size=1, max_size=6), cut=st.sampled_from([1 << 20, 512, 3000]))
def test_both_make_the_same_files(parts: list[bytes], cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    archive = tars.tar(*parts)
    place = tmp_path_factory.mktemp("both")

    def made(name: str) -> object:
        (place / name).mkdir()
        try:
            unpacked = unpack([archive[at : at + cut] for at in range(0, len(archive), cut)], str(place / name))
        except Exception as error:  # noqa: BLE001 - both must say the same, whatever it is
            return str(error)
        return describe(place / name), unpacked.size, unpacked.entries

    ours = made("ours")
    with without_c():
        assert made("theirs") == ours
    tree.remove(str(place))


@compiled
@as_root
@pytest.mark.parametrize("latest_ns", [None, 1_600_000_000_250_000_000])
def test_both_pack_the_same_bytes(tmp_path: Path, latest_ns: int | None) -> None:
    for number, size in enumerate((0, 1, 511, 512, 513, 65_536, 65_537)):
        (tmp_path / f"size-{size}").write_bytes(b"c" * size)
        os.chown(tmp_path / f"size-{size}", number, 2_097_151 + number)
        (tmp_path / f"size-{size}").chmod(0o4750 + number)
    times = (0, 1, -1, 10**9, 10**9 + 500_000_000, 1_700_000_000_123_456_789, 8_589_934_592 * 10**9, 10**10)
    for number, time_ns in enumerate(times):
        (tmp_path / f"time-{number}").write_bytes(b"t")
        os.utime(tmp_path / f"time-{number}", ns=(0, time_ns))
    for name in (b"n" * 99, b"n" * 100, b"n" * 101, b"\xff" * 90):
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    (tmp_path / ("p" * 60)).mkdir()
    for length in (38, 39, 40, 80, 100):
        (tmp_path / ("p" * 60) / ("q" * length)).write_bytes(b"q")
    (tmp_path / "with-xattr").write_bytes(b"x")
    os.setxattr(tmp_path / "with-xattr", "user.a", b"b")
    (tmp_path / "holes").write_bytes(b"")
    os.truncate(tmp_path / "holes", 40_000)

    def packed() -> tuple[bytes, int]:
        parts: list[bytes] = []
        result = pack(str(tmp_path), parts.append, compression="none", latest_ns=latest_ns)
        return b"".join(parts), result.entries

    ours = packed()
    with without_c():
        assert packed() == ours


@compiled
def test_a_file_is_made_in_one_go(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    old = os.umask(0o077)
    try:
        assert entries.make(directory, b"f", b"..data..", 2, 4, -1, -1, 0o6754, -1_500_000_000)
    finally:
        os.umask(old)
        os.close(directory)
    status = (tmp_path / "f").stat()
    assert (tmp_path / "f").read_bytes() == b"data"
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o6754, -1_500_000_000)
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


@compiled
def test_a_name_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"was there")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "target")
    (tmp_path / "directory").mkdir()
    before = describe(tmp_path)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        for name in (b"file", b"elsewhere", b"directory", b"n" * 256):
            assert entries.make(directory, name, b"data", 0, 4, -1, -1, 0o644, 0) is False
        assert entries.make(-1, b"nowhere", b"data", 0, 4, -1, -1, 0o644, 0) is False
    finally:
        os.close(directory)
    assert describe(tmp_path) == before


@compiled
@pytest.mark.parametrize(
    ("name", "position", "size"),
    [(b"../out", 0, 1), (b"a/b", 0, 1), (b"/f", 0, 1), (b"f\0", 0, 1), (b"f", 0, 5), (b"f", 4, 1), (b"f", -1, 1),
     (b"f", 0, -1), (b"f", 5, 0), (b"f", 2**62, 2**62)],
)  # fmt: skip
def test_a_path_and_data_that_are_not_there_are_refused(tmp_path: Path, name: bytes, position: int, size: int) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ValueError, match=r"name|null"):
            entries.make(directory, name, b"data", position, size, -1, -1, 0o644, 0)
    finally:
        os.close(directory)
    assert not os.listdir(tmp_path)


@compiled
def test_what_cannot_be_written_is_told_with_its_errno(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    before = sorted(os.listdir("/proc/self/fd"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is looked at
            entries.make(directory, b"f", bytes(2000), 0, 2000, -1, -1, 0o644, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.errno == errno.EFBIG
    assert sorted(os.listdir("/proc/self/fd")) == before
    os.close(directory)


@compiled
def test_a_file_is_read_only_if_it_is_what_it_was_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"four")
    (tmp_path / "link").symlink_to("f")
    os.mkfifo(tmp_path / "fifo")
    directory = os.open(tmp_path, os.O_RDONLY)

    def said(name: bytes, size: int) -> bytes | None:
        return entries.read(directory, name, b"d/" + name, 0o644, 1, 2, size, 3)

    try:
        assert said(b"f", 4) == header.entry(b"d/f", tar.FILE, mode=0o644, uid=1, gid=2, size=4, mtime_ns=3) + (
            b"four" + bytes(508)
        )
        for name, size in ((b"f", 5), (b"link", 4), (b"fifo", 4), (b"missing", 0), (b"f", 65_537), (b"f", -1)):
            assert said(name, size) is None
    finally:
        os.close(directory)
