"""Many people do anything at all to the same few containers at once: the store is sound then, and nothing is left."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from minirun.container import supervision
from tests import crowd, inject, kept
from tests.command import PATIENCE, Minirun

WORKERS = 32
SECONDS = 300 if inject.THOROUGH else 8 * PATIENCE
NAMES = ["one", "two", "three", "four", "five"]
COMMANDS = [
    ("sleep", "100000"),
    ("sh", "-c", "trap 'exit 7' TERM; i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done"),
    ("sh", "-c", "echo short; exit 3"),
    ("sh", "-c", "sleep 0.3; exit 1"),
]
POLICIES: list[list[str]] = [[], [], ["--restart", "on-failure:3"], ["--restart", "always"], ["--rm"]]
# What may happen to somebody who is not alone; anything else is a fault.
LEGITIMATE = re.compile(
    r"minirun: cannot "
    r"(find container \w+: no such container"
    r"|inspect \w+: there is no container, image, volume or network of that name or id"
    r"|name a container '\w+': the name is in use by container \w+"
    r"|rename container \w+( to \w+)?: .*(in use|has that name|is its name|already)"
    r"|start container \w+: it has ended, and goes"
    r"|(start|attach to) container \w+: it is \w+"
    r"|kill container \w+: it is not running: it is \w+"
    r"|(pause|unpause) container \w+: it (is (not )?\w+|ended meanwhile)"
    r"|remove container \w+: it is (running|paused|restarting)"
    r"|(execute a command in|show the processes of) container \w+: it is (not running|paused|restarting|created|exited)"
    r"|read the log of container \w+: .*"
    r"|freeze the processes of \S+: )"
)


class Somebody(crowd.Worker):
    """Somebody who does what he likes."""

    legitimate = LEGITIMATE
    killed_within_s = 0.2

    def statuses(self, verb: str) -> Sequence[int]:
        """3, 137, 143: of a command in a container that somebody else ended."""
        return (0, 125, 3, 137, 143) if verb in ("exec", "logs") else (0, 125)

    def command(self) -> Sequence[str]:
        """Choose one."""
        pick = self.random.choice
        name, other = pick(NAMES), pick(NAMES)
        return pick([
            ["run", "-d", "--name", name, *pick(POLICIES), "busybox", *pick(COMMANDS)],
            ["run", "-d", "--name", name, *pick(POLICIES), "busybox", *pick(COMMANDS)],
            ["run", "-d", "--name", other, *pick(POLICIES), "busybox", *pick(COMMANDS)],
            ["create", "--name", name, "busybox", *pick(COMMANDS)],
            ["start", name],
            ["start", other, name],
            ["stop", "-t", "0", name],
            ["stop", "-t", "1", name],
            ["kill", name],
            ["kill", "-s", "TERM", name],
            ["restart", "-t", "0", name],
            ["pause", name],
            ["unpause", name],
            ["unpause", other],
            ["exec", name, "true"],
            ["exec", "-d", name, "sleep", "0.1"],
            ["rename", name, other],
            ["rm", name],
            ["rm", "-f", name],
            ["rm", "-f", other],
            ["logs", name],
            ["ps", "-a"],
            ["inspect", name],
            ["top", name],
        ])  # fmt: skip


@pytest.fixture
def minirun(store: Minirun) -> Iterator[Minirun]:
    """A store with the image `busybox`."""
    yield store
    kept.clear(store)
    store("ps", "-a", check=True)
    supervision.tidy(str(store.runtime))


@pytest.mark.parametrize("killing", [0, 6], ids=["all-live", "some-are-killed"])
def test_anything_may_be_done_to_containers_at_once(killing: int, minirun: Minirun) -> None:
    wanted = ("run", "start", "stop", "kill", "restart", "exec", "rm", "rename")
    crowd.work(WORKERS, SECONDS, lambda seed, end: Somebody(minirun, seed, end, killing), wanted)
    assert "Traceback" not in (said := kept.complaints(minirun)), said
    inspect(minirun)
    kept.clear(minirun)
    minirun("ps", check=True)
    empty(minirun)


def inspect(minirun: Minirun) -> None:
    """What is written is true, and everything that remained can be worked with."""
    minirun("unpause", *NAMES)
    checked = minirun("system", "check", "--quick")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    boxes = minirun("ps", "-a", "-q", "--no-trunc", check=True).stdout.split()
    for box in boxes:
        kept.until(lambda box=box: is_true(minirun, box), f"what is told of {box} is not so")  # type: ignore[misc]
        minirun("stop", "-t", "0", box, check=True)
        told = minirun("inspect", "-f", "{{.State.Status}}", box)
        assert told.stdout in ("exited\n", "created\n") or "there is no container" in told.stderr  # it had --rm
    for box in minirun("ps", "-a", "-q", "--no-trunc", check=True).stdout.split():
        minirun("start", box, check=True)
        minirun("logs", box, check=True)
    owners = sorted(name.readlink().name for name in (minirun.root / "names").iterdir())
    kept.until(lambda: sorted(path.name for path in (minirun.root / "containers").iterdir()) <= owners)


def is_true(minirun: Minirun, box: str) -> bool:
    """Whether what is told of a container is so."""
    result = minirun("inspect", "-f", "{{json .State}}", box)
    if result.returncode:
        return True  # it had --rm
    now = json.loads(result.stdout)
    directory = minirun.runtime / "containers" / box
    if now["Status"] == "running":
        return kept.status(now["Pid"]) not in kept.GONE and (directory / "keeper").exists()
    if now["Status"] == "restarting":
        return directory.exists()
    return not directory.exists() and not Path(hierarchy.path(box)).exists()


def empty(minirun: Minirun) -> None:
    """All were removed, and nothing of them is anywhere."""
    for folder in ("containers", "names", "marks", "tmp"):
        assert [path.name for path in (minirun.root / folder).iterdir()] == [], folder
    assert [path.name for path in (minirun.runtime / "containers").iterdir()] == []
    time.sleep(0.1)
    assert not kept.supervisors(minirun)
