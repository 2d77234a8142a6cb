"""The members of an archive are found inside it, or not at all, and read where they lie."""

from __future__ import annotations

import io
import lzma
import os
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from gzip import compress as gzip
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from minirun.errors import BadInput, BadLayer, MinirunError
from minirun.home import Home
from minirun.image import members, spool
from minirun.image.contents import Contents
from minirun.image.manifest import Part
from minirun.image.tarfolder import TarFolder
from minirun.layer.field import Malformed
from tests import tars


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(str(tmp_path / "root"), str(tmp_path / "run"))
    made.create()
    return made


@pytest.fixture
def opened(home: Home, tmp_path: Path) -> Iterator[Callable[[bytes], TarFolder]]:
    """Opens an archive that lies in a file."""
    found: list[TarFolder] = []

    def open_(data: bytes) -> TarFolder:
        (tmp_path / "archive.tar").write_bytes(data)
        contents = spool.open_path(home, str(tmp_path / "archive.tar"))
        assert isinstance(contents, TarFolder)
        found.append(contents)
        return contents

    yield open_
    for contents in found:
        contents.close()


Opened = Callable[[bytes], TarFolder]


def blob(contents: Contents, name: str) -> bytes:
    data = contents.blob(Part(name))
    assert not isinstance(data, int)
    return b"".join(data)


def refused(contents: Contents, name: str, said: str) -> None:
    for read in (lambda: contents.read(name, 100), lambda: contents.look(Part(name)), lambda: blob(contents, name)):
        with pytest.raises(BadLayer, match=said) as refusal:
            read()
        assert refusal.value.remedy


ORDINARY = tars.tar(
    tars.directory(b"deep/"),
    tars.file(b"deep/file", b"contents"),
    tars.file(b"./dotted//name", b"d"),
    tars.file(b"empty"),
    tars.file(b"large", bytes(range(256)) * 4096),
    tars.symlink(b"deep/link", b"../deep/./file"),
    tars.symlink(b"folder", b"deep"),
    tars.symlink(b"far", b"folder/link"),
    tars.hardlink(b"hard", b"./deep/file"),
    tars.hardlink(b"harder", b"far"),
    tars.device(b"null", 1, 3),
    tars.file(b"last", b"x"),
)


def test_an_archive_is_as_the_directory_it_unpacks_to(opened: Opened) -> None:
    contents = opened(ORDINARY)
    assert contents.names() == sorted(
        ["deep", "dotted", "empty", "far", "folder", "hard", "harder", "large", "last", "null"]
    )
    for name in ("deep/file", "./deep//file", "deep/link", "folder/file", "far", "hard", "harder"):
        assert contents.read(name, 8) == b"contents"
        assert blob(contents, name) == b"contents"
    assert contents.read("dotted/name", 5) == b"d"
    assert contents.read("empty", 5) == b""
    assert blob(contents, "large") == bytes(range(256)) * 4096
    assert contents.kind("deep") == contents.kind("dotted") == stat.S_IFDIR
    assert contents.kind("far") == stat.S_IFLNK
    assert contents.kind("hard") == contents.kind("deep/file") == stat.S_IFREG
    assert contents.kind("null") == stat.S_IFCHR
    assert contents.kind("missing") == contents.kind("deep/missing") == 0


def test_size_and_date_are_those_of_the_file_a_link_leads_to(opened: Opened) -> None:
    contents = opened(tars.tar(tars.file(b"a", b"12345", mtime=86400), tars.symlink(b"b", b"a")))
    part = Part("b")
    contents.look(part)
    assert (part.size, part.created) == (5, "1970-01-02T00:00:00Z")
    part = Part("b", created="2000-01-01T00:00:00Z")
    contents.look(part)
    assert part.created == "2000-01-01T00:00:00Z"
    strange = opened(tars.tar(tars.pax((b"mtime", b"9" * 12)), tars.file(b"a")))
    strange.look(part := Part("a"))
    assert part.created == ""


def test_of_two_members_with_one_name_the_last_counts(opened: Opened) -> None:
    contents = opened(
        tars.tar(tars.file(b"a", b"first"), tars.symlink(b"b", b"a"), tars.file(b"a", b"last"), tars.file(b"./b", b"b"))
    )
    assert (contents.read("a", 9), contents.read("b", 9)) == (b"last", b"b")


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "deep/../file", "a\0b", "x" * 5000])
def test_a_name_that_is_no_path_inside_is_refused(opened: Opened, name: str) -> None:
    refused(opened(ORDINARY), name, "not a path inside the archive")


