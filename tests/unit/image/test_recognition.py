"""What a directory holds is found out, and checked, before anything is unpacked."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from minirun.errors import BadInput, Unsupported
from minirun.image.folder import Folder
from minirun.image.manifest import Manifest
from minirun.image.platform import architecture
from minirun.image.recognition import recognise

INDEX = "application/vnd.oci.image.index.v1+json"
DIFF_ID = "sha256:" + "d" * 64


def read(directory: Path) -> Manifest:
    with Folder(str(directory)) as folder:
        return recognise(folder)


def refused(directory: Path) -> str:
    with pytest.raises(BadInput) as refusal:
        read(directory)
    assert refusal.value.remedy
    return str(refusal.value)


def fill(directory: Path, *names: str) -> Path:
    for name in names:
        path = directory / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    return directory


class Layout:
    """An OCI layout in the making."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "blobs" / "sha256").mkdir(parents=True)
        self.write("oci-layout", {"imageLayoutVersion": "1.0.0"})
        self.layer = self.blob(b"layer")

    def write(self, name: str, document: object) -> None:
        (self.directory / name).write_text(json.dumps(document))

    def blob(self, data: bytes | dict[str, Any], **more: object) -> dict[str, Any]:
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        digest = hashlib.sha256(data).hexdigest()
        (self.directory / "blobs" / "sha256" / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data), **more}

    def image(self, *layers: dict[str, Any], config: dict[str, Any] | None = None, **more: object) -> dict[str, Any]:
        layers = layers or (self.layer,)
        whole = {"rootfs": {"type": "layers", "diff_ids": [DIFF_ID] * len(layers)}, "config": {}, **(config or {})}
        return self.blob({"schemaVersion": 2, "config": self.blob(whole), "layers": layers}, **more)

    def index(self, *manifests: object) -> Path:
        self.write("index.json", {"schemaVersion": 2, "manifests": manifests})
        return self.directory


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def platform(architecture: str, system: str = "linux") -> dict[str, Any]:
    return {"platform": {"architecture": architecture, "os": system}}


# layers and root file systems


def test_layers_are_taken_in_the_order_of_their_names(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "10-c.tar.xz",
        "02-b/",
        "01-a.tar",
        "03-d.tar.gz",
        "04-é.tar.zst",
        "README",
        "notes-1",
        "image.json.bak",
    )
    manifest = read(tmp_path)
    names = [(part.name, part.is_tree) for part in manifest.parts]
    assert names == [
        ("01-a.tar", False), ("02-b", True), ("03-d.tar.gz", False), ("04-é.tar.zst", False), ("10-c.tar.xz", False),
    ]  # fmt: skip
    assert manifest.config.raw["architecture"] == architecture()


def test_the_config_beside_layers_is_used(tmp_path: Path) -> None:
    fill(tmp_path, "1-a.tar")
    (tmp_path / "image.json").write_text('{"Cmd": ["sh"], "Env": ["A=b"]}')
    assert read(tmp_path).config.cmd == ["sh"]
    (tmp_path / "image.json").write_text('{"Cmd": 5}')
    assert "config.Cmd" in refused(tmp_path)
    (tmp_path / "image.json").write_text('{"Cmd": ["sh"]')
    assert "not JSON" in refused(tmp_path)
    (tmp_path / "image.json").write_text(" " * (8 << 20) + "{}")
    assert "longer" in refused(tmp_path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["01-a.tar", "02-x.tar.bz2"], "02-x.tar.bz2"),
        (["01-a.tar", "02-x.zip"], "02-x.zip"),
        (["01-a.tar", "02-x"], "02-x"),
        (["01-a.tar", "02-x.TAR"], "02-x.TAR"),
        (["01-a.tar", "01-a.tar.gz"], "both the layer '01-a'"),
        (["01-a.tar", "01-a/"], "both the layer '01-a'"),
        (["2-a.tar", "10-b.tar"], "'2-a.tar' comes after '10-b.tar'"),
    ],
)
def test_a_directory_whose_layers_are_in_doubt_is_refused(tmp_path: Path, names: list[str], said: str) -> None:
    assert said in refused(fill(tmp_path, *names))


