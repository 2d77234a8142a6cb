"""`save`: archives that others read, with the digests that images came with; whole or not there, however it ends."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minirun.engine.saving import ALIASES, FOLDERS, FORMS
from tests import busybox, family, inject, peers
from tests.command import PATIENCE, Minirun
from tests.registries import skopeo
from tests.scene import BUSY, Case, Scene, Stage
from tests.screen import until_closed

LATEST = 1_700_000_000
EPOCH = {"SOURCE_DATE_EPOCH": str(LATEST)}
WRITE = (
    "echo hi >/hi; rm -f /etc/passwd; mkdir -p /q/r; ln -s /hi /q/l; ln /hi /q/hi; mkfifo /q/f; "
    "touch -d '2001-01-01 01:02:03' /q/old; rm -rf /srv; mkdir /srv; touch /srv/new"
)


@pytest.fixture(scope="module")
def saved_from(store: Minirun, busybox_oci: Path) -> Minirun:
    """A store that tests only look at: `busybox` of files of layers, `oci` of a layout, and `committed` on that."""
    skopeo("copy", f"oci:{busybox_oci}", f"oci:{store.root.parent}/layout:oci")
    store("import", store.root.parent / "layout", "oci", check=True)
    store("run", "--name", "wrote", "oci", "sh", "-c", WRITE, check=True)
    store("commit", "wrote", "committed", check=True)
    return store


@pytest.fixture(scope="module")
def of_docker(tmp_path_factory: pytest.TempPathFactory, busybox_docker_tar: Path) -> Minirun:
    """A store with `docker`, the image of `oci` in a docker-save archive."""
    home = tmp_path_factory.mktemp("docker")
    minirun = Minirun(home / "root", home / "runtime")
    minirun("load", "-i", busybox_docker_tar, check=True)
    minirun("tag", "busybox", "docker", check=True)
    return minirun


@pytest.fixture
def fresh(tmp_path: Path) -> Minirun:
    """Another host's store."""
    return Minirun(tmp_path / "other-root", tmp_path / "other-runtime")


def inspect(minirun: Minirun, image: str) -> dict[str, Any]:
    (found,) = json.loads(minirun("inspect", "--type", "image", image, check=True).stdout)
    return dict(found)


def files(path: Path) -> dict[str, bytes]:
    """What an archive or a directory has, by name; of an archive nothing but plain entries is allowed."""
    if path.is_dir():
        return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    found = {}
    with tarfile.open(path) as archive:
        for entry in archive:
            assert entry.isreg() or entry.isdir()
            assert (entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) == (0, 0, "", "", 0)
            if entry.isreg():
                found[entry.name] = archive.extractfile(entry).read()  # type: ignore[union-attr]
    return found


def described(path: Path) -> dict[str, Any]:
    """The one manifest of an OCI layout, whose blobs are all what their names say."""
    found = files(path)
    for name, data in found.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name[13:]
    manifest = json.loads(found["index.json"])["manifests"][0]
    document = found[f"blobs/sha256/{manifest['digest'][7:]}"]
    assert len(document) == manifest["size"]
    return {"digest": manifest["digest"], **json.loads(document)}


def tree(minirun: Minirun, image: str) -> dict[str, tuple[object, ...]]:
    """What a container of the image is exported as."""
    minirun("create", "--name", "looked-at", image, "true", check=True)
    try:
        data = subprocess.run(
            minirun.command(["export", "looked-at"]), env=minirun.environment(), capture_output=True, check=True
        ).stdout
    finally:
        minirun("rm", "looked-at", check=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            entry.name: (
                entry.type, entry.mode, entry.uid, entry.gid, entry.linkname,
                None if entry.isdir() else entry.mtime,  # mounting on a directory changes its time
                archive.extractfile(entry).read() if entry.isreg() else None,  # type: ignore[union-attr]
            )
            for entry in archive
        }  # fmt: skip


def arrived(minirun: Minirun, form: str, path: Path) -> str:
    """Take what was saved into a store; returns a name or id of the image."""
    if form == "layers":
        minirun("import", path, "it", check=True)
        return "it"
    told = minirun("load", "-i", path, check=True).stdout.splitlines()[-1]
    return re.sub(r"^Loaded image(?: ID)?: (sha256:)?", "", told)