@pytest.mark.parametrize("name", ["missing", "deep/file/x", "missing/x", ".", "\ud800", "deep/missing"])
def test_what_is_not_there_is_refused(opened: Opened, name: str) -> None:
    refused(opened(ORDINARY), name, "no such file")


@pytest.mark.parametrize("name", ["deep", "deep/", "null", "folder"])
def test_what_is_no_regular_file_is_refused(opened: Opened, name: str) -> None:
    refused(opened(ORDINARY), name, "not a regular file")


def test_absolute_names_and_those_with_dots_are_never_found(opened: Opened) -> None:
    contents = opened(tars.tar(tars.file(b"/a", b"x"), tars.file(b"../b", b"x"), tars.file(b"c/../d", b"x")))
    assert contents.names() == []
    for name in ("a", "b", "c", "d"):
        refused(contents, name, "no such file")


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([tars.symlink(b"x", b"/etc/passwd")], "absolute"),
        ([tars.symlink(b"x", b"../y"), tars.file(b"y", b"y")], "leads out of the archive"),
        ([tars.symlink(b"x", b"x")], "too many links"),
        ([tars.symlink(b"x", b"y/z"), tars.symlink(b"y", b"x")], "too many links"),
        ([tars.hardlink(b"x", b"x")], "too many links"),
        ([tars.hardlink(b"x", b"y"), tars.hardlink(b"y", b"x")], "too many links"),
        ([tars.hardlink(b"x", b"/etc/passwd")], "hard link leads out"),
        ([tars.hardlink(b"x", b"../y")], "hard link leads out"),
        ([tars.hardlink(b"x", b"")], "hard link leads out"),
        ([tars.symlink(b"x", b"a/b/c"), tars.symlink(b"a", b".")], "no such file"),
        ([tars.symlink(b"x", b"/".join([b"x"] * 50))], "too many links"),
    ],
)
def test_a_link_that_leads_out_or_nowhere_is_refused(opened: Opened, entries: list[bytes], said: str) -> None:
    refused(opened(tars.tar(*entries)), "x", said)


def test_names_of_any_length_are_read_from_gnu_and_pax_headers(opened: Opened) -> None:
    long = "d/" + "n" * 300
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            info = tarfile.TarInfo(long)
            info.size = 4
            archive.addfile(info, io.BytesIO(b"long"))
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, long
            archive.addfile(info)
        assert opened(file.getvalue()).read("link", 10) == b"long"


def test_a_file_with_holes_is_refused_when_it_is_asked_for_and_not_before(opened: Opened, tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"data")
    for form in ("gnu", "posix"):
        archive = tmp_path / "sparse.tar"
        assert os.system(f"cd {tmp_path} && echo x >plain && tar --format={form} -Scf {archive} sparse plain") == 0
        contents = opened(archive.read_bytes())
        assert contents.read("plain", 10) == b"x\n"
        refused(contents, "sparse", "holes")


def test_what_is_too_long_is_not_read_whole(opened: Opened) -> None:
    contents = opened(ORDINARY)
    with pytest.raises(BadLayer, match="longer than 7 bytes"):
        contents.read("deep/file", 7)


def test_all_documents_together_have_a_limit(opened: Opened) -> None:
    contents = opened(tars.tar(tars.file(b"a", bytes(1 << 20))))
    for _ in range(128):
        contents.read("a", 1 << 20)
    with pytest.raises(BadLayer, match="128 MiB"):
        contents.read("a", 1 << 20)


def test_one_archive_is_read_by_several_at_once(opened: Opened) -> None:
    contents = opened(tars.tar(*(tars.file(b"%d" % n, bytes([n]) * (1 << 20)) for n in range(8))))
    wrong = []

    def read(number: int) -> None:
        for _ in range(5):
            if blob(contents, str(number)) != bytes([number]) * (1 << 20):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_archive_that_becomes_shorter_meanwhile_is_refused(opened: Opened, tmp_path: Path) -> None:
    contents = opened(ORDINARY)
    os.truncate(tmp_path / "archive.tar", 4096)
    with pytest.raises(BadLayer, match="became shorter"):
        blob(contents, "large")


