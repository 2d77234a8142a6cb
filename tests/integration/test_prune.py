"""`container prune`, `image prune` and `system prune`: what nobody needs goes, and nothing else."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minirun.engine import imageremoval, prune
from minirun.home import Home
from minirun.image.config import Config
from minirun.image.reference import parse
from minirun.image.store import Image, Images
from minirun.kernel import files, jsonfile
from tests.command import Minirun
from tests.running import running
from tests.small import ground, litter, small_layers

REFUSED = "the answer was not y; nothing was removed"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, busybox_layers: Path) -> Path:
    """A store with all that tests/small.py has, and an image that lost its name to another; to be copied, not used."""
    home = tmp_path_factory.mktemp("pristine")
    minirun = Minirun(home / "root", home / "runtime")
    minirun("import", small_layers(home / "layers", busybox_layers), "small", check=True)
    minirun("run", "--name", "again", "-l", "team=red", "small", "sh", "-c", "echo again >/again", check=True)
    minirun("commit", "-c", "LABEL use=old", "again", "moving", check=True)
    minirun("commit", "again", "moving", check=True)
    ground(minirun, home / "layers")
    return home / "root"


@pytest.fixture
def stocked(minirun: Minirun, pristine: Path) -> Minirun:
    """The command, with such a store."""
    subprocess.run(["cp", "--archive", "--reflink=auto", pristine, minirun.root], check=True)
    return minirun


def names(minirun: Minirun) -> set[str]:
    """The names of all containers."""
    return set(minirun("ps", "-a", "--format", "{{.Names}}", check=True).stdout.split())


def tags(minirun: Minirun) -> list[str]:
    """The names of all images, sorted."""
    return sorted(minirun("images", "--format", "{{.Repository}}:{{.Tag}}", check=True).stdout.split())


def pruned(minirun: Minirun, *arguments: str) -> str:
    """What a prune without a question says."""
    return minirun(*arguments, "-f", check=True).stdout


def test_containers_that_do_not_run_go(stocked: Minirun) -> None:
    stocked("tag", "small", "busybox", check=True)
    with running(stocked, "busy", "sleep", "100"):
        ids = stocked("ps", "-aq", "--no-trunc", "--filter", "status=exited", "--filter", "status=created").stdout
        title, *lines, gap, total = pruned(stocked, "container", "prune").splitlines()
        assert (title, gap) == ("Deleted Containers:", "")
        assert sorted(lines) == sorted(ids.split())
        # each of `ended` and `committed` wrote x, which has two names, and zero
        assert total == "Total reclaimed space: 8B"
        assert names(stocked) == {"busy"}
        assert pruned(stocked, "container", "prune") == "Total reclaimed space: 0B\n"


def test_images_without_a_name_go_and_no_other(stocked: Minirun) -> None:
    before = tags(stocked)
    assert "<none>:<none>" in before
    (dangling,) = stocked("images", "-q", "--no-trunc", "--filter", "dangling=true").stdout.split()
    assert f"deleted: {dangling}\n" in pruned(stocked, "image", "prune")
    assert tags(stocked) == [tag for tag in before if tag != "<none>:<none>"]
    assert pruned(stocked, "image", "prune") == "Total reclaimed space: 0B\n"


def test_an_image_without_a_name_stays_while_a_container_is_made_of_it(stocked: Minirun) -> None:
    (dangling,) = stocked("images", "-q", "--filter", "dangling=true").stdout.split()
    stocked("create", "--name", "on-it", dangling, "true", check=True)
    assert pruned(stocked, "image", "prune") == "Total reclaimed space: 0B\n"
    stocked("rm", "on-it", check=True)
    assert "deleted:" in pruned(stocked, "image", "prune")


def test_all_images_without_a_container_go_when_asked(stocked: Minirun) -> None:
    said = pruned(stocked, "image", "prune", "--all")
    assert {"untagged: unused:1", "untagged: kept:1", "untagged: moving:latest"} <= set(said.splitlines())
    assert tags(stocked) == ["small:latest", "small:other"]
    assert stocked("start", "-a", "made").returncode == 0


def test_the_space_is_what_left_the_disk(stocked: Minirun) -> None:
    write = "dd if=/dev/zero of=/data/big bs=70000 count=1"
    stocked("run", "--name", "big", "small", "sh", "-c", write, check=True)
    stocked("commit", "big", "big", check=True)
    stocked("tag", "big", "also-big", check=True)
    stocked("rm", "big", check=True)
    assert pruned(stocked, "image", "prune", "-a").endswith("\nTotal reclaimed space: 70kB\n")


def test_the_system_is_pruned_of_remains_too(stocked: Minirun) -> None:
    litter(stocked.root)
    said = pruned(stocked, "system", "prune", "-a")
    assert "Deleted Containers:\n" in said
    assert "Deleted Images:\n" in said
    # the cut short operation was undone by the command's own beginning, as by every command's
    assert "Deleted Remains:\nother remains: 2\n" in said
    for folder in ("diffs", "layers", "images", "tags", "containers", "names", "marks", "tmp"):
        assert os.listdir(stocked.root / folder) == [], folder


def test_filters_choose_by_label(stocked: Minirun) -> None:
    stocked("create", "--name", "both", "-l", "team=red", "-l", "night", "small", "true", check=True)
    stocked("create", "--name", "blue", "-l", "team=blue", "small", "true", check=True)
    plain = {"made", "ended", "committed"}
    pruned(stocked, "container", "prune", "--filter", "label=team=red", "--filter", "label=night")
    assert names(stocked) == {*plain, "again", "blue"}
    pruned(stocked, "container", "prune", "--filter", "label!=team=red", "--filter", "label=team")
    assert names(stocked) == {*plain, "again"}
    pruned(stocked, "container", "prune", "--filter", "label!=team", "--filter", "label!=other")
    assert names(stocked) == {"again"}
    assert "deleted" not in pruned(stocked, "image", "prune", "-a", "--filter", "label!=use", "--filter", "label=use")
    assert "deleted" in pruned(stocked, "image", "prune", "--filter", "label=use=old")
    assert "<none>:<none>" not in tags(stocked)


@pytest.mark.parametrize("until", ["1h", "1.5h", "90m30s", "2020-01-31", "2020-01-31T12:00:00", "1600000000", "0.5"])
def test_what_is_younger_than_until_stays(stocked: Minirun, until: str) -> None:
    before = names(stocked)
    assert "Deleted" not in pruned(stocked, "container", "prune", "--filter", f"until={until}")
    assert names(stocked) == before


@pytest.mark.parametrize(
    "until", ["0s", "2099-01-31", "2099-01-31T12:00:00Z", "2099-01-31T12:00:00+02:00", "4000000000"]
)
def test_what_is_older_than_until_goes(stocked: Minirun, until: str) -> None:
    pruned(stocked, "container", "prune", "--filter", f"until={until}")
    assert names(stocked) == set()


def test_images_have_an_age_too(stocked: Minirun, busybox_layers: Path) -> None:
    # the image of a directory is as old as its youngest file, here of 2023; all others are of today
    stocked("import", busybox_layers, "aged", check=True)
    others = [tag for tag in tags(stocked) if tag != "aged:latest"]
    pruned(stocked, "image", "prune", "-a", "--filter", "until=1h")
    assert tags(stocked) == others


@pytest.mark.parametrize("wrong", ["until=soon", "until=", "until=1d", "untl=1h", "label", "dangling=true"])
def test_a_filter_that_is_none_is_refused_before_the_question(stocked: Minirun, wrong: str) -> None:
    before = names(stocked)
    for group in ("container", "image", "system"):
        refused = stocked(group, "prune", "--filter", wrong, stdin="y\n")
        assert refused.returncode == 125
        assert wrong in refused.stderr
        assert refused.stdout == ""
    assert names(stocked) == before


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "no\n", "x" * 300 + "\n", "\udcff\n", None])
def test_whatever_is_not_yes_removes_nothing(stocked: Minirun, answer: str | None) -> None:
    before = names(stocked), tags(stocked)
    for group in ("container", "image", "system"):
        refused = stocked(group, "prune", stdin=answer and answer.encode("utf-8", "replace").decode())
        assert refused.returncode == 125
        assert refused.stdout.startswith("WARNING! This will remove")
        assert REFUSED in refused.stderr
        assert "`-f` does not ask" in refused.stderr
    assert (names(stocked), tags(stocked)) == before


@pytest.mark.parametrize("answer", ["y\n", "Y\n", "y"])
def test_yes_removes(stocked: Minirun, answer: str) -> None:
    said = stocked("container", "prune", stdin=answer, check=True).stdout
    assert "Are you sure you want to continue? [y/N] " in said
    assert names(stocked) == set()


def test_the_question_says_what_filters_there_are(stocked: Minirun) -> None:
    said = stocked("system", "prune", "-a", "--filter", "label=one", "--filter", "until=24h").stdout
    assert "  - all images of which there is no container\n" in said
    assert "filtered with:\n  - label=one\n  - until=24h\n" in said


def test_a_terminal_is_asked(stocked: Minirun) -> None:
    master, slave = pty.openpty()
    try:
        with stocked.start("container", "prune", stdin=slave, stdout=slave) as process:
            said = b""
            while b"[y/N] " not in said:
                said += os.read(master, 1000)
            assert process.poll() is None
            os.write(master, b"y\n")
            assert process.wait(timeout=60) == 0
    finally:
        os.close(master)
        os.close(slave)
    assert names(stocked) == set()


def test_a_container_that_is_being_started_is_left_alone(stocked: Minirun) -> None:
    home = Home(str(stocked.root), str(stocked.runtime))
    (made,) = stocked("ps", "-aq", "--no-trunc", "--filter", "name=^made$", check=True).stdout.split()
    # what `run` has on disk between the container's record and its start
    holder = files.hold(home.mark("f" * 32))
    files.write_all(holder, f'["remove_tree", "{home.container(made)}"]\n'.encode())
    try:
        pruned(stocked, "container", "prune")
        assert names(stocked) == {"made"}
    finally:
        files.remove(home.mark("f" * 32))
        os.close(holder)
    pruned(stocked, "container", "prune")
    assert names(stocked) == set()


def test_prune_beside_runs_of_the_same_image_breaks_none(stocked: Minirun) -> None:
    end = time.monotonic() + 4

    def run(number: int) -> list[str]:
        wrong = []
        while time.monotonic() < end:
            options = ["--rm"] if number else ["--name", f"box{time.monotonic_ns()}"]
            result = stocked("run", *options, "small", "sh", "-c", "echo fine >/x && cat /x")
            if (result.returncode, result.stdout) != (0, "fine\n"):
                wrong.append(f"{result.returncode} {result.stdout}{result.stderr}")
        return wrong

    def prune() -> list[str]:
        wrong = []
        while time.monotonic() < end:
            result = stocked("system", "prune", "-f")
            if result.returncode:
                wrong.append(result.stderr)
        return wrong

    with ThreadPoolExecutor() as threads:
        tasks = [threads.submit(prune), threads.submit(prune), *(threads.submit(run, number) for number in range(3))]
        wrong = [text for task in tasks for text in task.result()]
    assert wrong == []
    assert "small:latest" in tags(stocked)


def test_pruning_thousands_reads_each_record_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    count = 300
    for number in range(count):
        Images(home).put(Image(Config({"author": str(number)}), []), [parse(f"many:{number}")])
    read: list[str] = []
    real = jsonfile.read

    def noted(path: str, *limits: int) -> object:
        read.append(path)
        return real(path, *limits)

    monkeypatch.setattr(jsonfile, "read", noted)
    monkeypatch.setenv("MINIRUN_ROOT", home.root)
    monkeypatch.setenv("MINIRUN_RUNTIME", home.runtime)
    pruned = prune.images(prune.choose([]), named=True)
    assert len(pruned.images) == 2 * count
    assert pruned.refusals == pruned.unread == []
    assert len(read) <= 4 * count
    assert (
        os.listdir(home.folder("images")) == os.listdir(home.folder("diffs")) == os.listdir(home.folder("tags")) == []
    )


def test_others_have_their_turn_while_many_images_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(str(tmp_path / "root"), str(tmp_path / "runtime"))
    home.create()
    for number in range(5):
        Images(home).put(Image(Config({"author": str(number)}), []))
    monkeypatch.setattr(imageremoval, "TURN_S", -1e9)
    turns: list[int] = []
    real = imageremoval.Turn.__enter__

    def noted(turn: imageremoval.Turn) -> imageremoval.Turn:
        entered = real(turn)
        turns.append(len(turn.stock.found))
        monkeypatch.setattr(entered, "_end", time.monotonic() + 0.001)
        return entered

    monkeypatch.setattr(imageremoval.Turn, "__enter__", noted)
    monkeypatch.setenv("MINIRUN_ROOT", home.root)
    monkeypatch.setenv("MINIRUN_RUNTIME", home.runtime)
    outcomes = list(imageremoval.remove(Images(home).ids()))
    assert len(outcomes) == 5
    assert turns[0] == 5
    assert len(turns) > 1
    assert Images(home).ids() == []


def spoil(path: Path) -> None:
    """Damage a record."""
    path.write_text("{")


def test_images_go_beside_one_that_cannot_be_read_and_what_it_may_need_stays(stocked: Minirun) -> None:
    layers = len(os.listdir(stocked.root / "layers"))
    record = (stocked.root / "tags/kept:1").resolve()
    sound = record.read_bytes()
    spoil(record)
    result = stocked("image", "prune", "-af")
    assert result.returncode == 125
    assert "untagged: unused:1" in result.stdout
    assert result.stderr.count("minirun: cannot read image ") == 1
    assert len(os.listdir(stocked.root / "layers")) == layers
    result = stocked("system", "prune", "-af")
    assert result.returncode == 125
    assert "Deleted Containers:" in result.stdout
    assert "cannot free what nothing needs: nobody knows what these records need" in result.stderr
    assert len(os.listdir(stocked.root / "layers")) == layers
    assert stocked("gc").returncode == 125
    record.write_bytes(sound)
    stocked("run", "--rm", "kept:1", "true", check=True)
    assert "Deleted Remains:" in stocked("system", "prune", "-f", check=True).stdout
    stocked("system", "check", check=True)


def test_containers_go_beside_one_that_cannot_be_read_and_no_image(stocked: Minirun) -> None:
    spoil(stocked.root / "names/made/container.json")
    before = tags(stocked)
    result = stocked("system", "prune", "-af")
    assert result.returncode == 125
    assert result.stderr.count("minirun: cannot read container ") == 1
    assert set(os.listdir(stocked.root / "names")) == {"made"}
    assert tags(stocked) == before
    assert "cannot read container" in stocked("rmi", "unused:1").stderr


def test_rmi_beside_an_image_that_cannot_be_read_leaves_the_layers(stocked: Minirun) -> None:
    spoil((stocked.root / "tags/kept:1").resolve())
    layers = len(os.listdir(stocked.root / "layers"))
    result = stocked("rmi", "unused:1", check=True)
    assert "Deleted: sha256:" in result.stdout
    assert "Deleted: layer" not in result.stdout
    assert "minirun: warning: layers and blobs of what went stay: its record " in result.stderr
    assert len(os.listdir(stocked.root / "layers")) == layers


def test_layers_can_be_left_to_gc(stocked: Minirun) -> None:
    layers = len(os.listdir(stocked.root / "layers"))
    assert "Deleted: layer" not in stocked("rmi", "--no-prune", "unused:1", check=True).stdout
    assert len(os.listdir(stocked.root / "layers")) == layers
    assert "Layers removed: 1\n" in stocked("gc", check=True).stdout


def test_a_name_by_digest_is_taken_away_like_any_other(stocked: Minirun) -> None:
    record = (stocked.root / "tags/unused:1").resolve()
    names = [f"localhost:5000/{name}@sha256:{digit * 64}" for name, digit in (("one", "1"), ("two", "2"))]
    record.write_text(json.dumps({**json.loads(record.read_text()), "digest": "", "repo_digests": names}))
    assert stocked("rmi", names[0], check=True).stdout == f"Untagged: {names[0]}\n"
    assert json.loads(record.read_text())["repo_digests"] == names[1:]
    assert stocked("rmi", names[0]).returncode == 125
    said = stocked("rmi", "unused:1", check=True).stdout
    assert said.startswith(f"Untagged: unused:1\nUntagged: {names[1]}\nDeleted: sha256:")