def test_a_layer_that_is_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, "01-a.tar", "other/")
    (tmp_path / "02-b").symlink_to("other")
    assert "symbolic link" in refused(tmp_path)


def test_more_layers_than_an_overlay_takes_are_refused(tmp_path: Path) -> None:
    assert "500 layers" in refused(fill(tmp_path, *[f"{number:03}-x.tar" for number in range(500)]))


@pytest.mark.parametrize("names", [["bin/"], ["usr/bin/"], ["bin/", "etc/", "manifest.json"]])
def test_a_root_file_system_is_one_layer(tmp_path: Path, names: list[str]) -> None:
    assert [(part.name, part.is_tree) for part in read(fill(tmp_path, *names)).parts] == [(".", True)]


def test_an_empty_directory_is_refused_and_told_so(tmp_path: Path) -> None:
    assert "the directory is empty" in refused(tmp_path)


@pytest.mark.parametrize(
    "names", [["README"], ["image.json"], ["oci-layout"], ["index.json"], ["bin"], ["etc/passwd"], ["1a/"]]
)
def test_a_directory_without_an_image_is_refused_with_what_was_looked_for(tmp_path: Path, names: list[str]) -> None:
    text = refused(fill(tmp_path, *names))
    for form in ("NN-name", "bin/", "oci-layout", "manifest.json"):
        assert form in text


# OCI layouts


def test_the_one_image_of_a_layout_is_taken(layout: Layout) -> None:
    history = [{"created_by": "one", "created": "2024-01-02T03:04:05Z"}, {"empty_layer": True, "created_by": "CMD"}]
    image = layout.image(config={"history": history, "created": "2024-05-06T07:08:09Z"})
    manifest = read(layout.index({**image, "annotations": {"org.opencontainers.image.ref.name": "x:1"}}))
    [part] = manifest.parts
    assert (part.digest, part.diff_id) == (layout.layer["digest"], DIFF_ID)
    assert part.name == "blobs/sha256/" + layout.layer["digest"][7:]
    assert (part.created_by, part.created) == ("one", "2024-01-02T03:04:05Z")
    assert manifest.digest == image["digest"]
    assert manifest.names == ["x:1"]
    assert json.loads(manifest.exact) == manifest.config.raw


def test_of_several_images_the_one_for_this_host_is_taken(layout: Layout) -> None:
    ours, other = architecture(), "s390x"
    image, strange = layout.image(config={"author": "us"}), layout.image()
    nested = layout.blob(
        {"manifests": [{**strange, **platform(other)}, {**image, **platform(ours)}]}, mediaType=INDEX
    )  # fmt: skip
    attestation = {**layout.image(), **platform("unknown", "unknown")}
    attestation["annotations"] = {"vnd.docker.reference.type": "attestation-manifest"}
    assert read(layout.index(nested, attestation)).digest == image["digest"]
    assert (
        read(layout.index({**image, **platform(ours)}, {**strange, **platform(ours, "windows")})).digest
        == image["digest"]
    )
    assert read(layout.index(image, image)).digest == image["digest"]
    # the only one is taken whatever it is for: the kernel may know how to run it
    assert read(layout.index({**strange, **platform(other)})).digest == strange["digest"]


def test_several_images_for_this_host_are_refused_by_name(layout: Layout) -> None:
    one = {**layout.image(), "annotations": {"org.opencontainers.image.ref.name": "one"}}
    two = {**layout.image(config={"author": "x"}), "annotations": {"org.opencontainers.image.ref.name": "two"}}
    text = refused(layout.index(one, two))
    assert "2 images: one, two" in text
    assert "minirun load -i" in text


def test_a_layout_without_an_image_for_this_host_is_refused(layout: Layout) -> None:
    assert "names no image" in refused(layout.index())
    foreign = [{**layout.image(config={"author": str(n)}), **platform("s390x")} for n in range(2)]
    assert "none of its 2 images" in refused(layout.index(*foreign))


