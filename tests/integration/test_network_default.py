"""Without --network a container is on the bridge that is made for the first who needs it, as Docker's users expect."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import Minirun
from tests.outside import OUTSIDE, Site, site

ORDINARY = {"MINIRUN_NETWORK": ""}


@pytest.fixture
def place(same_host: None) -> Iterator[Site]:
    """A host of the test's own, without a bridge."""
    with site("minirun-beyond") as found:
        yield found


def test_it_is_on_the_default_network_and_gets_out(place: Site, store: Minirun) -> None:
    script = f"ip -4 -o addr show dev eth0; ping -c 1 -W 2 {OUTSIDE} | grep transmitted"
    printed = store("run", "--rm", "busybox", "sh", "-c", script, env=ORDINARY, check=True).stdout
    assert "10.90.0." in printed
    assert "1 packets received" in printed
    assert "minirun0" in {name for _, name in socket.if_nameindex()}
    assert "bridge" in store("network", "ls", "--format", "{{.Name}}", check=True).stdout.split()


@pytest.mark.parametrize(
    ("said", "mode"), [({}, "bridge"), ({"MINIRUN_NETWORK": "none"}, "none"), ({"MINIRUN_NETWORK": "host"}, "host")]
)
def test_the_environment_says_what_it_is_on(place: Site, store: Minirun, said: dict[str, str], mode: str) -> None:
    store("create", "--name", "said", "busybox", "true", env={**ORDINARY, **said}, check=True)
    (found,) = json.loads(store("inspect", "said", check=True).stdout)
    assert found["HostConfig"]["NetworkMode"] == mode
    store("rm", "said", check=True)


def test_a_flag_counts_more_than_the_environment(place: Site, store: Minirun) -> None:
    script = "ls /sys/class/net"
    command = ("run", "--rm", "--network", "none", "busybox", "sh", "-c", script)
    assert store(*command, env=ORDINARY, check=True).stdout.split() == ["lo"]


def test_an_environment_that_names_no_network_is_told(place: Site, store: Minirun) -> None:
    result = store("run", "--rm", "busybox", "true", env={"MINIRUN_NETWORK": "nosuch"})
    assert result.returncode == 125
    assert "no such network" in result.stderr


def test_a_second_store_has_a_bridge_of_its_own(
    place: Site, store: Minirun, minirun: Minirun, busybox_layers: Path
) -> None:
    store("run", "--rm", "busybox", "true", env=ORDINARY, check=True)
    printed = minirun("run", "--rm", busybox_layers, "ip", "-4", "-o", "addr", "show", env=ORDINARY, check=True)
    assert "10.91.0." in printed.stdout
    assert {"minirun0", "minirun1"} <= {name for _, name in socket.if_nameindex()}


def test_without_nft_it_says_what_to_do_and_leaves_nothing(
    place: Site, minirun: Minirun, busybox_layers: Path, tmp_path: Path
) -> None:
    minirun("import", busybox_layers, "busybox", check=True)
    result = minirun("run", "busybox", "true", env={**ORDINARY, "PATH": str(tmp_path)})
    assert result.returncode == 125
    assert "nft is not there" in result.stderr
    assert "--network none" in result.stderr
    assert minirun("ps", "-aq", check=True).stdout == ""
    assert {name for _, name in socket.if_nameindex()} == {"lo", "outside"}