# --- what leaves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("image", ["busybox", "oci", "docker", "committed"])
def test_what_is_saved_and_loaded_elsewhere_is_the_same_image(
    form: str, image: str, saved_from: Minirun, of_docker: Minirun, fresh: Minirun, tmp_path: Path
) -> None:
    saved_from = of_docker if image == "docker" else saved_from
    saved_from("save", "--format", form, "-o", tmp_path / "out", image, check=True)
    name = arrived(fresh, form, tmp_path / "out")
    here, there = inspect(saved_from, image), inspect(fresh, name)
    assert f"sha256:{there['Id'][7:]}" == there["ConfigDigest"] == here["ConfigDigest"]
    assert there["RootFS"] == here["RootFS"]
    assert there["Config"] == here["Config"]
    assert tree(fresh, name) == tree(saved_from, image)
    # and from there it goes on as the same
    fresh("save", "--format", form, "-o", tmp_path / "again", name, check=True)
    first, second = files(tmp_path / "out"), files(tmp_path / "again")
    told = {"index.json", "manifest.json", "repositories"}  # have names
    if form != "docker-legacy":  # has no blobs
        assert {name: data for name, data in second.items() if name not in told} == {
            name: data for name, data in first.items() if name not in told
        }


@pytest.mark.parametrize("form", ["docker", "oci", "oci-dir"])
def test_manifest_and_layers_leave_byte_for_byte_as_they_came(form: str, saved_from: Minirun, tmp_path: Path) -> None:
    source = saved_from.root.parent / "layout"
    saved_from("save", "--format", form, "-o", tmp_path / "out", "oci", check=True)
    assert described(tmp_path / "out") == described(source)
    kind = "oci" if form == "oci-dir" else "oci-archive"
    assert skopeo("inspect", "--raw", f"{kind}:{tmp_path / 'out'}") == skopeo("inspect", "--raw", f"oci:{source}")


def test_a_manifest_of_dockers_stays_one_unless_layers_are_compressed_anew(
    minirun: Minirun, busybox_oci: Path, tmp_path: Path
) -> None:
    skopeo("copy", "--format", "v2s2", f"oci:{busybox_oci}", f"dir:{tmp_path / 'v2s2'}")
    minirun("load", "-i", tmp_path / "v2s2", check=True)
    image = minirun("images", "-q", check=True).stdout.strip()
    exact = (tmp_path / "v2s2/manifest.json").read_bytes()
    for form, kind in (("docker", "oci-archive"), ("oci", "oci-archive"), ("oci-dir", "oci"), ("docker-dir", "dir")):
        path = tmp_path / form
        minirun("save", "--format", form, "-o", path, image, check=True)
        assert skopeo("inspect", "--raw", f"{kind}:{path}").encode() == exact
    minirun("save", "--format", "oci-dir", "--compression", "gzip", "-o", tmp_path / "anew", image, check=True)
    ours, theirs = described(tmp_path / "anew"), json.loads(exact)
    assert ours["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert [layer["digest"] for layer in ours["layers"]] == [layer["digest"] for layer in theirs["layers"]]
    assert ours["config"]["digest"] == theirs["config"]["digest"]


def test_layers_of_a_directory_leave_as_the_files_that_they_were(
    store: Minirun, busybox_layers: Path, tmp_path: Path
) -> None:
    own = store("import", busybox_layers, check=True).stdout.strip()
    store("save", "--format", "layers", "-o", tmp_path / "out", own, check=True)
    before = sorted(path for path in busybox_layers.iterdir() if path.name[0] == "0")
    after = sorted(path for path in (tmp_path / "out").iterdir() if path.name != "image.json")
    assert [path.read_bytes() for path in after] == [path.read_bytes() for path in before]
    endings = ["".join(path.suffixes) for path in before]
    assert ["".join(path.suffixes) for path in after] == endings == [".tar", ".tar.gz", ".tar.zst", ".tar.xz"]
    assert store("run", "--rm", f"{tmp_path / 'out'}/", "true").returncode == 0
    # in a layout xz is not known: that layer is compressed anew, and the others are not
    store("save", "-o", tmp_path / "tar", own, check=True)
    manifest = described(tmp_path / "tar")
    kinds = [layer["mediaType"].rpartition("v1.")[2] for layer in manifest["layers"]]
    assert kinds == ["tar", "tar+gzip", "tar+zstd", "tar+gzip"]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in before[:3]]
    assert [layer["digest"][7:] for layer in manifest["layers"][:3]] == digests


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_all_layers_are_compressed_as_asked_and_the_id_stays(
    compression: str, saved_from: Minirun, fresh: Minirun, tmp_path: Path
) -> None:
    for image in ("busybox", "committed"):
        path = tmp_path / image
        saved_from("save", "--compression", compression, "-o", path, image, check=True)
        ending = {"gzip": "tar+gzip", "zstd": "tar+zstd", "none": "tar"}[compression]
        manifest = described(path)
        assert {layer["mediaType"].rpartition("v1.")[2] for layer in manifest["layers"]} == {ending}
        name = arrived(fresh, "docker", path)
        assert inspect(fresh, name)["Id"] == inspect(saved_from, image)["ConfigDigest"]
        fresh("rmi", name, check=True)


