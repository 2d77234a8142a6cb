"""What a directory or an archive holds is found out, and checked, before anything is unpacked."""

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from minirun.errors import BadInput, BadLayer, MinirunError, Unsupported
from minirun.home import Home
from minirun.image import jsondocument, spool
from minirun.image.folder import Folder
from minirun.image.manifest import Manifest
from minirun.image.platform import Platform, architecture
from minirun.image.recognition import recognise, recognise_all

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


def read_all(directory: Path, platform: str = "") -> list[Manifest]:
    """Every image of *directory*, and of the same in an archive, which must be the same."""
    wanted = Platform.parse(platform) if platform else None
    home = Home(str(directory) + "-home", str(directory) + "-run")
    home.create()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(directory, ".")
    path = Path(f"{directory}.tar")
    path.write_bytes(packed.getvalue())
    outcomes: list[object] = []
    for source in (directory, path):
        try:
            with spool.open_path(home, str(source)) as contents:
                outcomes.append([shown(manifest) for manifest in recognise_all(contents, wanted)])
        except MinirunError as error:
            outcomes.append(type(error))
    assert outcomes[0] == outcomes[1]
    with Folder(str(directory)) as folder:
        return list(recognise_all(folder, wanted))


def shown(manifest: Manifest) -> object:
    parts = [(part.name, part.digest, part.diff_id, part.created, part.created_by) for part in manifest.parts]
    return manifest.exact, manifest.digest, manifest.document, manifest.media_type, manifest.names, parts


def refused_all(directory: Path, platform: str = "") -> str:
    with pytest.raises(BadInput) as refusal:
        read_all(directory, platform)
    assert refusal.value.remedy
    return str(refusal.value)


def names(manifests: Sequence[Manifest]) -> list[list[str]]:
    return [list(manifest.names) for manifest in manifests]


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

    def remove(self, descriptor: dict[str, Any]) -> None:
        (self.directory / "blobs" / "sha256" / descriptor["digest"][7:]).unlink()

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
    (tmp_path / "image.json").write_text(" " * (4 << 20) + "{}")
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


# all images, for load


def called(name: str, key: str = "org.opencontainers.image.ref.name") -> dict[str, Any]:
    return {"annotations": {key: name}}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty directory, beside which there is room."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def several(place: Path) -> Layout:
    return Layout(place)


def test_every_image_of_a_layout_is_taken_with_its_names(several: Layout) -> None:
    one, two, three = (several.image(config={"author": author}) for author in "abc")
    directory = several.index(
        {**one, **called("docker.io/library/one:1")},
        {**one, **called("quay.io/team/one:2", "io.containerd.image.name")},
        {**two, **called("latest")},
        {**three, "annotations": {**called("x")["annotations"], "io.containerd.image.name": "three:3"}},
    )
    found = read_all(directory)
    assert [manifest.digest for manifest in found] == [one["digest"], two["digest"], three["digest"]]
    assert names(found) == [["one:1", "quay.io/team/one:2"], [], ["three:3"]]
    assert [manifest.document for manifest in found] == [
        (directory / "blobs" / "sha256" / image["digest"][7:]).read_bytes() for image in (one, two, three)
    ]


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        ("x:1", ["x:1"]), ("docker.io/library/x:1", ["x:1"]), ("localhost:5000/x", ["localhost:5000/x:latest"]),
        ("x", []), ("v1.0", []), ("X:1", []), ("../../x:1", []), ("x:1@sha256:" + "a" * 64, ["x:1"]),
        ("x/y@sha256:" + "a" * 64, []), ("ocidir://oci/x@sha256:" + "a" * 64, []),
        ("", []), (5, []), (None, []), ([], []),
    ],
)  # fmt: skip
def test_an_annotation_is_a_name_or_none(several: Layout, annotation: object, name: list[str]) -> None:
    for key in ("org.opencontainers.image.ref.name", "io.containerd.image.name"):
        expected = ["x:latest"] if (annotation, key) == ("x", "io.containerd.image.name") else name
        if (annotation, key) == ("v1.0", "io.containerd.image.name"):
            expected = ["v1.0:latest"]
        image = {**several.image(), "annotations": {key: annotation}}
        assert names(read_all(several.index(image))) == [expected]


