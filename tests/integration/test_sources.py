"""Real directories, and layouts made by other people's tools, become images; bad ones leave nothing behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun import journal
from minirun.errors import BadInput, BadLayer, MinirunError, NotFound
from minirun.home import Home
from minirun.image import source, sources
from minirun.image.find import find
from minirun.image.history import entries
from minirun.image.reference import parse
from minirun.image.store import Image, Images
from minirun.kernel import files
from minirun.layer import stack
from minirun.layer.store import Layers
from tests import tars


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return fresh(tmp_path / "home")


def fresh(directory: Path) -> Home:
    home = Home(str(directory / "root"), str(directory / "runtime"))
    home.create()
    return home


def contents(home: Home) -> dict[str, int]:
    """Everything in a store, with its inode, so that what was made again is told from what stayed."""
    return {str(path): path.lstat().st_ino for path in Path(home.root).rglob("*") if path.name != "lock"}


def tar(path: Path, files: dict[str, str | None]) -> Path:
    """Write a tar with these files; None makes a directory."""
    with tarfile.open(path, "w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            if text is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            else:
                entry.size = len(text)
                archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def layers(directory: Path, *texts: str) -> Path:
    """A directory of layers, each with one file of its own and one that the next replaces."""
    directory.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        tar(directory / f"{number:03}-layer.tar", {"etc/": None, f"etc/own{number}": text, "etc/same": text})
    return directory


def text(home: Home, image: Image, path: str) -> str | None:
    found = stack.find(image.paths(home), path)
    return None if found is None else Path(found.path).read_text()


def diff_ids(home: Home, image: Image) -> list[str | None]:
    return [Layers(home).get(layer).diff_id for layer in image.layers]


# directories of layers


def test_layers_are_stacked_in_the_order_of_their_names(home: Home, tmp_path: Path) -> None:
    image = find(home, str(layers(tmp_path / "layers", "one", "two", "three")))
    assert text(home, image, "etc/same") == "three"
    assert [text(home, image, f"etc/own{number}") for number in range(4)] == ["one", "two", "three", None]
    assert image.source == str(tmp_path / "layers")
    assert len(image.stack) == 4
    assert image.size == 2 * (3 + 3 + 5)


def test_every_compression_and_a_tree_give_the_same_layer(home: Home, tmp_path: Path) -> None:
    plain = layers(tmp_path / "plain", "one")
    expected = find(home, str(plain))
    for ending, command in (("gz", ["gzip"]), ("zst", ["zstd", "--quiet"]), ("xz", ["xz"])):
        other = tmp_path / ending
        other.mkdir()
        packed = subprocess.run([*command, "--stdout", plain / "000-layer.tar"], capture_output=True, check=True).stdout
        (other / f"000-layer.tar.{ending}").write_bytes(packed)
        assert find(home, str(other)).layers == expected.layers
    tree = tmp_path / "tree" / "000-layer"
    tree.mkdir(parents=True)
    subprocess.run(["tar", "-xf", plain / "000-layer.tar", "-C", tree], check=True)
    unpacked = find(home, str(tree.parent))
    assert text(home, unpacked, "etc/own0") == "one"


def test_the_second_run_of_a_directory_unpacks_nothing(home: Home, busybox_layers: Path) -> None:
    first = find(home, f"{busybox_layers}/")
    before = contents(home)
    assert sources.recall(home, str(busybox_layers)) == first.id
    assert find(home, f"{busybox_layers}/").record() == first.record()
    assert contents(home) == before


def test_a_changed_layer_is_noticed_and_the_others_are_not_unpacked_again(home: Home, tmp_path: Path) -> None:
    directory = layers(tmp_path / "layers", "one", "two")
    first = find(home, str(directory))
    layers(directory, "one", "new")
    second = find(home, str(directory))
    assert text(home, second, "etc/same") == "new"
    assert text(home, first, "etc/same") == "two"
    assert second.layers[0] == first.layers[0]


def test_a_change_within_a_tree_is_noticed(home: Home, tmp_path: Path) -> None:
    deep = tmp_path / "layers" / "00-base" / "usr" / "share"
    deep.mkdir(parents=True)
    (deep / "file").write_text("old")
    assert text(home, find(home, str(tmp_path / "layers")), "usr/share/file") == "old"
    (deep / "file").write_text("new")
    assert text(home, find(home, str(tmp_path / "layers")), "usr/share/file") == "new"


def test_a_removed_image_is_made_again_from_its_directory(home: Home, tmp_path: Path) -> None:
    directory = layers(tmp_path / "layers", "one")
    first = find(home, str(directory))
    Images(home).remove(first.id)
    assert find(home, str(directory)).record() == first.record()


def test_two_directories_share_the_layers_that_are_the_same(home: Home, tmp_path: Path) -> None:
    one = find(home, str(layers(tmp_path / "one", "base", "x")))
    two = find(home, str(layers(tmp_path / "two", "base", "y")))
    assert one.stack[0] == two.stack[0]
    assert one.stack[1] != two.stack[1]


def test_a_hundred_and_fifty_layers_are_one_image(home: Home, tmp_path: Path) -> None:
    image = find(home, str(layers(tmp_path / "layers", *map(str, range(150)))))
    assert len(image.layers) == 150
    assert text(home, image, "etc/same") == "149"
    assert text(home, image, "etc/own0") == "0"


def test_the_config_beside_the_layers_is_the_images(home: Home, tmp_path: Path) -> None:
    directory = layers(tmp_path / "layers", "one", "two")
    config = {"created": "2024-01-02T03:04:05Z", "config": {"Cmd": ["sh"], "Env": ["A=b"]}, "odd": {"kept": True}}
    (directory / "image.json").write_text(json.dumps(config))
    image = find(home, str(directory))
    assert (image.config.cmd, image.config.env, image.created) == (["sh"], ["A=b"], "2024-01-02T03:04:05Z")
    assert image.config.raw["odd"] == {"kept": True}
    assert image.config.diff_ids == diff_ids(home, image)
    assert image.id == hashlib.sha256(Images(home).exact(image)).hexdigest()
    told = entries(image, Layers(home).chain(image.layers[-1]))
    assert [entry.created_by for entry in told] == ["ADD 001-layer.tar /", "ADD 000-layer.tar /"]
    assert [entry.layer for entry in told] == list(reversed(image.layers))


def test_a_root_file_system_is_one_layer(home: Home, tmp_path: Path) -> None:
    (tmp_path / "rootfs" / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "rootfs" / "usr" / "bin" / "tool").write_text("#!")
    (tmp_path / "rootfs" / "bin").symlink_to("usr/bin")
    (tmp_path / "rootfs" / ".wh.file").write_text("an odd name")
    image = find(home, f"{tmp_path}/rootfs")
    assert len(image.layers) == 1
    assert text(home, image, "usr/bin/tool") == "#!"


def test_a_root_file_system_that_holds_the_store_is_refused(tmp_path: Path) -> None:
    home = fresh(tmp_path / "rootfs" / "var")
    (tmp_path / "rootfs" / "bin").mkdir()
    with pytest.raises(BadInput, match="own store"):
        find(home, f"{tmp_path}/rootfs")
    with pytest.raises(BadInput, match="own store"):
        find(home, "/")


def test_what_is_left_out_of_a_layer_is_told(home: Home, tmp_path: Path) -> None:
    directory = layers(tmp_path / "layers", "one")
    with tarfile.open(directory / "001-odd.tar", "w") as archive:
        whiteout = tarfile.TarInfo("etc/own0")
        whiteout.type = tarfile.CHRTYPE
        archive.addfile(whiteout)
    warnings: list[str] = []
    image = find(home, str(directory), warn=warnings.append)
    [warning] = warnings
    assert "001-odd.tar" in warning
    assert "device 0:0" in warning
    assert text(home, image, "etc/own0") == "one"


# other people's layouts


def test_an_oci_layout_and_a_docker_archive_of_one_image_are_one_image(
    home: Home, busybox_oci: Path, busybox_docker: Path, busybox_layers: Path
) -> None:
    image = find(home, f"{busybox_oci}/")
    before = contents(home)
    assert find(home, f"{busybox_docker}/").id == image.id
    assert {path for path in contents(home) if "/sources/" not in path} == {p for p in before if "/sources/" not in p}
    assert image.id == hashlib.sha256(Images(home).exact(image)).hexdigest()
    blob = busybox_oci / "blobs" / "sha256" / image.id
    assert Images(home).exact(image) == blob.read_bytes()
    directory = find(home, f"{busybox_layers}/")
    assert directory.layers == image.layers
    assert directory.config.env == image.config.env


def test_a_whole_userland_by_umoci_and_skopeo_is_the_same_three_layers(
    home: Home, ubuntu_layers: Path, ubuntu_oci: Path, ubuntu_docker: Path
) -> None:
    found = [find(home, f"{path}/") for path in (ubuntu_oci, ubuntu_docker, ubuntu_layers)]
    assert found[0].id == found[1].id
    assert found[0].layers == found[1].layers == found[2].layers
    assert len(found[0].layers) == 3
    assert "PRETTY_NAME" in (text(home, found[0], "usr/lib/os-release") or "")


def test_what_umoci_configures_is_read(home: Home, busybox_oci: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    shutil.copytree(busybox_oci, layout)
    index = json.loads((layout / "index.json").read_text())
    name = index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    umoci = ["umoci", "config", "--image", f"{layout}:{name}", "--tag", "other"]
    given = ["--config.user=7:8", "--config.env=A=b c", "--config.cmd=one", "--config.cmd=two", "--config.label=l=v"]
    subprocess.run([*umoci, *given, "--config.workingdir=/w", "--config.stopsignal=SIGINT"], check=True)
    with pytest.raises(BadInput, match="2 images"):
        find(home, f"{layout}/")
    subprocess.run(["umoci", "rm", "--image", f"{layout}:{name}"], check=True)
    config = find(home, f"{layout}/").config
    assert (config.user, config.cmd, config.labels["l"]) == ("7:8", ["one", "two"], "v")
    assert (config.working_dir, config.stop_signal) == ("/w", "SIGINT")
    assert "A=b c" in config.env


def test_a_layer_that_is_not_what_its_digest_says_is_refused_and_leaves_nothing(
    home: Home, busybox_oci: Path, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    shutil.copytree(busybox_oci, layout)
    manifest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"][7:]
    blobs = layout / "blobs" / "sha256"
    top = blobs / json.loads((blobs / manifest).read_text())["layers"][-1]["digest"][7:]
    data = top.read_bytes()
    before = contents(home)
    # another gzip of the same tar: only the blob's own digest tells
    plain = subprocess.run(["gzip", "--decompress", "--stdout"], input=data, capture_output=True, check=True).stdout
    again = subprocess.run(["gzip", "-1", "--stdout"], input=plain, capture_output=True, check=True).stdout
    assert again != data
    for damaged in (again, data[:-20], data[: len(data) // 2], b""):
        top.write_bytes(damaged)
        with pytest.raises(BadLayer) as refusal:
            find(home, f"{layout}/")
        assert top.name in str(refusal.value)
        assert contents(home) == before


# archives of a root file system


def test_a_tar_becomes_an_image_with_changes_a_comment_and_a_name(home: Home, tmp_path: Path) -> None:
    archive = tar(tmp_path / "root.tar", {"bin/": None, "bin/sh": "x"})
    wanted = source.Wanted(['CMD ["sh"]', "ENV A=b"], "from a tar", [parse("demo:1")])
    image = source.load(home, str(archive), wanted)
    assert find(home, "demo:1").record() == image.record()
    assert (image.config.cmd, image.config.env) == (["sh"], ["A=b"])
    [step] = entries(image, Layers(home).chain(image.layers[0]))
    assert (step.comment, step.created_by) == ("from a tar", "ADD root.tar /")
    assert source.load(home, str(archive)).layers == image.layers
    with archive.open("rb") as stream:
        assert source.load_stream(home, stream.fileno()).layers == image.layers


def test_a_bad_change_is_refused_before_anything_is_unpacked(home: Home, tmp_path: Path) -> None:
    archive = tar(tmp_path / "root.tar", {"bin/": None})
    before = contents(home)
    with pytest.raises(BadInput, match="NONSENSE"):
        source.load(home, str(archive), source.Wanted(["NONSENSE x"]))
    assert contents(home) == before


# what the argument of run means


def test_a_stored_name_wins_over_a_directory_unless_a_path_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stored = source.load(home, str(layers(tmp_path / "elsewhere", "stored")), source.Wanted(tags=[parse("demo")]))
    directory = find(home, str(layers(tmp_path / "demo", "directory")))
    assert find(home, "demo").id == stored.id
    for path in ("./demo", "demo/", str(tmp_path / "demo"), "../" + tmp_path.name + "/demo"):
        assert find(home, path).id == directory.id
    (tmp_path / "Upper_Case").symlink_to("demo")
    assert find(home, "Upper_Case").layers == directory.layers


def test_what_is_neither_stored_nor_a_directory_is_refused_with_what_to_do(home: Home, tmp_path: Path) -> None:
    before = contents(home)
    for missing in ("nowhere", str(tmp_path / "nowhere"), "./nowhere"):
        with pytest.raises(NotFound, match="`minirun pull NAME` fetches one"):
            find(home, missing)
    with pytest.raises(BadInput, match="lower case"):
        find(home, "UPPER")
    (tmp_path / "file.tar").touch()
    with pytest.raises(BadInput, match="minirun import"):
        find(home, str(tmp_path / "file.tar"))
    for odd in ("a%2Fb", "x" * 300, "x\0y", "é", "\udcff", "/x\0y"):
        with pytest.raises((BadInput, NotFound)):
            find(home, odd)
    assert contents(home) == before


# bad input


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("001-bad.tar", b"no tar at all" * 100),
        ("001-bad.tar.gz", b"BZh91AY&SY" + bytes(100)),
        ("001-bad.tar.zst", b"\x7fELF" + bytes(1000)),
        ("001-bad.tar.gz", b"\x1f\x8b\x08" + bytes(20)),
        ("001-bad.tar.bz2", b""),
        ("001-bad.zip", b""),
    ],
)
def test_a_bad_layer_leaves_the_store_as_it_was(home: Home, tmp_path: Path, name: str, data: bytes) -> None:
    other = find(home, str(layers(tmp_path / "other", "kept")))
    before = contents(home)
    directory = layers(tmp_path / "layers", "kept", "new")
    (directory / "002-more.tar").write_bytes((directory / "001-layer.tar").read_bytes())
    (directory / "001-layer.tar").rename(directory / "000-second.tar")
    (directory / name).write_bytes(data)
    with pytest.raises(BadLayer) as refusal:
        find(home, str(directory))
    assert name in str(refusal.value)
    assert contents(home) == before
    assert text(home, other, "etc/same") == "kept"


@pytest.mark.parametrize("cut", [1, 511, 512, 513, 1024])
def test_a_truncated_layer_leaves_the_store_as_it_was(home: Home, tmp_path: Path, cut: int) -> None:
    directory = layers(tmp_path / "layers", "one", "x" * 5000)
    before = contents(home)
    os.truncate(directory / "001-layer.tar", 512 + cut)
    with pytest.raises(BadLayer, match="001-layer"):
        find(home, str(directory))
    assert contents(home) == before


def test_a_layer_that_is_a_fifo_is_refused_and_not_waited_for(home: Home, tmp_path: Path) -> None:
    directory = layers(tmp_path / "layers", "one")
    os.mkfifo(directory / "001-fifo.tar")
    with pytest.raises(BadLayer, match="not a regular file"):
        find(home, str(directory))
    assert Layers(home).list() == []


# that a layer lacks what it needs from below is seen when those below are stored
WITHOUT_TARGET = tars.tar(tars.hardlink(b"link", b"missing"))


def test_layers_that_another_reader_may_have_begun_to_use_stay(home: Home, tmp_path: Path) -> None:
    directory = layers(tmp_path / "layers", "one")
    (directory / "001-bad.tar").write_bytes(WITHOUT_TARGET)
    reader = files.lock(home.lock, exclusive=False)
    with pytest.raises(BadLayer):
        find(home, str(directory))
    os.close(reader)
    assert len(Layers(home).list()) == 1


def test_the_callers_lock_does_not_keep_bad_layers(home: Home, tmp_path: Path) -> None:
    directory = layers(tmp_path / "layers", "one")
    (directory / "001-bad.tar").write_bytes(WITHOUT_TARGET)
    lock = files.lock(home.lock, exclusive=False)
    with pytest.raises(BadLayer):
        find(home, str(directory), lock=lock)
    os.close(lock)
    assert Layers(home).list() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_told_and_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    home = fresh(small_disk)
    before = contents(home)
    directory = layers(tmp_path / "layers", "x" * 300_000, "y" * 2_000_000)
    with pytest.raises(MinirunError, match="ENOSPC") as refusal:
        find(home, str(directory))
    assert "minirun gc" in refusal.value.remedy
    assert contents(home) == before
    (directory / "001-layer.tar").unlink()
    assert text(home, find(home, str(directory)), "etc/own0") == "x" * 300_000


# the layer of mount points


def test_mount_points_that_are_missing_are_made_and_nothing_else_differs(home: Home, tmp_path: Path) -> None:
    root = tmp_path / "rootfs"
    (root / "bin").mkdir(parents=True)
    (root / "etc").mkdir(mode=0o711)
    (root / "etc" / "hosts").write_text("the image's own")
    (root / "sys").mkdir(mode=0o555)
    os.chown(root / "etc", 5, 6)
    os.setxattr(root / "etc", "user.note", b"kept")
    os.utime(root / "etc", ns=(1, 987654321))
    root.chmod(0o750)
    os.utime(root, ns=(1, 123456789))
    image = find(home, str(root))
    assert image.mounts == image.stack[-1]
    merged = image.paths(home)
    for path in ("proc", "sys", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf"):
        assert stack.find(merged, path) is not None
    assert text(home, image, "etc/hosts") == "the image's own"
    found = stack.find(merged, "etc")
    assert found is not None
    assert (found.stat.st_mode & 0o7777, found.stat.st_uid, found.stat.st_gid) == (0o711, 5, 6)
    assert found.stat.st_mtime_ns == 987654321
    assert os.getxattr(found.path, "user.note") == b"kept"
    top = Path(merged[-1]).stat()
    assert (top.st_mode & 0o7777, top.st_mtime_ns) == (0o750, 123456789)


def test_the_kernel_sees_the_root_as_the_layer_that_tells_of_it(home: Home, tmp_path: Path) -> None:
    directory = tmp_path / "layers"
    (directory / "00-base" / "bin").mkdir(parents=True)
    (directory / "00-base").chmod(0o711)
    tar(directory / "01-more.tar", {"etc/": None})
    image = find(home, str(directory))
    target = tmp_path / "mounted"
    target.mkdir()
    lower = ":".join(reversed(image.paths(home)))
    subprocess.run(["mount", "-t", "overlay", "-o", f"ro,lowerdir={lower}", "overlay", target], check=True)
    try:
        assert target.stat().st_mode & 0o7777 == 0o711
        assert sorted(os.listdir(target)) == ["bin", "dev", "etc", "proc", "sys"]
    finally:
        subprocess.run(["umount", target], check=True)


def test_an_image_that_lacks_no_mount_point_gets_no_layer_more(home: Home, tmp_path: Path) -> None:
    root = tmp_path / "rootfs"
    for name in ("bin", "proc", "sys", "dev", "etc"):
        (root / name).mkdir(parents=True)
    for name in ("hosts", "hostname"):
        (root / "etc" / name).touch()
    (root / "etc" / "resolv.conf").symlink_to("/run/resolv.conf")
    image = find(home, str(root))
    assert (image.mounts, len(image.stack)) == ("", 1)


def test_an_etc_that_is_a_link_is_left_alone(home: Home, tmp_path: Path) -> None:
    (tmp_path / "rootfs" / "bin").mkdir(parents=True)
    (tmp_path / "rootfs" / "etc").symlink_to("/elsewhere")
    image = find(home, str(tmp_path / "rootfs"))
    assert sorted(os.listdir(image.paths(home)[-1])) == ["dev", "proc", "sys"]


# many at once, and killed


LOAD = """
import sys
from minirun import journal
from minirun.home import Home
from minirun.image.find import find
home = Home(sys.argv[1], sys.argv[2])
home.create()
journal.recover(home)
print(find(home, sys.argv[3]).id)
"""


def load_elsewhere(home: Home, directory: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOAD, home.root, home.runtime, str(directory)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_that_load_the_same_directory_at_once_get_the_same_image(home: Home, tmp_path: Path) -> None:
    directory = layers(tmp_path / "layers", *map(str, range(10)))
    processes = [load_elsewhere(home, directory) for _ in range(6)]
    told = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 6
    [image_id] = told
    assert text(home, Images(home).get(image_id), "etc/same") == "9"
    alone = fresh(tmp_path / "alone")
    find(alone, str(directory))
    for folder in ("diffs", "layers", "images", "marks", "tmp"):
        assert sorted(os.listdir(home.folder(folder))) == sorted(os.listdir(alone.folder(folder)))


def test_a_load_that_is_killed_is_cleaned_up_by_the_next_command(home: Home, tmp_path: Path) -> None:
    directory = layers(tmp_path / "layers", *map(str, range(40)))
    whole = time.monotonic()
    process = load_elsewhere(fresh(tmp_path / "other"), directory)
    assert process.wait() == 0
    whole = time.monotonic() - whole
    assert process.stdout is not None
    process.stdout.close()
    kills = 0
    for step in range(15):
        process = load_elsewhere(home, directory)
        assert process.stdout is not None
        time.sleep(whole * (step + 1) / 16)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() != 0
        process.stdout.close()
        journal.recover(home)
        assert os.listdir(home.folder("marks")) == os.listdir(home.folder("tmp")) == []
        for image, _ in Images(home).list():
            assert all(Path(path).is_dir() for path in image.paths(home))
            Images(home).remove(image.id)
        # with an image that was whole its layers went, and what came of no image was written down before it was done
        assert os.listdir(home.folder("layers")) == os.listdir(home.folder("diffs")) == []
        assert os.listdir(home.folder("blobs")) == []
    assert kills
    assert text(home, find(home, str(directory)), "etc/same") == "39"
