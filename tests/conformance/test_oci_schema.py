"""Every OCI layout that minirun writes fits the schemas of the OCI image-spec, and names what is in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests import layouts, medley, tars
from tests.archives import Saved, save, save_legacy
from tests.command import Minirun
from tests.small import small_layers

LABELLED = (
    'CMD ["cat", "/d/x"]', 'ENTRYPOINT ["/bin/sh"]', "ENV A=b C=", "EXPOSE 80 53/udp", 'LABEL one=1 two="2 3"',
    "USER 1000:50", "VOLUME /data /more", "WORKDIR /srv", "STOPSIGNAL SIGUSR1",
)  # fmt: skip
IMAGES = ("small", "busybox", "umoci", "committed", "labelled", "squashed", "flat", "legacy")


@pytest.fixture(autouse=True)
def _schemas() -> None:
    layouts.schemas()


@pytest.fixture
def stocked(filled: Minirun, leaves_nothing: None) -> Minirun:
    """A store with IMAGES; the host is compared before and after each test."""
    return filled


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, busybox_layers: Path, busybox_oci: Path) -> Minirun:
    """A store with IMAGES: imported, loaded, committed, squashed, made of an export."""
    place = tmp_path_factory.mktemp("stocked")
    minirun = Minirun(place / "root", place / "runtime")

    def do(*words: str | Path) -> str:
        return minirun(*words, check=True).stdout

    do("import", small_layers(place / "layers", busybox_layers), "small")
    do("tag", "small", "registry.example:5000/team/small:1.2")
    do("import", busybox_layers, "busybox")
    do("tag", do("load", "-i", busybox_oci).split(":")[-1].strip(), "umoci")
    write = "mkdir -p /d && echo x >/d/x && ln /d/x /d/y && rm -f /etc/passwd"
    do("run", "--name", "one", "small", "sh", "-c", write)
    do("commit", "-m", "a message", "-a", "somebody", "one", "committed")
    do("commit", *(word for change in LABELLED for word in ("-c", change)), "one", "labelled")
    do("image", "squash", "committed", "squashed")
    do("export", "-o", place / "flat.tar", "one")
    do("import", place / "flat.tar", "flat")
    saved = save_legacy(Saved(["legacy:latest"], [tars.tar(tars.file(b"x", b"x"))], {"config": {"Cmd": ["/x"]}}))
    (place / "legacy.tar").write_bytes(saved)
    do("load", "-i", place / "legacy.tar")
    do("rm", "one")
    return minirun


def written(minirun: Minirun, target: Path, form: str, *words: str) -> Path:
    """Save images, and unpack what is an archive; returns the layout."""
    if form == "oci-dir":
        minirun("save", "--format", form, "-o", target, *words, check=True)
        return target
    archive = target.with_suffix(".tar")
    minirun("save", "--format", form, "-o", archive, *words, check=True)
    target.mkdir()
    subprocess.run(["tar", "-xf", archive, "-C", target], check=True)
    return target


@pytest.mark.parametrize("form", ["docker", "oci", "oci-dir"])
@pytest.mark.parametrize("image", IMAGES)
def test_a_saved_image_is_a_valid_layout(stocked: Minirun, tmp_path: Path, image: str, form: str) -> None:
    found = layouts.check(written(stocked, tmp_path / "x", form, image))
    assert len(found.manifests) == 1
    told = stocked("image", "inspect", "-f", "{{.ConfigDigest}} {{json .RootFS.Layers}}", image, check=True).stdout
    config, _, diff_ids = told.partition(" ")
    assert found.diff_ids == [json.loads(diff_ids)]
    assert found.configs == [config]


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_layers_that_are_compressed_anew_are_what_their_media_types_say(
    stocked: Minirun, tmp_path: Path, compression: str
) -> None:
    layout = written(stocked, tmp_path / "x", "oci", "--compression", compression, "busybox", "committed")
    found = layouts.check(layout)
    assert [len(layers) for layers in found.layers] == [4, 4]
    kinds = {
        layouts.MAGIC.get(layouts.blob(layout, digest)[:2], "none") for layers in found.layers for digest in layers
    }
    assert kinds == {compression}


@pytest.mark.parametrize("form", ["docker", "oci", "oci-dir"])
def test_several_images_and_names_are_one_valid_layout(stocked: Minirun, tmp_path: Path, form: str) -> None:
    found = layouts.check(written(stocked, tmp_path / "x", form, *IMAGES, "registry.example:5000/team/small:1.2"))
    assert len(found.manifests) == len(IMAGES) + 1
    assert len(set(found.manifests)) == len(IMAGES)
    names = [name["io.containerd.image.name"] for name in found.names]
    assert sorted(names) == sorted(
        [*(f"docker.io/library/{name}:latest" for name in IMAGES), "registry.example:5000/team/small:1.2"]
    )


def test_what_skopeo_made_of_it_for_docker_leaves_as_a_valid_layout(
    stocked: Minirun, minirun: Minirun, busybox_oci: Path, tmp_path: Path
) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    words = ["skopeo", "copy", "--quiet", "--format", "v2s2", f"oci:{busybox_oci}:latest", f"dir:{tmp_path}/docker"]
    subprocess.run(words, check=True)
    told = minirun("load", "-i", tmp_path / "docker", check=True).stdout
    layout = written(minirun, tmp_path / "x", "oci", told.split(":")[-1].strip())
    assert layouts.check(layout).manifests == [layouts.digest((tmp_path / "docker/manifest.json").read_bytes())]
    described = json.loads((layout / "index.json").read_text())["manifests"][0]
    assert described["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


NULL = dict.fromkeys(("created", "author", "variant", "os.version", "os.features"))
NULL_INSIDE = dict.fromkeys(
    ("Env", "Cmd", "Entrypoint", "ExposedPorts", "Volumes", "Labels", "OnBuild", "StopSignal", "User", "WorkingDir")
)
UNSAID: Mapping[str, dict[str, Any]] = {
    "null in the config": {**NULL, "config": NULL_INSIDE},
    "null for the config": {**NULL, "config": None, "history": None},
    "null in the history": {"history": [dict.fromkeys(("created", "created_by", "author", "comment"))] * 2},
    "no dates": {"created": "", "history": [{"created": "", "created_by": "a"}] * 2},
    "no history": {"history": []},
    "the history of other layers": {"history": [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}]},
}


@pytest.mark.parametrize("case", UNSAID)
@pytest.mark.parametrize("form", [save, save_legacy], ids=lambda form: form.__name__)
def test_what_a_config_does_not_say_is_left_out_of_those_that_are_made_of_it(
    minirun: Minirun, leaves_nothing: None, tmp_path: Path, form: Callable[[Saved], bytes], case: str
) -> None:
    layer = tars.tar(tars.directory(b"bin/"), tars.file(b"bin/busybox", medley.BUSYBOX.read_bytes(), 0o755))
    (tmp_path / "x.tar").write_bytes(form(Saved(["loaded:1"], [layer, tars.tar(tars.file(b"x"))], UNSAID[case])))
    minirun("load", "-i", tmp_path / "x.tar", check=True)
    minirun("run", "--name", "box", "loaded:1", "/bin/busybox", "touch", "/y", check=True)
    minirun("commit", "box", "committed", check=True)
    minirun("image", "squash", "--from", "2", "committed", "squashed", check=True)
    for image, count in (("committed", 3), ("squashed", 2)):
        (layers,) = layouts.check(written(minirun, tmp_path / image, "oci-dir", image)).layers
        assert len(layers) == count
    if form is save_legacy:  # the others leave byte for byte as they came
        layouts.check(written(minirun, tmp_path / "loaded", "oci-dir", "loaded:1"))
    minirun("rm", "box", check=True)


# that the schemas are really asked: other people's layouts fit, broken ones do not


def test_what_umoci_wrote_is_a_valid_layout(busybox_oci: Path) -> None:
    assert len(layouts.check(busybox_oci).layers[0]) == 4


@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_what_skopeo_wrote_is_a_valid_layout(busybox_oci: Path, tmp_path: Path, form: str) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    words = ["skopeo", "copy", "--quiet", "--format", form, f"oci:{busybox_oci}:latest", f"oci:{tmp_path}/x:name"]
    subprocess.run(words, check=True)
    assert len(layouts.check(tmp_path / "x").layers[0]) == 4


Change = Callable[[dict[str, Any]], object]
BROKEN: Mapping[str, tuple[str, Change]] = {
    "a layout of version 2": ("oci-layout", lambda layout: layout.update(imageLayoutVersion="2.0.0")),
    "a layout of no version": ("oci-layout", lambda layout: layout.clear()),
    "an index of version 1": ("index.json", lambda index: index.update(schemaVersion=1)),
    "an index without manifests": ("index.json", lambda index: index.pop("manifests")),
    "a size that is text": ("index.json", lambda index: index["manifests"][0].update(size="1")),
    "a digest without algorithm": ("index.json", lambda index: index["manifests"][0].update(digest="ab" * 32)),
    "a media type without slash": ("index.json", lambda index: index["manifests"][0].update(mediaType="text")),
    "an annotation that is a number": ("index.json", lambda index: index["manifests"][0].update(annotations={"a": 1})),
    "a platform without os": ("index.json", lambda index: index["manifests"][0].update(platform={"architecture": "x"})),
    "a manifest without config": ("manifest", lambda manifest: manifest.pop("config")),
    "a manifest without layers": ("manifest", lambda manifest: manifest.update(layers=[])),
    "a layer without size": ("manifest", lambda manifest: manifest["layers"][0].pop("size")),
    "a layer without media type": ("manifest", lambda manifest: manifest["layers"][1].pop("mediaType")),
    "a config without os": ("config", lambda config: config.pop("os")),
    "a config without rootfs": ("config", lambda config: config.pop("rootfs")),
    "a rootfs of another type": ("config", lambda config: config["rootfs"].update(type="tree")),
    "Env that is an object": ("config", lambda config: config["config"].update(Env={"A": "b"})),
    "Labels with a number": ("config", lambda config: config["config"].update(Labels={"a": 1})),
    "a date that is none": ("config", lambda config: config.update(created="yesterday")),
    "a date without zone": ("config", lambda config: config.update(created="2023-11-14T22:13:20")),
    "a 30th of February": ("config", lambda config: config["history"][0].update(created="2023-02-30T22:13:20Z")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_document_that_does_not_fit_its_schema_is_found(busybox_oci: Path, tmp_path: Path, case: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        layouts.check(broken(busybox_oci, tmp_path / "x", *BROKEN[case]))


LYING: Mapping[str, tuple[str, Change]] = {
    "a size": ("index.json", lambda index: index["manifests"][0].update(size=1)),
    "a platform": ("index.json", lambda index: index["manifests"][0].update(platform={"os": "a", "architecture": "b"})),
    "a compression": (
        "manifest",
        lambda manifest: manifest["layers"][0].update(mediaType=f"{layouts.OCI}layer.v1.tar"),
    ),
    "a diff id": ("config", lambda config: config["rootfs"]["diff_ids"].reverse()),
    "a history": ("config", lambda config: config["history"].pop()),
}


@pytest.mark.parametrize("case", LYING)
def test_a_document_that_does_not_tell_the_truth_is_found(busybox_oci: Path, tmp_path: Path, case: str) -> None:
    with pytest.raises(AssertionError):
        layouts.check(broken(busybox_oci, tmp_path / "x", *LYING[case]))


def test_a_blob_that_is_altered_or_that_nothing_names_is_found(busybox_oci: Path, tmp_path: Path) -> None:
    layout = broken(busybox_oci, tmp_path / "x", "config", lambda _config: None)
    layouts.check(layout)
    stray = layout / "blobs/sha256" / layouts.digest(b"stray")[7:]
    stray.write_bytes(b"stray")
    with pytest.raises(AssertionError):
        layouts.check(layout)
    stray.unlink()
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    with pytest.raises(AssertionError):
        layouts.check(layout)


def broken(whole: Path, target: Path, place: str, change: Change) -> Path:
    """Copy a layout with one image, and change what is at *place*; digests and sizes above it are right again."""
    shutil.copytree(whole, target)
    index = json.loads((target / "index.json").read_text())
    if place == "oci-layout":
        _rewrite(target / place, change)
    elif place == "index.json":
        change(index)
    else:
        described = index["manifests"][0]
        manifest = json.loads(layouts.blob(target, described["digest"]))
        if place == "config":
            config = json.loads(layouts.blob(target, manifest["config"]["digest"]))
            change(config)
            _replace(target, manifest["config"], config)
        else:
            change(manifest)
        _replace(target, described, manifest)
    (target / "index.json").write_text(json.dumps(index))
    return target


def _rewrite(path: Path, change: Change) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def _replace(layout: Path, described: dict[str, Any], document: object) -> None:
    data = json.dumps(document).encode()
    (layout / "blobs/sha256" / described["digest"][7:]).unlink()
    described.update(digest=layouts.digest(data), size=len(data))
    (layout / "blobs/sha256" / described["digest"][7:]).write_bytes(data)