def test_an_image_for_several_platforms_is_the_one_that_is_wanted(several: Layout) -> None:
    ours = architecture()
    images = {
        name: several.image(config={"author": name, "os": "linux", "architecture": name}) for name in (ours, "s390x")
    }
    nested = several.blob(
        {"manifests": [{**image, **platform(name)} for name, image in images.items()]}, mediaType=INDEX, **called("x:1")
    )
    flat = [{**image, **platform(name), **called("y:1")} for name, image in images.items()]
    directory = several.index(nested, *flat)
    [found] = read_all(directory)
    assert (found.digest, found.names) == (images[ours]["digest"], ["x:1", "y:1"])
    [found] = read_all(directory, "linux/s390x")
    assert (found.digest, found.names) == (images["s390x"]["digest"], ["x:1", "y:1"])
    text = refused_all(directory, "linux/riscv64")
    assert "not there for linux/riscv64" in text
    assert "s390x" in text


def test_images_of_a_layout_that_were_never_pulled_are_not_missed(several: Layout) -> None:
    ours, other = several.image(config={"author": "x"}), several.image()
    nested = several.blob(
        {"manifests": [{**other, **platform("s390x")}, {**ours, **platform(architecture())}]}, mediaType=INDEX
    )
    several.remove(other)
    [found] = read_all(several.index(nested))
    assert found.digest == ours["digest"]
    # what is there is taken, whatever it is for
    alone = several.blob(
        {"manifests": [{**other, **platform(architecture())}, {**ours, **platform("s390x")}]}, mediaType=INDEX
    )
    [found] = read_all(several.index(alone))
    assert found.digest == ours["digest"]
    several.remove(ours)
    refused_all(several.index(nested))


def test_a_config_that_is_for_another_platform_is_refused_where_one_is_wanted(several: Layout) -> None:
    directory = several.index(several.image(config={"os": "linux", "architecture": "s390x"}))
    assert len(read_all(directory)) == len(read_all(directory, "linux/s390x")) == 1
    assert "it is there for linux/s390x" in refused_all(directory, "linux/amd64")


def test_an_index_without_an_image_is_refused(several: Layout) -> None:
    assert "no image" in refused_all(several.index())
    assert "no image" in refused_all(several.index(several.blob({"manifests": []}, mediaType=INDEX)))


def test_indexes_that_multiply_are_refused_before_they_are_read(several: Layout) -> None:
    # 300 ^ 4 documents without one image
    inner = several.blob({"manifests": []}, mediaType=INDEX)
    for _ in range(4):
        inner = several.blob({"manifests": [inner] * 300}, mediaType=INDEX)
    refused_all(several.index(inner))


def test_every_saved_image_is_taken_with_its_names(place: Path) -> None:
    saved(place, ["a"])
    [image] = json.loads((place / "manifest.json").read_text())
    fill(place, "a")
    other = json.dumps({"rootfs": {"diff_ids": []}, "author": "x"})
    (place / "other.json").write_text(other)
    images = [{**image, "RepoTags": ["x:1", "y/z:2"]}, {"Config": "other.json", "RepoTags": None, "Layers": None}]
    (place / "manifest.json").write_text(json.dumps(images))
    found = read_all(place)
    assert names(found) == [["x:1", "y/z:2"], []]
    assert [len(manifest.parts) for manifest in found] == [1, 0]
    assert found[1].exact == other.encode()


def both(layout: Layout, *more: dict[str, Any], tags: object = None) -> tuple[dict[str, Any], Path]:
    """What `docker save` writes today: the descriptor of the image in it, and where it is."""
    described = layout.image(config={"author": "both"})
    document = json.loads((layout.directory / "blobs" / "sha256" / described["digest"][7:]).read_text())
    entry = {
        "Config": "blobs/sha256/" + document["config"]["digest"][7:],
        "RepoTags": tags,
        "Layers": ["blobs/sha256/" + layer["digest"][7:] for layer in document["layers"]],
    }
    (layout.directory / "manifest.json").write_text(json.dumps([entry, *more]))
    return described, layout.directory


def test_what_docker_saves_today_has_the_digests_of_its_layout_and_the_names_of_both(several: Layout) -> None:
    described, _ = both(several, tags=["x:1", "x:2"])
    [found] = read_all(several.index({**described, **called("docker.io/library/x:1", "io.containerd.image.name")}))
    assert found.digest == described["digest"]
    assert set(found.names) == {"x:1", "x:2"}