# where it comes from

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip,
    "zstd": lambda data: zstandard.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_comes_compressed_or_not_from_a_file_or_a_pipe(home: Home, tmp_path: Path, form: str) -> None:
    data = FORMS[form](ORDINARY)
    (tmp_path / "archive").write_bytes(data)
    os.mkfifo(tmp_path / "fifo")

    def write(path: str | int, data: bytes) -> None:
        with open(path, "wb", 0) as file:  # noqa: PTH123 - also a descriptor
            for start in range(0, len(data), 700):
                file.write(data[start : start + 700])

    writer = threading.Thread(target=write, args=(str(tmp_path / "fifo"), data))
    writer.start()
    sources = [spool.open_path(home, str(tmp_path / "archive")), spool.open_path(home, str(tmp_path / "fifo"))]
    writer.join()
    reading, writing = os.pipe()
    writer = threading.Thread(target=write, args=(writing, data))
    writer.start()
    sources.append(spool.open_descriptor(home, "standard input", reading))
    writer.join()
    for contents in sources:
        with contents:
            assert contents.read("far", 100) == b"contents"
            assert blob(contents, "large") == bytes(range(256)) * 4096
    assert os.listdir(home.folder("tmp")) == []


def test_a_file_is_read_from_where_its_descriptor_stands(home: Home, tmp_path: Path) -> None:
    (tmp_path / "two").write_bytes(b"preface " + ORDINARY)
    descriptor = os.open(tmp_path / "two", os.O_RDONLY)
    os.lseek(descriptor, 8, os.SEEK_SET)
    with spool.open_descriptor(home, "standard input", descriptor) as contents:
        assert contents.read("deep/file", 100) == b"contents"
        assert blob(contents, "large") == bytes(range(256)) * 4096


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"{}", "JSON"),
        (b"hello\n" * 200, "text"),
        (b"PK\3\4" + bytes(600), "zip"),
        (b"BZh9" + bytes(600), "bzip2"),
        (gzip(b"hello\n" * 200, mtime=0), "text"),
        (gzip(gzip(ORDINARY)), "not a tar archive"),
        (gzip(ORDINARY)[:-300], "cut off"),
        (gzip(ORDINARY)[:-4], "cut off"),
        (zstandard.compress(ORDINARY)[:-4], "cut off"),
        (lzma.compress(ORDINARY)[:-4], "cut off"),
        (gzip(ORDINARY)[:900] + b"!!!!" + gzip(ORDINARY)[904:], "damaged|cut off|checksum"),
        (ORDINARY[:1000] + b"X" + ORDINARY[1001:], "checksum|octal"),
        (gzip(tars.tar(tars.file(b"a", b"x")) + bytes(65 << 20)), "64 MiB follow its end"),
    ],
)
def test_what_is_no_archive_or_a_damaged_one_is_refused(home: Home, tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "archive").write_bytes(data)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BadInput, match=said) as refusal:
        spool.open_path(home, str(tmp_path / "archive"))
    assert refusal.value.remedy
    assert os.listdir("/proc/self/fd") == before
    assert os.listdir(home.folder("tmp")) == []


def test_what_cannot_be_opened_is_refused(home: Home, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="ENOENT"):
        spool.open_path(home, str(tmp_path / "missing"))


def test_an_archive_that_is_cut_anywhere_is_refused_or_lacks_what_came_last(opened: Opened) -> None:
    whole = tars.tar(tars.file(b"a", b"a" * 700), tars.file(b"b", b"b" * 600), tars.file(b"c", b"c"))
    for length in range(1, len(whole) - 1024, 37):
        try:
            contents = opened(whole[:length])
        except BadInput:
            continue
        for name, data in (("a", b"a" * 700), ("b", b"b" * 600), ("c", b"c")):
            if contents.kind(name):
                assert contents.read(name, 1000) == data


def test_the_end_of_an_archive_is_known_from_its_mark(opened: Opened, home: Home) -> None:
    entries = tars.file(b"a", b"x" * 700) + tars.directory(b"b") + tars.file(b"c", b"x" * 512)
    for data, ended in (
        (entries, False),
        (entries + bytes(512), True),
        (entries + bytes(1024), True),
        (bytes(1024), True),
    ):
        assert opened(data).is_ended == ended
        reading, writing = os.pipe()
        os.write(writing, data)
        os.close(writing)
        with spool.open_descriptor(home, "x", reading) as contents:
            assert contents.is_ended == ended
    with pytest.raises(BadLayer, match="end is missing"):
        opened(entries).check_end()
    opened(entries + bytes(1024)).check_end()


# bounds