@pytest.mark.parametrize(
    "digest", ["sha256:../../../etc/passwd", "../../x", "md5:" + "a" * 32, "sha256:" + "A" * 64, 5, None]
)
def test_a_digest_that_is_none_never_becomes_a_path(layout: Layout, digest: object) -> None:
    assert "digest" in refused(layout.index({"digest": digest, "size": 1}))
    assert "digest" in refused(layout.index(layout.image({"digest": digest, "size": 1})))
    manifest = layout.blob({"config": {"digest": digest, "size": 1}, "layers": []})
    assert "digest" in refused(layout.index(manifest))


@pytest.mark.parametrize("size", [-1, "5", 1.5, True, None, 10**30])
def test_a_size_that_is_none_or_not_the_blobs_is_refused(layout: Layout, size: object) -> None:
    refused(layout.index({**layout.image(), "size": size}))


def test_a_blob_that_is_changed_cut_or_missing_is_refused(layout: Layout) -> None:
    image = layout.image()
    directory = layout.index(image)
    blob = directory / "blobs" / "sha256" / image["digest"][7:]
    data = blob.read_bytes()
    blob.write_bytes(data.replace(b"layers", b"Layers"))
    assert "not those its digest names" in refused(directory)
    blob.write_bytes(data[:-1])
    assert "not those its digest names" in refused(directory)
    blob.unlink()
    assert "ENOENT" in refused(directory)
    blob.symlink_to("/etc/passwd")
    assert "symbolic link" in refused(directory)


def test_a_manifest_and_a_config_that_disagree_are_refused(layout: Layout) -> None:
    config = {"rootfs": {"diff_ids": [DIFF_ID, DIFF_ID]}}
    assert "1 layers and its config 2" in refused(layout.index(layout.image(config=config)))


def test_a_blob_that_is_no_image_is_refused(layout: Layout) -> None:
    helm = layout.blob(b"{}", mediaType="application/vnd.cncf.helm.config.v1+json")
    assert "helm" in refused(layout.index(layout.blob({"config": helm, "layers": []})))


@pytest.mark.parametrize(
    "document", [[], 5, "x", None, {"manifests": 5}, {"manifests": [5]}, {"manifests": [{}] * 1001}]
)
def test_an_index_that_is_none_is_refused(layout: Layout, document: object) -> None:
    layout.write("index.json", document)
    refused(layout.directory)


def test_an_index_that_nests_without_end_is_refused(layout: Layout) -> None:
    inner = layout.image()
    for _ in range(6):
        inner = layout.blob({"manifests": [inner]}, mediaType=INDEX)
    assert "nested" in refused(layout.index(inner))
    wide = layout.image()
    for _ in range(3):
        wide = layout.blob({"manifests": [wide] * 100}, mediaType=INDEX)
    assert "more than 1000" in refused(layout.index(wide))


def test_a_layout_of_a_later_version_is_refused(layout: Layout) -> None:
    layout.write("oci-layout", {"imageLayoutVersion": "2.0.0"})
    with pytest.raises(Unsupported):
        read(layout.index(layout.image()))


# docker save


def saved(directory: Path, layers: object, config: object = None, *, name: str = "", count: int = 1) -> Path:
    data = json.dumps(config or {"rootfs": {"diff_ids": [DIFF_ID]}, "config": {"Cmd": ["sh"]}}).encode()
    name = name or hashlib.sha256(data).hexdigest() + ".json"
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)
    image = {"Config": name, "RepoTags": ["x:1"], "Layers": layers}
    (directory / "manifest.json").write_text(json.dumps([image] * count))
    return directory


