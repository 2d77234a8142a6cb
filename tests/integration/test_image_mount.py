"""`image mount` and `image unmount`: a look into images from the host, through which nothing can be written."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirun.home import Home
from minirun.image.store import Images
from minirun.layer.store import Layers
from tests import inject
from tests.command import Minirun
from tests.inject import Point
from tests.small import small_layers
from tests.trees import describe, mounted

PROJECT = Path(__file__).resolve().parents[2]
MOUNTING = (*inject.CHANGING, "fsopen", "fsconfig", "fsmount", "move_mount", "umount2")


@pytest.fixture
def small(minirun: Minirun, tmp_path: Path, busybox_layers: Path) -> Iterator[Minirun]:
    """A store with the image `small`, of three layers and without a /mnt; in the end nothing is mounted any more."""
    minirun("import", small_layers(tmp_path / "layers", busybox_layers), "small", check=True)
    yield minirun
    minirun("image", "unmount", "--all", "--force", check=True)
    assert os.listdir(minirun.runtime / "images") == []
    assert os.listdir(minirun.root / "marks") == []


def mount(minirun: Minirun, name: str = "small") -> Path:
    """Mount an image."""
    return Path(minirun("image", "mount", name, check=True).stdout.removesuffix("\n"))


def image_id(minirun: Minirun, name: str = "small") -> str:
    return minirun("inspect", "-f", "{{.Id}}", name, check=True).stdout.strip().removeprefix("sha256:")


def listed(minirun: Minirun) -> list[tuple[str, str]]:
    """The names and counts of what is mounted."""
    rows = minirun("image", "mount", "--format", "{{.Names}} {{.Count}}", check=True).stdout.splitlines()
    return [(name, count) for name, _, count in (row.rpartition(" ") for row in rows)]


def test_it_shows_the_layers_as_the_kernel_merges_them_and_nothing_else(small: Minirun, tmp_path: Path) -> None:
    place = mount(small)
    assert place == small.runtime / "images" / image_id(small) / "root"
    home = Home(str(small.root), str(small.runtime))
    with mounted(Layers(home).stack(Images(home).get("small").layers[-1]), tmp_path) as merged:
        expected, shown = describe(merged), describe(place)
    # what the empty directory on top is there for: what the layers say of the root, and not the topmost of them
    root = shown.pop(b"")
    assert (root.mode, root.uid, root.gid, expected.pop(b"").kind) == (0o755, 0, 0, "directory")
    assert shown == expected
    assert not (place / "etc/hosts").exists()


@pytest.mark.parametrize("runtime", ["beside", "memory"])
def test_an_image_of_one_layer_says_what_its_root_is_like(minirun: Minirun, tmp_path: Path, runtime: str) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/x").write_text("x")
    os.setxattr(tree, "trusted.mark", b"yes")
    tree.chmod(0o2750)
    os.utime(tree, ns=(5, 7))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        where = Minirun(minirun.root, Path(memory) if runtime == "memory" else minirun.runtime)
        where("import", tree, "one", check=True)
        place = mount(where, "one")
        shown = describe(place)
        assert (shown[b""].mode, shown[b""].mtime_ns, shown[b""].xattrs) == (0o2750, 7, (("trusted.mark", b"yes"),))
        assert sorted(shown) == [b"", b"bin", b"bin/x"]
        # tar --one-file-system and find -xdev look at these
        assert {os.lstat(place / path).st_dev for path in ("bin", "bin/x")} == {place.stat().st_dev}
        where("image", "unmount", "one", check=True)


def test_nothing_can_be_written_through_it(small: Minirun) -> None:
    place = mount(small)
    page, before = place / "srv/page", describe(small.root / "diffs", overlay=True)
    read_before = {path: path.stat().st_atime_ns for path in (small.root / "diffs").rglob("*") if path.is_file()}
    attempts: list[Callable[[], object]] = [
        (place / "new").touch,
        lambda: page.write_text("other"),
        lambda: page.open("r+"),
        page.unlink,
        lambda: page.rename(place / "elsewhere"),
        lambda: page.chmod(0o777),
        lambda: os.utime(page, ns=(0, 0)),
        lambda: os.setxattr(page, "user.mark", b"1"),
        lambda: os.link(page, place / "link"),
        lambda: os.truncate(page, 0),
        (place / "srv").rmdir,
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match="Read-only file system"):
            attempt()
    again = subprocess.run(["mount", "-o", "remount,rw", place], capture_output=True, check=False)
    assert again.returncode != 0 or not os.access(place, os.W_OK)
    with pytest.raises(OSError, match="Read-only file system"):
        (place / "new").touch()
    assert page.read_text() == "page\n"
    assert describe(small.root / "diffs", overlay=True) == before
    assert {path: path.stat().st_atime_ns for path in read_before} == read_before


def test_device_nodes_of_an_image_open_nothing(minirun: Minirun, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "bin").mkdir(parents=True)
    os.mknod(tree / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    minirun("import", tree, "devices", check=True)
    with pytest.raises(PermissionError):
        (mount(minirun, "devices") / "zero").open("rb")
    minirun("image", "umount", "devices", check=True)


def test_a_mount_is_counted(small: Minirun) -> None:
    place = mount(small)
    assert mount(small) == place
    assert listed(small) == [("small:latest", "2")]
    identity = image_id(small)
    assert small("image", "unmount", "small", check=True).stdout == f"{identity}\n"
    assert (place / "srv/page").exists()
    assert small("image", "umount", identity[:8], check=True).stdout == f"{identity}\n"
    assert not place.exists()
    assert small("image", "unmount", "small", check=True).stdout == ""
    mount(small)
    mount(small)
    mount(small)
    assert small("image", "unmount", "--force", "small", check=True).stdout == f"{identity}\n"
    assert listed(small) == []


def test_many_mount_at_once_and_each_counts(small: Minirun) -> None:
    threads = [threading.Thread(target=small, args=("image", "mount", "small")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert listed(small) == [("small:latest", "8")]
    for _ in range(8):
        assert listed(small) != []
        small("image", "unmount", "small", check=True)
    assert listed(small) == []


def test_several_are_mounted_and_unmounted_by_one_command(small: Minirun, busybox_layers: Path) -> None:
    small("import", busybox_layers, "busybox", check=True)
    refused = small("image", "mount", "small", "nosuch", "busybox")
    places = [Path(line) for line in refused.stdout.splitlines()]
    assert (refused.returncode, len(places)) == (125, 2)
    assert "cannot find image nosuch" in refused.stderr
    assert (places[0] / "srv/page").exists()
    assert (places[1] / "bin/busybox").exists()
    assert sorted(listed(small)) == [("busybox:latest", "1"), ("small:latest", "1")]
    assert len(small("image", "unmount", "--all", check=True).stdout.splitlines()) == 2
    assert listed(small) == []
    title, *rows = small("image", "mount", "--all", check=True).stdout.splitlines()
    assert title.startswith("IMAGE ID ")
    assert {row.split()[1] for row in rows} == {"busybox:latest", "small:latest"}


def test_the_list_has_formats(small: Minirun) -> None:
    small("tag", "small", "team/other:1", check=True)
    place, identity = mount(small), image_id(small)
    assert small("image", "mount").stdout.splitlines() == [
        "IMAGE ID       NAMES                        COUNT     MOUNT POINT",
        f"{identity[:12]}   small:latest, team/other:1   1         {place}",
    ]
    (row,) = map(json.loads, small("image", "mount", "--format", "json", check=True).stdout.splitlines())
    assert row == {
        "ID": identity[:12], "Names": "small:latest, team/other:1", "Count": "1", "MountPoint": str(place),
    }  # fmt: skip
    whole = small("image", "mount", "--no-trunc", "--format", "{{.ID}}", check=True).stdout
    assert whole == f"sha256:{identity}\n"
    refused = small("image", "mount", "--format", "{{.Path}}")
    assert (refused.returncode, "there is no field 'Path'" in refused.stderr) == (125, True)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["mount", "--all", "small"], "images were named, and it is for all"),
        (["mount", "--format", "json", "small"], "it is for the list of what is mounted"),
        (["mount", "nosuch"], "no image of that name"),
        (["unmount"], "no image was named"),
        (["unmount", "--all", "small"], "images were named, and --all was given"),
        (["unmount", "nosuch"], "no image of that name"),
    ],
)
def test_what_means_nothing_is_refused(small: Minirun, words: list[str], reason: str) -> None:
    refused = small("image", *words)
    assert (refused.returncode, refused.stdout) == (125, "")
    assert reason in refused.stderr
    mount(small)


def test_a_mounted_image_is_not_removed(small: Minirun) -> None:
    place, identity = mount(small), image_id(small)
    small("tag", "small", "other", check=True)
    small("rmi", "other", check=True)
    for command in (["rmi", "small"], ["rmi", "-f", identity]):
        refused = small(*command)
        assert refused.returncode == 125
        assert f"it is mounted at {place}\n  `minirun image unmount {identity[:12]}` first" in refused.stderr
    assert "deleted" not in small("image", "prune", "-af", check=True).stdout
    assert "deleted" not in small("system", "prune", "-af", check=True).stdout
    small("gc", check=True)
    assert (place / "srv/page").read_text() == "page\n"
    small("image", "unmount", "small", check=True)
    assert "deleted" in small("image", "prune", "-af", check=True).stdout


def test_containers_run_of_a_mounted_image(small: Minirun) -> None:
    place = mount(small)
    result = small("run", "--rm", "small", "sh", "-c", "echo changed >/srv/page; cat /srv/page", check=True)
    assert result.stdout == "changed\n"
    assert (place / "srv/page").read_text() == "page\n"


def test_what_is_in_use_is_unmounted_by_force_only(small: Minirun) -> None:
    place = mount(small)
    with (place / "srv/page").open() as page:
        refused = small("image", "unmount", "small")
        assert refused.returncode == 125
        assert f"files in {place} are in use\n  `fuser -vm {place}` says by whom" in refused.stderr
        assert listed(small) == [("small:latest", "1")]
        small("image", "unmount", "-f", "small", check=True)
        assert not place.exists()
        assert page.read() == "page\n"


def test_a_boot_forgets_it(small: Minirun) -> None:
    place = mount(small)
    mount(small)
    subprocess.run(["umount", place], check=True)  # and its directories stay, where these are on a disk
    assert listed(small) == []
    assert mount(small) == place
    assert listed(small) == [("small:latest", "1")]
    subprocess.run(["umount", place], check=True)
    checked = small("system", "check", "--format", "{{.State}}: {{.Where}}")
    assert (checked.returncode, checked.stdout) == (1, f"remains: {place.parent}\n")
    assert "Other remains removed: 1\n" in small("gc", check=True).stdout
    assert not place.parent.exists()
    small("system", "check", check=True)
    mount(small)
    subprocess.run(["umount", place], check=True)
    small("rmi", "small", check=True)


def test_an_image_whose_record_was_lost_can_be_unmounted(small: Minirun) -> None:
    place, identity = mount(small), image_id(small)
    record = small.root / f"images/{identity}.json"
    kept = record.read_bytes()
    record.unlink()
    checked = small("system", "check", "--format", "{{.Where}}").stdout
    assert f"{place}\n" in checked
    refused = small("gc")
    assert (refused.returncode, f"mounted at {place} was lost" in refused.stderr) == (125, True)
    assert (place / "srv/page").read_text() == "page\n"
    assert small("image", "unmount", identity[:12], check=True).stdout == f"{identity}\n"
    record.write_bytes(kept)


def test_long_paths_are_mounted_too(tmp_path: Path, busybox_layers: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 60] * 4)
    minirun = Minirun(deep / "root", deep / "runtime")
    minirun("import", busybox_layers, "busybox", check=True)
    assert (mount(minirun, "busybox") / "bin/busybox").exists()
    minirun("image", "unmount", "busybox", check=True)


SHOWN = """
import os, sys
from minirun.launch import machine
from minirun.rootfs.overlay import attached_view_by_options
machine.run(list(attached_view_by_options(sys.argv[2:], sys.argv[1])))
"""


def test_an_older_kernel_mounts_it_by_options(small: Minirun, tmp_path: Path) -> None:
    home = Home(str(small.root), str(small.runtime))
    stack = Layers(home).stack(Images(home).get("small").layers[-1])
    point = tmp_path / "point"
    point.mkdir()
    subprocess.run([sys.executable, "-c", SHOWN, point, *stack], cwd=PROJECT, check=True)
    try:
        shown = describe(point)
        with pytest.raises(OSError, match="Read-only"):
            (point / "new").touch()
    finally:
        subprocess.run(["umount", point], check=True)
    place = mount(small)
    assert shown == {**describe(place), b"": shown[b""]}


def points(lines: list[str]) -> list[Point]:
    """The calls by which a mount is made or taken away."""
    counts: dict[str, int] = {}
    found = []
    for line in lines:
        call = line.partition("(")[0]
        counts[call] = counts.get(call, 0) + 1
        if call in MOUNTING and (call in inject.LIVE or inject.changes(call, line) or call not in inject.CHANGING):
            found.append(Point(call, counts[call], line))
    return found


@pytest.mark.parametrize("words", [["mount", "small"], ["unmount", "small"], ["unmount", "-f", "--all"]])
def test_whoever_is_killed_on_the_way_leaves_it_mounted_or_not(
    small: Minirun, tmp_path: Path, words: list[str]
) -> None:
    command = small.command(["image", *words])
    log, trace = tmp_path / "log", ["-e", f"trace={','.join(MOUNTING)}"]

    def prepare() -> None:
        small("image", "unmount", "--all", "-f", check=True)
        if words[0] == "unmount":
            mount(small)

    prepare()
    found = points(inject.trace(command, small.environment(), log, trace).lines)
    assert {"mkdir", "rmdir"} & {point.call for point in found}
    assert ("fsmount" if words[0] == "mount" else "umount2") in {point.call for point in found}
    for point in inject.sample(found, 14):
        prepare()
        struck = inject.strike(command, small.environment(), log, point, inject.KILL)
        assert struck.status == -9, point
        before = listed(small)  # the next command
        assert os.listdir(small.root / "marks") == [], point
        assert before in ([], [("small:latest", "1")]), point
        small("system", "check", check=True)
        assert len(os.listdir(small.runtime / "images")) == len(before), point
        assert (mount(small) / "srv/page").read_text() == "page\n"


def test_what_the_kernel_refuses_is_told_and_leaves_nothing(small: Minirun, tmp_path: Path) -> None:
    command = small.command(["image", "mount", "small"])
    for call in ("fsopen", "fsmount", "move_mount", "mkdir"):
        struck = inject.strike(
            command, small.environment(), tmp_path / "log", Point(call, 1 if call != "mkdir" else 2, ""), "error=ENOMEM"
        )
        assert struck.status == 125
        assert "minirun: cannot mount image small: " in struck.stderr
        assert "ENOMEM" in struck.stderr
        assert listed(small) == []
        assert not (small.runtime / "images").exists() or os.listdir(small.runtime / "images") == []
