"""--pids-limit."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.command import Minirun
from tests.vm.box import READY, Box


def most_processes(box: Box, seconds: float) -> int:
    """The most processes that it is seen to have during the next *seconds*."""
    end, most = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        most = max(most, int(box.read("pids.current")))
        time.sleep(0.01)
    return most


@pytest.mark.parametrize(
    ("flags", "most", "told"),
    [
        ((), "2048", "2048"), (("--pids-limit", "-1"), "max", "-1"), (("--pids-limit", "0"), "max", "-1"),
        (("--memory", "64m"), "2048", "2048"), (("--cgroup-conf", "pids.max=7"), "7", "7"),
        (("--privileged",), "2048", "2048"),
    ],
)  # fmt: skip
def test_who_says_nothing_of_processes_has_2048(
    start: Callable[..., Box], store: Minirun, flags: tuple[str, ...], most: str, told: str
) -> None:
    box = start(*flags, "busybox", "sh", "-c", f"{READY} exec sleep 1000")
    # a group that nobody limits need not have the controller
    assert (box.read("pids.max") if (box.group / "pids.max").exists() else "max") == most
    assert store("inspect", "-f", "{{.HostConfig.PidsLimit}}", box.id, check=True).stdout == f"{told}\n"
    store("update", "--pids-limit", "100", box.id, check=True)
    assert box.read("pids.max") == ("7" if most == "7" else "100")  # a file that was asked for wins


def test_what_a_start_would_give_is_told_before(store: Minirun) -> None:
    store("create", "--name", "waits", "busybox", "true", check=True)
    try:
        assert store("inspect", "-f", "{{.HostConfig.PidsLimit}}", "waits", check=True).stdout == "2048\n"
        told = store("explain", "--format", "{{.Name}} {{.State}}", "waits", check=True).stdout
        assert "pids-limit 2048\n" in told
        assert "pids.max 2048" in store("run", "--dry-run", "busybox", "true", check=True).stdout
    finally:
        store("rm", "waits", check=True)


def test_a_fork_bomb_stops_at_the_limit_and_at_one_that_is_changed(start: Callable[..., Box], store: Minirun) -> None:
    # who cannot fork ends, is reaped, and another can; --cpus is for the sake of this process
    bomb = f"bomb() {{ bomb | bomb & }}; {READY} bomb 2>/dev/null; exec sleep 1000"
    box = start("--init", "--pids-limit", "20", "--cpus", "0.5", "busybox", "sh", "-c", bomb)
    assert 15 <= most_processes(box, 1.5) <= 20
    assert box.count("pids.events", "max") > 0
    store("update", "--pids-limit", "40", box.id, check=True)
    # another one, as the first may have died out meanwhile; or there is no room for it
    result = store("exec", "-d", box.id, "sh", "-c", "bomb() { bomb | bomb & }; bomb 2>/dev/null; exec sleep 1000")
    assert result.returncode == 0 or "as many processes as it may have" in result.stderr
    assert 20 < most_processes(box, 1.5) <= 40