def test_what_docker_saves_today_is_read_as_before_where_its_layout_is_not_whole(several: Layout) -> None:
    described, directory = both(several, tags=["x:1"])
    index = several.index({**described, **called("x:1")})
    several.remove(described)
    [found] = read_all(index)
    assert (found.digest, found.names, found.config.raw["author"]) == ("", ["x:1"], "both")
    # a name that only the layout has would be lost
    several.index({**described, **called("z:1")})
    refused_all(directory)
    (directory / "index.json").write_text("{")
    assert read_all(directory)[0].names == ["x:1"]


def test_images_that_only_one_side_has_are_taken_too(several: Layout) -> None:
    config = json.dumps({"rootfs": {"diff_ids": []}, "author": "old"})
    (several.directory / "old.json").write_text(config)
    described, _ = both(several, {"Config": "old.json", "RepoTags": ["old:1"], "Layers": []}, tags=["x:1"])
    new = several.image(config={"author": "new"})
    found = read_all(several.index({**described, **called("x:1")}, {**new, **called("new:1")}))
    assert names(found) == [["x:1", "x:1"], ["new:1"], ["old:1"]]
    assert [bool(manifest.digest) for manifest in found] == [True, True, False]


def test_of_an_image_for_several_platforms_manifest_json_says_nothing_more(several: Layout) -> None:
    ours = several.image(config={"author": "ours", "os": "linux", "architecture": architecture()})
    described, _ = both(several, tags=["x:1"])
    nested = several.blob(
        {"manifests": [{**described, **platform("s390x")}, {**ours, **platform(architecture())}]},
        mediaType=INDEX, **called("x:1"),
    )  # fmt: skip
    [found] = read_all(several.index(nested))
    assert (found.digest, found.names) == (ours["digest"], ["x:1"])


def test_every_image_of_the_first_dockers_is_taken(place: Path) -> None:
    base = {"id": "a" * 64, "created": "2014-01-01T00:00:00Z", "author": "Ada", "comment": "first"}
    legacy(place, base, {"id": "b" * 64, "parent": "a" * 64}, {"id": "c" * 64, "parent": "a" * 64})
    for letter in "abc":
        fill(place, letter * 64 + "/layer.tar")
    tags = {"x": {"1": "b" * 64, "2": "b" * 64}, "y/z": {"latest": "c" * 64}}
    (place / "repositories").write_text(json.dumps(tags))
    found = read_all(place)
    assert names(found) == [["x:1", "x:2"], ["y/z:latest"]]
    assert [[part.name[0] for part in manifest.parts] for manifest in found] == [["a", "b"], ["a", "c"]]
    assert found[0].config.raw["history"][0] == {
        "created": "2014-01-01T00:00:00Z", "author": "Ada", "comment": "first"
    }  # fmt: skip
    # saved by their ids, they have no names: what no other lies on is an image
    (place / "repositories").unlink()
    found = read_all(place)
    assert names(found) == [[], []]
    assert [[part.name[0] for part in manifest.parts] for manifest in found] == [["a", "b"], ["a", "c"]]


@pytest.mark.parametrize(
    "repositories", ["[]", "5", "{", '{"x": 5}', '{"x": []}', '{"x": {"1": "../../x"}}', '{"x": {"1": null}}', "{}"]
)
def test_repositories_that_are_none_are_refused(place: Path, repositories: str) -> None:
    legacy(place, {"id": "a" * 64})
    (place / "repositories").write_text(repositories)
    refused_all(place)


@pytest.mark.parametrize(
    "told",
    [
        {"parent": "../../x"}, {"parent": "A" * 64}, {"parent": 5}, {"created": 5}, {"comment": "\0"}, {"config": 5},
        {"container_config": {"Cmd": ["\ud800"]}},
    ],
)  # fmt: skip
def test_an_old_layer_that_says_nonsense_is_refused(place: Path, told: dict[str, Any]) -> None:
    refused_all(legacy(place, {"id": "a" * 64, **told}))


