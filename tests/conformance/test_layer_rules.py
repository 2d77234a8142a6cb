"""What a layer tar means: the rules on which other tools agree, compared with umoci, and those where they differ."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from minirun.errors import BadLayer
from minirun.home import Home
from minirun.layer.store import Layers
from tests import tars
from tests.tars import device, directory, file, hardlink, header, pax, symlink, tar, xattr
from tests.trees import Node, describe, mounted

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners, devices and mounts need root")

CAPABILITY = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)  # cap_net_raw=ep
SECOND = 10**9
ROOT = directory(b"./")


@pytest.fixture
def layers(tmp_path: Path) -> Layers:
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    return Layers(home)


def stored(home: Home) -> set[str]:
    """Everything in a store but its lock."""
    return {str(path) for path in Path(home.root).rglob("*")} - {home.lock}


def add(layers: Layers, *blobs: bytes) -> list[str]:
    """Store *blobs* on top of each other; returns the warnings."""
    parent = None
    warnings: list[str] = []
    for blob in blobs:
        parent, unpacked = layers.add([blob], parent)
        warnings += unpacked.warnings if unpacked else ()
    return warnings


def top(layers: Layers) -> str:
    (found,) = {layer.id for layer in layers.list()} - {layer.parent for layer in layers.list()}
    return found


@pytest.fixture
def apply(layers: Layers, tmp_path: Path) -> Callable[..., dict[bytes, Node]]:
    """Store layer tars on top of each other, and describe what the kernel shows of them."""

    def apply(*blobs: bytes) -> dict[bytes, Node]:
        add(layers, *blobs)
        with mounted(layers.stack(top(layers)), tmp_path) as view:
            return describe(view)

    return apply


def by_umoci(tmp_path: Path, *blobs: bytes) -> dict[bytes, Node]:
    """The tree that umoci makes of layer tars; raises CalledProcessError where it refuses one."""
    layout = tmp_path / "layout"
    image = f"{layout}:x"

    def run(*arguments: str | Path) -> None:
        subprocess.run(["umoci", *arguments], check=True, capture_output=True)

    run("init", "--layout", layout)
    run("new", "--image", image)
    for number, blob in enumerate(blobs):
        (tmp_path / f"{number}.tar").write_bytes(blob)
        run("raw", "add-layer", "--image", image, tmp_path / f"{number}.tar")
    run("unpack", "--image", image, tmp_path / "bundle")
    return describe(tmp_path / "bundle/rootfs")


# --- refused by all -----------------------------------------------------------------------------------------------

BASE = tar(ROOT, directory(b"d"), file(b"d/f", b"lower"), symlink(b"s", b"d"), file(b"lower", b"lower"))
LONG = b"n" * 256

REFUSED = {
    "a bad header checksum": header(b"a", checksum=b"0000000\0") + tars.END,
    "a bad header checksum further on": file(b"a") + header(b"b", checksum=b"0001000\0") + tars.END,
    "a truncated header": file(b"a") + header(b"b")[:300],
    "truncated data": header(b"a", size=2000) + b"x" * 1024,
    "data that end in their last block": header(b"a", size=700) + b"x" * 600,
    "a pax record with a wrong length": tars.raw_pax(b"30 path=a\n") + file(b"a") + tars.END,
    "a pax record without an end": tars.raw_pax(b"10 path=abc") + file(b"a") + tars.END,
    "a pax header over a mebibyte": pax((b"comment", b"x" * (1 << 20))) + file(b"a") + tars.END,
    "NUL in a pax path": pax((b"path", b"a\0b")) + file(b"x") + tars.END,
    "NUL in a pax linkpath": pax((b"linkpath", b"a\0b")) + symlink(b"x", b"y") + tars.END,
    "a component of 256 bytes": pax((b"path", LONG)) + file(b"x") + tars.END,
    "a parent component of 256 bytes": pax((b"path", LONG + b"/a")) + file(b"x") + tars.END,
    "a hardlink to a missing target": tar(hardlink(b"a", b"missing")),
    "a hardlink to a later target": tar(hardlink(b"a", b"b"), file(b"b")),
    "a hardlink to the outside": tar(hardlink(b"a", b"../../../../../../../../etc/passwd")),
    "a hardlink to a directory": tar(directory(b"d"), hardlink(b"a", b"d")),
    "a hardlink to itself": tar(hardlink(b"a", b"a")),
    "a hardlink to nothing": tar(hardlink(b"a", b"")),
    "a hardlink through a symlinked directory": tar(
        directory(b"d"), file(b"d/f"), symlink(b"s", b"d"), hardlink(b"a", b"s/f")
    ),
    "a symlink with an empty target": tar(symlink(b"a", b"")),
    "a parent that is a symlink loop": tar(symlink(b"a", b"b"), symlink(b"b", b"a"), file(b"a/f")),
    "a parent that is a symlink to itself": tar(symlink(b"a", b"a"), file(b"a/f")),
    "a whiteout of nothing": tar(file(b".wh.")),
    "a whiteout of .": tar(file(b".wh..")),
    "a whiteout of ..": tar(file(b".wh...")),
    "a whiteout of .. in a directory": tar(directory(b"d"), file(b"d/.wh...")),
}
# umoci 0.4.7, Debian 12's, follows the symlink inside the root; the others refuse
UMOCI_TAKES = {"a hardlink through a symlinked directory"}


@pytest.mark.parametrize("case", REFUSED)
def test_what_all_refuse_is_refused_and_leaves_nothing(case: str, layers: Layers) -> None:
    before = stored(layers.home)
    with pytest.raises(BadLayer):
        layers.add([REFUSED[case]], None)
    assert stored(layers.home) == before


@pytest.mark.parametrize("case", [case for case in REFUSED if "hardlink" in case])
def test_a_bad_hardlink_is_no_better_on_top_of_another_layer(case: str, layers: Layers) -> None:
    base, _ = layers.add([tar(ROOT, directory(b"other"), file(b"other/file"))], None)
    before = stored(layers.home)
    with pytest.raises(BadLayer):
        layers.add([REFUSED[case]], base)
    assert stored(layers.home) == before


@pytest.mark.parametrize("entry", [file(b"x/f"), file(b"x/f") + file(b"lower"), directory(b"x/f")])
def test_a_name_through_a_link_to_a_lower_layers_file_is_refused(entry: bytes, layers: Layers) -> None:
    base, _ = layers.add([BASE], None)
    before = stored(layers.home)
    with pytest.raises(BadLayer, match="hardlink"):
        layers.add([tar(hardlink(b"x", b"lower"), entry)], base)
    assert stored(layers.home) == before


@pytest.mark.parametrize("case", sorted(REFUSED.keys() - UMOCI_TAKES))
def test_umoci_refuses_it_too(case: str, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        by_umoci(tmp_path, REFUSED[case])


@pytest.mark.parametrize("name", [b".wh..wh.", b".wh..wh.x", b"d/.wh..wh.aufs", b".wh..wh..opqx", b"d/.wh..wh..opq/x"])
def test_what_begins_as_an_opaque_mark_and_is_none_is_refused(name: bytes, layers: Layers) -> None:
    before = stored(layers.home)
    with pytest.raises(BadLayer):
        layers.add([tar(directory(b"d"), file(name))], None)
    assert stored(layers.home) == before


def test_nul_in_the_name_of_a_sparse_file_is_refused(layers: Layers) -> None:
    records = ((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"0"))
    entry = header(b"x", size=512) + tars.padded(b"0\n")
    layers.add([tar(pax(*records, (b"GNU.sparse.name", b"ab")), entry)], None)
    with pytest.raises(BadLayer, match="NUL"):
        layers.add([tar(pax(*records, (b"GNU.sparse.name", b"a\0b")), entry)], None)


EVERYTHING = tar(
    directory(b"./", 0o750),
    directory(b"d", 0o2755, gid=5),
    xattr(b"user.a", b"1") + file(b"d/f", b"content" * 300),
    symlink(b"s", b"d"),
    file(b"s/through", b"x"),
    hardlink(b"h", b"d/f"),
    device(b"null", 1, 3),
    file(b".wh.gone"),
    file(b"o/.wh..wh..opq"),
    pax((b"path", b"p" * 150)) + file(b"cut", b"y" * 700),
)
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("how", COMPRESSORS)
def test_a_layer_cut_off_anywhere_is_refused_by_its_digest_and_leaves_nothing(how: str, layers: Layers) -> None:
    whole = COMPRESSORS[how](EVERYTHING)
    digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    before = stored(layers.home)
    for cut in range(0, len(whole), 512 if how == "none" else 16):
        with pytest.raises(BadLayer):
            layers.add([whole[:cut]], None, expected_digest=digest)
        assert stored(layers.home) == before
    layers.add([whole], None, expected_digest=digest)


# --- the same tree everywhere ---------------------------------------------------------------------------------------


def f(content: bytes = b"", mode: int = 0o644, **more: object) -> dict[str, object]:
    return {"kind": "file", "mode": mode, "content": content, **more}


def d(mode: int = 0o755, **more: object) -> dict[str, object]:
    return {"kind": "directory", "mode": mode, **more}


def s(target: bytes, **more: object) -> dict[str, object]:
    return {"kind": "symlink", "content": target, **more}


Tree = dict[bytes, dict[str, object]]
D_F: Tree = {b"d": d(), b"d/f": f(b"lower"), b"s": s(b"d"), b"lower": f(b"lower")}


def without(*names: bytes) -> Tree:
    return {name: node for name, node in D_F.items() if name not in names}


AGREED: dict[str, tuple[tuple[bytes, ...], Tree]] = {
    "../../x is clamped": ((tar(file(b"../../x", b"1")),), {b"x": f(b"1")}),
    "a/../../x is clamped": ((tar(directory(b"a"), file(b"a/../../x", b"1")),), {b"a": d(), b"x": f(b"1")}),
    "an absolute name is clamped": ((tar(file(b"/x", b"1")),), {b"x": f(b"1")}),
    "an absolute hardlink target is clamped": (
        (tar(file(b"x", b"1"), hardlink(b"y", b"/x")),),
        {b"x": f(b"1"), b"y": f(b"1", first=b"x")},
    ),
    "a hardlink target above the root is clamped": (
        (tar(file(b"x", b"1"), hardlink(b"y", b"../../x")),),
        {b"x": f(b"1"), b"y": f(b"1", first=b"x")},
    ),
    "a hardlink to a symlink links the symlink": (
        (tar(symlink(b"a", b"nowhere"), hardlink(b"b", b"a")),),
        {b"a": s(b"nowhere"), b"b": s(b"nowhere", first=b"a")},
    ),
    "a file over a lower symlink replaces it": (
        (BASE, tar(file(b"s", b"new"))),
        without(b"s") | {b"s": f(b"new")},
    ),
    "a file over a lower symlink to the outside replaces it": (
        (tar(symlink(b"passwd", b"/etc/passwd")), tar(file(b"passwd", b"new"))),
        {b"passwd": f(b"new")},
    ),
    "a directory over a lower symlink replaces it": (
        (BASE, tar(directory(b"s", 0o700), file(b"s/g", b"new"))),
        without(b"s") | {b"s": d(0o700), b"s/g": f(b"new")},
    ),
    "a directory over a lower file replaces it": (
        (BASE, tar(directory(b"lower"), file(b"lower/x"))),
        without(b"lower") | {b"lower": d(), b"lower/x": f()},
    ),
    "a file over a lower directory replaces it": (
        (BASE, tar(file(b"d", b"new"))),
        without(b"d", b"d/f") | {b"d": f(b"new")},
    ),
    "opaque first hides lower entries": (
        (BASE, tar(directory(b"d"), file(b"d/.wh..wh..opq"), file(b"d/g", b"new"))),
        without(b"d/f") | {b"d/g": f(b"new")},
    ),
    "opaque last hides lower entries and keeps its own": (
        (BASE, tar(directory(b"d"), file(b"d/g", b"new"), file(b"d/.wh..wh..opq"))),
        without(b"d/f") | {b"d/g": f(b"new")},
    ),
    "opaque hides nested entries and keeps its own nested ones": (
        (
            tar(directory(b"a"), directory(b"a/b"), directory(b"a/b/c"), file(b"a/b/c/old"), file(b"a/b/old")),
            tar(
                directory(b"a"),
                directory(b"a/b"),
                directory(b"a/b/c"),
                file(b"a/b/c/new"),
                file(b"a/.wh..wh..opq"),
                file(b"a/b/.wh..wh..opq"),
            ),
        ),
        {b"a": d(), b"a/b": d(), b"a/b/c": d(), b"a/b/c/new": f()},
    ),
    "a whiteout removes a file": ((BASE, tar(file(b".wh.lower"))), without(b"lower")),
    "a whiteout removes a directory": ((BASE, tar(file(b".wh.d"))), without(b"d", b"d/f")),
    "a whiteout of a symlink removes the link only": ((BASE, tar(file(b".wh.s"))), without(b"s")),
    "a whiteout of nothing is nothing": ((BASE, tar(file(b".wh.missing"))), D_F),
    "a directory named as a whiteout is one": ((BASE, tar(directory(b".wh.lower"))), without(b"lower")),
    "setuid and setgid survive the chown": (
        (
            tar(
                file(b"a", b"x", 0o4755, uid=1000),
                file(b"b", b"x", 0o2755, gid=1000),
                file(b"c", b"x", 0o6755, uid=7, gid=8),
            ),
        ),
        {b"a": f(b"x", 0o4755, uid=1000), b"b": f(b"x", 0o2755, gid=1000), b"c": f(b"x", 0o6755, uid=7, gid=8)},
    ),
    "a directory keeps setgid and sticky, and what is in it keeps its group": (
        (tar(directory(b"d", 0o3775, gid=50), file(b"d/f"), directory(b"d/e"), symlink(b"d/s", b"x")),),
        {b"d": d(0o3775, gid=50), b"d/f": f(gid=0), b"d/e": d(0o755, gid=0), b"d/s": s(b"x", gid=0)},
    ),
    "security.capability survives the chown": (
        (tar(xattr(b"security.capability", CAPABILITY) + file(b"ping", b"x", 0o755, uid=1000)),),
        {b"ping": f(b"x", 0o755, uid=1000, xattrs=(("security.capability", CAPABILITY),))},
    ),
    "SCHILY.xattr is applied": (
        (tar(xattr(b"user.a", b"1\0\n=2") + file(b"f"), xattr(b"user.b", b"2") + directory(b"d")),),
        {b"f": f(xattrs=(("user.a", b"1\0\n=2"),)), b"d": d(xattrs=(("user.b", b"2"),))},
    ),
    "LIBARCHIVE.xattr is ignored": (
        (tar(pax((b"LIBARCHIVE.xattr.user.a", b"MQ")) + file(b"f")),),
        {b"f": f(xattrs=())},
    ),
    "uid and gid of 4294967294 are kept": (
        (tar(pax((b"uid", b"4294967294"), (b"gid", b"4294967293")) + file(b"f")),),
        {b"f": f(uid=4294967294, gid=4294967293)},
    ),
    "nanoseconds are kept": (
        (
            tar(
                pax((b"mtime", b"1234567890.123456789")) + file(b"f"),
                pax((b"mtime", b"1234567890.1")) + directory(b"d"),
                pax((b"mtime", b"1234567890.999999999")) + symlink(b"s", b"x"),
            ),
        ),
        {
            b"f": f(mtime_ns=1234567890_123456789),
            b"d": d(mtime_ns=1234567890_100000000),
            b"s": s(b"x", mtime_ns=1234567890_999999999),
        },
    ),
    "a directory's mtime is set after its children": (
        (tar(directory(b"d", mtime=5), file(b"d/f", mtime=6), directory(b"d/e", mtime=7), file(b"d/e/f", mtime=8)),),
        {b"d": d(mtime_ns=5 * SECOND), b"d/f": f(), b"d/e": d(mtime_ns=7 * SECOND), b"d/e/f": f(mtime_ns=8 * SECOND)},
    ),
    "missing parents are 0755 root": (
        (tar(file(b"a/b/c", b"x", uid=1000)),),
        {b"a": d(0o755, uid=0), b"a/b": d(0o755, uid=0, gid=0), b"a/b/c": f(b"x", uid=1000)},
    ),
    "names are bytes": (
        (
            tar(
                file(b"\xff\xfe", b"1"),
                file(b"new\nline", b"2"),
                file(b"...", b"3"),
                directory(b"..a"),
                file(b"..a/b."),
            ),
        ),
        {b"\xff\xfe": f(b"1"), b"new\nline": f(b"2"), b"...": f(b"3"), b"..a": d(), b"..a/b.": f()},
    ),
    "pax sparse 1.0 works": (
        (
            tar(
                pax(
                    (b"GNU.sparse.major", b"1"),
                    (b"GNU.sparse.minor", b"0"),
                    (b"GNU.sparse.name", b"holes"),
                    (b"GNU.sparse.realsize", b"3000"),
                ),
                header(b"GNUSparseFile.0/holes", size=512 + 1024)
                + tars.padded(b"2\n0\n512\n2000\n512\n")
                + b"A" * 512
                + b"B" * 512,
            ),
        ),
        {b"holes": f(b"A" * 512 + bytes(2000 - 512) + b"B" * 512 + bytes(3000 - 2512))},
    ),
    "bytes after the end marker are accepted": ((tar(file(b"a")) + b"junk" * 500,), {b"a": f()}),
    "a missing end marker is accepted": ((file(b"a", b"x"),), {b"a": f(b"x")}),
    "a zero-byte layer is accepted": ((BASE, b""), D_F),
    "an archive of two zero blocks is accepted": ((BASE, tars.END), D_F),
    "mode 0 is accepted": (
        (tar(file(b"a", b"x", 0), directory(b"d", 0), file(b"d/f")),),
        {b"a": f(b"x", 0), b"d": d(0), b"d/f": f()},
    ),
    "a FIFO and devices are made": (
        (tar(header(b"p", b"6", mode=0o640), device(b"null", 1, 3), device(b"loop", 7, 0, b"4", 0o660)),),
        {
            b"p": {"kind": "fifo", "mode": 0o640},
            b"null": {"kind": "character", "mode": 0o666, "device": (1, 3)},
            b"loop": {"kind": "block", "mode": 0o660, "device": (7, 0)},
        },
    ),
    "long names in three ways": (
        (
            tar(
                tars.long(b"l" * 200) + file(b"cut", b"1"),
                pax((b"path", b"p" * 200)) + file(b"cut", b"2"),
                header(b"n" * 90, prefix=b"u" * 150),
                tars.long(b"t" * 150, b"K") + symlink(b"s", b"cut"),
                pax((b"linkpath", b"v" * 150)) + symlink(b"v", b"cut"),
            ),
        ),
        {
            b"l" * 200: f(b"1"),
            b"p" * 200: f(b"2"),
            b"u" * 150: d(),
            b"u" * 150 + b"/" + b"n" * 90: f(),
            b"s": s(b"t" * 150),
            b"v": s(b"v" * 150),
        },
    ),
}


def check(tree: dict[bytes, Node], expected: Tree) -> None:
    assert tree.keys() - {b""} == expected.keys()
    for name, node in expected.items():
        actual = {key: getattr(tree[name], key) for key in node}
        assert (name, actual) == (name, node)


@pytest.mark.parametrize("case", AGREED)
def test_a_tree_is_as_all_tools_make_it(case: str, apply: Callable[..., dict[bytes, Node]]) -> None:
    blobs, expected = AGREED[case]
    check(apply(*blobs), expected)


@pytest.mark.parametrize("case", AGREED)
def test_the_tree_is_as_umoci_makes_it(case: str, apply: Callable[..., dict[bytes, Node]], tmp_path: Path) -> None:
    blobs, expected = AGREED[case]
    theirs = by_umoci(tmp_path, *blobs)
    ours = apply(*blobs)
    check(theirs, expected)
    given = {name for name, node in expected.items() if "mtime_ns" in node or node["kind"] != "directory"}
    for name in ours.keys() | theirs.keys() - {b""}:
        if name and name not in given:  # a directory's time, where the tar says nothing of it or it lost entries
            ours[name], theirs[name] = replace(ours[name], mtime_ns=0), replace(theirs[name], mtime_ns=0)
    del ours[b""], theirs[b""]
    assert ours == theirs


def test_a_layer_of_several_gzip_members_and_junk_is_whole(layers: Layers, tmp_path: Path) -> None:
    whole = tar(file(b"a", b"x" * 5000), file(b"b", b"y" * 5000))
    blob = gzip.compress(whole[:3000]) + gzip.compress(b"") + gzip.compress(whole[3000:]) + b"junk behind it"
    layer, unpacked = layers.add([blob], None)
    assert unpacked is not None
    assert unpacked.blob_size == len(blob)
    assert unpacked.blob_digest == f"sha256:{hashlib.sha256(blob).hexdigest()}"
    assert unpacked.diff_id == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    assert describe(layers.stack(layer.id)[0])[b"b"].content == b"y" * 5000


# --- where tools differ: what minirun does --------------------------------------------------------------------------

OURS: dict[str, tuple[tuple[bytes, ...], Tree]] = {
    "follows a symlink of the same layer": (
        (tar(directory(b"d"), symlink(b"s", b"d"), file(b"s/f", b"1")),),
        {b"d": d(), b"s": s(b"d"), b"d/f": f(b"1")},
    ),
    "follows an absolute symlink of the same layer inside the root": (
        (tar(symlink(b"s", b"/d/../e"), file(b"s/f", b"1")),),
        {b"s": s(b"/d/../e"), b"d": d(), b"e": d(), b"e/f": f(b"1")},
    ),
    "follows a symlink above the root to the root": (
        (tar(symlink(b"s", b"../../../../etc"), file(b"s/f", b"1")),),
        {b"s": s(b"../../../../etc"), b"etc": d(), b"etc/f": f(b"1")},
    ),
    "whites out through a symlink of the same layer inside the root": (
        (BASE, tar(symlink(b"t", b"/d"), file(b"t/.wh.f"))),
        without(b"d/f") | {b"t": s(b"/d")},
    ),
    "replaces a lower symlink by a directory where an entry goes through it": (
        (BASE, tar(file(b"s/g", b"new"))),
        without(b"s") | {b"s": d(), b"s/g": f(b"new")},
    ),
    "takes nothing away through a lower symlink": (
        (BASE, tar(file(b"s/.wh.f"))),
        without(b"s") | {b"s": d()},
    ),
    "hides nothing through a lower symlink": (
        (BASE, tar(file(b"s/.wh..wh..opq"))),
        without(b"s") | {b"s": d()},
    ),
    "lets the last of duplicate names win": (
        (
            tar(
                file(b"a", b"1"),
                file(b"a", b"2"),
                directory(b"b"),
                file(b"b/x"),
                file(b"b", b"3"),
                file(b"c"),
                directory(b"c"),
                symlink(b"e", b"a"),
                file(b"e", b"4"),
            ),
        ),
        {b"a": f(b"2"), b"b": f(b"3"), b"c": d(), b"e": f(b"4")},
    ),
    "takes mode and xattrs of the last of duplicate directories": (
        (
            tar(
                xattr(b"user.a", b"1") + directory(b"d", 0o700),
                file(b"d/f"),
                xattr(b"user.b", b"2") + directory(b"d", 0o750),
            ),
        ),
        {b"d": d(0o750, xattrs=(("user.b", b"2"),)), b"d/f": f()},
    ),
    "keeps a file that its own layer whites out": (
        (BASE, tar(file(b"lower", b"new"), file(b".wh.lower"))),
        without(b"lower") | {b"lower": f(b"new")},
    ),
    "keeps a file that its own layer has whited out": (
        (BASE, tar(file(b".wh.lower"), file(b"lower", b"new"))),
        without(b"lower") | {b"lower": f(b"new")},
    ),
    "empties a directory that is whited out and added again": (
        (BASE, tar(file(b".wh.d"), directory(b"d", 0o700), file(b"d/g"))),
        without(b"d/f", b"d") | {b"d": d(0o700), b"d/g": f()},
    ),
    "empties a directory that is added and whited out": (
        (BASE, tar(directory(b"d", 0o700), file(b"d/g"), file(b".wh.d"))),
        without(b"d/f", b"d") | {b"d": d(0o700), b"d/g": f()},
    ),
    "empties a directory that is whited out and only implied after": (
        (BASE, tar(file(b".wh.d"), file(b"d/g"))),
        without(b"d/f", b"d") | {b"d": d(0o755), b"d/g": f()},
    ),
    "empties a directory that a file of its layer replaced before": (
        (BASE, tar(file(b"d"), directory(b"d"))),
        without(b"d/f"),
    ),
    "honours opaque on the root": ((BASE, tar(file(b".wh..wh..opq"), file(b"only"))), {b"only": f()}),
    "links to a lower layer's file": (
        (BASE, tar(hardlink(b"linked", b"d/f"))),
        D_F | {b"linked": f(b"lower", first=b"d/f")},
    ),
    "links twice to a lower layer's file": (
        (BASE, tar(hardlink(b"one", b"lower"), hardlink(b"two", b"one"), hardlink(b"x/three", b"lower"))),
        D_F
        | {
            b"one": f(b"lower", first=b"lower"),
            b"two": f(b"lower", first=b"lower"),
            b"x": d(),
            b"x/three": f(b"lower", first=b"lower"),
        },
    ),
    "links to a lower layer's file that it then replaces": (
        (BASE, tar(hardlink(b"kept", b"lower"), hardlink(b"more", b"kept"), file(b"lower", b"new"))),
        without(b"lower") | {b"lower": f(b"new"), b"kept": f(b"lower"), b"more": f(b"lower", first=b"kept")},
    ),
    "links to a lower layer's file that it then whites out": (
        (BASE, tar(hardlink(b"kept", b"d/f"), file(b"d/.wh.f"))),
        without(b"d/f") | {b"kept": f(b"lower")},
    ),
    "links to a lower layer's file that it then makes a link to another": (
        (
            tar(file(b"a", b"1"), file(b"c", b"2"), directory(b"d"), file(b"d/f", b"3")),
            tar(hardlink(b"x", b"a"), hardlink(b"a", b"c"), hardlink(b"y", b"d/f"), hardlink(b"d", b"c")),
        ),
        {b"a": f(b"2"), b"c": f(b"2", first=b"a"), b"d": f(b"2", first=b"a"), b"x": f(b"1"), b"y": f(b"3")},
    ),
    "keeps a link to a lower layer's file that its own layer also whites out": (
        (BASE, tar(hardlink(b"x", b"lower"), hardlink(b"s", b"d/f"), file(b".wh.x"), file(b".wh.s"), file(b"d/f"))),
        without(b"s") | {b"x": f(b"lower", first=b"lower"), b"d/f": f(), b"s": f(b"lower")},
    ),
    "drops a link that a later entry replaces": (
        (BASE, tar(hardlink(b"x", b"lower"), file(b"x", b"new"))),
        D_F | {b"x": f(b"new")},
    ),
    "ignores a hardlink entry's own mode and owner": (
        (tar(file(b"a", b"1", 0o600), hardlink(b"b", b"a", mode=0o777, uid=1000)),),
        {b"a": f(b"1", 0o600, uid=0), b"b": f(b"1", 0o600, uid=0)},
    ),
    "keeps negative mtimes": (
        (
            tar(
                pax((b"mtime", b"-1.5")) + file(b"a"),
                header(b"b", mtime=b"\xff" * 12),
                pax((b"mtime", b"-1000")) + directory(b"d"),
            ),
        ),
        {b"a": f(mtime_ns=-1_500_000_000), b"b": f(mtime_ns=-SECOND), b"d": d(mtime_ns=-1000 * SECOND)},
    ),
    "skips pax g headers": (
        (
            tar(
                tars.raw_pax(tars.record((b"uid", b"77")) + tars.record((b"path", b"evil")), b"g"),
                file(b"a"),
                tars.raw_pax(tars.record((b"SCHILY.xattr.user.a", b"1")), b"g"),
                file(b"b"),
            ),
        ),
        {b"a": f(uid=0, xattrs=()), b"b": f(xattrs=())},
    ),
    "takes metadata of a parent without an entry from below": (
        (
            tar(
                ROOT, xattr(b"user.a", b"1") + directory(b"d", 0o2750, uid=5, gid=6, mtime=77), directory(b"d/e", 0o700)
            ),
            tar(file(b"d/e/f", b"1")),
        ),
        {
            b"d": d(0o2750, uid=5, gid=6, mtime_ns=77 * SECOND, xattrs=(("user.a", b"1"),)),
            b"d/e": d(0o700),
            b"d/e/f": f(b"1"),
        },
    ),
    "takes metadata of an opaque parent without an entry from below": (
        (
            tar(
                ROOT, xattr(b"user.a", b"1") + directory(b"d", 0o2750, uid=5), directory(b"d/e", 0o700), file(b"d/e/f")
            ),
            tar(file(b"d/e/.wh..wh..opq"), file(b"d/.wh..wh..opq"), file(b"d/e/g")),
        ),
        {b"d": d(0o2750, uid=5, xattrs=(("user.a", b"1"),)), b"d/e": d(), b"d/e/g": f()},
    ),
    "takes a directory away in which it first takes things away": (
        (
            tar(directory(b"d"), directory(b"d/e"), file(b"d/e/f"), directory(b"x"), file(b"x/y")),
            tar(
                file(b"d/e/.wh.f"),
                file(b"d/.wh..wh..opq"),
                file(b".wh.d"),
                hardlink(b"x/h", b"x/y"),
                file(b"x/.wh.y"),
                file(b".wh.x"),
            ),
        ),
        {b"x": d(), b"x/h": f()},
    ),
    "takes nothing from below for a parent that is whited out": (
        (tar(directory(b"d", 0o700, uid=5), file(b"d/f")), tar(file(b"d/g"), file(b".wh.d"))),
        {b"d": d(uid=0), b"d/g": f()},
    ),
    "forgets xattrs of a directory that an entry of its layer replaced": (
        (
            tar(
                xattr(b"user.a", b"1") + directory(b"d"),
                xattr(b"user.a", b"1") + directory(b"d/e"),
                xattr(b"user.a", b"1") + directory(b"d/i"),
                file(b"d"),
                directory(b"d"),
                directory(b"d/e"),
                file(b"d/i/f"),
            ),
        ),
        {b"d": d(xattrs=()), b"d/e": d(xattrs=()), b"d/i": d(xattrs=()), b"d/i/f": f()},
    ),
    "shows no whiteout where there is nothing below": (
        (tar(ROOT), tar(directory(b"d"), file(b"d/.wh.x"), file(b"d/y"), file(b".wh.z"))),
        {b"d": d(), b"d/y": f()},
    ),
    "shows no whiteout in an opaque directory": (
        (BASE, tar(directory(b"d"), file(b"d/.wh.f"), file(b"d/.wh..wh..opq"))),
        without(b"d/f"),
    ),
}


@pytest.mark.parametrize("case", OURS)
def test_where_tools_differ_minirun(case: str, apply: Callable[..., dict[bytes, Node]]) -> None:
    blobs, expected = OURS[case]
    check(apply(*blobs), expected)


def old_sparse(name: bytes, real: int, regions: list[tuple[int, int]], data: bytes) -> bytes:
    def pairs(some: list[tuple[int, int]], room: int) -> bytes:
        return b"".join(b"%011o\0%011o\0" % pair for pair in some).ljust(24 * room, b"\0")

    block = header(name, b"S", size=len(data), magic=b"ustar  \0")
    rest = regions[4:]
    tail = pairs(regions[:4], 4) + (b"\1" if rest else b"\0") + b"%011o\0" % real
    block = block[:386] + tail.ljust(126, b"\0")
    total = sum(block) - sum(block[148:156]) + 256
    block = block[:148] + b"%06o\0 " % total + block[156:]
    while rest:
        some, rest = rest[:21], rest[21:]
        block += (pairs(some, 21) + (b"\1" if rest else b"\0")).ljust(512, b"\0")
    return block + tars.padded(data)


@pytest.mark.parametrize("count", [1, 4, 5, 25, 30, 60])
def test_old_gnu_sparse_files_are_read(count: int, apply: Callable[..., dict[bytes, Node]]) -> None:
    regions = [(number * 1024, 512) for number in range(count)]
    data = b"".join(bytes([number + 1]) * 512 for number in range(count))
    tree = apply(tar(old_sparse(b"holes", count * 1024, regions, data), file(b"after")))
    assert tree[b"holes"].content == b"".join(bytes([number + 1]) * 512 + bytes(512) for number in range(count))
    assert b"after" in tree


@pytest.mark.parametrize(
    "records",
    [
        [(b"GNU.sparse.size", b"3000"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.offset", b"0"),
         (b"GNU.sparse.numbytes", b"512"), (b"GNU.sparse.offset", b"2000"), (b"GNU.sparse.numbytes", b"512")],
        [(b"GNU.sparse.size", b"3000"), (b"GNU.sparse.numblocks", b"2"), (b"GNU.sparse.map", b"0,512,2000,512"),
         (b"GNU.sparse.name", b"holes")],
    ],
    ids=["0.0", "0.1"],
)  # fmt: skip
def test_older_pax_sparse_files_are_read(
    records: list[tuple[bytes, bytes]], apply: Callable[..., dict[bytes, Node]]
) -> None:
    tree = apply(tar(pax(*records) + file(b"holes", b"A" * 512 + b"B" * 512), file(b"after")))
    assert tree[b"holes"].content == b"A" * 512 + bytes(2000 - 512) + b"B" * 512 + bytes(3000 - 2512)
    assert b"after" in tree


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize(
    "form", ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]
)
def test_sparse_files_of_gnu_tar_are_read(form: str, tmp_path: Path, apply: Callable[..., dict[bytes, Node]]) -> None:
    with (tmp_path / "holes").open("wb") as holes:
        for number in range(40):
            holes.seek(number * 65536)
            holes.write(b"%d" % number)
        holes.truncate(5_000_000)
    pax_form = [] if "format" in form else ["--format=pax"]
    made = subprocess.run(
        ["tar", "--sparse", *pax_form, form, "-cf", "-", "-C", tmp_path, "holes"], check=True, capture_output=True
    )
    assert len(made.stdout) < 500_000
    assert apply(made.stdout)[b"holes"].content == (tmp_path / "holes").read_bytes()


def test_the_entry_of_the_root_is_applied(apply: Callable[..., dict[bytes, Node]]) -> None:
    tree = apply(tar(directory(b"./", 0o1750, uid=3, gid=4, mtime=99), file(b"a")))
    assert (tree[b""].mode, tree[b""].uid, tree[b""].gid, tree[b""].mtime_ns) == (0o1750, 3, 4, 99 * SECOND)


@pytest.mark.parametrize(
    "entry", [file(b"."), file(b"/."), file(b"a/.."), symlink(b".", b"/etc"), symlink(b"/.", b"/etc")]
)
def test_the_root_as_a_file_or_symlink_is_refused(entry: bytes, layers: Layers) -> None:
    with pytest.raises(BadLayer, match="root"):
        layers.add([tar(entry)], None)


def test_what_would_speak_to_the_overlay_mount_is_dropped_with_a_warning(layers: Layers, tmp_path: Path) -> None:
    base, _ = layers.add([BASE], None)
    injected = tar(
        device(b"d/f", 0, 0),
        device(b"lower", 0, 0, b"4"),
        xattr(b"trusted.overlay.opaque", b"y") + directory(b"d"),
        xattr(b"user.overlay.opaque", b"y") + directory(b"e"),
        xattr(b"trusted.overlay.redirect", b"/d") + directory(b"r"),
        xattr(b"trusted.overlay.metacopy", b"") + file(b"m", b"data"),
    )
    layer, unpacked = layers.add([injected], base)
    assert unpacked is not None
    assert any("0:0" in warning for warning in unpacked.warnings)
    assert sum("xattr" in warning for warning in unpacked.warnings) == 4
    for node in describe(layers.stack(layer.id)[-1], overlay=True).values():
        assert node.xattrs == ()
    with mounted(layers.stack(layer.id), tmp_path) as view:
        check(describe(view), D_F | {b"e": d(), b"r": d(), b"m": f(b"data")})


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory outside of the store that must stay as it is."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"canary")
    before = describe(outside)
    yield outside
    assert describe(outside) == before


def test_nothing_escapes(canary: Path, layers: Layers) -> None:
    path = os.fsencode(canary)
    up = b"../" * 20 + path[1:]
    for blob in (
        tar(file(up + b"/file", b"evil")),
        tar(file(path + b"/new", b"evil")),
        tar(symlink(b"s", path), file(b"s/file", b"evil"), file(b"s/new", b"evil")),
        tar(symlink(b"s", up), file(b"s/file", b"evil"), directory(b"s/sub")),
        tar(symlink(b"s", b".."), symlink(b"s/t", b".."), file(b"s/t/../" + up, b"evil")),
        tar(symlink(b"s", path + b"/file"), file(b"s", b"evil")),
        tar(symlink(b"s", path), file(b"s/.wh.file")),
        tar(symlink(b"s", path), file(b"s/.wh..wh..opq")),
        tar(symlink(b"s", path), directory(b"s", 0o700)),
        tar(symlink(b"s", b"/"), symlink(b"t", b"s" + path), file(b"t/file", b"evil")),
        tar(symlink(b"s", b"/proc/self/root" + path), file(b"s/file", b"evil")),
        tar(symlink(b"s", b"/proc/self/cwd"), file(b"s/file", b"evil")),
    ):
        layers.add([blob], None)
    for link, through in ((path, b"s/"), (up, b"s/"), (b"/", b"s" + path + b"/"), (b"/proc/self/root" + path, b"s/")):
        for entry in (
            file(through + b"file", b"evil"),
            file(through + b"new", b"evil"),
            directory(through + b"file", 0o700),
            directory(through.rstrip(b"/"), 0o700),
            file(through + b".wh.file"),
            file(through + b".wh..wh..opq"),
            file(through.rstrip(b"/").rpartition(b"/")[0] + b"/.wh.outside"),
            symlink(through + b"file", b"evil"),
            device(through + b"file", 1, 3),
            xattr(b"user.evil", b"1") + directory(through),
        ):
            base, _ = layers.add([tar(symlink(b"s", link))], None)
            layers.add([tar(entry)], base)
    for entry in (hardlink(b"h", b"s/file"), hardlink(b"s/file", b"s"), hardlink(b"h", b"s/../file")):
        base, _ = layers.add([tar(symlink(b"s", path))], None)
        try:
            layers.add([tar(entry)], base)
        except BadLayer:
            continue
    for blob in (
        tar(hardlink(b"h", up + b"/file")),
        tar(hardlink(b"h", path + b"/file")),
        tar(symlink(b"s", path), hardlink(b"h", b"s/file")),
        tar(symlink(b"s", path + b"/file"), file(b"s/x", b"evil"))
        + tar(symlink(b"s", path), hardlink(b"s/h", b"s/file")),
    ):
        try:
            layers.add([blob], None)
        except BadLayer:
            continue
    assert all(os.lstat(link).st_nlink == 1 for link in canary.iterdir())
    assert all(
        b"canary" not in node.content
        for layer in layers.list()
        for node in describe(layers.home.diff(layer.diff)).values()
    )