def test_the_first_dockers_find_what_they_look_for(saved_from: Minirun, fresh: Minirun, tmp_path: Path) -> None:
    saved_from("save", "--format", "docker-legacy", "-o", tmp_path / "out.tar", "committed:latest", check=True)
    found = files(tmp_path / "out.tar")
    top = json.loads(found["repositories"])["committed"]["latest"]
    chain = []
    while top:
        assert found[f"{top}/VERSION"] == b"1.0"
        chain.append(json.loads(found[f"{top}/json"]))
        assert chain[-1]["id"] == top
        with tarfile.open(fileobj=io.BytesIO(found[f"{top}/layer.tar"]), mode="r:") as layer:
            assert layer.getmembers()
        top = chain[-1].get("parent")
    assert len(chain) == 5
    assert chain[0]["config"] == inspect(saved_from, "committed")["Config"]
    assert WRITE in chain[0]["container_config"]["Cmd"][0]
    # and without what newer ones look for it is still an image of the same files
    with tarfile.open(tmp_path / "first.tar", "w") as archive:
        for name, data in found.items():
            if "/" in name or name == "repositories":
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    fresh("load", "-i", tmp_path / "first.tar", check=True)
    assert tree(fresh, "committed") == tree(saved_from, "committed")


def test_podman_takes_several_images_with_their_names(minirun: Minirun, tmp_path: Path) -> None:
    # not the fixture: podman 4.3 refuses one of its layers, which has a link to a file further down
    busybox.tree(tmp_path / "plain", {"Cmd": ["sh"]})
    minirun("import", tmp_path / "plain", "one:1", check=True)
    minirun("tag", "one:1", "localhost:5000/team/app:2", check=True)
    minirun("run", "--name", "wrote", "one:1", "sh", "-c", "echo hi >/hi; rm /etc/group", check=True)
    minirun("commit", "wrote", "two", check=True)
    minirun("save", "-o", tmp_path / "out.tar", "one:1", "localhost:5000/team/app", "two", check=True)
    # podman takes no path of more than 50 characters
    with tempfile.TemporaryDirectory(prefix="podman-") as folder:
        podman = peers.Podman(Path(folder))
        podman("load", "-q", "-i", tmp_path / "out.tar")
        for name, image in (("localhost:5000/team/app:2", "one:1"), ("one:1", "one:1"), ("two", "two")):
            assert f"sha256:{podman.inspect(name)['Id']}" == inspect(minirun, image)["ConfigDigest"]


# --- which names -----------------------------------------------------------------------------------------------------


def test_names_go_along_as_they_do_in_docker(saved_from: Minirun, tmp_path: Path) -> None:
    saved_from("tag", "oci", "app:1", check=True)
    saved_from("tag", "committed", "app:2", check=True)
    image_id = inspect(saved_from, "oci")["Id"]

    def names(*wanted: str) -> tuple[list[list[str] | None], dict[str, list[str]]]:
        saved_from("save", "-o", tmp_path / "out.tar", *wanted, check=True)
        found = files(tmp_path / "out.tar")
        manifest = json.loads(found["manifest.json"])
        repositories = json.loads(found.get("repositories", b"{}"))
        index = [entry.get("annotations") for entry in json.loads(found["index.json"])["manifests"]]
        said = [f"{n}:{t}" for n, tags in sorted(repositories.items()) for t in sorted(tags)]
        told = [note["io.containerd.image.name"].removeprefix("docker.io/library/") for note in index if note]
        assert sorted(told) == said
        return [image["RepoTags"] for image in manifest], {name: sorted(tags) for name, tags in repositories.items()}

    assert names("app:1") == ([["app:1"]], {"app": ["1"]})
    assert names("app") == ([["app:1"], ["app:2"]], {"app": ["1", "2"]})
    assert names("app:1", "oci:latest") == ([["app:1", "oci:latest"]], {"app": ["1"], "oci": ["latest"]})
    for by_id in (image_id, image_id[7:], image_id[7:19], image_id[:19]):
        assert names(by_id) == ([None], {})
    assert names(image_id, "app:1") == ([["app:1"]], {"app": ["1"]})
    assert names("docker.io/library/app:2") == ([["app:2"]], {"app": ["2"]})
    saved_from("rmi", "app:1", "app:2", check=True)


def test_podmans_names_of_forms_mean_the_same(saved_from: Minirun, tmp_path: Path) -> None:
    for alias, form in ALIASES.items():
        saved_from("save", "--format", alias, "-o", tmp_path / "alias", "oci", check=True)
        saved_from("save", "--format", form, "-o", tmp_path / "form", "oci", check=True)
        assert (tmp_path / "alias").read_bytes() == (tmp_path / "form").read_bytes()


