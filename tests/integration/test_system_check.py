"""`system check` finds whatever is wrong with a store, changes nothing unless it is told to, and mends what it can."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from minirun.engine import check, saving
from minirun.home import Home
from minirun.image import lookup
from minirun.kernel import files
from tests import stored
from tests.command import Minirun
from tests.running import running
from tests.small import ground, litter, small_layers

Damages = Callable[[Path], object]


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, busybox_layers: Path, busybox_oci: Path) -> Path:
    """A store with all that tests/small.py has, and an image that has its configuration byte for byte; to be copied."""
    home = tmp_path_factory.mktemp("pristine")
    minirun = Minirun(home / "root", home / "runtime")
    ground(minirun, small_layers(home / "layers", busybox_layers))
    minirun("import", busybox_oci, "foreign", check=True)
    return home / "root"


@pytest.fixture
def stocked(minirun: Minirun, pristine: Path) -> Minirun:
    """The command, with such a store."""
    subprocess.run(["cp", "--archive", "--reflink=auto", pristine, minirun.root], check=True)
    return minirun


def found(minirun: Minirun, *flags: str) -> tuple[int, list[dict[str, str]]]:
    """The exit code and the rows of `system check`."""
    result = minirun("system", "check", *flags, "--format", "json")
    assert result.stderr == ""
    return result.returncode, [json.loads(line) for line in result.stdout.splitlines()]


def one_of(folder: Path, key: str, value: object) -> Path:
    """The record in *folder* whose *key* is *value*."""
    return next(path for path in sorted(folder.glob("*.json")) if json.loads(path.read_text())[key] == value)


def image(root: Path, name: str) -> Path:
    """The record of an image."""
    return (root / "tags" / name).resolve()


def layer(root: Path, name: str, place: int) -> dict[str, Any]:
    """The record of a layer of an image, by its place from below."""
    wanted = json.loads(image(root, name).read_text())["layers"][place]
    record: dict[str, Any] = json.loads((root / "layers" / f"{wanted}.json").read_text())
    return record


def change(path: Path, **fields: object) -> None:
    """Change fields of a record."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def box(root: Path, name: str) -> Path:
    """The directory of a container."""
    return (root / "names" / name).resolve()