def test_more_members_or_names_than_an_image_archive_has_are_refused(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "MEMBERS", 10)
    data = tars.tar(*(tars.file(b"%d" % n) for n in range(10)))
    assert len(opened(data).names()) == 10
    with pytest.raises(BadLayer, match="more than 10 members"):
        opened(tars.tar(*(tars.file(b"%d" % n) for n in range(11))))
    monkeypatch.setattr(members, "MEMBERS", 100_000)
    monkeypatch.setattr(members, "NAMES_BYTES", 9000)
    with pytest.raises(BadLayer, match="of names"):
        opened(tars.tar(*(tars.file(b"n" * 1000) for _ in range(10))))


def test_an_entry_that_claims_more_than_there_is_is_not_believed(opened: Opened, home: Home) -> None:
    for size in (b"77777777777", b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"):
        data = tars.header(b"a", size=size) + bytes(1024)
        with pytest.raises(BadLayer, match=r"ends in the middle|size of"):
            opened(data)
        reading, writing = os.pipe()
        os.write(writing, data)
        os.close(writing)
        with pytest.raises(BadLayer, match=r"ends in the middle|size of"):
            spool.open_descriptor(home, "x", reading)


def test_the_data_of_members_are_passed_over_and_not_read(tmp_path: Path) -> None:
    # 8 GiB of nothing between two members: reading it would take seconds
    with (tmp_path / "huge.tar").open("wb") as file:
        file.write(tars.header(b"huge", size=(8 << 30) - 512))
        file.seek((8 << 30) - 512, os.SEEK_CUR)
        file.write(tars.file(b"last", b"x") + tars.END)
    descriptor = os.open(tmp_path / "huge.tar", os.O_RDONLY)
    try:
        found, _ = members.index(members.File(descriptor))
    finally:
        os.close(descriptor)
    assert found["last"].offset == (8 << 30) + 512
    assert found["huge"].size == (8 << 30) - 512


def test_the_disk_is_full_while_an_archive_is_kept(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, tars.tar(tars.file(b"a", b"x")))
    os.close(writing)
    full = os.open("/dev/full", os.O_RDWR)
    monkeypatch.setattr(spool, "_unnamed", lambda _home: full)
    with pytest.raises(MinirunError, match="ENOSPC") as refusal:
        spool.open_descriptor(home, "x", reading)
    assert "minirun gc" in refusal.value.remedy


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"a", b"b", b"c", b"d/e", b"d/f", b"d"]),
            st.sampled_from(["file", "symlink", "hardlink", "directory"]),
            st.sampled_from([b"a", b"b", b"../a", b"d/e", b"d/../a", b"..", b".", b"c/e", b"f", b"/a"]),
        ),
        max_size=8,
    ),
    st.sampled_from(["a", "b", "c", "d/e", "d/f", "c/e", "d/e/f"]),
)
def test_links_lead_to_a_file_of_the_archive_or_are_refused(entries: list[tuple[bytes, str, bytes]], name: str) -> None:
    kinds: dict[str, Callable[[bytes, bytes], bytes]] = {
        "file": lambda path, target: tars.file(path, path + target),
        "symlink": tars.symlink,
        "hardlink": tars.hardlink,
        "directory": lambda path, _target: tars.directory(path + b"/"),
    }
    data = tars.tar(*(kinds[kind](path, target) for path, kind, target in entries))
    written = {path + target for path, kind, target in entries if kind == "file"}
    descriptor = os.memfd_create("archive")
    os.write(descriptor, data)
    with TarFolder("archive", descriptor, members.index(members.File(descriptor))) as contents:
        try:
            data = contents.read(name, 100)
        except BadLayer:
            return
        assert data in written


@given(st.binary(max_size=1500), st.integers(0, 1500))
def test_any_bytes_are_an_index_or_malformed(noise: bytes, place: int) -> None:
    data = ORDINARY[:3000]
    data = data[:place] + noise + data[place + len(noise) :]
    descriptor = os.memfd_create("archive")
    os.write(descriptor, data)
    chunks = [data[start : start + 100] for start in range(0, len(data), 100)]
    try:
        # passed over or read: both say the same
        assert described(members.File(descriptor)) == described(members.Stream(chunks))
    finally:
        os.close(descriptor)


def described(stream: members.Stream) -> object:
    try:
        found, ended = members.index(stream)
    except Malformed:
        return None
    return ended, {name: (one.kind, one.offset, one.size, one.link) for name, one in found.items()}