def test_umoci_and_skopeo_select_by_the_whole_name(saved_from: Minirun, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    saved_from("save", "--format", "oci-dir", "-o", layout, "oci:latest", "committed:latest", check=True)
    assert sorted(peers.run("umoci", "ls", "--layout", layout).split()) == ["committed:latest", "oci:latest"]
    peers.run("umoci", "unpack", "--image", f"{layout}:committed:latest", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/hi").read_text() == "hi\n"
    document = skopeo("inspect", "--raw", f"oci:{layout}:committed:latest")
    config = json.loads(document)["config"]["digest"]
    assert config == inspect(saved_from, "committed")["ConfigDigest"]


# --- a commit's two ids ----------------------------------------------------------------------------------------------


def test_a_committed_image_that_comes_back_is_the_image_that_is_there(store: Minirun, tmp_path: Path) -> None:
    store("run", "--name", "two-ids", "busybox", "touch", "/new", check=True)
    chance = store("commit", "two-ids", "back", check=True).stdout.strip()
    assert "ConfigDigest" not in inspect(store, "back")
    store("save", "-o", tmp_path / "out.tar", "back", check=True)
    true_id = inspect(store, "back")["ConfigDigest"]
    assert true_id != chance == inspect(store, "back")["Id"]
    config = json.loads(files(tmp_path / "out.tar")["manifest.json"])[0]["Config"]
    assert true_id == f"sha256:{config.removeprefix('blobs/sha256/')}"
    before = {folder: sorted(os.listdir(store.root / folder)) for folder in ("images", "layers", "diffs", "blobs")}
    for form in ("docker", "oci"):
        store("save", "--format", form, "-o", tmp_path / form, "back:latest", check=True)
        store("rmi", "-f", "none-of-that-name")
        assert store("load", "-i", tmp_path / form, check=True).stdout == "Loaded image: back:latest\n"
    after = {folder: sorted(os.listdir(store.root / folder)) for folder in before}
    # what was added is the manifest that it then came with
    assert {folder: set(after[folder]) - set(before[folder]) for folder in ("images", "layers", "diffs")} == {
        "images": set(), "layers": set(), "diffs": set()
    }  # fmt: skip
    for text in (true_id, true_id[7:], true_id[:20], true_id[7:20], chance, chance[7:19], "back"):
        assert inspect(store, text)["Id"] == chance
    assert store("run", "--rm", true_id, "ls", "/new", check=True).stdout == "/new\n"
    assert store("system", "check").returncode == 0
    store("rm", "two-ids", check=True)
    assert f"Deleted: {chance}" in store("rmi", true_id, check=True).stdout
    assert store("inspect", true_id).returncode == 125
    assert not [name for name in os.listdir(store.root / "images") if name.startswith(true_id[7:])]
    store("gc", check=True)
    assert set(os.listdir(store.root / "blobs")) <= set(before["blobs"])


def test_an_alias_whose_image_is_gone_is_found_and_removed(store: Minirun) -> None:
    alias = store.root / "images" / f"{'7' * 64}.alias"
    alias.symlink_to(f"{'8' * 64}.json")
    assert store("inspect", "7" * 64).returncode == 125
    assert "id of an image that is not there" in store("system", "check").stdout
    store("gc", check=True)
    assert not alias.is_symlink()
    assert store("system", "check").returncode == 0


def test_what_was_packed_is_not_packed_again(store: Minirun, tmp_path: Path) -> None:
    store("run", "--name", "packed-once", "busybox", "sh", "-c", "echo before >/file", check=True)
    store("commit", "packed-once", "once", check=True)
    store("save", "-o", tmp_path / "one", "once", check=True)
    layer = inspect(store, "once")["Layers"][-1]["Dir"]
    # nobody should do that; here it shows that nobody looks
    Path(layer, "file").write_text("after\n")
    for form in ("docker", "oci"):
        store("save", "--format", form, "-o", tmp_path / form, "once", check=True)
    assert (tmp_path / "docker").read_bytes() == (tmp_path / "one").read_bytes()
    store("rm", "packed-once", check=True)
    store("rmi", "once", check=True)


def test_many_at_once_pack_it_and_write_the_same(store: Minirun, tmp_path: Path) -> None:
    store("run", "--name", "at-once", "busybox", "sh", "-c", "dd if=/dev/urandom of=/x bs=64k count=80", check=True)
    store("commit", "at-once", "at-once", check=True)
    running = [store.start("save", "-o", str(tmp_path / str(number)), "at-once") for number in range(6)]
    for process in running:
        with process:
            _, said = process.communicate(timeout=120)
            assert (process.returncode, said) == (0, b"")
    assert len({(tmp_path / str(number)).read_bytes() for number in range(6)}) == 1
    assert store("system", "check").returncode == 0
    store("rm", "at-once", check=True)
    store("rmi", "at-once", check=True)


def test_a_commit_has_the_blobs_of_its_base(saved_from: Minirun, tmp_path: Path) -> None:
    saved_from("save", "-o", tmp_path / "base", "oci", check=True)
    saved_from("save", "-o", tmp_path / "top", "committed", check=True)
    below = [layer["digest"] for layer in described(tmp_path / "base")["layers"]]
    assert [layer["digest"] for layer in described(tmp_path / "top")["layers"]][:-1] == below


def test_a_directory_as_a_layer_is_packed_to_the_digest_that_it_has(
    minirun: Minirun, fresh: Minirun, tmp_path: Path
) -> None:
    root = tmp_path / "layers/01-root"
    (root / "bin").mkdir(parents=True)
    (root / "bin/file").write_text("x")
    image = minirun("import", tmp_path / "layers", "it", check=True).stdout.strip()
    result = minirun("save", "-o", tmp_path / "out", "it", check=True)
    assert result.stderr == ""
    arrived(fresh, "docker", tmp_path / "out")
    assert inspect(fresh, "it")["Id"] == image
    assert len(list((minirun.root / "blobs").iterdir())) == 1


def test_an_image_of_an_older_store_leaves_with_another_id_and_a_warning(
    fresh: Minirun, busybox_docker_tar: Path, tmp_path: Path
) -> None:
    fresh("load", "-i", busybox_docker_tar, check=True)
    for blob in (fresh.root / "blobs").iterdir():
        blob.unlink()
    before = inspect(fresh, "busybox")
    result = fresh("save", "-o", tmp_path / "out", "busybox", check=True)
    assert "leaves with the id" in result.stderr
    other = Minirun(tmp_path / "third", tmp_path / "third-runtime")
    other("load", "-i", tmp_path / "out", check=True)
    assert inspect(other, "busybox")["Id"] != before["Id"] == inspect(fresh, "busybox")["Id"]
    assert inspect(other, "busybox")["Id"][7:19] in result.stderr
    assert tree(other, "busybox") == tree(fresh, "busybox")


# --- the same bytes --------------------------------------------------------------------------------------------------


@pytest.fixture
def stores(tmp_path: Path, imported: Path) -> list[Minirun]:
    """Two stores with the same image."""
    found = []
    for name in ("first", "second"):
        subprocess.run(["cp", "--archive", imported, tmp_path / name], check=True)
        found.append(Minirun(tmp_path / name, tmp_path / f"{name}-runtime"))
    return found


@pytest.mark.parametrize("running", [False, True], ids=["stopped", "running"])
def test_the_same_contents_are_the_same_image_anywhere_and_at_any_time(
    running: bool, stores: list[Minirun], tmp_path: Path
) -> None:
    ids = []
    for number, minirun in enumerate(stores):
        script = WRITE + ("; echo ready; exec sleep 30" if running else "")
        flags = ["--name", f"box-{number}", "-h", f"host{number}"]
        with minirun.start("run", *flags, "busybox", "sh", "-c", script) as box:
            if running:
                assert box.stdout
                assert box.stdout.readline() == b"ready\n"
            else:
                box.wait()
            words = ["-m", "why", "-c", "LABEL b=1 a=2", f"box-{number}", "it"]
            ids.append(minirun("commit", *words, env=EPOCH, check=True).stdout)
            minirun("rm", "-f", f"box-{number}", check=True)
            box.communicate()
        for form in FORMS:
            minirun("save", "--format", form, "-o", tmp_path / f"{form}-{number}", "it", check=True)
        time.sleep(1.1)  # a clock that counts seconds would show
    assert ids[0] == ids[1]
    assert ids[0].strip() == inspect(stores[1], "it")["ConfigDigest"]
    for form in FORMS:
        one, two = tmp_path / f"{form}-0", tmp_path / f"{form}-1"
        assert files(one) == files(two)
        if form not in FOLDERS:
            assert one.read_bytes() == two.read_bytes()
    found = inspect(stores[0], "it")
    assert found["Created"] == "2023-11-14T22:13:20Z"
    config = json.loads(files(tmp_path / "layers-0")["image.json"])
    assert list(config) == sorted(config)
    assert config["history"][-1]["created"] == found["Created"]
    # on the disk as in the archive: nothing is younger, what is older stays
    top = Path(found["Layers"][-1]["Dir"])
    times = {path.relative_to(top).as_posix(): path.lstat().st_mtime_ns for path in (top, *top.rglob("*"))}
    latest_ns = LATEST * 10**9
    assert {name for name, time_ns in times.items() if time_ns != latest_ns} == {"q/old"}
    assert times["q/old"] < latest_ns


def test_the_same_commit_again_is_the_image_that_is_there(stores: list[Minirun]) -> None:
    minirun = stores[0]
    for name in ("one", "two"):
        minirun("run", "--name", name, "busybox", "sh", "-c", WRITE.replace("hi", "ho"), check=True)
    before = minirun("commit", "one", "it", env=EPOCH, check=True).stdout
    layers = sorted(os.listdir(minirun.root / "layers"))
    assert minirun("commit", "two", "too", env=EPOCH, check=True).stdout == before
    assert sorted(os.listdir(minirun.root / "layers")) == layers
    assert sorted(inspect(minirun, "it")["RepoTags"]) == ["it:latest", "too:latest"]
    # the second container is as it was, and the first goes on above what was taken
    assert minirun("diff", "two").stdout == minirun("diff", "one").stdout
    assert minirun("start", "-a", "one").returncode == 0
    for folder in ("tmp", "marks"):
        assert os.listdir(minirun.root / folder) == []


def test_an_import_takes_no_later_dates(minirun: Minirun, fresh: Minirun, busybox_layers: Path) -> None:
    early = {"SOURCE_DATE_EPOCH": "1000000000"}
    ids = []
    for one in (minirun, fresh):
        copied = one.root.parent / f"copy-{one.root.name}"
        shutil.copytree(busybox_layers, copied)
        ids.append(one("import", copied, "layers", env=early, check=True).stdout)
        ids.append(one("import", "-", "tar", stdin="", env=early).stdout)
        assert inspect(one, "layers")["Created"] in ("2001-09-09T01:46:40Z", "2023-11-14T22:13:20Z")
        assert {entry["Created"] for entry in inspect(one, "layers")["Layers"]} == {"2001-09-09T01:46:40Z"}
    assert ids[:2] == ids[2:]


@pytest.mark.parametrize("value", ["now", "-1", "1.5", "٣", "0x10", "9" * 13, "253402300800"])
def test_an_epoch_that_is_none_is_refused(value: str, store: Minirun) -> None:
    store("create", "--name", "dated", "busybox", "true", check=True)
    result = store("commit", "dated", env={"SOURCE_DATE_EPOCH": value})
    assert result.returncode == 125
    assert result.stderr.startswith(f"minirun: cannot take SOURCE_DATE_EPOCH={value} for a time")
    store("rm", "dated", check=True)


# --- where it goes ---------------------------------------------------------------------------------------------------


def test_without_a_file_it_goes_to_standard_output(saved_from: Minirun, tmp_path: Path) -> None:
    saved_from("save", "-o", tmp_path / "file", "oci", check=True)
    command = saved_from.command(["save", "oci"])
    environment = saved_from.environment()
    assert (
        subprocess.run(command, env=environment, capture_output=True, check=True).stdout
        == (tmp_path / "file").read_bytes()
    )
    with (tmp_path / "redirected").open("wb") as out:
        subprocess.run(command, env=environment, stdout=out, check=True)
    with (tmp_path / "appended").open("ab") as out:
        subprocess.run(command, env=environment, stdout=out, check=True)
    for name in ("redirected", "appended"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "file").read_bytes()
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen(saved_from.command(["save", "-o", str(tmp_path / "fifo"), "oci"]), env=environment) as writer:
        assert (tmp_path / "fifo").read_bytes() == (tmp_path / "file").read_bytes()
        assert writer.wait() == 0
    assert (tmp_path / "fifo").is_fifo()


def test_a_terminal_gets_no_archive(saved_from: Minirun) -> None:
    master, slave = pty.openpty()
    with subprocess.Popen(
        saved_from.command(["save", "oci"]), env=saved_from.environment(), stdout=slave, stderr=slave
    ) as save:
        os.close(slave)
        said = until_closed(master).decode()
        assert save.wait() == 125
    os.close(master)
    assert "standard output is a terminal, and an archive is no text" in said
    assert "use -o FILE, or a pipe" in said


def test_a_layer_that_takes_long_to_pack_has_a_bar_on_a_terminal(store: Minirun, tmp_path: Path) -> None:
    store("create", "--name", "slow", "busybox", "true", check=True)
    box = store.root / "names/slow"
    with (box / "upper/large").open("wb") as file:
        for _ in range(40):
            file.write(os.urandom(8 << 20))
    store("commit", "slow", "slow", check=True)
    master, slave = pty.openpty()
    with subprocess.Popen(
        store.command(["save", "--compression", "zstd", "-o", str(tmp_path / "out"), "slow"]),
        env=store.environment(), stdout=slave, stderr=slave,
    ) as save:  # fmt: skip
        os.close(slave)
        said = until_closed(master).decode()
        assert save.wait() == 0
    os.close(master)
    if said:  # a quick machine has nothing to wait for
        # nobody has counted yet how much there is
        assert re.match(r"\r[0-9a-f]{12} +[\d.]+MB\x1b\[K", said)
        assert said.endswith("\r\n")
    store("rm", "slow", check=True)
    store("rmi", "slow", check=True)


def test_a_pipe_that_is_closed_ends_it_quietly(saved_from: Minirun) -> None:
    with saved_from.start("save", "oci") as save:
        assert save.stdout
        assert save.stderr
        save.stdout.read(10)
        save.stdout.close()
        assert save.wait() == 141
        assert save.stderr.read() == b""
    for folder in ("tmp", "marks"):
        assert os.listdir(saved_from.root / folder) == []


def test_nobody_waits_for_who_does_not_read(store: Minirun, tmp_path: Path) -> None:
    store("create", "--name", "slow-reader", "busybox", "true", check=True)
    box = store.root / "names/slow-reader"
    (box / "upper/random").write_bytes(os.urandom(4 << 20))
    store("commit", "slow-reader", "slowly", check=True)
    store("save", "-o", tmp_path / "whole", "slowly", check=True)
    with store.start("save", "slowly") as save:
        assert save.stdout
        begun = save.stdout.read(1000)
        began = time.monotonic()
        store("rm", "slow-reader", check=True)
        store("rmi", "slowly", check=True)
        assert time.monotonic() - began < 20 * PATIENCE
        assert begun + save.stdout.read() == (tmp_path / "whole").read_bytes()
        assert save.wait() == 0
    assert store("system", "check").returncode == 0


def test_a_file_is_replaced_when_the_new_one_is_whole(saved_from: Minirun, tmp_path: Path) -> None:
    target = tmp_path / "real.tar"
    target.write_text("old")
    (tmp_path / "out.tar").symlink_to(target)
    refused = saved_from("save", "-o", tmp_path / "out.tar", "oci", "no-such-image")
    assert refused.returncode == 125
    assert target.read_text() == "old"
    saved_from("save", "-o", tmp_path / "out.tar", "oci", check=True)
    assert (tmp_path / "out.tar").is_symlink()
    assert tarfile.is_tarfile(target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tar", "real.tar"]
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", FOLDERS)
def test_a_directory_must_be_empty_or_missing(form: str, saved_from: Minirun, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    saved_from("save", "--format", form, "-o", tmp_path / "empty", "oci", check=True)
    assert files(tmp_path / "empty")
    refused = saved_from("save", "--format", form, "-o", tmp_path / "empty", "oci")
    assert refused.returncode == 125
    assert "there is something already" in refused.stderr
    assert sorted(os.listdir(tmp_path)) == ["empty"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "oci-dir", "oci"], "it is a directory\n  name it"),
        (["--format", "layers", "-o", "x", "oci", "busybox"], "it holds one"),
        (["--format", "docker-legacy", "--compression", "gzip", "oci"], "its layers are not compressed"),
        (["--format", "tgz", "oci"], "is not one of"),
        (["--compression", "xz", "oci"], "is not one of"),
        (["--platform", "linux/arm64", "oci"], "it is for linux/amd64"),
        (["--platform", "pdp11", "oci"], "no such platform is known"),
        (["no-such-image"], "no image of that name or id is stored"),
        (["-o", "/", "oci"], "it is a directory"),
        (["-o", "/no/such/folder/out", "oci"], "ENOENT"),
        ([], "missing argument"),
    ],
)
def test_what_cannot_be_saved_is_refused(words: list[str], said: str, saved_from: Minirun) -> None:
    result = saved_from("save", *words)
    assert result.returncode == 125
    assert result.stderr.startswith("minirun: cannot ")
    assert said in result.stderr
    assert result.stdout == ""


def test_a_platform_that_it_is_for_is_no_hindrance(saved_from: Minirun, tmp_path: Path) -> None:
    saved_from("save", "--platform", "linux/amd64", "-o", tmp_path / "out", "oci", check=True)


def test_a_full_disk_has_nothing_left_of_it(saved_from: Minirun, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        (disk / "out").write_text("old")
        for form in FORMS:
            result = saved_from("save", "--format", form, "-o", disk / ("new" if form in FOLDERS else "out"), "busybox")
            assert result.returncode == 125
            assert re.match(r"minirun: cannot write \S+: ENOSPC", result.stderr)
            assert os.listdir(disk) == ["out"]
            assert (disk / "out").read_text() == "old"
        for folder in ("tmp", "marks"):
            assert os.listdir(saved_from.root / folder) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_saving_takes_little_memory(store: Minirun, tmp_path: Path) -> None:
    store("create", "--name", "large", "busybox", "true", check=True)
    box = store.root / "names/large"
    with (box / "upper/large").open("wb") as file:
        for _ in range(24):
            file.write(os.urandom(4 << 20) + bytes(4 << 20))
    store("commit", "large", "large", check=True)
    for words in (["--compression", "zstd"], ["--compression", "none"], [], ["--format", "docker-legacy"]):
        command = store.command(["save", *words, "-o", str(tmp_path / "out"), "large"])
        # not ru_maxrss, which begins with what the process had before exec(2)
        taken = family.watch(command, store.environment())
        assert taken.status == 0
        assert taken.peak_mb < 100
    store("rm", "large", check=True)
    store("rmi", "large", check=True)


# --- however it ends -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stage(busybox_layers: Path) -> Iterator[Stage]:
    """Stores that are copied, one with a commit that nobody has saved."""
    with tempfile.TemporaryDirectory(prefix="minirun-save-", dir="/dev/shm") as place:
        yield Stage(Path(place), busybox_layers)


STRUCK = [
    Case("save", ["save", "-o", "OUT", "unused:1", "small"], 14),
    Case("save-oci-dir", ["save", "--format", "oci-dir", "-o", "OUT", "unused:1"], 10),
    Case("save-legacy", ["save", "--format", "docker-legacy", "-o", "OUT", "unused:1"], 8),
]
DATED = [
    Case("commit-stopped", ["commit", "ended", "fresh:1"], 12),
    Case("commit-running", ["commit", BUSY, "fresh:1"], 8, busy="front"),
]


@pytest.mark.parametrize("what", [inject.KILL, "error=ENOSPC", "error=EIO"])
@pytest.mark.parametrize("case", STRUCK, ids=lambda case: case.name)
def test_a_save_that_is_cut_short_leaves_a_sound_store_and_no_half_archive(case: Case, what: str, stage: Stage) -> None:
    out = stage.place / "saved" / "out"
    out.parent.mkdir(exist_ok=True)
    scene = Scene(Case(case.name, [str(out) if word == "OUT" else word for word in case.arguments], case.few), stage)
    subprocess.run(["rm", "-rf", out], check=True)
    found = scene.dry_pass()
    whole = files(out)
    wrong = []
    few = case.few if what == inject.KILL else case.few // 2
    calls = {*inject.MAKE, *inject.MOVE, *inject.FILL, *inject.SYNC}
    for point in inject.sample([p for p in found if what == inject.KILL or p.call in calls], few):
        subprocess.run(["rm", "-rf", out], check=True)
        scene.reset()
        struck = scene.strike(point, what)
        scene.minirun("ps", check=True)
        there = sorted(path.name for path in out.parent.iterdir())
        if there not in ([], ["out"]) or (there and files(out) != whole):
            wrong.append(f"{point}: {there}")
        if what != inject.KILL and struck.status not in (0, 125):
            wrong.append(f"{point}: status {struck.status}: {struck.stderr}")
        if struck.status == 0 and there != ["out"]:
            wrong.append(f"{point}: it said nothing, and there is no archive")
        if struck.status == 125 and not struck.stderr.startswith("minirun: cannot "):
            wrong.append(f"{point}: {struck.stderr}")
        if left := [*os.listdir(scene.minirun.root / "tmp"), *os.listdir(scene.minirun.root / "marks")]:
            wrong.append(f"{point}: left {left}")
        check = scene.minirun("system", "check")
        if check.returncode:
            wrong.append(f"{point}: {check.stdout}{check.stderr}")
        subprocess.run(["rm", "-rf", out], check=True)
        again = scene.minirun(*scene.case.arguments)
        if again.returncode or files(out) != whole:
            wrong.append(f"{point}: then {again.stderr or 'another archive'}")
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("what", [inject.KILL, "error=ENOSPC", "error=EIO"])
@pytest.mark.parametrize("case", DATED, ids=lambda case: case.name)
def test_a_commit_to_a_date_that_is_cut_short_is_undone_or_finished(
    case: Case, what: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH["SOURCE_DATE_EPOCH"])
    scene = Scene(case, stage)
    found = scene.dry_pass()
    if what != inject.KILL:
        found = [point for point in found if point.call in {*inject.MAKE, *inject.MOVE, *inject.FILL, *inject.SYNC}]
    wrong = []
    for point in inject.sample(found, case.few):
        scene.reset()
        try:
            struck = scene.strike(point, what)
            if struck.status not in ((-9, 0) if what == inject.KILL else (0, 125)):
                wrong.append(f"{point}: status {struck.status}: {struck.stderr}")
            if faults := scene.faults(struck.cgroups):
                wrong.append("\n    ".join([f"{what} at {point}", *faults]))
        finally:
            scene.calm()
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong)


def test_ctrl_c_leaves_nothing(saved_from: Minirun, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for number in (signal.SIGINT, signal.SIGTERM):
        with saved_from.start("save", "oci") as save:
            assert save.stdout
            save.stdout.read(1000)
            save.send_signal(number)
            save.stdout.read()
            assert save.wait() in (130, -number)
        saved_from("ps", check=True)
        for folder in ("tmp", "marks"):
            assert os.listdir(saved_from.root / folder) == []
