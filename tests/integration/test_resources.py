"""What the kernel holds a process to besides its cgroup, and which part of the cgroup tree it sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from minirun.kernel import privileges
from tests import busybox
from tests.command import Minirun

SCORE = int(Path("/proc/self/oom_score_adj").read_text())


@pytest.mark.parametrize("user", ["root", "1000"])
@pytest.mark.parametrize("init", [False, True])
def test_a_container_has_the_limits_that_were_asked_for_and_the_caller_keeps_its_own(
    store: Minirun, user: str, *, init: bool
) -> None:
    before = Path("/proc/self/limits").read_text()
    flags = ["--ulimit", "nofile=64:128", "--ulimit", "core=0", "--ulimit", "stack=1048576", "-u", user]
    script = "ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -s"
    result = store("run", "--rm", *(["--init"] if init else []), *flags, "busybox", "sh", "-c", script)
    assert (result.stdout.split(), result.stderr) == (["64", "128", "0", "1024"], "")
    assert Path("/proc/self/limits").read_text() == before


def test_a_limit_holds(store: Minirun) -> None:
    script = 'for i in 3 4 5 6 7 8 9 10 11 12; do eval "exec $i</dev/null" || exit 9; done; echo all'
    result = store("run", "--rm", "--ulimit", "nofile=8", "busybox", "sh", "-c", script)
    assert result.returncode != 0
    assert result.stdout == ""
    assert store("run", "--rm", "--ulimit", "nofile=64", "busybox", "sh", "-c", script).stdout == "all\n"


def test_the_oom_killer_finds_it_earlier(store: Minirun) -> None:
    wanted = min(SCORE + 250, 1000)
    words = ["cat", "/proc/self/oom_score_adj"]
    assert store("run", "--rm", "--oom-score-adj", f"{wanted}", "busybox", *words).stdout == f"{wanted}\n"
    assert store("run", "--rm", "busybox", *words).stdout == f"{SCORE}\n"
    assert int(Path("/proc/self/oom_score_adj").read_text()) == SCORE


def test_to_be_found_later_takes_a_capability_and_without_it_nothing_is_left(store: Minirun) -> None:
    if not privileges.missing(("CAP_SYS_RESOURCE",)):
        pytest.skip("minirun has CAP_SYS_RESOURCE here")
    before = busybox.contents(store.root)
    result = store("run", "--oom-score-adj", "-900", "busybox", "true")
    assert result.returncode == 125
    assert "--oom-score-adj" in result.stderr
    assert "EACCES" in result.stderr
    assert busybox.contents(store.root) == before


def test_shared_memory_has_the_size_that_was_asked_for(store: Minirun) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/x bs=1k count=3000"
    script = f"df -k /dev/shm | awk 'END {{print $2}}'; {fill} 2>&1 | grep -c 'No space'"
    result = store("run", "--rm", "--shm-size", "2m", "busybox", "sh", "-c", script)
    assert result.stdout.split() == ["2048", "1"]
    assert store("run", "--rm", "busybox", "sh", "-c", script).stdout.split() == ["65536", "0"]


def test_its_own_group_is_the_root_that_it_sees_or_the_hosts_is(store: Minirun) -> None:
    script = "grep ^0:: /proc/self/cgroup; ls /sys/fs/cgroup | grep -c '^minirun$'; touch /sys/fs/cgroup/x 2>&1"
    own = store("run", "--rm", "--cgroupns", "private", "busybox", "sh", "-c", script).stdout.splitlines()
    assert own[:2] == ["0::/", "0"]
    assert "Read-only file system" in own[2]
    hosts = store("run", "--rm", "--cgroupns", "host", "busybox", "sh", "-c", script).stdout.splitlines()
    assert hosts[0].startswith(f"0::/{hierarchy.OWN}/")
    assert hosts[1] == "1"
    assert "Read-only file system" in hosts[2]


def test_containers_below_one_parent_share_it_and_it_goes_with_the_last(store: Minirun) -> None:
    words = ["run", "--rm", "--cgroup-parent", "web/blue", "--cgroupns", "host", "busybox", "cat", "/proc/self/cgroup"]
    assert "0::/minirun/web/blue/" in store(*words, check=True).stdout
    assert not Path(hierarchy.own(), "web").exists()
    result = store("run", "--rm", "--cgroup-parent", "/no/such", "busybox", "true")
    assert result.returncode == 125
    assert "ENOENT" in result.stderr
