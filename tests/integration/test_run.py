"""`run`, flag by flag, with Docker's meaning of each: what the command is, where it runs, what it sees."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests import busybox
from tests.command import Minirun


def inside(store: Minirun, *arguments: str | Path) -> str:
    """Run in a container that is thrown away; return what it printed."""
    return store("run", "--rm", *arguments, check=True).stdout


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image whose config says everything."""
    directory = tmp_path_factory.mktemp("configured") / "image"
    config = {
        "Entrypoint": ["echo", "entry"],
        "Cmd": ["cmd"],
        "WorkingDir": "/srv/work",
        "Labels": {"a": "1", "b": "2"},
    }
    base = busybox.tree(directory, config)
    script = base / "bin/script"
    script.write_text("#!/bin/sh\necho script $0 $@\n")
    script.chmod(0o755)
    return directory


def test_the_command_is_the_images_cmd_when_none_is_given(store: Minirun) -> None:
    assert store("run", "--rm", "-i", "busybox", stdin="echo from $0\n", check=True).stdout == "from sh\n"


def test_a_command_takes_the_place_of_cmd_and_follows_the_entrypoint(store: Minirun, configured: Path) -> None:
    assert inside(store, configured) == "entry cmd\n"
    assert inside(store, configured, "mine", "and", "--rm") == "entry mine and --rm\n"


def test_an_entrypoint_of_the_callers_drops_the_images_entrypoint_and_cmd(store: Minirun, configured: Path) -> None:
    assert inside(store, "--entrypoint", "script", configured) == "script /bin/script\n"
    assert inside(store, "--entrypoint", "script", configured, "x") == "script /bin/script x\n"
    assert inside(store, "--entrypoint", "", configured, "echo", "bare") == "bare\n"


def test_an_empty_entrypoint_and_no_command_is_refused(store: Minirun, configured: Path) -> None:
    result = store("run", "--rm", "--entrypoint", "", configured)
    assert result.returncode == 125
    assert "no command was given" in result.stderr


def test_the_working_directory_is_made_where_it_is_missing(store: Minirun, configured: Path) -> None:
    assert inside(store, "--entrypoint", "pwd", configured) == "/srv/work\n"
    assert inside(store, "-w", "/a/new/one", "busybox", "pwd") == "/a/new/one\n"
    assert inside(store, "-w", "/a/./b//../c", "busybox", "pwd") == "/a/c\n"


def test_the_working_directory_is_made_below_a_root_that_is_read_only(store: Minirun) -> None:
    assert inside(store, "--read-only", "-w", "/a/new/one", "busybox", "pwd") == "/a/new/one\n"


def test_a_working_directory_below_proc_leaves_nothing_in_the_container_layer(store: Minirun) -> None:
    assert store("run", "--name", "below-proc", "-w", "/proc/1", "busybox", "pwd", check=True).stdout == "/proc/1\n"
    assert store("diff", "below-proc", check=True).stdout == ""
    store("rm", "below-proc", check=True)


def test_the_host_name_is_the_beginning_of_the_id_unless_it_is_given(store: Minirun) -> None:
    assert re.fullmatch(r"([0-9a-f]{12})\n\1\n\1\n", inside(store, "busybox", "sh", "-c",
                        "hostname; cat /etc/hostname; echo $HOSTNAME"))  # fmt: skip
    assert inside(store, "-h", "box.example", "busybox", "sh", "-c", "hostname; cat /etc/hostname; echo $HOSTNAME") == (
        "box.example\n" * 3
    )


def test_labels_are_the_images_with_the_callers_on_top(store: Minirun, configured: Path) -> None:
    store("run", "--name", "labelled", "-l", "b=mine", "--label", "c", configured, check=True)
    described = json.loads(store("inspect", "labelled", check=True).stdout)
    assert described[0]["Config"]["Labels"] == {"a": "1", "b": "mine", "c": ""}
    store("rm", "labelled", check=True)


def test_without_i_the_command_reads_nothing(store: Minirun) -> None:
    assert store("run", "--rm", "busybox", "cat", stdin="not for you", check=True).stdout == ""


def test_with_i_the_command_reads_standard_input_to_its_end(store: Minirun) -> None:
    text = "".join(f"{number}\n" for number in range(50_000))
    assert store("run", "--rm", "-i", "busybox", "cat", stdin=text, check=True).stdout == text


