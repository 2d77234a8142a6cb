"""The recipes of rootfs-fixtures/ make what their READMEs say, once, whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import FIXTURES

NOON_NS = 1_700_000_000 * 10**9


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The recipes, and nothing built."""
    return Path(shutil.copytree(FIXTURES, tmp_path / "rootfs-fixtures", ignore=shutil.ignore_patterns("out")))


def build(copy: Path, target: str = "busybox-layers") -> subprocess.CompletedProcess[str]:
    return subprocess.run([copy / "build", target], capture_output=True, text=True, check=False)


def plain(layer: Path) -> bytes:
    """Return the tar in *layer*."""
    if layer.suffix == ".gz":
        return gzip.decompress(layer.read_bytes())
    if layer.suffix == ".xz":
        return lzma.decompress(layer.read_bytes())
    if layer.suffix == ".zst":
        return subprocess.run(["zstd", "-dqc", layer], capture_output=True, check=True).stdout
    return layer.read_bytes()


def names(layer: Path) -> set[str]:
    listed = subprocess.run(["tar", "--list"], input=plain(layer), capture_output=True, check=True).stdout
    return {line.removeprefix("./") for line in listed.decode().splitlines()}


def unpack(oci: Path, bundle: Path) -> Path:
    """Unpack by umoci; return the root file system."""
    subprocess.run(["umoci", "unpack", "--image", f"{oci}:latest", bundle], check=True, capture_output=True)
    return bundle / "rootfs"


def test_busybox_layers_are_the_same_bytes_each_time(copy: Path, busybox_layers: Path) -> None:
    assert build(copy).returncode == 0
    again = copy / "out/busybox-layers"
    assert sorted(os.listdir(again)) == [
        "00-base.tar",
        "01-change.tar.gz",
        "02-odd.tar.zst",
        "03-late.tar.xz",
        "image.json",
    ]
    for file in again.iterdir():
        assert file.read_bytes() == (busybox_layers / file.name).read_bytes()


def test_what_is_built_is_not_built_again(copy: Path) -> None:
    assert "building rootfs-fixtures/out/busybox-layers" in build(copy).stdout
    inode = (copy / "out/busybox-layers").stat().st_ino
    second = build(copy)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert (copy / "out/busybox-layers").stat().st_ino == inode


def test_a_changed_recipe_is_built_again(copy: Path) -> None:
    build(copy)
    recipe = copy / "busybox-layers/recipe.py"
    recipe.write_text(recipe.read_text().replace('"FIXTURE=busybox"', '"FIXTURE=changed"'))
    assert "building" in build(copy).stdout
    image = json.loads((copy / "out/busybox-layers/image.json").read_text())
    assert "FIXTURE=changed" in image["config"]["Env"]


def test_a_failing_recipe_says_why_and_leaves_what_was_there(copy: Path) -> None:
    build(copy)
    before = (copy / "out/busybox-layers/image.json").read_bytes()
    (copy / "busybox-layers/recipe.py").write_text("#!/bin/sh\nmkdir $1; echo no such luck >&2; exit 3\n")
    failed = build(copy)
    assert failed.returncode == 1
    assert "no such luck" in failed.stdout
    assert (copy / "out/busybox-layers/image.json").read_bytes() == before
    assert not (copy / "out/.tmp").exists()
    assert build(copy).returncode == 1  # and does not count as built


def test_an_unknown_target_is_refused(copy: Path) -> None:
    refused = build(copy, "alpine")
    assert refused.returncode == 1
    assert refused.stderr.startswith("usage: build busybox-layers |")


def test_busybox_layers_hold_what_their_readme_says(busybox_oci: Path, tmp_path: Path) -> None:
    srv = unpack(busybox_oci, tmp_path / "bundle") / "srv"

    assert {path.name: path.read_text() for path in (srv / "files").iterdir()} == {
        "kept": "kept, base\n",
        "replaced": "replaced, change\n",
        "recreated": "recreated, odd\n",
        "becomes-file": "a file, change\n",
    }
    assert stat.S_IMODE((srv / "files/replaced").stat().st_mode) == 0o600
    assert os.listdir(srv / "removed-directory") == ["late"]
    assert sorted(os.listdir(srv / "opaque")) == ["new-after", "new-before"]
    assert stat.S_IMODE((srv / "opaque").stat().st_mode) == 0o755

    links = srv / "links"
    assert sorted(os.listdir(links)) == [
        "absolute",
        "dangling",
        "first",
        "first-from-above",
        "replaced",
        "second-twin",
        "target",
        "twin",
    ]
    assert len({(links / name).stat().st_ino for name in ("first", "twin", "first-from-above")}) == 1
    assert (links / "target").read_text() == "target, base\n"
    assert (links / "replaced").read_text() == "a file, not written through the link\n"
    assert str((srv / "late/up").readlink()) == "../../etc/passwd"
    busybox = tmp_path / "bundle/rootfs"
    assert (busybox / "bin/busybox").samefile(busybox / "usr/local/bin/busybox")


