"""What minirun writes others read, and what others write minirun reads: the same digests, the same files.

             ┌ minirun run, commit ─▶ save, every form ─▶ skopeo, podman, umoci, minirun
    medley ──┼ umoci repack ─────────▶ its layout, skopeo's oci: oci-archive: docker-archive: dir: ─┐
             └ podman commit ────────▶ podman save, every form ────────────────────────────────────┴▶ minirun load, run

The same change is made by three tools, each of which packs its own layer of it; what each shows in the end is the same
tree. A config and its diff ids are the same everywhere; manifests and compressed layers where nobody compresses anew.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest

from minirun.home import Home
from minirun.image.store import Images
from tests import layouts, medley, peers
from tests.command import Minirun
from tests.registries import needed, skopeo
from tests.trees import Node

Tree = Mapping[bytes, Node]
FORMS = ("docker", "docker-legacy", "oci", "oci-dir", "docker-dir", "layers")
FOLDERS = ("oci-dir", "docker-dir", "layers")


@dataclass(frozen=True)
class Digests:
    """What an image is known by, ``sha256:…`` each; `layers` are those of what is in its manifest."""

    config: str
    diff_ids: tuple[str, ...]
    manifest: str
    layers: tuple[str, ...]

    @property
    def contents(self) -> tuple[str, ...]:
        """What stays when layers are compressed anew."""
        return (self.config, *self.diff_ids)


@dataclass(frozen=True)
class Written:
    """An image as its maker has it: what it wrote of it, and what it shows of it."""

    digests: Digests
    tree: Tree
    paths: Mapping[str, Path]


@pytest.fixture(autouse=True)
def _same_host(ours: Written, of_umoci: Written, of_podman: Written, leaves_nothing: None) -> None:
    """Compare the host before and after each test, not with what is made for all of them in between."""


@pytest.fixture(scope="module")
def below(tmp_path_factory: pytest.TempPathFactory, busybox_layers: Path) -> Path:
    """The two layers that all begin with: as a directory of layers, and in it as a layout by umoci."""
    needed("umoci", "skopeo", "podman")
    place = tmp_path_factory.mktemp("below")
    layers = place / "layers"
    layers.mkdir()
    (layers / "00-base.tar.gz").write_bytes(gzip.compress(medley.base(), 1))
    (layers / "01-change.tar").write_bytes(medley.change())
    peers.run("umoci", "init", "--layout", place / "layout")
    peers.run("umoci", "new", "--image", f"{place}/layout:it")
    for name, data in (("base.tar", medley.base()), ("change.tar", medley.change())):
        (place / name).write_bytes(data)
        peers.run("umoci", "raw", "add-layer", "--image", f"{place}/layout:it", place / name)
    return place


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, below: Path) -> Written:
    """Committed by minirun, and saved in every form."""
    place = tmp_path_factory.mktemp("ours")
    minirun = Minirun(place / "root", place / "runtime")
    minirun("import", below / "layers", "below", check=True)
    with minirun.start("run", "-i", "--name", "box", "below", "cat", stdin=subprocess.PIPE) as running:
        assert running.stdin
        assert running.stdout
        running.stdin.write(b"it runs\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"it runs\n"
        process = minirun("inspect", "-f", "{{.State.Pid}}", "box", check=True).stdout.strip()
        medley.alter(Path(f"/proc/{process}/root"))
        running.stdin.close()
    minirun("commit", "box", "ours:1", check=True)
    minirun("rm", "box", check=True)
    paths = {}
    for form in FORMS:
        paths[form] = place / form
        assert minirun("save", "--format", form, "-o", paths[form], "ours:1", check=True).stderr == ""
    return Written(known(minirun, "ours:1"), shown(minirun, "ours:1"), paths)


@pytest.fixture(scope="module")
def of_umoci(tmp_path_factory: pytest.TempPathFactory, below: Path) -> Written:
    """Unpacked, changed and packed again by umoci; copied by skopeo."""
    place = tmp_path_factory.mktemp("umoci")
    layout = place / "layout"
    shutil.copytree(below / "layout", layout)
    peers.run("umoci", "unpack", "--image", f"{layout}:it", place / "bundle")
    medley.alter(place / "bundle/rootfs")
    peers.run("umoci", "repack", "--image", f"{layout}:it", place / "bundle")
    peers.run("umoci", "gc", "--layout", layout)
    paths = {"layout": layout}
    for form in ("oci", "oci-archive", "docker-archive", "dir"):
        paths[form] = place / form
        name = "localhost/it:1" if form == "docker-archive" else ""
        skopeo("copy", "--quiet", f"oci:{layout}:it", f"{form}:{paths[form]}" + (f":{name}" if name else ""))
    return Written(in_layout(layout), unpacked(layout, "it", place / "again"), paths)


@pytest.fixture(scope="module")
def of_podman(tmp_path_factory: pytest.TempPathFactory, below: Path) -> Written:
    """Committed and saved by podman."""
    place = tmp_path_factory.mktemp("podman")
    paths = {}
    with peers.podman() as podman:
        box = podman("create", "--network=none", podman("pull", "-q", "oci:layout:it", folder=below), "/bin/true")
        podman.alter(box)
        image = podman("commit", "-q", box, "localhost/it:1")
        for form in ("docker-archive", "docker-dir", "oci-archive", "oci-dir"):
            paths[form] = place / form
            podman("save", "-q", "--format", form, "-o", paths[form], "localhost/it:1")
        for form in ("zstd", "zstd:chunked"):
            paths[form] = place / form.replace(":", "-")
            podman("push", "-q", "--compression-format", form, image, f"dir:{paths[form]}")
        told = podman.inspect(image)
        digests = Digests(f"sha256:{told['Id']}", tuple(told["RootFS"]["Layers"]), "", ())
        return Written(digests, podman.tree(image), paths)


def known(minirun: Minirun, image: str) -> Digests:
    """What minirun knows of an image."""
    told = minirun("image", "inspect", "-f", "{{.ConfigDigest}} {{json .RootFS.Layers}}", image, check=True).stdout
    config, _, diff_ids = told.partition(" ")
    found = Images(Home(str(minirun.root), str(minirun.runtime))).get(image)
    return Digests(config, tuple(json.loads(diff_ids)), found.digest, tuple(found.blobs))


def shown(minirun: Minirun, image: str) -> Tree:
    """The root file system of an image as minirun mounts it."""
    place = minirun("image", "mount", image, check=True).stdout.removesuffix("\n")
    try:
        return medley.tree(place)
    finally:
        minirun("image", "unmount", image, check=True)


def in_layout(folder: Path) -> Digests:
    """What the one image of a layout is known by; the layout is valid."""
    found = layouts.check(folder)
    (manifest,), (config,), (layers,), (diff_ids,) = found.manifests, found.configs, found.layers, found.diff_ids
    return Digests(config, tuple(diff_ids), manifest, tuple(layers))


def by_skopeo(reference: str) -> Digests:
    """What skopeo says of an image."""
    document = skopeo("inspect", "--raw", reference).encode()
    manifest = json.loads(document)
    config = skopeo("inspect", "--raw", "--config", reference).encode()
    layers = tuple(layer["digest"] for layer in manifest["layers"])
    diff_ids = tuple(json.loads(config)["rootfs"]["diff_ids"])
    assert layouts.digest(config) == manifest["config"]["digest"]
    return Digests(layouts.digest(config), diff_ids, layouts.digest(document), layers)


def unpacked(layout: Path, name: str, bundle: Path) -> Tree:
    """The root file system of an image of a layout as umoci unpacks it."""
    peers.run("umoci", "unpack", "--image", f"{layout}:{name}", bundle)
    return medley.tree(bundle / "rootfs")


def untarred(archive: Path, target: Path) -> Path:
    """Unpack an archive of images."""
    target.mkdir()
    peers.run("tar", "-xf", archive, "-C", target)
    return target


def whole_seconds(tree: Tree) -> Tree:
    """What is left of a tree in a layer by umoci or podman: they round."""
    return {path: replace(node, mtime_ns=node.mtime_ns // 10**9 * 10**9) for path, node in tree.items()}


def same(found: Tree, expected: Tree) -> None:
    """Compare two trees, and tell in what of which paths they differ."""
    missing: dict[str, object] = {}
    different = {
        path: {
            name: (found_, expected_)
            for name, expected_ in (asdict(expected[path]) if path in expected else missing).items()
            if (found_ := (asdict(found[path]) if path in found else missing).get(name)) != expected_
        }
        for path in found.keys() | expected.keys()
        if found.get(path) != expected.get(path)
    }
    assert different == {}


# the three makers


def test_there_is_one_of_everything_in_it(ours: Written) -> None:
    tree = ours.tree
    assert {node.kind for node in tree.values()} == {"file", "directory", "symlink", "character", "block", "fifo"}
    assert sorted(path for path in tree if path.startswith(b"was/")) == sorted(
        b"was/" + name
        for name in (b"kept", b"touched", b"replaced", b"file", b"file/in", b"opaque", b"opaque/above", b"directory",
                     b"emptied", b"emptied/now", b"twin", b"other-twin", b"link", b"marked")
    )  # fmt: skip
    assert tree[b"new/able"].xattrs == (("security.capability", medley.CAPABILITY),)
    assert tree[b"new/binary"].xattrs == (("user.binary", bytes(range(256))),)
    assert {tree[b"new/" + name].first for name in (b"first", b"second", b"sticky/third")} == {b"new/first"}
    assert tree[b"was/twin"].first == tree[b"was/other-twin"].first == b"was/other-twin"
    assert tree[b"new/loop"].device == (7, 300)
    assert (tree[b"new/owned"].uid, tree[b"new/owned"].gid) == (3_000_000_000, 2_097_152)
    assert tree[b"new/" + medley.NOT_UTF_8].content == b"latin"
    assert tree[b"new/none"].mtime_ns == medley.MTIME_NS


def test_a_layer_of_umocis_holds_the_same_as_minirun_s(ours: Written, of_umoci: Written) -> None:
    same(of_umoci.tree, whole_seconds(ours.tree))


def test_a_layer_of_podmans_holds_the_same_as_minirun_s(ours: Written, of_podman: Written) -> None:
    same(of_podman.tree, whole_seconds(ours.tree))


# minirun writes


@pytest.mark.parametrize(
    ("form", "transport"),
    [
        ("docker", "docker-archive"),
        ("docker", "oci-archive"),
        ("docker-legacy", "docker-archive"),
        ("oci", "oci-archive"),
        ("oci-dir", "oci"),
        ("docker-dir", "dir"),
    ],
)
def test_skopeo_copies_what_minirun_saved(ours: Written, tmp_path: Path, form: str, transport: str) -> None:
    source = f"{transport}:{ours.paths[form]}"
    told = by_skopeo(source)
    assert told.contents == ours.digests.contents
    # it compresses what is not, unless it must not
    keep = [] if transport == "docker-archive" else ["--preserve-digests"]
    skopeo("copy", "--quiet", *keep, source, f"oci:{tmp_path}/copy:name")
    copied = in_layout(tmp_path / "copy")
    if transport == "docker-archive":
        assert copied.diff_ids == told.diff_ids, "but it makes an OCI config of Docker's"
    else:
        assert copied == told
        assert copied.layers == ours.digests.layers
    same(unpacked(tmp_path / "copy", "name", tmp_path / "bundle"), ours.tree)


# what podman makes of the name: containerd's annotation is whole, RepoTags are not, a directory is called by its path
LOADED = {
    "docker": "docker.io/library/ours:1",
    "docker-legacy": "localhost/ours:1",
    "oci": "docker.io/library/ours:1",
    "oci-dir": "localhost/oci-dir",
    "docker-dir": "",
}


@pytest.mark.parametrize("form", LOADED)
def test_podman_takes_what_minirun_saved(ours: Written, form: str) -> None:
    with peers.podman() as podman:
        if form == "docker-dir":
            image = podman("pull", "-q", f"dir:{ours.paths[form]}")
        else:
            image = podman("load", "-q", "-i", form, folder=ours.paths[form].parent).removeprefix("Loaded image: ")
            assert image == LOADED[form]
        told = podman.inspect(image)
        tree = podman.tree(image)
    assert (f"sha256:{told['Id']}", *told["RootFS"]["Layers"]) == ours.digests.contents
    if form in ("oci", "oci-dir", "docker-dir"):
        assert told["Digest"] == by_skopeo(f"dir:{ours.paths['docker-dir']}").manifest
    same(tree, ours.tree)


@pytest.mark.parametrize("form", ["docker", "oci", "oci-dir"])
def test_umoci_unpacks_what_minirun_saved(ours: Written, tmp_path: Path, form: str) -> None:
    layout = ours.paths[form] if form in FOLDERS else untarred(ours.paths[form], tmp_path / "layout")
    (name,) = layouts.check(layout).names
    same(unpacked(layout, name["org.opencontainers.image.ref.name"], tmp_path / "bundle"), ours.tree)


@pytest.mark.parametrize("form", FORMS)
def test_minirun_takes_what_minirun_saved(ours: Written, minirun: Minirun, tmp_path: Path, form: str) -> None:
    if form == "layers":
        minirun("import", ours.paths[form], "ours:1", check=True)
    else:
        told = minirun("load", "-i", ours.paths[form], check=True).stdout
        minirun("tag", told.split()[-1], "ours:1", check=True)
    found = known(minirun, "ours:1")
    assert found.contents == ours.digests.contents
    if form != "docker-legacy":
        assert found.layers == ours.digests.layers
    if form in ("docker", "oci", "oci-dir", "docker-dir"):
        assert found.manifest == in_layout(ours.paths["oci-dir"]).manifest
    same(shown(minirun, "ours:1"), ours.tree)


# minirun reads


@pytest.mark.parametrize("form", ["layout", "oci", "oci-archive", "docker-archive", "dir"])
def test_minirun_loads_what_umoci_packed_and_skopeo_copied(of_umoci: Written, minirun: Minirun, form: str) -> None:
    told = minirun("load", "-i", of_umoci.paths[form], check=True).stdout
    assert told.startswith("Loaded image: localhost/it:1" if form == "docker-archive" else "Loaded image ID: ")
    image = told.split()[-1]
    found = known(minirun, image)
    if form == "docker-archive":
        assert found.contents == of_umoci.digests.contents
    else:
        assert found == of_umoci.digests
    same(shown(minirun, image), of_umoci.tree)


@pytest.mark.parametrize("form", ["docker-archive", "docker-dir", "oci-archive", "oci-dir", "zstd", "zstd:chunked"])
def test_minirun_loads_what_podman_saved(of_podman: Written, minirun: Minirun, form: str) -> None:
    path = of_podman.paths[form]
    told = minirun("load", "-i", path, check=True).stdout
    nameless = form in ("docker-dir", "zstd", "zstd:chunked")
    assert told.startswith("Loaded image ID: " if nameless else "Loaded image: localhost/it:1")
    image = told.split()[-1]
    found = known(minirun, image)
    assert found.contents == of_podman.digests.contents
    if form != "docker-archive":
        transport = {"oci-dir": "oci", "oci-archive": "oci-archive"}.get(form, "dir")
        assert found == by_skopeo(f"{transport}:{path}")
    same(shown(minirun, image), of_podman.tree)


@pytest.mark.parametrize(
    ("maker", "form"),
    [
        ("of_umoci", "layout"),
        ("of_umoci", "oci"),
        ("of_umoci", "dir"),
        ("of_podman", "oci-dir"),
        ("of_podman", "docker-dir"),
        ("ours", "oci-dir"),
        ("ours", "docker-dir"),
        ("ours", "layers"),
    ],
)
def test_minirun_imports_and_runs_a_directory(
    request: pytest.FixtureRequest, minirun: Minirun, maker: str, form: str
) -> None:
    written: Written = request.getfixturevalue(maker)
    ran = minirun("run", "--rm", written.paths[form], "cat", "/was/opaque/above", "/was/link", check=True)
    assert ran.stdout == "above, written to" * 2
    assert ran.stderr == ""
    minirun("import", written.paths[form], "it", check=True)
    assert known(minirun, "it").contents == written.digests.contents
    same(shown(minirun, "it"), written.tree)


@pytest.mark.parametrize("transport", ["oci", "dir"])
def test_minirun_takes_the_platform_it_wants_of_a_list_by_podman(
    below: Path, minirun: Minirun, tmp_path: Path, transport: str
) -> None:
    shutil.copytree(below / "layout", tmp_path / "layout")
    with peers.podman() as podman:
        podman("manifest", "create", "it")
        for name in ("arm64", "amd64"):
            peers.run("umoci", "config", "--image", f"{tmp_path}/layout:it", "--tag", name, "--architecture", name)
            podman("manifest", "add", "it", f"oci:{tmp_path}/layout:{name}")
        podman("manifest", "push", "-q", "--all", "it", f"{transport}:{tmp_path}/list")
    for name, words in (("amd64", ()), ("arm64", ("--platform", "linux/arm64/v8"))):
        told = minirun("load", *words, "-i", tmp_path / "list", check=True).stdout
        assert known(minirun, told.split()[-1]) == by_skopeo(f"oci:{tmp_path}/layout:{name}")


# there and back


@pytest.mark.parametrize(
    ("maker", "form"),
    [
        ("of_umoci", "docker"),
        ("of_umoci", "oci"),
        ("of_umoci", "oci-dir"),
        ("of_umoci", "docker-dir"),
        ("of_podman", "docker"),
        ("of_podman", "docker-dir"),
    ],
)
def test_what_was_loaded_leaves_with_every_digest(
    request: pytest.FixtureRequest, minirun: Minirun, tmp_path: Path, maker: str, form: str
) -> None:
    written: Written = request.getfixturevalue(maker)
    source = written.paths["oci-dir" if maker == "of_podman" else "layout"]
    minirun("tag", minirun("load", "-i", source, check=True).stdout.split()[-1], "it", check=True)
    minirun("save", "--format", form, "-o", tmp_path / "saved", "it", check=True)
    transport = {"oci-dir": "oci", "docker-dir": "dir"}.get(form, "oci-archive")
    assert by_skopeo(f"{transport}:{tmp_path}/saved") == in_layout(source)
    assert os.listdir(minirun.root / "marks") == []
