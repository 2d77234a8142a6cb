"""Several lanes of tests at once: workers of pytest-xdist, each in namespaces of its own. See decision 0064.

    pytest --lanes auto ─┬─ tests/lane ─▶ worker gw0      cgroup v2    minirun-tests-4711    of the pytest with this id
                         └─ tests/lane ─▶ worker gw1                    ├─ gw0/tests         the worker
                                                                        └─ gw1/tests

Each worker begins with its part of the tests, and who has done his takes half of what another has left.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minirun.cgroup import delegation, hierarchy
from minirun.errors import Unsupported

LANE = Path(__file__).with_name("lane")
PREFIX = "minirun-tests-"
MOST = 4
PATIENCE_S = 10.0


def add_option(parser: pytest.Parser) -> None:
    """Give pytest the option --lanes."""
    said = "how many tests to run at once; auto: one for each processor, up to four"
    parser.addoption("--lanes", metavar="N", default="1", help=said)


def open_lanes(config: pytest.Config) -> None:
    """Have pytest-xdist run the tests, its workers in lanes, if several are wanted; say so if there can be but one."""
    processors = min(len(os.sched_getaffinity(0)), MOST)
    count = processors if config.option.lanes == "auto" else int(config.option.lanes)
    if count == 1 or config.option.collectonly or hasattr(config, "workerinput"):
        return
    if not config.pluginmanager.hasplugin("xdist"):
        raise pytest.UsageError("--lanes needs pytest-xdist: run `make setup`")
    if reason := obstacle():
        sys.stderr.write(f"one lane: {reason}\n")
        return
    top = make_top()
    config.add_cleanup(lambda: remove(top))
    config.option.dist = "worksteal"
    config.option.tx = [
        f"popen//id=gw{number}//python={shlex.join([*lane(top / f'gw{number}'), sys.executable])}"
        for number in range(count)
    ]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as at Ctrl-C, what was opened is closed


def lane(group: Path) -> list[str]:
    """The words before a command that is to be a lane, whose cgroup will be *group*."""
    return [str(LANE), hierarchy.mount_point(), str(group)]


def obstacle() -> str:
    """Why there cannot be lanes here; empty if there can."""
    if os.geteuid() != 0:
        return "only root makes namespaces"
    if Path(delegation.BOOTED).exists():
        # It would look for the processes that minirun in a lane tells it of among its own, by their ids.
        return "systemd, which minirun asks for scopes, does not know what is in a lane"
    try:
        hierarchy.mount_point()
    except Unsupported as refusal:
        return refusal.reason
    tried = ["unshare", "--pid", "--fork", "--mount", "--cgroup", "true"]
    return subprocess.run(tried, stderr=subprocess.PIPE, text=True, check=False).stderr.strip()


def make_top() -> Path:
    """Make the group in which those of lanes are, with every controller; what a killed pytest has left goes."""
    root = Path(hierarchy.mount_point())
    for left in root.glob(f"{PREFIX}*"):
        if not Path("/proc", left.name.removeprefix(PREFIX)).exists():
            remove(left)
    top = root / f"{PREFIX}{os.getpid()}"
    top.mkdir()
    for group in (root, top):
        for controller in (group / "cgroup.controllers").read_text().split():
            # EBUSY: a group with processes gives none away, unless it is the hierarchy's first; then lanes go without
            with contextlib.suppress(OSError):
                (group / "cgroup.subtree_control").write_text(f"+{controller}")
    return top


def remove(top: Path) -> None:
    """Remove the group *top* and all below it; whose processes are killed, if there still are any."""
    (top / "cgroup.kill").write_text("1")
    end = time.monotonic() + PATIENCE_S
    for directory, _, _ in os.walk(top, topdown=False):
        while True:
            try:
                Path(directory).rmdir()
                break
            except OSError:  # EBUSY: who was killed is ending
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