def test_busybox_layers_hold_what_is_rare(busybox_oci: Path, tmp_path: Path) -> None:
    odd = unpack(busybox_oci, tmp_path / "bundle") / "srv/odd"

    assert stat.filemode((odd / "setuid").stat().st_mode) == "-rwsr-xr-x"
    assert stat.filemode((odd / "setgid").stat().st_mode) == "-rwxr-sr-x"
    assert stat.filemode((odd / "sticky").stat().st_mode) == "drwxrwsrwt"
    assert stat.filemode((odd / "mode-0").stat().st_mode) == "----------"
    assert stat.filemode((odd / "fifo").stat().st_mode) == "prw--w----"
    assert os.getxattr(odd / "xattrs", "user.colour") == b"blue"
    assert os.getxattr(odd / "xattrs-directory", "user.colour") == b"green"
    capable = subprocess.run(["getcap", odd / "capable"], capture_output=True, text=True, check=True).stdout
    assert capable.endswith("capable cap_net_raw=ep\n")
    assert (odd / "owned-high").stat().st_uid == 4_294_967_294
    assert (odd / "nanoseconds").stat().st_mtime_ns == NOON_NS + 123_456_789
    assert (odd / "link-nanoseconds").lstat().st_mtime_ns == NOON_NS + 987_654_321
    assert (odd / "directory-nanoseconds").stat().st_mtime_ns == NOON_NS + 1
    assert (odd / "before-1970").stat().st_mtime_ns == -1_500_000_000
    found = set(os.listdir(os.fsencode(odd)))
    assert {b"latin-\xe9", b"latin-\xff-in-pax", "grüße".encode(), b"line\nbreak", b"long-" * 51} <= found


@pytest.mark.parametrize("image", ["busybox", "ubuntu"])
def test_every_form_of_an_image_has_the_same_layers(image: str, request: pytest.FixtureRequest) -> None:
    layers: Path = request.getfixturevalue(f"{image}_layers")
    wanted = ["sha256:" + hashlib.sha256(plain(layer)).hexdigest() for layer in sorted(layers.glob("*.tar*"))]
    assert len(wanted) >= 3

    oci: Path = request.getfixturevalue(f"{image}_oci")
    inspected = subprocess.run(["skopeo", "inspect", "--config", f"oci:{oci}:latest"], capture_output=True, check=True)
    config = json.loads(inspected.stdout)
    assert config["rootfs"]["diff_ids"] == wanted
    assert config["config"] == json.loads((layers / "image.json").read_text())["config"]

    directory: Path = request.getfixturevalue(f"{image}_docker")
    (manifest,) = json.loads((directory / "manifest.json").read_text())
    assert json.loads((directory / manifest["Config"]).read_text())["rootfs"]["diff_ids"] == wanted
    assert manifest["RepoTags"] == [f"docker.io/library/{image}:latest"]
    with tarfile.open(request.getfixturevalue(f"{image}_docker_tar")) as archive:
        assert set(manifest["Layers"]) <= set(archive.getnames())


def test_ubuntu_layers_are_a_base_a_package_and_a_removal(ubuntu_layers: Path) -> None:
    base, python, slim = (names(layer) for layer in sorted(ubuntu_layers.glob("*.tar*")))
    assert {"usr/bin/dpkg", "usr/bin/apt-get", "etc/os-release"} <= base
    assert "usr/bin/python3" not in base
    assert "usr/bin/python3" in python
    assert "usr/bin/dpkg" not in python
    assert sum(Path(name).name.startswith(".wh.") for name in slim) > 100
    assert {"usr/share/man/.wh..wh..opq", "usr/share/man/README"} <= slim
    for layer in (base, python, slim):
        assert not {name for name in layer if name.startswith(("mnt/", "dev/", "proc/")) and not name.endswith("/")}
        assert not {name for name in layer if name.endswith((".deb", "99mmdebstrap", "etc/resolv.conf"))}


def test_ubuntu_layers_run_a_program_of_the_second_and_lack_what_the_third_removed(
    ubuntu_oci: Path, tmp_path: Path
) -> None:
    root = unpack(ubuntu_oci, tmp_path / "bundle")
    printed = subprocess.run(
        ["chroot", root, "python3", "-c", "import json, sys; print(json.dumps(sys.version_info[:1]))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed == "[3]\n"
    assert os.listdir(root / "usr/share/man") == ["README"]
    assert not [path for path in (root / "usr/share/doc").rglob("*") if path.is_file()]
