"""`image diff`: what differs between two images that were made in different ways."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.command import Minirun
from tests.screen import on_terminal

COLUMNS = 40
SCRIPT = "echo happy >/happy; echo more >>/etc/passwd; rm /etc/group; chmod 700 /opt; mkdir -p /d/e; touch /bin/busybox"


@pytest.fixture(scope="module")
def pair(store: Minirun) -> Minirun:
    """`busybox`, and `changed`, which was committed of it."""
    store("run", "--rm", "busybox", "sh", "-c", "test -e /etc/group && test -d /opt", check=True)
    store("run", "--name", "box", "busybox", "sh", "-c", SCRIPT, check=True)
    store("commit", "box", "changed", check=True)
    return store


def lines(minirun: Minirun, *arguments: str | Path) -> list[str]:
    return minirun("image", "diff", *arguments, check=True).stdout.splitlines()


def imported(minirun: Minirun, folder: Path, name: str, **files: str) -> None:
    """An image of one layer with *files*."""
    layer = folder / name / "00-only"
    for path, text in files.items():
        (layer / path).parent.mkdir(parents=True, exist_ok=True)
        (layer / path).write_text(text)
    minirun("import", folder / name, name, check=True)


def test_a_committed_image_differs_in_what_its_container_wrote(pair: Minirun) -> None:
    passwd = len((pair("run", "--rm", "busybox", "cat", "/etc/passwd", check=True)).stdout)
    group = len((pair("run", "--rm", "busybox", "cat", "/etc/group", check=True)).stdout)
    expected = [
        "A /d", "A /d/e", "C /etc", f"D /etc/group  {group}B", f"C /etc/passwd  {passwd}B → {passwd + 5}B",
        "A /happy  6B", "C /opt  mode",
    ]  # fmt: skip
    assert lines(pair, "busybox", "changed") == expected
    # what was touched and is the same is no difference, as it is one to `diff` of the container
    told = pair("diff", "box", check=True).stdout.splitlines()
    assert {line.split("  ")[0] for line in expected} == set(told) - {"C /bin", "C /bin/busybox"}
    assert [line[0] for line in lines(pair, "changed", "busybox")] == list("DDCACDC")
    assert lines(pair, "changed", "changed") == []


def test_the_mount_points_of_an_image_are_no_difference(minirun: Minirun, tmp_path: Path) -> None:
    imported(minirun, tmp_path, "bare", f="1")
    imported(minirun, tmp_path, "full", **{"f": "1", "etc/hosts": "mine\n", "proc/x": ""})
    assert lines(minirun, "bare", "full") == ["A /etc", "A /etc/hosts  5B", "A /proc", "A /proc/x  0B"]


def test_the_root_directory_itself_is_compared(minirun: Minirun, tmp_path: Path) -> None:
    imported(minirun, tmp_path, "one", f="1")
    (tmp_path / "two/00-only").mkdir(parents=True)
    (tmp_path / "two/00-only").chmod(0o711)
    (tmp_path / "two/00-only/f").write_text("1")
    minirun("import", tmp_path / "two", "two", check=True)
    assert lines(minirun, "one", "two") == ["C /  mode"]


def test_a_flat_copy_is_the_same_file_by_file(pair: Minirun, tmp_path: Path) -> None:
    with (tmp_path / "flat.tar").open("wb") as file:
        subprocess.run(pair.command(["export", "box"]), env=pair.environment(), stdout=file, check=True)
    pair("import", tmp_path / "flat.tar", "flat", check=True)
    mount_points = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/proc", "/sys", "/dev"}
    differing = [json.loads(line) for line in lines(pair, "--format", "json", "changed", "flat")]
    assert {one["Path"] for one in differing} - mount_points <= {"/etc"}
    assert all(one["Kind"] == "A" for one in differing if one["Path"] != "/etc")


def test_formats_are_those_of_every_list(pair: Minirun) -> None:
    objects = [json.loads(line) for line in lines(pair, "--format", "json", "busybox", "changed")]
    assert next(one for one in objects if one["Path"] == "/happy") == {
        "Kind": "A", "Path": "/happy", "OldSize": "", "NewSize": "6B", "Differs": "", "OldBytes": None, "NewBytes": 6,
    }  # fmt: skip
    assert next(one["Differs"] for one in objects if one["Path"] == "/etc/passwd") == "contents"
    assert lines(pair, "--format", "{{.NewBytes}} {{.Path}}", "busybox", "changed")[5] == "6 /happy"
    table = lines(pair, "--format", r"table {{.Kind}}\t{{.Path}}", "busybox", "changed")
    assert (table[0].split(), table[1].split()) == (["KIND", "PATH"], ["A", "/d"])
    assert lines(pair, "--format", "table", "busybox", "changed") == lines(pair, "busybox", "changed")
    refused = pair("image", "diff", "--format", "{{.Nome}}", "busybox", "changed")
    assert (refused.returncode, "there is no field 'Nome'" in refused.stderr) == (125, True)


def test_a_terminal_gets_a_summary_and_no_byte_that_commands_it(minirun: Minirun, tmp_path: Path) -> None:
    long = "/".join(["directory"] * 6)
    imported(minirun, tmp_path, "old", f="12345", gone="123")
    imported(minirun, tmp_path, "new", **{"f": "1234567890", "\x1b[2Jx": "", long: "1"})
    assert "A /\x1b[2Jx  0B" in lines(minirun, "old", "new")
    shown = on_terminal(minirun, "image", "diff", "old", "new", columns=COLUMNS, colours=False).splitlines()
    assert shown[0] == r"A /\x1b[2Jx  0B"
    assert shown[-1] == "7 added, 1 changed, 1 deleted, +3B"
    cut = [line for line in shown if "…" in line]
    assert {len(line) for line in cut} == {COLUMNS}
    assert (cut[-1][:5], cut[-1][-11:]) == ("A /di", "rectory  1B")
    whole = on_terminal(minirun, "image", "diff", "--no-trunc", "new", "old", columns=COLUMNS, colours=False)
    assert f"D /{long}  1B\n" in whole
    assert whole.endswith("\n1 added, 1 changed, 7 deleted, -3B\n")
    assert (
        on_terminal(minirun, "image", "diff", "new", "new", columns=COLUMNS, colours=False)
        == "0 added, 0 changed, 0 deleted, ±0B\n"
    )


def test_names_of_any_bytes_go_through_a_pipe(minirun: Minirun, tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe")
    imported(minirun, tmp_path, "plain", f="1")
    imported(minirun, tmp_path, "odd", **{"f": "1", odd: "2"})
    assert lines(minirun, "plain", "odd") == [f"A /{odd}  1B"]


def test_what_is_no_image_is_refused(pair: Minirun) -> None:
    refused = pair("image", "diff", "busybox", "nothing")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "no image of that name or id is stored" in refused.stderr
    assert pair("image", "diff", "busybox").returncode == 125
    # without the group it is the one of containers
    assert "no such container" in pair("diff", "changed").stderr


def test_a_shell_completes_it_and_names_of_images(pair: Minirun) -> None:
    def completed(*words: str) -> list[str]:
        line = " ".join(["minirun", *words])
        env = {"_MINIRUN_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
        return [text.partition(",")[2] for text in pair(env=env).stdout.splitlines()]

    assert completed("image", "di") == ["diff"]
    assert "tree" in completed("image", "t")
    assert completed("image", "diff", "busybox", "ch") == ["changed"]


def test_image_tree_is_images_tree(pair: Minirun) -> None:
    assert pair("image", "tree", check=True).stdout == pair("images", "--tree", check=True).stdout != ""