def test_a_saved_image_is_read_in_its_old_and_its_new_form(tmp_path: Path) -> None:
    manifest = read(saved(tmp_path, ["abc/layer.tar"]))
    [part] = manifest.parts
    assert (part.name, part.digest, part.diff_id) == ("abc/layer.tar", "", DIFF_ID)
    assert (manifest.names, manifest.config.cmd) == (["x:1"], ["sh"])
    blob = "blobs/sha256/" + "b" * 64
    [part] = read(saved(tmp_path, [blob])).parts
    assert (part.name, part.digest) == (blob, "sha256:" + "b" * 64)


def test_several_saved_images_are_refused_by_name(tmp_path: Path) -> None:
    assert "2 images: x:1, x:1" in refused(saved(tmp_path, ["a"], count=2))
    assert "0 images" in refused(saved(tmp_path, ["a"], count=0))


@pytest.mark.parametrize("name", ["../x.json", "/etc/passwd", "a/../../x"])
def test_a_config_outside_is_refused(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    saved(inside, ["a"])
    (inside / "manifest.json").write_text(json.dumps([{"Config": name, "Layers": ["a"]}]))
    assert "not a path inside" in refused(inside)


def test_a_config_that_is_not_what_its_name_promises_is_refused(tmp_path: Path) -> None:
    assert "promises" in refused(saved(tmp_path, ["a"], name="a" * 64 + ".json"))
    assert "promises" in refused(saved(tmp_path, ["a"], name="blobs/sha256/" + "a" * 64))


@pytest.mark.parametrize("layers", [5, [5], ["a", "b"], [], None, {"a": "b"}, ["a"] * 600])
def test_layers_that_are_none_or_too_many_are_refused(tmp_path: Path, layers: object) -> None:
    refused(saved(tmp_path, layers))


@pytest.mark.parametrize("text", ["{}", "5", "[5]", "[[]]", "[{}]", "null", "[" * 3000])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    refused(tmp_path)


def legacy(directory: Path, *layers: dict[str, Any], top: object = None) -> Path:
    for layer in layers:
        (directory / layer["id"]).mkdir()
        (directory / layer["id"] / "json").write_text(json.dumps(layer))
    (directory / "repositories").write_text(json.dumps({"x": {"1": top or layers[-1]["id"]}}))
    return directory


def test_what_dockers_before_1_10_saved_is_read_from_the_top_down(tmp_path: Path) -> None:
    base = {"id": "a" * 64, "created": "2014-01-01T00:00:00Z", "container_config": {"Cmd": ["/bin/sh", "-c", "x"]}}
    top = {"id": "b" * 64, "parent": "a" * 64, "config": {"Cmd": ["sh"], "Env": None}, "architecture": "amd64"}
    manifest = read(legacy(tmp_path, base, top))
    assert [part.name for part in manifest.parts] == ["a" * 64 + "/layer.tar", "b" * 64 + "/layer.tar"]
    assert (manifest.parts[0].created, manifest.parts[0].created_by) == ("2014-01-01T00:00:00Z", "/bin/sh -c x")
    assert (manifest.config.cmd, manifest.names) == (["sh"], ["x:1"])
    assert "parent" not in manifest.config.raw


@pytest.mark.parametrize("top", ["../../x", "A" * 64, 5, ["a"], {"a": "b"}])
def test_an_old_id_that_is_none_is_refused(tmp_path: Path, top: object) -> None:
    refused(legacy(tmp_path, {"id": "a" * 64}, top=top))


def test_old_layers_that_name_each_other_are_refused(tmp_path: Path) -> None:
    layers = [{"id": "a" * 64, "parent": "b" * 64}, {"id": "b" * 64, "parent": "a" * 64}]
    assert "name each other" in refused(legacy(tmp_path, *layers))


@pytest.mark.parametrize("nonsense", [None, 5, 1.5, True, "", "x", [], {}, [5], {"x": {}}, "\ud800", "../x"])
@pytest.mark.parametrize("key", ["Config", "Layers"])
def test_nonsense_in_a_manifest_is_refused_as_bad_input(tmp_path: Path, key: str, nonsense: object) -> None:
    saved(tmp_path, ["a"])
    [image] = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps([{**image, key: nonsense}]))
    refused(tmp_path)