def test_output_and_errors_stay_apart(store: Minirun) -> None:
    result = store("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2", check=True)
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_arguments_that_are_no_utf8_reach_the_command_as_they_are(store: Minirun) -> None:
    odd = os.fsdecode(b"\xff \xc3\x28\n'\"$")
    assert inside(store, "-e", f"ODD={odd}", "busybox", "sh", "-c", 'echo "$1-$ODD"', "sh", odd) == f"{odd}-{odd}\n"


def test_the_id_goes_into_the_cidfile(store: Minirun, tmp_path: Path) -> None:
    cidfile = tmp_path / "cid"
    host = inside(store, "--cidfile", cidfile, "busybox", "hostname").strip()
    written = cidfile.read_text()
    assert re.fullmatch("[0-9a-f]{64}", written)
    assert written.startswith(host)


def test_a_cidfile_that_is_there_is_refused_and_left_alone(store: Minirun, tmp_path: Path) -> None:
    cidfile = tmp_path / "cid"
    cidfile.write_text("somebody else's")
    before = busybox.contents(store.root)
    result = store("run", "--rm", "--cidfile", cidfile, "busybox", "true")
    assert result.returncode == 125
    assert "EEXIST" in result.stderr
    assert cidfile.read_text() == "somebody else's"
    assert busybox.contents(store.root) == before


def test_a_command_that_cannot_begin_leaves_no_cidfile(store: Minirun, tmp_path: Path) -> None:
    assert store("run", "--cidfile", tmp_path / "cid", "busybox", "no-such-command").returncode == 127
    assert not (tmp_path / "cid").exists()


def test_a_read_only_root_takes_no_write_but_in_volumes_and_tmpfs(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    script = """
        for path in /x /etc/x /root/x /etc/hosts /etc/hostname /etc/resolv.conf; do
            echo x 2>/dev/null >>$path && echo "wrote $path"
        done
        echo kept >/data/file; echo kept >/run/file; echo kept >/dev/shm/file; cat /run/file /dev/shm/file"""
    flags = ("--read-only", "-v", f"{tmp_path}/data:/data", "--tmpfs", "/run")
    assert inside(store, *flags, "busybox", "sh", "-c", script) == "kept\nkept\n"
    assert (tmp_path / "data/file").read_text() == "kept\n"


def test_pull_never_and_missing_use_what_is_stored(store: Minirun) -> None:
    for policy in ("never", "missing"):
        assert inside(store, "--pull", policy, "busybox", "echo", policy) == f"{policy}\n"
    assert "no image of that name or id is stored" in store("run", "--pull=never", "nosuch").stderr


def test_a_container_without_rm_stays_and_one_with_it_goes(store: Minirun) -> None:
    before = busybox.containers(store.root)
    store("run", "--rm", "--name", "goes", "busybox", "true", check=True)
    assert busybox.containers(store.root) == before
    assert not (store.root / "names/goes").is_symlink()
    store("run", "--name", "stays", "busybox", "true", check=True)
    assert len(busybox.containers(store.root)) == len(before) + 1
    store("rm", "stays", check=True)


def test_a_name_that_is_given_back_can_be_taken_again(store: Minirun) -> None:
    for _ in range(2):
        store("run", "--rm", "--name", "again", "busybox", "true", check=True)


def test_a_directory_that_is_a_root_file_system_is_one_layer(store: Minirun, tmp_path: Path) -> None:
    base = busybox.tree(tmp_path / "image")
    (base / "marker").write_text("here")
    assert inside(store, base, "cat", "/marker") == "here"


def test_the_second_run_of_a_directory_unpacks_nothing(store: Minirun, busybox_layers: Path) -> None:
    inside(store, busybox_layers, "true")
    before = busybox.contents(store.root)
    inside(store, busybox_layers, "true")
    assert busybox.contents(store.root) == before


def test_a_changed_file_of_a_directory_is_noticed(store: Minirun, tmp_path: Path) -> None:
    base = busybox.tree(tmp_path / "image")
    for text in ("one", "two"):
        (base / "marker").write_text(text)
        assert inside(store, tmp_path / "image", "cat", "/marker") == text
