"""Containers in the background, as a test sees them: their keepers, their supervisor, what they wrote."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from minirun.container import kept
from minirun.container.kept import Kept
from minirun.home import Home
from tests.command import PATIENCE, Minirun

PATIENCE_S = 10.0 * PATIENCE
GONE = ("Z", "X", "")


def home(minirun: Minirun) -> Home:
    """The store of *minirun*."""
    return Home(str(minirun.root), str(minirun.runtime))


def until(true: Callable[[], object], what: str = "", seconds: float = PATIENCE_S) -> None:
    """Wait until *true* says so; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what or "it does not come to be"
        time.sleep(0.005)


def status(pid: int) -> str:
    """The state of a process as the kernel's one letter; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def supervisors(minirun: Minirun) -> list[int]:
    """The pids of the supervisors of a store; children of one, at work for it, count."""
    return _running(minirun, "supervise.py")


def attendants(minirun: Minirun) -> list[int]:
    """The pids of those who answer for names on the networks of a store."""
    return _running(minirun, "attend.py")


def _running(minirun: Minirun, program: str) -> list[int]:
    found, ending = [], os.fsencode(f"/{program}")
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            mine = any(word.endswith(ending) for word in words[1:4]) and b"minirun-keeper" not in words[0]
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if mine else []
        except OSError:
            continue  # it has ended
        if os.fsencode(f"MINIRUN_RUNTIME={minirun.runtime}") in environment and status(int(pid)) not in GONE:
            found.append(int(pid))
    return sorted(found)


def supervisor(minirun: Minirun) -> int:
    """The pid of the one supervisor; waits until there is one."""
    until(lambda: supervisors(minirun), "there is no supervisor")
    return supervisors(minirun)[0]


def unsupervised(minirun: Minirun) -> None:
    """Wait until no supervisor is left, as after the last container in the background."""
    until(lambda: not supervisors(minirun), "the supervisor does not end")


def left(minirun: Minirun) -> set[str]:
    """The ids of containers that somebody looks after, or should."""
    try:
        return set(os.listdir(minirun.runtime / "containers"))
    except FileNotFoundError:
        return set()


def kill(*pids: int) -> None:
    """SIGKILL; who is gone already is gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: all(status(pid) in GONE for pid in pids), f"{pids} do not die")


def container_id(minirun: Minirun, name: str) -> str:
    """The id of a container."""
    return (minirun.root / "names" / name).readlink().name


def keeper(minirun: Minirun, name: str) -> Kept:
    """The keeper of a container that runs."""
    found = kept.read(home(minirun), container_id(minirun, name))
    assert found, f"{name} has no keeper"
    return found


def state(minirun: Minirun, name: str) -> dict[str, Any]:
    """What `inspect` tells of a container's state."""
    told = minirun("inspect", "-f", "{{json .State}}", name, check=True).stdout
    found: dict[str, Any] = json.loads(told)
    return found


def logged(minirun: Minirun, name: str) -> str:
    """Its log."""
    return minirun("logs", name, check=True).stdout


def await_log(minirun: Minirun, name: str, text: str) -> None:
    """Wait until something is in its log."""
    until(lambda: text in logged(minirun, name), f"{text!r} does not come into the log of {name}")


def await_status(minirun: Minirun, name: str, word: str) -> None:
    """Wait until `inspect` tells that status."""
    until(lambda: state(minirun, name)["Status"] == word, f"{name} does not become {word}")


def complaints(minirun: Minirun) -> str:
    """What supervisors said since this was asked the last time."""
    try:
        with (minirun.runtime / "supervisor.log").open("r+") as log:
            said = log.read()
            log.truncate(0)
    except FileNotFoundError:
        return ""
    return said


@contextmanager
def background(minirun: Minirun, name: str, *flags: str, script: str = "exec sleep 1000") -> Iterator[int]:
    """Run a script in a container until the block ends; gives the host's pid of its first process."""
    minirun("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", script, check=True)
    try:
        yield int(minirun("inspect", "-f", "{{.State.Pid}}", name, check=True).stdout)
    finally:
        minirun("rm", "-f", name, check=True)


def clear(minirun: Minirun) -> None:
    """Remove every container; then the supervisor goes, too."""
    if boxes := minirun("ps", "-aq", check=True).stdout.split():
        minirun("rm", "-f", *boxes, check=True)
    unsupervised(minirun)
