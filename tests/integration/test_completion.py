"""Shells complete what is there: real ones, that somebody types into, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import PATIENCE, Minirun
from tests.running import running
from tests.screen import Screen

SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        "bind 'set bell-style none'; bind 'set enable-bracketed-paste off'",
    ),
    "zsh": (["zsh", "-f", "-i"], "unsetopt BEEP PROMPT_SP ZLE_BRACKETED_PASTE; autoload -U compinit; compinit -D -u"),
}


@pytest.fixture(scope="module")
def boxes(store: Minirun) -> Iterator[None]:
    """A container that runs, one that stands still, one that does not run, and images."""
    store("create", "--name", "idle-box", "busybox", "true", check=True)
    store("tag", "busybox", "team/app:1.2", check=True)
    store("volume", "create", "data-of-mine", check=True)
    with running(store, "busy-box", "sleep", "1000"), running(store, "still-box", "sleep", "1000"):
        store("pause", "still-box", check=True)
        yield
        store("unpause", "still-box", check=True)
    store("rm", "idle-box", check=True)
    store("volume", "rm", "data-of-mine", check=True)


def environment(minirun: Minirun) -> dict[str, str]:
    """That of a shell which finds the command, and has nothing of its user's."""
    path = f"{Path(minirun.command([])[0]).parent}:{os.environ['PATH']}"
    return {**minirun.environment({"TERM": "dumb", "PS1": "> ", "PATH": path, "INPUTRC": "/dev/null"}), "HOME": "/tmp"}


class Shell:
    """A shell on a terminal, with the script."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.count = 0

    def completed(self, line: str, expected: str) -> None:
        """Type *line* and a tab, and wait until the line that is then executed is *expected*."""
        self.count += 1
        # what the shell has made of the line is printed by itself, when it is an argument of echo
        self.screen.seen = b""
        self.screen.type(f"{line}\t".encode())
        time.sleep(0.5 * PATIENCE)  # minirun is asked meanwhile
        self.screen.type(b"\x01echo \x05#\n")  # to the beginning, to the end
        self.screen.wait_for(f"\n{expected}".encode())
        self.screen.type(f"echo end-{self.count}\n".encode())
        self.screen.wait_for(f"\nend-{self.count}".encode())


@contextmanager
def typed_into(minirun: Minirun, shell: str) -> Iterator[Shell]:
    """A shell of that name, in which completion is on."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    words, begin = SHELLS[shell]
    screen = Screen()
    screen.resize(50, 500)
    process = subprocess.Popen(
        ["setsid", "--ctty", *words], env=environment(minirun), stdin=screen.slave, stdout=screen.slave,
        stderr=screen.slave,
    )  # fmt: skip
    try:
        screen.type(f"{begin}; source <(minirun completion {shell}); echo rea''dy\n".encode())
        screen.wait_for(b"ready\r\n")
        yield Shell(screen)
    finally:
        process.kill()
        process.wait()
        screen.close()


@pytest.mark.usefixtures("boxes")
@pytest.mark.parametrize("shell", SHELLS)
def test_a_line_is_completed_where_somebody_types_a_tab(store: Minirun, shell: str) -> None:
    whole = store("inspect", "-f", "{{.Id}}", "idle-box", check=True).stdout.strip()
    with typed_into(store, shell) as typing:
        for line, expected in (
            ("minirun sto", "minirun stop "),
            ("minirun stop bu", "minirun stop busy-box "),
            ("minirun unpause ", "minirun unpause still-box "),
            ("minirun start i", "minirun start idle-box "),
            (f"minirun rm {whole[:6]}", f"minirun rm {whole[:12]} "),
            ("minirun run --rm team/app:1", "minirun run --rm team/app:1.2 "),
            ("minirun create --network h", "minirun create --network host "),
            ("minirun run --restart unl", "minirun run --restart unless-stopped "),
            ("minirun volume inspect da", "minirun volume inspect data-of-mine "),
            ("minirun exec busy-box /etc/nothing-here-is", "minirun exec busy-box /etc/nothing-here-is"),
        ):
            typing.completed(line, expected.rstrip())


@pytest.mark.usefixtures("boxes")
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("minirun stop ", {"busy-box", "still-box"}),
        ("minirun start ", {"idle-box"}),
        ("minirun pause ", {"busy-box"}),
        ("minirun unpause ", {"still-box"}),
        ("minirun exec ", {"busy-box", "still-box"}),
        ("minirun rm ", {"busy-box", "idle-box", "still-box"}),
        ("minirun inspect i", {"idle-box"}),
        ("minirun run team/app:", {"team/app:1.2"}),
        ("minirun container re", {"remove", "rename", "restart"}),
        ("minirun run --network ", {"none", "host", "bridge", "pasta", "slirp4netns"}),
        ("minirun run --stop-signal SIGHU", {"SIGHUP"}),
        ("minirun stop nothing", set()),
    ],
)
def test_fish_offers_what_a_command_can_be_for(store: Minirun, line: str, completed: set[str]) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    script = f"minirun completion fish | source; complete -C '{line}'"
    result = subprocess.run(
        ["fish", "--no-config", "-c", script], env=environment(store), capture_output=True, text=True, check=True
    )
    assert {one.partition("\t")[0] for one in result.stdout.splitlines()} == completed


@pytest.mark.usefixtures("boxes")
def test_bash_completes_behind_a_colon_and_files_beside_volumes(store: Minirun, tmp_path: Path) -> None:
    (tmp_path / "dated").mkdir()
    (tmp_path / "other").write_text("")
    assert offered(store, "minirun run team/app:") == ["1.2"]
    assert offered(store, "minirun run -v da", tmp_path) == ["data-of-mine:", "dated"]
    assert offered(store, "minirun run --env-file o", tmp_path) == ["other"]
    assert offered(store, "minirun run --network=h", tmp_path) == ["host"]
    assert offered(store, 'minirun stop "bu', tmp_path) == ["busy-box"]


def offered(minirun: Minirun, line: str, directory: Path | None = None) -> list[str]:
    """What the function of the script offers for a line that ends at the cursor."""
    words = f"COMP_LINE={line!r}; COMP_POINT={len(line)}; compopt() {{ :; }}; _minirun_completion minirun"
    script = f'source <(minirun completion bash)\n{words}\nprintf "%s\\n" "${{COMPREPLY[@]}}"'
    result = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment(minirun), capture_output=True, text=True, check=True,
        cwd=directory,
    )  # fmt: skip
    assert result.stderr == ""
    return sorted(filter(None, result.stdout.splitlines()))