def test_old_layers_without_an_end_are_refused(place: Path) -> None:
    legacy(place, {"id": "a" * 64, "parent": "b" * 64}, {"id": "b" * 64, "parent": "a" * 64})
    assert "name each other" in refused_all(place)
    (place / "repositories").unlink()
    assert "name each other" in refused_all(place)
    (place / ("b" * 64) / "json").write_text(json.dumps({"comment": "x" * (9 << 20)}))
    refused_all(place)


def test_an_endless_history_is_refused(place: Path) -> None:
    ids = [f"{number:064x}" for number in range(1, 12)]
    layers = [
        {"id": one, "parent": below, "comment": "x" * (1 << 19)} for one, below in zip(ids, [None, *ids], strict=False)
    ]
    read_all(legacy(place, *layers[:8]))
    shutil.rmtree(place)
    place.mkdir()
    legacy(place, *({**layer, "comment": "x" * ((1 << 20) - 200)} for layer in layers))
    assert "endless history" in refused_all(place)


def test_what_skopeo_calls_dir_may_be_for_several_platforms(several: Layout, place: Path) -> None:
    ours = architecture()
    images = {
        name: several.image(config={"author": name, "os": "linux", "architecture": name}) for name in (ours, "s390x")
    }
    whole = several.blob({"manifests": [{**image, **platform(name)} for name, image in images.items()]})
    for blob in (place / "blobs/sha256").iterdir():
        manifest = {f"sha256:{blob.name}"} <= {image["digest"] for image in images.values()}
        blob.rename(place / (f"{blob.name}.manifest.json" if manifest else blob.name))
    (place / whole["digest"][7:]).rename(place / "manifest.json")
    fill(place, "version")
    (place / "oci-layout").unlink()
    assert "no list of" in refused_all(place)
    (place / "version").write_text("Directory Transport Version: 1.1\n")
    for wanted, name in (("", ours), ("linux/s390x", "s390x")):
        [found] = read_all(place, wanted)
        assert (found.digest, found.names, found.config.raw["author"]) == (images[name]["digest"], [], name)
        assert [part.name for part in found.parts] == [several.layer["digest"][7:]]
    assert "not there for linux/riscv64" in refused_all(place, "linux/riscv64")


def test_layers_in_an_archive_are_taken_and_directories_among_them_refused(tmp_path: Path, place: Path) -> None:
    fill(place, "01-a.tar", "02-b.tar.gz")
    [found] = read_all(place)
    assert [part.name for part in found.parts] == ["01-a.tar", "02-b.tar.gz"]
    fill(place, "03-c/")
    assert [part.is_tree for part in read_one(place).parts] == [False, False, True]
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(place, ".")
    home = Home(str(tmp_path / "home"), str(tmp_path / "run"))
    with (
        spool.open_path(home, str(tmp_path / "x.tar")) as contents,
        pytest.raises(BadLayer, match="'03-c' is a directory"),
    ):
        list(recognise_all(contents, None))


def read_one(directory: Path) -> Manifest:
    with Folder(str(directory)) as folder:
        [found] = recognise_all(folder, None)
    return found


@pytest.mark.parametrize("files", [["bin/"], ["usr/bin/"], ["bin/", "etc/", "manifest.json"]])
def test_a_root_file_system_is_not_loaded_and_told_what_takes_it(place: Path, files: list[str]) -> None:
    assert "minirun import" in refused_all(fill(place, *files))


def test_what_holds_no_image_is_refused_with_what_was_looked_for(place: Path) -> None:
    assert "is empty" in refused_all(place)
    assert "oci-layout" in refused_all(fill(place, "README"))


def test_a_document_of_too_many_values_is_refused_before_it_is_read() -> None:
    assert jsondocument.parse(b"[" + b"1," * 100_000 + b"1]", "x")
    for data in (b"[" * 300_000, b"[" + b"{}," * 200_000 + b"1]", b'{"a":' * 300_000):
        with pytest.raises(BadLayer, match="values"):
            jsondocument.parse(data, "x")


@pytest.mark.parametrize("nonsense", [None, 5, 1.5, True, "", "x", [], {}, [5], {"x": {}}, "\ud800", "../x"])
@pytest.mark.parametrize("key", ["Config", "Layers"])
def test_nonsense_in_a_manifest_is_refused_as_bad_input(tmp_path: Path, key: str, nonsense: object) -> None:
    saved(tmp_path, ["a"])
    [image] = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps([{**image, key: nonsense}]))
    refused(tmp_path)
