"""minirun.service under a systemd that boots, goes down and loses its power: see tests/booting.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from minirun.cgroup import hierarchy
from tests import booting, kept
from tests.booting import Host
from tests.command import Minirun

pytestmark = pytest.mark.skipif(
    not booting.SYSTEMD.exists() or shutil.which("dbus-daemon") is None, reason="systemd and D-Bus are not installed"
)

# ends as it wants to when it is asked by the first signal, and tells which it was
LISTENS = "trap 'echo asked; exit 0' {}; trap 'echo ended by another; exit 9' {}; echo up; while :; do sleep 0.05; done"
OBEYS = ("busybox", "sh", "-c", LISTENS.format("TERM", "HUP"))
PREFERS_USR1 = ("--stop-signal", "USR1", "busybox", "sh", "-c", LISTENS.format("USR1", "TERM"))


@pytest.fixture
def host(store: Minirun, tmp_path: Path) -> Iterator[Host]:
    """A host with the unit, and without containers."""
    with booting.host(tmp_path, store.root) as host:
        host.minirun("system", "install-unit", check=True)
        yield host
        if boxes := host.minirun("ps", "-aq", check=True).stdout.split():
            host.minirun("rm", "-f", *boxes, check=True)
        kept.until(lambda: not (Path(hierarchy.mount_point()) / "minirun").exists())


def run(host: Host, name: str, *words: str) -> None:
    host.minirun("run", "-d", "--name", name, *words, check=True)
    kept.await_log(host.minirun, name, "up")


def up(host: Host) -> set[str]:
    """The names of those that run."""
    return set(host.minirun("ps", "--format", "{{.Names}}", check=True).stdout.split())


def test_a_reboot_ends_each_as_it_wants_to_and_starts_those_that_start_with_the_host(host: Host) -> None:
    run(host, "always", "--restart", "always", *OBEYS)
    run(host, "unless", "--restart", "unless-stopped", *PREFERS_USR1)
    run(host, "job", "--restart", "on-failure:2", *OBEYS)
    run(host, "never", *PREFERS_USR1)
    run(host, "gone", "--rm", *OBEYS)
    run(host, "again", "--restart", "always", *OBEYS)
    run(host, "stopped", "--restart", "unless-stopped", *OBEYS)
    host.minirun("create", "--name", "made", "--restart", "always", *OBEYS, check=True)
    host.minirun("stop", "again", "stopped", check=True)
    host.reboot()
    assert up(host) == {"always", "unless", "job", "again"}
    assert host.run("systemctl", "is-active", "minirun.service").stdout == "active\n"
    found = {name: kept.state(host.minirun, name) for name in ("never", "stopped", "made")}
    assert {name: now["Status"] for name, now in found.items()} == {
        "never": "exited", "stopped": "exited", "made": "created",
    }  # fmt: skip
    assert found["never"]["ExitCode"] == 0
    assert "gone" not in host.minirun("ps", "-a").stdout
    for name in ("always", "unless", "job", "never"):
        assert kept.logged(host.minirun, name).split()[:2] == ["up", "asked"]
    host.minirun("stop", "unless", check=True)
    host.reboot()
    assert up(host) == {"always", "job", "again"}


def test_who_loses_its_power_starts_the_same(host: Host) -> None:
    run(host, "always", "--restart", "always", *OBEYS)
    run(host, "job", "--restart", "on-failure", *OBEYS)
    run(host, "never", *OBEYS)
    run(host, "gone", "--rm", *OBEYS)
    run(host, "stopped", "--restart", "unless-stopped", *OBEYS)
    host.minirun("stop", "stopped", check=True)
    host.off()
    host.boot()
    assert up(host) == {"always", "job"}
    assert kept.state(host.minirun, "never")["ExitCode"] == 255
    assert "gone" not in host.minirun("ps", "-a").stdout
    assert host.minirun("system", "check", "--quick").returncode == 0


def test_stopping_the_unit_stops_all_and_starting_it_starts_what_starts_with_the_host(host: Host) -> None:
    run(host, "always", "--restart", "always", *PREFERS_USR1)
    run(host, "never", *PREFERS_USR1)
    assert host.run("systemctl", "stop", "minirun.service").returncode == 0
    assert up(host) == set()
    assert kept.logged(host.minirun, "always").split() == ["up", "asked"]
    assert host.run("systemctl", "start", "minirun.service").returncode == 0
    assert up(host) == {"always"}
    # what goes on is not the unit's, and so its end is not theirs
    host.minirun("system", "install-unit", "--remove", check=True)
    assert up(host) == {"always"}


@pytest.mark.parametrize("cut", [False, True], ids=["goes-down", "loses-its-power"])
def test_a_container_with_a_limit_is_ended_by_its_own_signal_and_starts_again(host: Host, cut: bool) -> None:
    if "memory" not in hierarchy.controllers(hierarchy.mount_point()):
        pytest.skip("the cgroup v2 hierarchy has no memory controller")
    run(host, "limited", "--memory", "64m", "--restart", "always", *PREFERS_USR1)
    assert host.run("systemctl", "list-units", "--no-legend", "minirun-*.scope").stdout.count("minirun-") == 1
    if cut:
        host.off()
        host.boot()
    else:
        host.reboot()
        assert kept.logged(host.minirun, "limited").split()[:2] == ["up", "asked"]
    assert up(host) == {"limited"}
    assert host.run("systemctl", "list-units", "--no-legend", "minirun-*.scope").stdout.count("minirun-") == 1
