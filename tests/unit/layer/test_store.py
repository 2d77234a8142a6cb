"""The layer store: shared where it can be, whole or not there at all, whoever else is at it and whatever kills it."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minirun import journal
from minirun.errors import BadLayer, MinirunError, NotFound
from minirun.home import Home
from minirun.kernel import tree
from minirun.layer import pack, stack
from minirun.layer.record import Layer, chain_id
from minirun.layer.store import Layers
from tests.tars import directory, file, hardlink, header, tar
from tests.trees import describe, mounted

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and whiteouts need root")

CHECKOUT = Path(__file__).parents[3]
ROOT = directory(b"./")
BASE = tar(ROOT, directory(b"etc", 0o750, mtime=7), file(b"etc/passwd", b"root"), directory(b"usr"))
OTHER = tar(ROOT, directory(b"srv"), directory(b"etc", 0o700), file(b"etc/motd", b"hi"))


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    return Layers(home)


def add(layers: Layers, blob: bytes, parent: Layer | None = None) -> Layer:
    layer, _ = layers.add([blob], parent, created_by="a test")
    return layer


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def stored(layers: Layers) -> set[str]:
    return {str(path) for path in Path(layers.home.root).rglob("*")} - {layers.home.lock}


def diffs(layers: Layers) -> set[str]:
    return set(os.listdir(layers.home.folder("diffs")))


def test_a_layer_is_stored_with_its_record(layers: Layers) -> None:
    layer, unpacked = layers.add(
        [gzip.compress(BASE)], None, created_by="ADD x", created="2020-01-01T00:00:00Z", comment="first"
    )
    assert unpacked is not None
    assert (layer.id, layer.diff_id, layer.parent) == (digest(BASE)[7:], digest(BASE), None)
    assert (layer.created, layer.created_by, layer.comment, layer.size) == ("2020-01-01T00:00:00Z", "ADD x", "first", 4)
    assert layers.get(layer.id) == layer
    assert layers.list() == [layer]
    assert layers.stack(layer.id) == [layers.home.diff(digest(BASE)[7:])]
    assert Path(layers.stack(layer.id)[0], "etc/passwd").read_text() == "root"
    assert os.listdir(layers.home.folder("tmp")) == os.listdir(layers.home.folder("marks")) == []


def test_a_layer_that_is_there_twice_is_mounted_once_and_shows_all_that_it_has(layers: Layers, tmp_path: Path) -> None:
    # the empty layer, which tools that build make again and again, and one that brings back what another took away
    empty = tar()
    parent = None
    for blob in (BASE, empty, tar(file(b".wh.usr"), file(b"etc/.wh.passwd"), file(b"new")), empty, BASE, empty):
        parent = add(layers, blob, parent)
    assert parent is not None
    assert len(layers.chain(parent.id)) == 6
    with mounted(layers.stack(parent.id), tmp_path) as view:
        shown = describe(view)
    assert shown.keys() == {b"", b"etc", b"etc/passwd", b"usr", b"new"}
    assert (shown[b"etc"].mode, shown[b"etc"].mtime_ns) == (0o750, 7 * 10**9)


def test_a_chain_has_ocis_ids_and_shares_contents(layers: Layers) -> None:
    upper = tar(directory(b"etc", 0o755), file(b"etc/new", b"1"), file(b".wh.usr"))
    base, other = add(layers, BASE), add(layers, OTHER)
    first, second = add(layers, upper, base), add(layers, upper, other)
    assert first.id == hashlib.sha256(f"{digest(BASE)} {digest(upper)}".encode()).hexdigest()
    assert first.id != second.id
    assert first.diff == second.diff
    assert layers.chain(first.id) == [base, first]
    assert diffs(layers) == {base.diff, other.diff, first.diff} == layers.diffs()


def test_what_is_stored_is_not_read_again(layers: Layers) -> None:
    def must_not_be_read() -> Iterator[bytes]:
        raise AssertionError
        yield b""

    base, other = add(layers, BASE), add(layers, OTHER)
    upper = tar(directory(b"opt"))
    first = add(layers, upper, base)
    same, unpacked = layers.add(must_not_be_read(), base, expected_diff_id=digest(upper))
    assert (same, unpacked) == (first, None)
    shared, unpacked = layers.add(must_not_be_read(), other, expected_diff_id=digest(upper))
    assert shared.diff == first.diff
    assert unpacked is not None
    assert unpacked.entries == 0
    again, unpacked = layers.add([upper], other)
    assert (again.id, unpacked) == (shared.id, None)


def test_a_layer_that_needs_those_below_is_bound_to_them(layers: Layers, tmp_path: Path) -> None:
    upper = tar(file(b"etc/new", b"1"), hardlink(b"etc/linked", b"etc/motd"))
    base, other = add(layers, BASE), add(layers, OTHER)
    with pytest.raises(BadLayer, match="missing target"):
        layers.add([upper], base)
    on_other = add(layers, upper, other)
    assert on_other.diff == f"{on_other.id}-bound"
    with mounted(layers.stack(on_other.id), tmp_path) as view:
        assert (view / "etc").stat().st_mode & 0o7777 == 0o700
        assert (view / "etc/linked").read_text() == "hi"
    plain = tar(file(b"etc/new", b"1"))
    as_base = add(layers, plain)
    on_base, unpacked = layers.add([plain], base, expected_diff_id=digest(plain))
    assert unpacked is not None
    assert unpacked.entries == 1
    assert {as_base.diff, on_base.diff} == {f"{as_base.id}-bound", f"{on_base.id}-bound"}
    etc = Path(layers.home.diff(on_base.diff), "etc").stat()
    assert (etc.st_mode & 0o7777, etc.st_mtime) == (0o750, 7)


def test_whiteouts_are_shared_only_where_something_is_below(layers: Layers, tmp_path: Path) -> None:
    upper = tar(directory(b"srv"), file(b"srv/.wh.x"), file(b"srv/kept"))
    base, other = add(layers, BASE), add(layers, OTHER)
    on_other = add(layers, upper, other)
    on_base, unpacked = layers.add([upper], base, expected_diff_id=digest(upper))
    assert unpacked is not None
    assert on_base.diff != on_other.diff
    for layer in (on_base, on_other):
        with mounted(layers.stack(layer.id), tmp_path) as view:
            assert os.listdir(view / "srv") == ["kept"]


def test_the_stack_ends_at_an_opaque_layer(layers: Layers) -> None:
    base = add(layers, BASE)
    opaque = add(layers, tar(ROOT, file(b".wh..wh..opq"), file(b"only")), base)
    top = add(layers, tar(ROOT, file(b"more")), opaque)
    assert layers.stack(top.id) == [layers.home.diff(opaque.diff), layers.home.diff(top.diff)]
    assert layers.chain(top.id) == [base, opaque, top]


def test_a_hundred_and_twenty_layers_are_a_stack(layers: Layers) -> None:
    layer = None
    for number in range(120):
        layer = add(layers, tar(ROOT, file(b"f%d" % number, b"%d" % number), file(b"same", b"%d" % number)), layer)
    assert layer is not None
    directories = layers.stack(layer.id)
    assert len(directories) == 120
    for path, expected in (("f0", "0"), ("f119", "119"), ("same", "119")):
        found = stack.find(directories, path)
        assert found is not None
        assert Path(found.path).read_text() == expected


@pytest.mark.parametrize(
    "blob",
    [BASE[:700], gzip.compress(BASE)[:-5], b"BZh9" + bytes(100), BASE + b"x", tar(hardlink(b"a", b"missing"))],
    ids=["truncated", "cut gzip", "bzip2", "another digest", "bad hardlink"],
)
def test_a_bad_layer_leaves_nothing(blob: bytes, layers: Layers) -> None:
    base = add(layers, OTHER)
    before = stored(layers)
    with pytest.raises(BadLayer, match="cannot unpack layer 2 of x"):
        layers.add([blob], base, expected_diff_id=digest(BASE), what="layer 2 of x")
    assert stored(layers) == before


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], check=True)
    try:
        home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
        home.create()
        layers = Layers(home)
        base = add(layers, BASE)
        before, free = stored(layers), os.statvfs(tmp_path).f_bfree
        for blob in (
            tar(*(file(b"%d" % number, bytes(100_000)) for number in range(50))),
            tar(header(b"big", size=5 << 20)[:512] + bytes(5 << 20)),
        ):
            with pytest.raises(OSError, match="No space left") as caught:
                layers.add([blob], base)
            assert caught.value.errno == errno.ENOSPC
            assert stored(layers) == before
            assert os.statvfs(tmp_path).f_bfree == free
        add(layers, tar(file(b"small", bytes(1000))), base)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_directory_is_a_layer_by_the_same_rules(layers: Layers, tmp_path: Path) -> None:
    base = add(layers, BASE)
    source = tmp_path / "source"
    (source / "etc").mkdir(parents=True)
    (source / "etc/.wh.passwd").touch()
    (source / "etc/new").write_text("1")
    os.setxattr(source / "etc", "user.a", b"1")
    os.mknod(source / "usr", 0o20000, os.makedev(0, 0))
    layer, unpacked = layers.add(pack.stream(str(source), literal=True), base, created_by="copy")
    assert unpacked is not None
    assert layers.add(pack.stream(str(source), literal=True), base) == (layer, None)
    with mounted(layers.stack(layer.id), tmp_path) as view:
        assert sorted(os.listdir(view)) == ["etc"]
        assert sorted(os.listdir(view / "etc")) == ["new"]
    assert describe(layers.stack(layer.id)[-1])[b"etc"].xattrs == (("user.a", b"1"),)
    with pytest.raises(FileNotFoundError):
        layers.add(pack.stream(str(tmp_path / "missing"), literal=True), base)


def test_an_adopted_directory_is_renamed_and_sealed_when_asked(layers: Layers, tmp_path: Path) -> None:
    base = add(layers, BASE)
    upper = tmp_path / "upper"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc/new").write_bytes(b"12345")
    inode = (upper / "etc/new").stat().st_ino
    layer = layers.adopt(str(upper), base, created_by="sh", comment="committed")
    assert not upper.exists()
    assert Path(layers.stack(layer.id)[-1], "etc/new").stat().st_ino == inode
    assert (layer.diff_id, layer.size, layer.diff, layer.comment) == (None, None, layer.id, "committed")
    assert layers.measure(layer.id).size == 5
    sealed = layers.seal(layer.id)
    assert sealed.diff_id == pack.pack(layers.home.diff(layer.diff), lambda _: None, compression="none").diff_id
    assert layers.seal(layer.id) == layers.get(layer.id) == sealed
    assert (sealed.id, sealed.size) == (layer.id, 5)
    on_top = add(layers, tar(ROOT), layer)
    assert on_top.id == chain_id(layer, digest(tar(ROOT)))


def test_an_adoption_across_file_systems_changes_nothing(layers: Layers, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", other], check=True)
    try:
        (other / "upper").mkdir()
        before = stored(layers)
        with pytest.raises(OSError, match="cross-device"):
            layers.adopt(str(other / "upper"), None)
        assert stored(layers) == before
    finally:
        subprocess.run(["umount", other], check=True)


def test_removing_keeps_contents_that_another_layer_has(layers: Layers) -> None:
    upper = tar(directory(b"opt"))
    base, other = add(layers, BASE), add(layers, OTHER)
    first, second = add(layers, upper, base), add(layers, upper, other)
    layers.remove(first.id)
    assert Path(layers.home.diff(second.diff), "opt").is_dir()
    layers.remove(second.id)
    layers.remove(second.id)
    assert diffs(layers) == {base.diff, other.diff}
    with pytest.raises(NotFound):
        layers.get(second.id)


def test_what_is_unreferenced_is_neither_kept_nor_below_what_is(layers: Layers) -> None:
    base = add(layers, BASE)
    middle = add(layers, tar(ROOT, file(b"1")), base)
    top = add(layers, tar(ROOT, file(b"2")), middle)
    side = add(layers, tar(ROOT, file(b"3")), base)
    assert layers.unreferenced([middle.id]) == sorted([top.id, side.id], key=lambda one: (one != top.id, one))
    assert layers.unreferenced([top.id, side.id, "0" * 64]) == []
    for layer_id in layers.unreferenced([]):
        layers.remove(layer_id)
    folders = {layers.home.folder(name) for name in os.listdir(layers.home.root)} - {layers.home.lock}
    assert stored(layers) == folders | {layers.home.all_noted}


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "x" * 64, "A" * 64, "0" * 63, "0" * 64])
def test_what_is_no_id_of_a_layer_is_not_found(name: str, layers: Layers) -> None:
    with pytest.raises(NotFound):
        layers.get(name)


def test_a_damaged_record_is_told(layers: Layers) -> None:
    layer = add(layers, BASE)
    for text in ("", "{}", "[1]", '{"id": 1'):
        Path(layers.home.layer(layer.id)).write_text(text)
        with pytest.raises(MinirunError, match="damaged"):
            layers.get(layer.id)


ADD = """
    import sys
    from minirun.home import Home
    from minirun.layer.store import Layers
    layers = Layers(Home(sys.argv[1], sys.argv[2]))
    parent = None
    for path in sys.argv[3:]:
        with open(path, "rb") as blob:
            parent, _ = layers.add(blob.fileno(), parent)
    print(parent.id)
