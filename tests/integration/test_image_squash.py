"""`image squash`: fewer layers, the same root file system, a history that tells of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minirun.home import Home
from minirun.image.store import Images
from minirun.layer.store import Layers
from tests.command import Minirun
from tests.small import ground, small_layers
from tests.trees import Node, describe, mounted


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, busybox_layers: Path) -> Minirun:
    """A store with all that tests/small.py has, and an image of eight layers, three of which were committed."""
    home = tmp_path_factory.mktemp("stocked")
    minirun = Minirun(home / "root", home / "runtime")
    ground(minirun, small_layers(home / "layers", busybox_layers))
    for number, script in enumerate([
        "rm -f /data/one; echo more >/etc/more; mkdir /srv/new",
        "rm /etc/more; rm -rf /data/old; mkdir /data/old; echo 1 >/data/old/n; ln /data/old/n /data/old/m",
        "rm -rf /srv; echo 2 >/srv; dd if=/dev/zero of=/zeros bs=1000 count=70",
    ]):  # fmt: skip
        minirun("run", "--name", f"step{number}", "deep" if number else "small", "sh", "-c", script, check=True)
        minirun("commit", "-c", f"LABEL step={number}", f"step{number}", "deep", check=True)
    return minirun


def inspected(minirun: Minirun, name: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(minirun("image", "inspect", name, check=True).stdout)[0]
    return described


def shown(minirun: Minirun, name: str, scratch: Path) -> dict[bytes, Node]:
    """The root file system of an image as the kernel shows it."""
    home = Home(str(minirun.root), str(minirun.runtime))
    with mounted(Layers(home).stack(Images(home).get(name).layers[-1]), scratch) as view:
        return describe(view)


def history(minirun: Minirun, name: str) -> list[tuple[str, str]]:
    """What made each step, and its bytes."""
    lines = minirun("history", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", name, check=True).stdout
    return [(by, size) for size, _, by in (line.partition(" ") for line in lines.splitlines())]


@pytest.mark.parametrize("first", range(1, 6))
def test_the_root_file_system_stays_the_same(stocked: Minirun, tmp_path: Path, first: int) -> None:
    before = inspected(stocked, "deep")
    count = len(before["Layers"])
    assert count == 6
    stocked("image", "squash", "--from", str(first), "deep", f"flat:{first}", check=True)
    after = inspected(stocked, f"flat:{first}")
    assert [layer["Id"] for layer in after["Layers"][:-1]] == [layer["Id"] for layer in before["Layers"][: first - 1]]
    assert after["Config"] == before["Config"]
    assert shown(stocked, f"flat:{first}", tmp_path) == shown(stocked, "deep", tmp_path)
    assert stocked("image", "diff", "deep", f"flat:{first}", check=True).stdout == ""
    assert inspected(stocked, "deep") == before
    script = "cat /srv /data/old/m; test ! -e /data/one && test ! -e /etc/more"
    assert stocked("run", "--rm", f"flat:{first}", "sh", "-c", script, check=True).stdout == "2\n1\n"
    stocked("system", "check", check=True)


def test_the_whole_of_a_stack_needs_no_whiteouts(stocked: Minirun) -> None:
    stocked("image", "squash", "deep", "whole", check=True)
    (layer,) = inspected(stocked, "whole")["Layers"]
    nodes = describe(layer["Dir"], overlay=True)
    assert "character" not in {node.kind for node in nodes.values()}
    assert not [name for node in nodes.values() for name, _ in node.xattrs if name.startswith("trusted.overlay.")]
    record = json.loads((stocked.root / f"layers/{layer['Id']}.json").read_text())
    assert (record["whiteouts"], record["opaque"], record["has_root"]) == (False, False, True)
    files = [node for path, node in nodes.items() if node.kind == "file" and node.first == path]
    assert record["size"] == sum(len(node.content) for node in files)


def test_the_history_keeps_every_step(stocked: Minirun) -> None:
    before, short = history(stocked, "deep"), inspected(stocked, "deep")["Id"].removeprefix("sha256:")
    stocked("image", "squash", "--from", "3", "deep", "upper", check=True)
    newest, *others = history(stocked, "upper")
    assert newest[0] == f"squash 4 layers of {short[:12]}"
    assert [by for by, _ in others] == [by for by, _ in before]
    assert [size for _, size in others] == ["0B"] * 4 + [size for _, size in before[-2:]]
    told = inspected(stocked, "upper")
    assert told["Comment"] == f"merge sha256:{short}"
    stocked("image", "squash", "--from", "2", "upper", "again", check=True)
    assert [by for by, _ in history(stocked, "again")] == [
        f"squash 2 layers of {told['Id'][7:19]}", newest[0], *(by for by, _ in before),
    ]  # fmt: skip
    whole = stocked("image", "squash", "deep", check=True).stdout.strip()
    assert inspected(stocked, whole)["Comment"] == f"create new from sha256:{short}"
    assert inspected(stocked, whole)["RepoTags"] == []
    stocked("rmi", whole, check=True)


def test_now_is_what_source_date_epoch_says(stocked: Minirun) -> None:
    stocked("image", "squash", "small", "dated", env={"SOURCE_DATE_EPOCH": "86400"}, check=True)
    assert inspected(stocked, "dated")["Created"] == "1970-01-02T00:00:00Z"
    refused = stocked("image", "squash", "small", env={"SOURCE_DATE_EPOCH": "soon"})
    assert (refused.returncode, "SOURCE_DATE_EPOCH" in refused.stderr) == (125, True)


def test_a_history_that_tells_of_other_layers_is_replaced(minirun: Minirun, tmp_path: Path) -> None:
    layers = tmp_path / "layers"
    for name in ("00-one", "01-two"):
        (layers / name / "bin").mkdir(parents=True)
        (layers / name / "bin" / name).write_text("x")
    (layers / "image.json").write_text(json.dumps({"history": [{"created_by": "a"}, {"created_by": "b"}] * 3}))
    minirun("import", layers, "odd", check=True)
    minirun("image", "squash", "odd", "flat", check=True)
    assert len(history(minirun, "flat")) == 3


def test_links_between_layers_are_not_made(stocked: Minirun) -> None:
    stocked("image", "squash", "small", "apart", check=True)
    box = stocked("run", "--rm", "apart", "sh", "-c", "ln -f /srv/page /srv/other; rm /srv/other", check=True)
    assert box.stderr == ""
    pages = [path.stat().st_nlink for path in (stocked.root / "diffs").glob("*/srv/page")]
    assert len(pages) >= 2
    assert set(pages) == {1}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--from", "6", "deep"], "from layer 6 on there is nothing to merge: it has 6, and 1 is the bottom"),
        (["--from", "0", "deep"], "from layer 0 on there is nothing to merge"),
        (["--from", "-1", "deep"], "from layer -1 on there is nothing to merge"),
        (["--from", "two", "deep"], "not a valid integer"),
        (["single"], "it has 1 layer: there is nothing to merge"),
        (["nosuch"], "no image of that name"),
        (["deep", "UPPER"], "names of images are in lower case"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(stocked: Minirun, words: list[str], reason: str) -> None:
    if words == ["single"]:
        stocked("image", "squash", "small", "single", check=True)
    before = stocked("images", "-aq", check=True).stdout
    refused = stocked("image", "squash", *words)
    assert (refused.returncode, refused.stdout) == (125, "")
    assert reason in refused.stderr
    assert stocked("images", "-aq", check=True).stdout == before


def test_layers_that_stay_leave_in_the_blobs_that_they_came_in(minirun: Minirun, busybox_oci: Path) -> None:
    minirun("import", busybox_oci, "busybox", check=True)
    home = Home(str(minirun.root), str(minirun.runtime))
    blobs = Images(home).get("busybox").blobs
    assert all(blobs)
    minirun("image", "squash", "--from", "3", "busybox", "flat", check=True)
    assert Images(home).get("flat").blobs == [*blobs[:2], ""]
    minirun("rmi", "busybox", check=True)
    minirun("system", "check", check=True)
    minirun("run", "--rm", "flat", "true", check=True)
