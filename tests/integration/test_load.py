"""`load` stores what other people's tools saved, in every form; what is damaged leaves nothing behind."""

from __future__ import annotations

import json
import lzma
import os
import pty
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from gzip import compress as gzip
from pathlib import Path

import pytest
import zstandard

from minirun.home import Home
from minirun.image.store import Images
from tests import busybox, inject, tars
from tests.archives import Saved, archive, digest, save, save_legacy, save_today
from tests.command import Minirun
from tests.scene import Case, Scene, Stage
from tests.screen import on_terminal, until_closed

CHECKOUT = Path(__file__).resolve().parents[2]
BASE = tars.tar(tars.directory(b"bin/"), tars.file(b"bin/one", b"1" * 3000), tars.file(b"kept", b"kept"))
TOP = tars.tar(tars.file(b"bin/.wh.one"), tars.file(b"bin/two", b"2"))
EMPTY = tars.tar()
ONE = Saved(["one:1"], [BASE], {"config": {"Cmd": ["/bin/one"]}})
TWO = Saved(["two:1", "two:latest"], [BASE, TOP], {"config": {"Env": ["A=b"]}})
NAMELESS = Saved([], [BASE, EMPTY, TOP, EMPTY], {"author": "nobody"})
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": lambda data: gzip(data, 1),
    "zstd": lambda data: zstandard.compress(data, 1),
    "xz": lambda data: lzma.compress(data, preset=0),
}


def images(minirun: Minirun) -> dict[str, str]:
    """The names in a store with the ids that they lead to; an image without a name by its id."""
    lines = minirun("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", check=True).stdout
    found = {}
    for line in lines.splitlines():
        name, _, image_id = line.rpartition(" ")
        found[image_id if name.startswith("<none>") else name] = image_id
    return found


def settled(minirun: Minirun) -> dict[str, tuple[object, ...]]:
    """What is in a store after a command that cleans up; nothing half-made is."""
    minirun("ps", check=True)
    assert list((minirun.root / "marks").iterdir()) == []
    assert list((minirun.root / "tmp").iterdir()) == []
    return {path: what for path, what in busybox.contents(minirun.root).items() if path != "lock"}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def refused(minirun: Minirun, *arguments: str | Path, said: str) -> None:
    """Load what cannot be, and see that nothing came of it."""
    before = settled(minirun)
    result = minirun("load", *arguments)
    assert result.returncode == 125, result.stdout
    assert result.stderr.startswith("minirun: cannot ")
    assert "\n  " in result.stderr or "cannot unpack" in result.stderr, "there is no remedy"
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert settled(minirun) == before


# other people's tools


@pytest.fixture(scope="module")
def podman(podmans: Path, busybox_docker_tar: Path) -> Sequence[str]:
    """The words that begin a command of podman's, whose store has busybox under two names."""
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    words = [
        "podman", "--root", str(podmans / "root"), "--runroot", str(podmans / "run"), "--storage-driver", "vfs",
        "--cgroup-manager", "cgroupfs", "--events-backend", "none",
    ]  # fmt: skip
    run([*words, "load", "-q", "-i", busybox_docker_tar])
    run([*words, "tag", "docker.io/library/busybox:latest", "quay.io/team/box:1.2"])
    return words


