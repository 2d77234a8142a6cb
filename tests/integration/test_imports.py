"""What a command imports is what its start costs: each may import so much and no more.

Counted, not timed: `-X importtime` names every module that was looked for and run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from minirun import hot
from tests.command import LAUNCHER, Minirun
from tests.running import running

PROJECT = LAUNCHER.parents[2]
# of the standard library; what the interpreter has in it already is not counted
RUN = {"__future__", "_json", "struct", "minirun"}
FROZEN = {
    "_collections_abc", "_frozen_importlib_external", "abc", "codecs", "encodings", "genericpath", "io", "os",
    "posixpath", "stat", "zipimport",
}  # fmt: skip
HEAVY = {
    "click", "ctypes", "dataclasses", "email", "enum", "hashlib", "isal", "json", "logging", "pathlib", "prctl",
    "psutil", "pyroute2", "re", "select", "signal", "socket", "subprocess",
    "tempfile", "threading", "typing", "urllib3", "zstandard",
}  # fmt: skip
# click cannot do without some of them
NEVER_WITH_CLICK = {
    "hashlib", "isal", "pathlib", "prctl", "psutil", "pyroute2", "socket", "subprocess", "tempfile", "urllib3",
    "zstandard",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _compiled(store: Minirun) -> None:
    """Have the default seccomp profile compiled: the first start of a boot does that, and takes libseccomp."""
    store("run", "--rm", "busybox", "true", check=True)


def imported(store: Minirun, *arguments: str) -> set[str]:
    """The top names of what a command imports while it runs."""
    shebang = LAUNCHER.read_text().splitlines()[0].removeprefix("#!").split()
    command = [*shebang, "-X", "importtime", str(LAUNCHER), *arguments]
    result = subprocess.run(
        command, env=store.environment(None), capture_output=True, text=True, check=True, timeout=60
    )
    names = re.findall(r"^import time:\s+\d+ \|\s+\d+ \|\s*(\S+)$", result.stderr, re.MULTILINE)
    return {name.partition(".")[0] for name in names}


def test_run_imports_nothing_of_the_standard_library_that_the_interpreter_has_not_got(store: Minirun) -> None:
    loaded = imported(store, "run", "--rm", "busybox", "true")
    assert "minirun" in loaded
    assert loaded - set(sys.builtin_module_names) - FROZEN <= RUN


def test_exec_imports_nothing_more_than_run_does(store: Minirun) -> None:
    with running(store, "idle", "sleep", "1000"):
        loaded = imported(store, "exec", "idle", "true")
    assert "minirun" in loaded
    assert loaded - set(sys.builtin_module_names) - FROZEN <= RUN


def test_exec_does_without_what_only_makes_containers() -> None:
    wanted = hot.COMMANDS["exec"]
    script = f"import sys; sys.path.append({str(PROJECT)!r}); import {', '.join(wanted)}; print(*sys.modules)"
    command = [sys.executable, "-ISc", script]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(wanted) <= set(loaded)
    assert [name for name in loaded if re.match(r"minirun\.(image|network|rootfs\.overlay|launch\.plan)\b", name)] == []


def test_run_of_an_unchanged_directory_imports_nothing_more(store: Minirun, busybox_layers: Path) -> None:
    directory = str(busybox_layers)
    store("run", "--rm", directory, "true", check=True)
    assert not imported(store, "run", "--rm", directory, "true") & HEAVY


@pytest.mark.parametrize("arguments", [(), ("-a",), ("-q",)])
def test_ps_imports_neither_click_nor_what_formats_need(store: Minirun, arguments: tuple[str, ...]) -> None:
    store("create", "--name", "listed", "busybox", "true", check=True)
    assert not imported(store, "ps", *arguments) & HEAVY
    store("rm", "listed", check=True)


def test_load_save_and_commit_import_neither_click_nor_what_it_imports(store: Minirun, tmp_path: Path) -> None:
    archive = tmp_path / "busybox.tar"
    store("run", "--name", "direct", "busybox", "true", check=True)
    commands = (
        ("save", "-q", "-o", archive, "busybox"),
        ("load", "-q", "-i", archive),
        ("commit", "-m", "why", "direct", "committed"),
    )
    for command in commands:
        assert not imported(store, *map(str, command)) & {"click", "dataclasses", "inspect", "pickle", "tempfile"}
    store("rm", "direct", check=True)
    store("rmi", "committed", check=True)


@pytest.mark.parametrize("command", [("ps", "--help"), ("images",), ("version",), ("rm",), ("tag", "busybox", "other")])
def test_commands_by_click_import_click_and_not_what_other_commands_need(
    store: Minirun, command: tuple[str, ...]
) -> None:
    arguments = command if command != ("rm",) else ("rm", "--help")
    assert not imported(store, *arguments) & NEVER_WITH_CLICK