def rot(path: Path) -> None:
    """Cut a file off in the middle."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def top(root: Path) -> Path:
    """The record of a layer that only `unused:1` has."""
    return root / f"layers/{layer(root, 'unused:1', -1)['id']}.json"


def forget_sources(root: Path) -> None:
    """Have every directory read again that an image is made of."""
    for path in (root / "sources").iterdir():
        path.unlink()


def test_a_store_that_was_used_is_sound(stocked: Minirun) -> None:
    result = stocked("system", "check")
    assert (result.returncode, result.stderr) == (0, "")
    counts = [len(os.listdir(stocked.root / folder)) for folder in ("layers", "containers")]
    assert result.stdout == f"4 images, {counts[0]} layers and {counts[1]} containers: sound\n"
    assert found(stocked) == (0, [])


def test_a_store_that_is_not_there_is_sound_and_not_made(minirun: Minirun) -> None:
    for flags in ((), ("--repair",)):
        assert minirun("system", "check", *flags, check=True).stdout == "0 images, 0 layers and 0 containers: sound\n"
        assert not minirun.root.exists()


def test_it_is_sound_while_a_container_runs_and_after_its_parent_was_killed(stocked: Minirun) -> None:
    stocked("tag", "small", "busybox", check=True)
    with running(stocked, "busy", "sleep", "100"):
        assert found(stocked) == (0, [])
    with running(stocked, "orphan", "sleep", "100", flags=("--rm",)):
        holders = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if _runs(path, "orphan")]
        assert len(holders) == 1
        os.kill(holders[0], 9)
        assert found(stocked) == (0, [])


def _runs(path: Path, name: str) -> bool:
    try:
        words = path.read_bytes().split(b"\0")
    except OSError:
        return False
    return name.encode() in words and b"run" in words


@pytest.mark.parametrize(
    ("spoilt", "command", "told", "others"),
    [
        ("tags/kept:1", ["images"], "image", "unused"),
        ("tags/kept:1", ["image", "tree"], "image", "unused:1"),
        ("tags/kept:1", ["system", "df", "-v"], "image", "unused"),
        ("tags/kept:1", ["ps", "-a", "--filter", "ancestor=small"], "", "ended"),
        ("names/made/container.json", ["ps", "-a"], "container", "ended"),
        ("names/made/container.json", ["system", "df"], "container", "Containers"),
        ("names/made/container.json", ["image", "tree"], "container", "unused:1"),
        ("names/made/container.json", ["stats", "-a", "--no-stream"], "container", "ended"),
        ("names/made/container.json", ["info"], "container", "Layers: "),
    ],
)
def test_who_lists_goes_on_beside_a_record_that_cannot_be_read(
    stocked: Minirun, spoilt: str, command: list[str], told: str, others: str
) -> None:
    (stocked.root / spoilt).resolve().write_text("{")
    result = stocked(*command)
    assert result.returncode == 0
    assert others in result.stdout
    assert result.stderr.count("minirun: cannot ") == bool(told)
    assert f"minirun: cannot read {told} " in result.stderr or not told
    assert "is damaged" in result.stderr or not told


def test_who_lists_layers_goes_on_beside_one_that_cannot_be_read(stocked: Minirun) -> None:
    rot(top(stocked.root))
    for command in (["system", "df"], ["image", "tree"]):
        result = stocked(*command)
        assert result.returncode == 0
        assert "its record is damaged" in result.stderr
        assert result.stdout


def test_what_comes_needs_no_record_but_those_of_its_own_layers(stocked: Minirun, busybox_oci: Path) -> None:
    rot(top(stocked.root))
    layers = stocked.root.parent / "others"
    for name, text in (("01-one", "1"), ("02-two", "2")):
        (layers / name).mkdir(parents=True)
        (layers / name / name).write_text(text)
    stocked("import", layers, "others", check=True)
    assert stocked("run", "--rm", layers, "true").returncode == 127  # there is no command in it
    stocked("save", "-o", layers.with_suffix(".tar"), "others", check=True)
    stocked("rmi", "others", check=True)
    assert "others" in stocked("load", "-i", layers.with_suffix(".tar"), check=True).stdout
    stocked("import", busybox_oci, "again", check=True)
    assert stocked("run", "--rm", "again", "true", check=True).stderr == ""
    assert [row["What"] for row in found(stocked)[1]] == ["damaged layer record"]


def test_why_it_cannot_come_is_told_beside_a_record_that_cannot_be_read(stocked: Minirun) -> None:
    rot(top(stocked.root))
    layers = stocked.root.parent / "others"
    (layers / "01-one").mkdir(parents=True)
    (layers / "02-two.tar").write_bytes(b"this is no tar " * 100)
    before = sorted(os.listdir(stocked.root / "layers"))
    result = stocked("import", layers)
    assert "02-two.tar" in result.stderr
    assert "record" not in result.stderr
    assert sorted(os.listdir(stocked.root / "layers")) == before


@pytest.mark.parametrize("spoil", [rot, lambda path: path.write_text("{}"), lambda path: path.write_text("[]")])
def test_a_layer_whose_record_cannot_be_read_comes_back_with_its_image(stocked: Minirun, spoil: Damages) -> None:
    layers = stocked.root.parent / "others"
    for name, text in (("01-one", "1"), ("02-two", "2")):
        (layers / name).mkdir(parents=True)
        (layers / name / name).write_text(text)
    stocked("import", layers, "others", check=True)
    stocked("save", "-o", layers.with_suffix(".tar"), "others", check=True)
    records = [stocked.root / f"layers/{layer(stocked.root, 'others:latest', place)['id']}.json" for place in (0, 1)]
    for record in records:
        spoil(record)
        assert {row["What"] for row in found(stocked)[1]} >= {"damaged layer record"}
        stocked("load", "-i", layers.with_suffix(".tar"), check=True)
        assert found(stocked) == (0, [])
    spoil(records[0])
    forget_sources(stocked.root)
    stocked("import", layers, check=True)
    assert found(stocked) == (0, [])


def test_a_stray_file_among_contents_is_freed_with_its_bytes(stocked: Minirun) -> None:
    (stocked.root / "diffs/stray").write_bytes(bytes(5_000_000))
    freed = stocked("gc", check=True).stdout
    assert "Other remains removed: 1\nTotal reclaimed space: 5MB\n" in freed
    assert found(stocked) == (0, [])


def test_a_file_in_the_place_of_contents_makes_room_for_them(stocked: Minirun) -> None:
    layers = stocked.root.parent / "others"
    (layers / "01-one").mkdir(parents=True)
    (layers / "01-one/one").write_text("1")
    stocked("import", layers, "others", check=True)
    contents = stocked.root / "diffs" / layer(stocked.root, "others:latest", 0)["diff"]
    shutil.rmtree(contents)
    contents.write_text("?")
    assert [row["What"] for row in found(stocked)[1]] == ["layer without contents"]
    forget_sources(stocked.root)
    stocked("import", layers, "others", check=True)
    assert (contents / "one").read_text() == "1"
    assert found(stocked) == (0, [])


def fewer_layers(root: Path) -> None:
    record = image(root, "small:latest")
    change(record, layers=json.loads(record.read_text())["layers"][:2])


def another_name(root: Path) -> None:
    link = root / "names/made"
    link.unlink()
    link.symlink_to((root / "names/ended").readlink())


def no_image(root: Path) -> None:
    image(root, "unused:1").unlink()
    (root / "tags/unused:1").unlink()


def another_layer(root: Path) -> None:
    shutil.copy(root / f"layers/{layer(root, 'small:latest', 0)['id']}.json", top(root))


def another_digest(root: Path) -> None:
    change(root / f"layers/{layer(root, 'small:latest', 1)['id']}.json", diff_id=f"sha256:{'0' * 64}")


def blob(root: Path, suffix: str = "") -> Path:
    """The largest blob, of those whose names end so."""
    return max(
        (path for path in (root / "blobs").iterdir() if path.suffix == suffix), key=lambda path: path.stat().st_size
    )


def change_last(path: Path) -> None:
    """Change one byte, in front of what the end of a blob says of its size."""
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def kept(root: Path, data: bytes) -> str:
    """Put a blob into a store; its digest."""
    digits = hashlib.sha256(data).hexdigest()
    (root / "blobs" / digits).write_bytes(data)
    return f"sha256:{digits}"


def another_manifest(root: Path) -> None:
    record = image(root, "foreign:latest")
    manifest = json.loads((root / "blobs" / json.loads(record.read_text())["digest"][7:]).read_text())
    manifest["config"]["digest"] = f"sha256:{NOWHERE}"
    change(record, digest=kept(root, json.dumps(manifest).encode()))


def cut_short(root: Path) -> None:
    (root / "marks/0f").write_text(f'["remove_tree", "{root}/tmp/0f"]\n')


NOWHERE = "7" * 64
ALTERED = "configuration that is not what the image's id says"
OTHER_CONFIG = {"config": {}, "rootfs": {"diff_ids": ["sha256:0"]}}

# how to damage something, and what is said of it
LOST: list[tuple[str, Damages]] = [
    ("layer without contents", lambda root: shutil.rmtree(root / "diffs" / layer(root, "unused:1", -1)["diff"])),
    ("layer that is not what its id says", another_digest),
    ("layer without the one below it", lambda root: change(top(root), parent="0" * 64)),
    ("damaged layer record", lambda root: rot(top(root))),
    ("damaged layer record", lambda root: top(root).write_text("")),
    ("damaged layer record", lambda root: change(top(root), diff="../..")),
    ("damaged layer record", another_layer),
    ("image without a layer", lambda root: top(root).unlink()),
    ("image without contents", lambda root: shutil.rmtree(root / f"diffs/{image(root, 'unused:1').stem}-mounts")),
    ("image of other layers than its configuration says", fewer_layers),
    ("damaged image record", lambda root: rot(image(root, "kept:1"))),
    (ALTERED, lambda root: change(image(root, "small:latest"), config=OTHER_CONFIG)),
    (ALTERED, lambda root: rot(root / f"images/{image(root, 'foreign:latest').stem}.config")),
    ("damaged container record", lambda root: rot(box(root, "made") / "container.json")),
    ("damaged state of a container", lambda root: rot(box(root, "ended") / "state.json")),
    ("container without upper/", lambda root: shutil.rmtree(box(root, "ended") / "upper")),
    ("container without work/", lambda root: shutil.rmtree(box(root, "ended") / "work")),
    ("container without its image", lambda root: image(root, "small:latest").unlink()),
    ("damaged mark", lambda root: (root / "marks/0f").write_text("what?\n")),
    ("stray file", lambda root: (root / "layers/x.tmp").write_text("?")),
    ("stray file", lambda root: (root / "tags/x:1").write_text("?")),
    ("stray file", lambda root: (root / "names/xx").write_text("?")),
    ("stray file", lambda root: (root / "blobs/x").write_text("?")),
    ("image without a blob", lambda root: blob(root).unlink()),
    ("blob that is not what its name says", lambda root: change_last(blob(root))),
    ("blob that is not what its name says", lambda root: change_last(blob(root, ".zst"))),
    ("blob that is not what its name says", lambda root: rot(blob(root, ".zst"))),
    ("image with another one's manifest", another_manifest),
]
MENDED: list[tuple[str, Damages]] = [
    ("container without a record", lambda root: (box(root, "ended") / "container.json").unlink()),
    ("container without its name", lambda root: (root / "names/made").unlink()),
    ("container without its name", another_name),
    ("stale name of a container", lambda root: (root / "names/old").symlink_to(f"../containers/{NOWHERE}")),
    ("name of an image that is not there", lambda root: (root / "tags/a:1").symlink_to(f"../images/{NOWHERE}.json")),
    ("missing directory", lambda root: (root / "sources").rename(root / "gone")),
    ("layer that nothing needs", no_image),
    ("contents that nothing names", lambda root: (root / "diffs" / NOWHERE).mkdir()),
    ("contents that nothing names", lambda root: (root / "diffs/stray").write_text("?")),
    ("contents that nothing names", lambda root: (root / "diffs/stray").symlink_to("/etc")),
    ("contents that nothing names", lambda root: os.mkfifo(root / "diffs/stray")),
    ("configuration without an image", lambda root: (root / f"images/{NOWHERE}.config").write_text("{}")),
    ("note of a directory whose image is not there", lambda root: (root / "sources/%2Fx.json").write_text("{")),
    ("blob that nothing needs", lambda root: kept(root, b"x")),
    (
        "hint to an image that is not there",
        lambda root: lookup.note(Home(str(root), ""), NOWHERE, [f"sha256:{NOWHERE}"]),
    ),
    ("half-made file", lambda root: (root / "tmp/0f.record").write_text("{")),
    ("half-made file", lambda root: (root / "tmp/0f/x").mkdir(parents=True)),
    ("operation that was cut short", cut_short),
]


@pytest.mark.parametrize(("what", "do"), [*LOST, *MENDED])
def test_damage_is_found_and_nothing_is_changed(stocked: Minirun, what: str, do: Damages) -> None:
    do(stocked.root)
    known = stored.ids(stocked.root)
    before = stored.picture(stocked.root, known, 0)
    code, rows = found(stocked)
    assert code == 1
    assert what in {row["What"] for row in rows}
    for row in rows:
        assert Path(row["Where"]).is_relative_to(stocked.root)
        assert row["Meaning"]
        assert row["Remedy"]
    assert stored.differences(before, stored.picture(stocked.root, known, 0)) == []


@pytest.mark.parametrize(("what", "do"), MENDED)
def test_what_loses_nothing_is_mended(stocked: Minirun, what: str, do: Damages) -> None:
    do(stocked.root)
    code, rows = found(stocked, "--repair")
    assert (code, {row["State"] for row in rows}) == (0, {"mended"})
    assert what in {row["What"] for row in rows}
    assert found(stocked) == (0, [])


@pytest.mark.parametrize(("what", "do"), LOST)
def test_what_is_lost_is_left_to_the_user(stocked: Minirun, what: str, do: Damages) -> None:
    do(stocked.root)
    before = found(stocked)
    assert what in {row["What"] for row in before[1]}
    result = stocked("system", "check", "--repair", "--format", "json")
    assert result.returncode == 1
    assert [json.loads(line) for line in result.stdout.splitlines()] == before[1]
    assert "fault of minirun" not in result.stderr


def test_what_was_mended_works_again(stocked: Minirun) -> None:
    (stocked.root / "names/made").unlink()
    (stocked.root / "names/old").symlink_to(f"../containers/{'7' * 64}")
    (stocked.root / "sources").rename(stocked.root / "gone")
    litter(stocked.root)
    result = stocked("system", "check", "--repair")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith("containers: sound\n")
    assert stocked("start", "-a", "made").returncode == 0
    assert not (stocked.root / "names/old").is_symlink()
    assert os.listdir(stocked.root / "tmp") == os.listdir(stocked.root / "marks") == []


def test_litter_is_remains_and_goes(stocked: Minirun) -> None:
    litter(stocked.root)
    code, rows = found(stocked)
    assert (code, {row["State"] for row in rows}) == (1, {"remains"})
    assert sorted(row["What"] for row in rows) == [
        "contents that nothing names", "contents that nothing names", "operation that was cut short",
    ]  # fmt: skip
    stocked("gc", check=True)
    assert found(stocked) == (0, [])


def test_nothing_is_freed_that_a_lost_record_may_have_needed(stocked: Minirun) -> None:
    rot(top(stocked.root))
    (stocked.root / "tags/a:1").symlink_to(f"../images/{NOWHERE}.json")
    (stocked.root / "names/old").symlink_to(f"../containers/{NOWHERE}")
    before = os.listdir(stocked.root / "diffs")
    result = stocked("system", "check", "--repair")
    assert result.returncode == 1
    assert "make the images of that layer again from their source" in result.stdout
    assert "sound" not in result.stdout
    assert "cannot free what nothing needs: what is damaged may have needed it" in result.stderr
    assert os.listdir(stocked.root / "diffs") == before
    assert not (stocked.root / "names/old").is_symlink()


def test_a_container_that_lost_its_image_still_runs_after_a_repair(stocked: Minirun) -> None:
    image(stocked.root, "small:latest").unlink()
    assert stocked("system", "check", "--repair").returncode == 1
    assert stocked("start", "-a", "made").returncode == 0


def test_the_remedies_help(stocked: Minirun, busybox_layers: Path) -> None:
    stocked("import", busybox_layers, "big", check=True)
    shutil.rmtree(stocked.root / "diffs" / layer(stocked.root, "big:latest", 0)["diff"])
    (remedy,) = {row["Remedy"] for row in found(stocked)[1]}
    first, second, _ = remedy.split(", ", 2)
    for command in (first, second):
        stocked(*command.strip("`").split()[1:], check=True)
    stocked("import", busybox_layers, "big", check=True)
    assert found(stocked) == (0, [])
    assert stocked("run", "--rm", "big", "true").returncode == 0


def test_a_quick_check_reads_no_blob(stocked: Minirun) -> None:
    change_last(blob(stocked.root, ".zst"))
    assert found(stocked)[0] == 1
    assert found(stocked, "--quick") == found(stocked, "-q", "--repair") == (0, [])


def test_an_altered_blob_keeps_nothing_from_being_freed(stocked: Minirun) -> None:
    change_last(blob(stocked.root, ".zst"))
    no_image(stocked.root)
    code, rows = found(stocked, "--repair")
    assert code == 1
    assert {row["State"]: row["What"] for row in rows if "blob" in row["Where"]}["damaged"] == (
        "blob that is not what its name says"
    )
    assert "layer that nothing needs" in {row["What"] for row in rows if row["State"] == "mended"}


def test_a_blob_can_be_had_again(stocked: Minirun, busybox_oci: Path) -> None:
    lost = stocked.root / "blobs" / json.loads(image(stocked.root, "foreign:latest").read_text())["blobs"][0][7:]
    lost.unlink()
    assert [row["Where"] for row in found(stocked)[1]] == [str(lost)]
    stocked("import", busybox_oci, "foreign", check=True)
    assert lost.exists()
    assert found(stocked) == (0, [])


def test_an_image_that_was_packed_is_sound(stocked: Minirun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIRUN_ROOT", str(stocked.root))
    monkeypatch.setenv("MINIRUN_RUNTIME", str(stocked.runtime))
    stocked("image", "squash", "unused:1", "flat", check=True)
    for name in ("unused:1", "flat"):
        saving.save([name], str(tmp_path / "image.tar"))
        assert found(stocked) == (0, [])


def test_an_operation_that_goes_on_is_no_damage(stocked: Minirun) -> None:
    home = Home(str(stocked.root), str(stocked.runtime))
    holder = files.hold(home.mark("0f"))
    files.write_all(holder, f'["remove_tree", "{home.temporary("0f")}"]\n'.encode())
    (stocked.root / "tmp/0f").mkdir()
    record = files.hold(home.temporary("0e.record"))
    try:
        assert found(stocked) == (0, [])
    finally:
        os.close(holder)
        os.close(record)
    assert [row["What"] for row in found(stocked)[1]] == ["operation that was cut short", "half-made file"]


def test_what_looks_wrong_for_a_moment_is_not_told(stocked: Minirun) -> None:
    home = Home(str(stocked.root), str(stocked.runtime))
    over = threading.Event()

    def begin_and_end() -> None:
        # as `files.hold` makes a mark: the lock comes after the file
        while not over.wait(0.01):
            path = Path(home.mark(os.urandom(16).hex()))
            path.touch()
            over.wait(0.01)
            path.unlink()

    with ThreadPoolExecutor() as threads:
        threads.submit(begin_and_end)
        checks = [check.examine(home).damage for _ in range(40)]
        over.set()
    assert checks == [[]] * 40


def test_beside_other_commands_a_store_stays_sound(stocked: Minirun) -> None:
    def work(number: int) -> list[str]:
        name = f"worker{number}"
        return [
            result.stderr
            for _ in range(3)
            for arguments in (
                ("run", "--name", name, "small", "sh", "-c", "echo x >/x"), ("commit", name, name), ("rm", name),
                ("run", "--rm", name, "true"), ("rmi", name),
            )
            if (result := stocked(*arguments)).returncode
        ]  # fmt: skip

    with ThreadPoolExecutor() as threads:
        workers = [threads.submit(work, number) for number in range(2)]
        checks = []
        while not all(worker.done() for worker in workers):
            checks.append(found(stocked))
    assert [worker.result() for worker in workers] == [[], []]
    assert [rows for _, rows in checks if rows] == []
    assert len(checks) > 3