def run(words: Sequence[str | Path]) -> str:
    done = subprocess.run(list(map(str, words)), check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout


@pytest.fixture
def expected(minirun: Minirun, busybox_layers: Path, tmp_path: Path) -> dict[str, str]:
    """The root file system of busybox: what `image diff` compares others with; and the ids of its layers."""
    minirun("import", busybox_layers, "expected", check=True)
    return {"layers": layers(minirun, "expected")}


def layers(minirun: Minirun, name: str) -> str:
    return minirun("inspect", "-f", "{{json .RootFS.Layers}}", name, check=True).stdout


def check_busybox(minirun: Minirun, name: str, expected: dict[str, str]) -> None:
    assert layers(minirun, name) == expected["layers"]
    assert minirun("image", "diff", "expected", name, check=True).stdout == ""
    assert minirun("run", "--rm", name, "echo", "runs", check=True).stdout == "runs\n"


def test_what_skopeo_saved_is_loaded(
    minirun: Minirun, busybox_docker_tar: Path, busybox_oci: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    assert minirun("load", "-i", busybox_docker_tar, check=True).stdout == "Loaded image: busybox:latest\n"
    check_busybox(minirun, "busybox", expected)
    run(["skopeo", "copy", f"oci:{busybox_oci}", f"oci-archive:{tmp_path}/x.tar:localhost:5000/box:3"])
    result = minirun("load", "--input", tmp_path / "x.tar", check=True)
    assert result.stdout == "Loaded image: localhost:5000/box:3\n"
    assert result.stderr == ""
    check_busybox(minirun, "localhost:5000/box:3", expected)
    found = images(minirun)
    assert found["busybox:latest"] == found["localhost:5000/box:3"]


def test_what_podman_saved_is_loaded(
    minirun: Minirun, podman: Sequence[str], tmp_path: Path, expected: dict[str, str]
) -> None:
    both = ["docker.io/library/busybox:latest", "quay.io/team/box:1.2"]
    run([*podman, "save", "-q", "-m", "--format", "docker-archive", "-o", tmp_path / "docker.tar", *both])
    told = minirun("load", "-i", tmp_path / "docker.tar", check=True).stdout
    assert sorted(told.splitlines()) == ["Loaded image: busybox:latest", "Loaded image: quay.io/team/box:1.2"]
    check_busybox(minirun, "quay.io/team/box:1.2", expected)
    for form in ("oci-archive", "oci-dir"):
        run([*podman, "save", "-q", "--format", form, "-o", tmp_path / form, both[1]])
    told = minirun("load", "-i", tmp_path / "oci-archive", check=True).stdout
    assert told.splitlines()[-1] == "Loaded image: quay.io/team/box:1.2"
    check_busybox(minirun, "quay.io/team/box:1.2", expected)
    ours = images(minirun)["quay.io/team/box:1.2"]
    assert minirun("load", "-i", tmp_path / "oci-dir", check=True).stdout == "Loaded image: quay.io/team/box:1.2\n"
    assert images(minirun)["quay.io/team/box:1.2"] == ours
    # the digest of the manifest that it came with is the image's
    index = json.loads((tmp_path / "oci-dir/index.json").read_text())
    image = Images(Home(str(minirun.root), str(minirun.runtime))).get("quay.io/team/box:1.2")
    assert image.digest == index["manifests"][0]["digest"]


def test_what_umoci_wrote_is_loaded_from_its_directory_and_from_a_tar_of_it(
    minirun: Minirun, busybox_oci: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    told = minirun("load", "-i", busybox_oci, check=True).stdout
    assert told.startswith("Loaded image ID: sha256:")
    image_id = told.split(":")[-1].strip()
    check_busybox(minirun, image_id, expected)
    run(["tar", "-C", busybox_oci, "-cf", tmp_path / "x.tar", "."])
    assert minirun("load", "-i", tmp_path / "x.tar", check=True).stdout == told


def test_an_unpacked_archive_is_loaded(minirun: Minirun, busybox_docker: Path, expected: dict[str, str]) -> None:
    assert minirun("image", "load", "-i", busybox_docker, check=True).stdout == "Loaded image: busybox:latest\n"
    check_busybox(minirun, "busybox", expected)


def test_what_skopeo_calls_dir_is_loaded_and_run_with_its_digest(
    minirun: Minirun, busybox_oci: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    run(["skopeo", "copy", f"oci:{busybox_oci}", f"dir:{tmp_path}/x"])
    told = minirun("load", "-i", tmp_path / "x", check=True).stdout
    image_id = told.removeprefix("Loaded image ID: sha256:").strip()
    check_busybox(minirun, image_id, expected)
    image = Images(Home(str(minirun.root), str(minirun.runtime))).get(image_id)
    assert image.digest == "sha256:" + digest((tmp_path / "x/manifest.json").read_bytes())
    assert minirun("run", "--rm", tmp_path / "x", "echo", "runs", check=True).stdout == "runs\n"
    run(["tar", "-C", tmp_path / "x", "-cf", tmp_path / "x.tar", "."])
    assert minirun("load", "-i", tmp_path / "x.tar", check=True).stdout == told
    blob = max((tmp_path / "x").iterdir(), key=lambda path: path.stat().st_size)
    blob.write_bytes(blob.read_bytes() + b"!")
    minirun("rmi", image_id, "expected", check=True)
    refused(minirun, "-i", tmp_path / "x", said="digest")


# every form, by hand


@pytest.mark.parametrize("form", [save, save_today, save_legacy], ids=lambda form: form.__name__)
def test_several_images_of_an_archive_are_loaded_with_their_names(
    minirun: Minirun, tmp_path: Path, form: Callable[..., bytes]
) -> None:
    path = write(tmp_path / "x", form(ONE, TWO, NAMELESS) if form is not save_legacy else form(ONE, TWO))
    told = minirun("load", "-i", path, check=True).stdout.splitlines()
    assert told[:3] == ["Loaded image: one:1", "Loaded image: two:1", "Loaded image: two:latest"]
    found = images(minirun)
    assert found["two:1"] == found["two:latest"] != found["one:1"]
    assert minirun("image", "diff", "one:1", "two:1", check=True).stdout == "C /bin\nD /bin/one  3kB\nA /bin/two  1B\n"
    assert minirun("inspect", "-f", "{{json .Config.Cmd}}", "one:1", check=True).stdout == '["/bin/one"]\n'
    if form is not save_legacy:
        assert found["one:1"] == "sha256:" + digest(ONE.document())
        assert found["two:1"] == "sha256:" + digest(TWO.document())
        assert told[3:] == ["Loaded image ID: sha256:" + digest(NAMELESS.document())]
        assert len(json.loads(layers(minirun, digest(NAMELESS.document())))) == 4


def test_an_image_of_the_first_dockers_says_how_it_came_to_be_and_has_one_id(minirun: Minirun, tmp_path: Path) -> None:
    path = write(tmp_path / "x", save_legacy(TWO))
    minirun("load", "-i", path, check=True)
    told = minirun("history", "--format", "{{.CreatedBy}}", "two:1", check=True).stdout
    assert told == "/bin/sh -c make 1\n/bin/sh -c make 0\n"
    before = images(minirun)
    minirun("rmi", "two:1", "two:latest", check=True)
    write(path, save_legacy(Saved([], TWO.layers, TWO.config)))
    assert minirun("load", "-i", path, check=True).stdout == f"Loaded image ID: {before['two:1']}\n"


def test_an_archive_of_skopeo_is_one_of_the_first_dockers_too(
    minirun: Minirun, busybox_docker: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    shutil.copytree(busybox_docker, tmp_path / "x", symlinks=True)
    (tmp_path / "x/manifest.json").unlink()
    run(["tar", "-C", tmp_path / "x", "-cf", tmp_path / "x.tar", "."])
    assert minirun("load", "-i", tmp_path / "x.tar", check=True).stdout == "Loaded image: busybox:latest\n"
    check_busybox(minirun, "busybox", expected)


def test_a_tar_of_a_directory_of_layers_is_loaded(minirun: Minirun, busybox_layers: Path, tmp_path: Path) -> None:
    image_id = minirun("import", busybox_layers, "busybox", check=True).stdout
    run(["tar", "-C", busybox_layers, "-cf", tmp_path / "x.tar", "."])
    told = minirun("load", "-i", tmp_path / "x.tar", check=True).stdout
    assert told.startswith("Loaded image ID: sha256:")
    assert layers(minirun, told.split(":")[-1].strip()) == layers(minirun, image_id.strip())


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_archive_comes_from_a_file_a_pipe_or_a_fifo_compressed_or_not(
    minirun: Minirun, tmp_path: Path, compression: str
) -> None:
    data = COMPRESSIONS[compression](save(ONE))
    path = write(tmp_path / "no-name-that-says-so", data)
    told = "Loaded image: one:1\n"
    assert minirun("load", "-i", path, check=True).stdout == told
    after = settled(minirun)
    os.mkfifo(tmp_path / "fifo")
    threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(data,)).start()
    assert minirun("load", "-i", tmp_path / "fifo", check=True).stdout == told
    with path.open("rb") as file:
        assert subprocess.run(
            minirun.command(["load"]), env=minirun.environment(), stdin=file, capture_output=True, check=True
        ).stdout == told.encode()  # fmt: skip
    assert subprocess.run(
        minirun.command(["load", "-q"]), env=minirun.environment(), input=data, capture_output=True, check=True
    ).stdout == told.encode()  # fmt: skip
    assert settled(minirun) == after


def test_whoever_writes_to_a_pipe_is_not_cut_off(minirun: Minirun, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    run(["tar", "-C", tmp_path / "x", "-xf", write(tmp_path / "x.tar", save(ONE))])
    # tar fills up what it writes, here to a mebibyte; pipefail tells what becomes of it
    command = f"set -o pipefail; tar -C {tmp_path}/x -b 2048 -cf - . | {minirun.command(['load'])[0]} load"
    result = subprocess.run(
        ["bash", "-c", command], env=minirun.environment(), capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, "Loaded image: one:1\n")


# names and platforms


def test_a_name_that_another_image_has_moves_and_says_so(minirun: Minirun, tmp_path: Path) -> None:
    one = write(tmp_path / "one", save(ONE))
    other = write(tmp_path / "other", save(Saved(["one:1"], [TOP], {})))
    minirun("load", "-i", one, check=True)
    old = images(minirun)["one:1"]
    told = minirun("load", "-i", other, check=True).stdout
    assert told == (
        f"The image one:1 already exists, renaming the old one with ID {old} to empty string\nLoaded image: one:1\n"
    )
    found = images(minirun)
    assert found["one:1"] != old
    assert found[old] == old
    assert minirun("load", "-i", other, check=True).stdout == "Loaded image: one:1\n"


def test_of_an_image_for_several_platforms_the_wanted_one_is_loaded(minirun: Minirun, tmp_path: Path) -> None:
    run(["umoci", "init", "--layout", tmp_path / "x"])
    for name in ("amd64", "s390x"):
        run(["umoci", "new", "--image", f"{tmp_path}/x:{name}"])
        run(["umoci", "config", "--image", f"{tmp_path}/x:{name}", "--architecture", name, "--author", name])
    path = tmp_path / "x/index.json"
    index = json.loads(path.read_text())
    for entry in index["manifests"]:
        name = entry["annotations"]["org.opencontainers.image.ref.name"]
        entry["platform"] = {"os": "linux", "architecture": name}
        entry["annotations"]["org.opencontainers.image.ref.name"] = "many:1"
    path.write_text(json.dumps(index))

    def author(*arguments: str) -> str:
        assert minirun("load", "-i", tmp_path / "x", *arguments, check=True).stdout.endswith("Loaded image: many:1\n")
        return minirun("inspect", "-f", "{{.Author}}", "many:1", check=True).stdout.strip()

    assert author("--platform", "linux/s390x") == "s390x"
    assert author("--platform", "amd64") == "amd64"
    refused(minirun, "-i", tmp_path / "x", "--platform", "linux/riscv64", said="linux/amd64, linux/s390x")
    refused(minirun, "-i", tmp_path / "x", "--platform", "moon", said="no such platform")


# what is refused


def test_what_is_no_archive_of_images_is_refused(minirun: Minirun, tmp_path: Path) -> None:
    refused(minirun, "-i", tmp_path / "missing", said="ENOENT")
    refused(minirun, "-i", write(tmp_path / "empty", b""), said="it is empty")
    refused(minirun, "-i", write(tmp_path / "text", b"hello\n" * 100), said="it looks like text")
    refused(minirun, "-i", write(tmp_path / "zip", b"PK\3\4" + bytes(600)), said="zip")
    refused(minirun, "-i", write(tmp_path / "none", tars.tar(tars.file(b"x", b"x"))), said="it holds no image")
    refused(minirun, "-i", write(tmp_path / "root.tar", BASE), said=f"minirun import {tmp_path}/root.tar NAME")
    refused(minirun, "-i", tmp_path, said="it holds no image")
    refused(minirun, said="it is empty")


def test_an_archive_of_images_is_not_imported_as_a_root_file_system(
    minirun: Minirun, tmp_path: Path, busybox_docker_tar: Path, busybox_oci: Path
) -> None:
    run(["tar", "-C", busybox_oci, "-cf", tmp_path / "oci.tar", "."])
    piped = minirun.command(["import", "-"])
    paths = [busybox_docker_tar, tmp_path / "oci.tar"]
    paths += [write(tmp_path / form.__name__, form(ONE)) for form in (save, save_legacy, save_today)]
    before = settled(minirun)
    for path in paths:
        for data in (path.read_bytes(), gzip(path.read_bytes(), 1)):
            (tmp_path / "x").write_bytes(data)
            result = minirun("import", tmp_path / "x", "name")
            assert result.returncode == 125
            assert f"minirun load -i {tmp_path}/x" in result.stderr
            done = subprocess.run(piped, env=minirun.environment(), input=data, capture_output=True, check=False)
            assert done.returncode == 125
            assert b"| minirun load" in done.stderr
        result = minirun("run", path, "true")
        assert result.returncode == 125
        assert "minirun load -i" in result.stderr
    assert settled(minirun) == before
    # what is a root file system stays one, whatever else it has
    odd = tars.tar(tars.file(b"manifest.json", b"[]"), tars.file(b"index.json", b"{}"), tars.file(b"bin/sh"))
    for data in (BASE, odd):
        minirun("import", write(tmp_path / "x", data), check=True)


def test_a_terminal_is_not_waited_for(minirun: Minirun) -> None:
    seen = on_terminal(minirun, "load", columns=120, colours=False)
    assert "it is a terminal" in seen
    assert "minirun load -i FILE" in seen


@pytest.mark.parametrize("form", [save, save_today], ids=lambda form: form.__name__)
def test_a_damaged_layer_leaves_the_images_before_it_and_nothing_of_its_own(
    minirun: Minirun, tmp_path: Path, form: Callable[..., bytes]
) -> None:
    minirun("load", "-i", write(tmp_path / "one", form(ONE)), check=True)
    before = settled(minirun)
    minirun("rmi", "one:1", check=True)
    data = form(ONE, Saved(["bad:1"], [BASE, TOP], {}), TWO)
    damaged = data.replace(TOP, TOP[:700] + b"!" + TOP[701:])
    assert damaged != data
    result = minirun("load", "-i", write(tmp_path / "x", damaged))
    assert result.returncode == 125
    assert result.stdout == "Loaded image: one:1\n"
    assert "digest" in result.stderr or "checksum" in result.stderr
    assert images(minirun).keys() == {"one:1"}
    assert settled(minirun).keys() == before.keys()


def hostile() -> dict[str, bytes]:
    """Archives that mean harm, each with its name."""
    config = ONE.document()
    good = {"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l"]}

    def saved(**changes: object) -> bytes:
        files = {"manifest.json": json.dumps([{**good, **changes}]).encode(), "c.json": config, "l": BASE}
        return archive(files)

    deep: object = None
    for _ in range(90):
        deep = [deep]
    loop = {"id": "a" * 64, "parent": "a" * 64}
    manifest = json.dumps([good]).encode()
    largest = b"\x80\0\0\0\x7f" + b"\xff" * 7
    return {
        "a layer outside": saved(Layers=["../.."]),
        "a layer that is absolute": saved(Layers=["/etc/passwd"]),
        "a layer that is a directory": archive({"manifest.json": manifest, "c.json": config, "l/x": b""}),
        "a layer that is missing": saved(Layers=["nowhere"]),
        "a config outside": saved(Config="../../etc/passwd"),
        "a config that is no config": saved(Config="l"),
        "a name that is none": saved(RepoTags=["../../x:1"]),
        "a name with a digest": saved(RepoTags=["x@sha256:" + "a" * 64]),
        "layers by the thousand": saved(Layers=["l"] * 1000),
        "layers that are twice there": saved(Layers=["l", "l"]),
        "layers nested": saved(Layers=deep),
        "images by the million": archive({"manifest.json": b"[" + b"{}," * 200_000 + b"{}]"}),
        "a manifest that is none": archive({"manifest.json": b"{}"}),
        "an old layer that is its own parent": archive(
            {"repositories": b'{"x": {"1": "%s"}}' % (b"a" * 64), "a" * 64 + "/json": json.dumps(loop).encode()}
        ),
        "an old id that is none": archive({"repositories": b'{"x": {"1": "../../.."}}'}),
        "a link out of the archive": tars.tar(
            tars.file(b"manifest.json", manifest), tars.file(b"c.json", config),
            tars.symlink(b"l", b"../../../../etc/passwd"),
        ),
        "a link to the host": tars.tar(
            tars.file(b"manifest.json", manifest), tars.file(b"c.json", config),
            tars.symlink(b"l", b"/etc/passwd"),
        ),
        "links in a circle": tars.tar(
            tars.file(b"manifest.json", manifest), tars.file(b"c.json", config),
            tars.symlink(b"l", b"m"), tars.hardlink(b"m", b"l"),
        ),
        "a device": tars.tar(
            tars.file(b"manifest.json", manifest), tars.file(b"c.json", config),
            tars.device(b"l", 1, 5),
        ),
        "a size of 8 EiB": tars.header(b"manifest.json", size=largest) + bytes(1024),
    }  # fmt: skip


@pytest.mark.parametrize("name", hostile())
def test_an_archive_that_means_harm_is_refused_and_nothing_comes_of_it(
    minirun: Minirun, tmp_path: Path, name: str
) -> None:
    refused(minirun, "-i", write(tmp_path / "x", hostile()[name]), said="")
    refused(minirun, "-i", write(tmp_path / "x", gzip(hostile()[name], 1)), said="")


@pytest.mark.parametrize("form", [save, save_today, save_legacy], ids=lambda form: form.__name__)
def test_an_archive_that_is_cut_is_refused_wherever_it_is(
    minirun: Minirun, tmp_path: Path, form: Callable[..., bytes]
) -> None:
    data = form(TWO)
    path = tmp_path / "x"
    # the last member's data, which are not its padding, end before the zeros at the end
    end = len(data.rstrip(b"\0"))
    for length in range(1, end, end // 9):
        refused(minirun, "-i", write(path, data[:length]), said="")
    packed = gzip(data, 1)
    for length in (1, 10, len(packed) // 2, len(packed) - 9, len(packed) - 1):
        refused(minirun, "-i", write(path, packed[:length]), said="")
    minirun("load", "-i", write(path, data), check=True)


# bounds


def measured(minirun: Minirun, path: Path) -> tuple[str, float, float]:
    """Load in a process of its own; returns how it ended, its peak in MB and how long it took in seconds."""
    code = """
        import sys, time
        from minirun.errors import MinirunError
        from minirun.engine.loading import load
        begin = time.monotonic()
        try:
            print(len(list(load(sys.argv[1]))), end=" ")
        except MinirunError:
            print("refused", end=" ")
        # not ru_maxrss, which begins with what the process had before exec(2)
        peak_kb = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
        print(int(peak_kb) / 1024, time.monotonic() - begin)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), path],
        env=minirun.environment(), check=True, cwd=CHECKOUT, capture_output=True, text=True,
    )  # fmt: skip
    end, peak, seconds = done.stdout.split()
    return end, float(peak), float(seconds)


def bombs(place: Path) -> Iterator[tuple[str, Path]]:
    """Archives that promise more than anybody has room for."""
    path = place / "manifest"
    with path.open("wb") as file:
        file.write(tars.header(b"manifest.json", size=1 << 30))
        file.truncate((1 << 30) + 2048)
    yield "a manifest of a gibibyte", path
    yield "ten million values", write(place / "values", archive({"manifest.json": b"[" + b"[]," * 1_300_000 + b"[]]"}))
    names = (tars.file(b"%d/" % number + b"n" * 80) for number in range(120_000))
    yield "members by the hundred thousand", write(place / "members", tars.tar(*names))
    yield "nothing, compressed", write(place / "zeros", zstandard.compress(bytes(1 << 30), 1))
    kind = "application/vnd.oci.image.index.v1+json"
    index: dict[str, object] = {"schemaVersion": 2, "manifests": []}
    blobs: dict[str, bytes] = {}
    for _ in range(4):
        data = json.dumps(index).encode()
        blobs[f"blobs/sha256/{digest(data)}"] = data
        entry = {"mediaType": kind, "digest": f"sha256:{digest(data)}", "size": len(data)}
        index = {"schemaVersion": 2, "manifests": [entry] * 900}
    blobs |= {"index.json": json.dumps(index).encode(), "oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    yield "indexes that multiply", write(place / "indexes", archive(blobs))
    text = json.dumps(
        {"rootfs": {"diff_ids": []}, "config": {"Labels": {"x": "\U0001f600" + "x" * ((4 << 20) - 200)}}}
    ).encode()
    entries: list[object] = [{"Config": "c.json", "RepoTags": None, "Layers": []}] * 900
    files = {"c.json": text, "manifest.json": json.dumps(entries).encode()}
    yield "the same long config again and again", write(place / "configs", archive(files))


def test_a_bomb_is_refused_in_little_time_and_memory(minirun: Minirun, tmp_path: Path) -> None:
    before = settled(minirun)
    for name, path in bombs(tmp_path):
        end, peak_mb, seconds = measured(minirun, path)
        assert end == "refused", name
        assert peak_mb < 100, name
        assert seconds < 10, name
        path.unlink()
    assert settled(minirun) == before


def test_the_peak_of_memory_does_not_follow_the_size_of_an_archive(minirun: Minirun, tmp_path: Path) -> None:
    def big(megabytes: int) -> Path:
        layer = tars.tar(tars.file(b"zeros", bytes(megabytes << 20)))
        return write(tmp_path / "x", save(Saved(["x:1"], [layer], {})))

    _, small, _ = measured(minirun, big(1))
    minirun("rmi", "x:1", check=True)
    _, large, _ = measured(minirun, big(200))
    assert large < small + 40
    assert large < 100


def test_a_full_disk_gives_all_its_room_back(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
    try:
        minirun = Minirun(disk / "root", disk / "runtime")
        before = settled(minirun)
        noise = os.urandom(6 << 20)
        two = [tars.tar(tars.file(b"a", noise)), tars.tar(tars.file(b"b", noise[::-1]))]
        plain = save(Saved(["x:1"], two, {}))
        for data in (plain, COMPRESSIONS["zstd"](plain)):
            free = os.statvfs(disk).f_bavail
            result = minirun("load", "-i", write(tmp_path / "x", data))
            assert result.returncode == 125
            assert "ENOSPC" in result.stderr
            assert "minirun gc" in result.stderr
            assert settled(minirun) == before
            assert os.statvfs(disk).f_bavail == free
    finally:
        subprocess.run(["umount", disk], check=True)


# at the same time, and cut off


def test_the_same_archive_is_loaded_by_several_at_once(minirun: Minirun, tmp_path: Path) -> None:
    path = write(tmp_path / "x", save(ONE, TWO))
    minirun("ps", check=True)
    running = [minirun.start("load", "-i", path) for _ in range(6)]
    for process in running:
        with process:
            out, error = process.communicate(timeout=60)
            assert (process.returncode, error) == (0, b"")
            assert out.count(b"Loaded image: ") == 3
    assert images(minirun).keys() == {"one:1", "two:1", "two:latest"}
    once = Minirun(tmp_path / "other-root", tmp_path / "other-run")
    once("load", "-i", path, check=True)
    assert settled(minirun).keys() == settled(once).keys()


def test_an_interrupted_load_leaves_nothing(minirun: Minirun) -> None:
    before = settled(minirun)
    with minirun.start("load", stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(save(ONE)[:1500])
        process.stdin.flush()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        assert process.returncode == 130
        assert b"Traceback" not in error
    assert settled(minirun) == before


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, busybox_layers: Path) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"), busybox_layers)


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_killed_load_is_undone_or_finished_by_the_next_command(
    stage: Stage, tmp_path: Path, compression: str
) -> None:
    path = write(tmp_path / "x", COMPRESSIONS[compression](save_today(ONE)))
    scene = Scene(Case("load", ["load", "-i", str(path)], 10, ground="empty"), stage)
    found = scene.dry_pass()
    assert len(found) > 10
    wrong = []
    for point in inject.sample(found, scene.case.few):
        scene.reset()
        struck = scene.strike(point, inject.KILL)
        if struck.status not in (-9, 0):
            wrong.append(f"{point}\n    status {struck.status}: {struck.stderr}")
        if faults := scene.faults(struck.cgroups):
            wrong.append("\n    ".join([f"killed at {point}", *faults]))
    assert not wrong, f"{len(wrong)} of {len(found)}:\n" + "\n".join(wrong)


def test_a_load_that_is_killed_between_two_images_leaves_the_first_whole(stage: Stage, tmp_path: Path) -> None:
    path = write(tmp_path / "x", save(ONE, TWO))
    scene = Scene(Case("load", ["load", "-i", str(path)], 12, ground="empty"), stage)
    points = scene.dry_pass()
    seen = set()
    for point in inject.sample(points, scene.case.few):
        scene.reset()
        scene.strike(point, inject.KILL)
        minirun = scene.minirun
        minirun("ps", check=True)
        names = images(minirun).keys()
        seen.add(tuple(sorted(names)))
        for image in names:
            assert layers(minirun, image).count("sha256:") == (1 if image == "one:1" else 2)
        assert minirun("system", "check").returncode == 0, point
    assert seen >= {(), ("one:1",)}
    assert seen <= {(), ("one:1",), ("one:1", "two:1", "two:latest")}


def test_bars_are_shown_on_a_terminal_and_not_with_quiet(
    minirun: Minirun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x", save(ONE))
    assert "one:1" in on_terminal(minirun, "load", "-i", str(path), columns=120, colours=False)
    master, slave = pty.openpty()
    environment = minirun.environment()
    with subprocess.Popen(
        minirun.command(["load", "-q", "-i", str(path)]), env=environment, stdout=slave, stderr=slave, stdin=slave
    ):
        os.close(slave)
        assert until_closed(master) == b"Loaded image: one:1\r\n"
    os.close(master)
