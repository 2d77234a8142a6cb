"""update: limits change at once, hold from then on, and either all of them change or none.

These are limits that need no controller, so that they can be seen on every host; tests/vm has the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from tests.command import Minirun
from tests.kept import container_id, until

DEPTH, DESCENDANTS = "cgroup.max.depth", "cgroup.max.descendants"


@pytest.fixture
def box(store: Minirun) -> Iterator[Path]:
    """The group of a container called `box`, which runs."""
    with store.start("run", "--name", "box", "--cgroup-conf", f"{DEPTH}=3", "busybox", "sh", "-c", SCRIPT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"3 max\n"
        # the command may be quicker than who started it, and has yet to write that it runs
        until(lambda: store("ps", "-q", check=True).stdout, "it is not listed as running")
        yield Path(hierarchy.path(container_id(store, "box")))
        store("rm", "-f", "box")


SCRIPT = f"cd /sys/fs/cgroup; echo $(cat {DEPTH}) $(cat {DESCENDANTS}); [ -e /again ] || (>/again; exec sleep 60)"


def limits(group: Path) -> tuple[str, str]:
    return (group / DEPTH).read_text().strip(), (group / DESCENDANTS).read_text().strip()


def kept(store: Minirun) -> str:
    return store("inspect", "-f", "{{json .HostConfig.CgroupConf}}", "box", check=True).stdout.strip()


def test_a_limit_changes_while_the_container_runs_and_the_others_stay(store: Minirun, box: Path) -> None:
    assert store("update", "--cgroup-conf", f"{DESCENDANTS}=9", "box", check=True).stdout == "box\n"
    assert limits(box) == ("3", "9")
    assert kept(store) == f'{{"{DEPTH}":"3","{DESCENDANTS}":"9"}}'


def test_it_holds_when_the_container_is_started_again(store: Minirun, box: Path) -> None:
    store("update", "--cgroup-conf", f"{DEPTH}=4", "box", check=True)
    store("stop", "-t", "0", "box", check=True)
    assert not box.exists()
    assert store("start", "-a", "box", check=True).stdout == "4 max\n"


def test_a_value_that_the_kernel_refuses_changes_nothing(store: Minirun, box: Path) -> None:
    result = store("update", "--cgroup-conf", f"{DEPTH}=5", "--cgroup-conf", f"{DESCENDANTS}=-5", "box")
    assert result.returncode == 125
    assert f"cannot set {DESCENDANTS} to '-5': E" in result.stderr
    assert limits(box) == ("3", "max")
    assert kept(store) == f'{{"{DEPTH}":"3"}}'


def test_a_file_that_the_kernel_has_not_got_changes_nothing(store: Minirun, box: Path) -> None:
    before = limits(box)
    result = store("update", "--cgroup-conf", f"{DEPTH}=5", "--cgroup-conf", "cgroup.max.depth=6", "nobody", "box")
    assert result.returncode == 125
    assert "cannot find container nobody" in result.stderr
    assert result.stdout == "box\n", "the others have their turn"
    assert limits(box) == ("6", "max") != before


@pytest.mark.parametrize("flags", [[], ["--rm"], ["--memory", "5m"], ["--cgroup-conf", "cgroup.procs=1"]])
def test_what_means_nothing_is_refused(store: Minirun, box: Path, flags: list[str]) -> None:
    result = store("update", *flags, "box")
    assert result.returncode == 125
    assert result.stderr.startswith("minirun: cannot ")
    assert limits(box) == ("3", "max")


def test_a_controller_that_this_host_has_not_got_is_refused_and_not_kept(store: Minirun, box: Path) -> None:
    if "pids" in hierarchy.controllers(hierarchy.mount_point()):
        pytest.skip("this host has the pids controller in cgroup v2")
    store("create", "--name", "still", "busybox", "true", check=True)
    for name in ("box", "still"):
        result = store("update", "--pids-limit", "50", name)
        assert result.returncode == 125
        assert "the pids controller is not in the cgroup v2 hierarchy" in result.stderr
        assert "or run without --pids-limit" in result.stderr
    assert store("inspect", "-f", "{{.HostConfig.PidsLimit}}", "still").stdout == "<no value>\n"
