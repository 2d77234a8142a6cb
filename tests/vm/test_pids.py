"""--pids-limit."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.command import Minirun
from tests.vm.box import READY, Box


def most_processes(box: Box, seconds: float) -> int:
    """The most processes that it is seen to have during the next *seconds*."""
    end, most = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        most = max(most, int(box.read("pids.current")))
        time.sleep(0.01)
    return most


def test_a_fork_bomb_stops_at_the_limit_and_at_one_that_is_changed(start: Callable[..., Box], store: Minirun) -> None:
    # who cannot fork ends, is reaped, and another can; --cpus is for the sake of this process
    bomb = f"bomb() {{ bomb | bomb & }}; {READY} bomb 2>/dev/null; exec sleep 1000"
    box = start("--init", "--pids-limit", "20", "--cpus", "0.5", "busybox", "sh", "-c", bomb)
    assert 15 <= most_processes(box, 1.5) <= 20
    assert box.count("pids.events", "max") > 0
    store("update", "--pids-limit", "40", box.id, check=True)
    # another one, as the first may have died out meanwhile
    store("exec", "-d", box.id, "sh", "-c", "bomb() { bomb | bomb & }; bomb 2>/dev/null; exec sleep 1000", check=True)
    assert 20 < most_processes(box, 1.5) <= 40