"""


def adding(layers: Layers, *blobs: Path, wrapper: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    arguments = [layers.home.root, layers.home.runtime, *map(str, blobs)]
    command = [*wrapper, sys.executable, "-c", textwrap.dedent(ADD), *arguments]
    return subprocess.Popen(command, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@pytest.fixture
def blobs(tmp_path: Path) -> list[Path]:
    made = []
    for number, blob in enumerate(
        (
            tar(ROOT, *(file(b"f%d" % count, os.urandom(3000)) for count in range(300))),
            tar(file(b"implied/f"), file(b".wh.f1"), hardlink(b"linked", b"f2")),
        )
    ):
        made.append(tmp_path / f"{number}.tar.gz")
        made[-1].write_bytes(gzip.compress(blob))
    return made


def test_several_processes_may_add_the_same_layers_at_once(layers: Layers, blobs: list[Path]) -> None:
    processes = [adding(layers, *blobs) for _ in range(6)]
    ids = {process.communicate(timeout=60)[0] for process in processes}
    assert {process.returncode for process in processes} == {0}
    assert len(ids) == 1
    assert len(diffs(layers)) == len(layers.list()) == 2
    assert os.listdir(layers.home.folder("tmp")) == os.listdir(layers.home.folder("marks")) == []


def test_an_interrupt_leaves_nothing(layers: Layers, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    process = adding(layers, tmp_path / "fifo")
    with (tmp_path / "fifo").open("wb") as fifo:
        fifo.write(BASE)
        fifo.flush()
        deadline = time.monotonic() + 20
        while not list(Path(layers.home.folder("tmp")).glob("*/etc/passwd")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode != 0
    assert os.listdir(layers.home.folder("tmp")) == os.listdir(layers.home.folder("marks")) == []
    assert layers.list() == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace, which kills at a chosen call")
@pytest.mark.parametrize("call", ["mkdirat", "linkat", "rename", "fsync", "syncfs", "unlink"])
def test_whatever_call_it_is_killed_at_recovery_leaves_nothing_half_made(
    call: str, layers: Layers, blobs: list[Path]
) -> None:
    expected = None
    for count in (1, 2, 4):
        inject = f"inject={call}:signal=KILL:when={count}"
        process = adding(layers, *blobs, wrapper=("strace", "-f", "-qq", "-o", "/dev/null", "-e", inject))
        process.communicate(timeout=60)
        journal.recover(layers.home)
        assert os.listdir(layers.home.folder("tmp")) == os.listdir(layers.home.folder("marks")) == []
        for layer in layers.list():
            assert Path(layers.home.diff(layer.diff)).is_dir()
            if layer.parent is None:
                names = set(os.listdir(layers.home.diff(layer.diff)))
                assert len(names) == 300
        process = adding(layers, *blobs)
        output = process.communicate(timeout=60)[0]
        expected = expected or output
        assert output == expected != ""
        assert len(layers.list()) == 2
        for layer_id in layers.unreferenced([]):
            layers.remove(layer_id)
        for name in diffs(layers) - layers.diffs():
            tree.remove(layers.home.diff(name))


# --- any stack ------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/b/a"])
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["write", "mkdir", "remove", "link", "symlink", "chmod"]), NAMES), max_size=8
)


def act(view: Path, action: str, name: str) -> None:
    path = view / name
    try:
        if action == "write":
            path.write_text(name)
        elif action == "mkdir":
            path.mkdir()
        elif action == "remove":
            tree.remove(str(path))
        elif action == "link":
            os.link(view / "a", path, follow_symlinks=False)
        elif action == "symlink":
            path.symlink_to("b")
        else:
            path.chmod(0o700)
    except OSError:
        return  # not possible in what the earlier actions left


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, min_size=1, max_size=4))
def test_any_stack_of_containers_survives_a_way_through_tars(
    tmp_path_factory: pytest.TempPathFactory, history: list[list[tuple[str, str]]]
) -> None:
    scratch = tmp_path_factory.mktemp("any")
    home = Home(str(scratch / "root"), str(scratch / "runtime"))
    home.create()
    layers = Layers(home)
    uppers: list[str] = []
    parent = None
    for number, actions in enumerate(history):
        upper, work, view = (scratch / f"{kind}{number}" for kind in ("upper", "work", "view"))
        for folder in (upper, work, view):
            folder.mkdir()
        (scratch / "none").mkdir(exist_ok=True)
        lower = ":".join([*reversed(uppers), str(scratch / "none")])
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", view], check=True)
        try:
            for action, name in actions:
                act(view, action, name)
            expected = describe(view)
        finally:
            subprocess.run(["umount", view], check=True)
        uppers.append(str(upper))
        parent, _ = layers.add(pack.stream(str(upper)), parent)
        with mounted(layers.stack(parent.id), scratch) as shown:
            actual = describe(shown)
        for nodes in (actual, expected):
            del nodes[b""]
        assert actual == expected
    tree.remove(str(scratch))
