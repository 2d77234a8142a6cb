"""`system df`: what is taken, each thing once, and what would come free."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.command import Minirun
from tests.running import running
from tests.small import small_layers

WRITTEN = 4_000


@pytest.fixture
def stocked(minirun: Minirun, busybox_layers: Path, tmp_path: Path) -> Minirun:
    """A store with the image `small`, an image made of it that is `kept`, and the container that wrote it."""
    minirun("import", small_layers(tmp_path / "layers", busybox_layers), "small", check=True)
    write = f"dd if=/dev/zero of=/data/big bs={WRITTEN} count=1"
    minirun("run", "--name", "writer", "small", "sh", "-c", write, check=True)
    minirun("commit", "writer", "kept", check=True)
    return minirun


def totals(minirun: Minirun) -> dict[str, dict[str, str]]:
    """The rows of `system df`, by type."""
    lines = minirun("system", "df", "--format", "json", check=True).stdout.splitlines()
    return {row["Type"]: row for row in map(json.loads, lines)}


def verbose(minirun: Minirun) -> Any:
    """What `system df -v` has, parsed."""
    return json.loads(minirun("system", "df", "-v", "--format", "json", check=True).stdout)


def measured(minirun: Minirun) -> int:
    """Bytes in files of all layers, counted here."""
    return sum(
        path.lstat().st_size
        for path in {p.lstat().st_ino: p for p in (minirun.root / "diffs").rglob("*")}.values()
        if path.is_file() and not path.is_symlink()
    )


def size(text: str) -> float:
    """What ``1.98MB`` means."""
    number, unit = re.fullmatch(r"([\d.e+]+)([kMG]?)B", text.partition(" ")[0]).groups()  # type: ignore[union-attr]  # or the test fails
    return float(number) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[unit]


def test_an_empty_store_takes_nothing(minirun: Minirun) -> None:
    head, *rows = minirun("system", "df", check=True).stdout.splitlines()
    assert re.split(r"\s{2,}", head) == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    assert [re.split(r"\s{2,}", row) for row in rows] == [
        ["Images", "0", "0", "0B", "0B"],
        ["Containers", "0", "0", "0B", "0B"],
        ["Local Volumes", "0", "0", "0B", "0B"],
        ["Blobs", "0", "0", "0B", "0B"],
    ]


def test_layers_that_images_share_count_once(stocked: Minirun) -> None:
    row = totals(stocked)["Images"]
    assert (row["TotalCount"], row["Active"]) == ("2", "1")
    assert size(row["Size"]) == pytest.approx(measured(stocked), rel=0.01)
    images = {image["Repository"]: image for image in verbose(stocked)["Images"]}
    assert images["small"]["Size"] == images["small"]["SharedSize"] == images["kept"]["SharedSize"]
    assert (images["small"]["UniqueSize"], images["kept"]["UniqueSize"]) == ("0B", "4kB")
    assert (images["small"]["Containers"], images["kept"]["Containers"]) == ("1", "0")


def test_a_layer_says_how_many_share_it(stocked: Minirun) -> None:
    layers = verbose(stocked)["Layers"]
    assert [size(layer["Size"]) for layer in layers] == sorted((size(layer["Size"]) for layer in layers), reverse=True)
    assert sorted((layer["Images"], layer["Containers"], layer["DiffID"] == "<none>") for layer in layers) == [
        ("1", "1", True),  # taken from the container, which still stands on it
        ("2", "1", False),
        ("2", "1", False),
        ("2", "1", False),
    ]


def test_what_is_reclaimable_is_what_removing_frees(stocked: Minirun) -> None:
    assert totals(stocked)["Images"]["Reclaimable"] == "0B (0%)"
    stocked("rm", "writer", check=True)
    before = totals(stocked)["Images"]
    assert before["Reclaimable"] == f"{before['Size']} (100%)"
    stocked("rmi", "kept", check=True)
    after = totals(stocked)["Images"]
    assert size(before["Size"]) - size(after["Size"]) == pytest.approx(WRITTEN, abs=size(before["Size"]) * 0.005)
    stocked("rmi", "small", check=True)
    assert totals(stocked)["Images"]["Size"] == "0B"
    assert measured(stocked) == 0


def test_what_a_commit_took_is_a_layers_and_no_containers(stocked: Minirun) -> None:
    assert totals(stocked)["Containers"]["Size"] == "0B"
    stocked("start", "-a", "writer")
    row = totals(stocked)["Containers"]
    assert (row["Size"], row["Reclaimable"]) == ("4kB", "4kB (100%)")


def test_a_container_that_runs_is_active_and_not_reclaimable(stocked: Minirun) -> None:
    stocked("tag", "small", "busybox", check=True)
    with running(stocked, "busy", "sh", "-c", "echo 12345 >/x; sleep 100 & wait", count=2):
        row = totals(stocked)["Containers"]
        assert (row["TotalCount"], row["Active"], row["Reclaimable"]) == ("2", "1", "0B (0%)")
        assert size(row["Size"]) == len("12345\n")
        table = stocked("system", "df", "-v", check=True).stdout
        assert re.search(
            r'^[0-9a-f]{12} +busybox +"sh -c \'echo 12345 >…" +6B +.* ago +Up .* +busy$', table, re.MULTILINE
        )


def test_what_images_came_in_is_counted_once(stocked: Minirun) -> None:
    sizes = {path.name: path.stat().st_size for path in (stocked.root / "blobs").iterdir()}
    assert len(sizes) == 2  # of two tars; the third layer came as a directory
    row = totals(stocked)["Blobs"]
    assert (row["TotalCount"], row["Active"]) == ("2", "2")
    assert size(row["Size"]) == pytest.approx(sum(sizes.values()), rel=0.01)
    blobs = verbose(stocked)["Blobs"]
    assert {blob["ID"][7:] for blob in blobs} == {name.removesuffix(".zst") for name in sizes}
    assert {(blob["Images"], blob["Containers"]) for blob in blobs} == {("2", "1")}
    stocked("rm", "writer", check=True)
    assert totals(stocked)["Blobs"]["Reclaimable"] == f"{row['Size']} (100%)"
    stocked("image", "prune", "-af", check=True)
    assert totals(stocked)["Blobs"]["TotalCount"] == "0"


def test_the_whole_picture_has_five_tables(stocked: Minirun) -> None:
    lines = stocked("system", "df", "-v", check=True).stdout.splitlines()
    heads = [re.split(r"\s{2,}", lines[place + 2]) for place, line in enumerate(lines) if line.endswith("space usage:")]
    assert heads == [
        ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE", "SHARED SIZE", "UNIQUE SIZE", "CONTAINERS"],
        ["CONTAINER ID", "IMAGE", "COMMAND", "SIZE", "CREATED", "STATUS", "NAMES"],
        ["VOLUME NAME", "LINKS", "SIZE"],
        ["LAYER ID", "DIFF ID", "SIZE", "IMAGES", "CONTAINERS"],
        ["DIGEST", "SIZE", "IMAGES", "CONTAINERS"],
    ]
    stocked("tag", "kept", "other:1", check=True)
    by_template = stocked("system", "df", "-v", "--format", "{{range .Images}}{{.Tag}} {{end}}", check=True).stdout
    assert sorted(by_template.split()) == ["latest", "latest"]


def test_a_field_that_is_none_is_refused(minirun: Minirun) -> None:
    refused = minirun("system", "df", "--format", "{{.Sizes}}")
    assert refused.returncode == 125
    assert "there is no field 'Sizes'" in refused.stderr
