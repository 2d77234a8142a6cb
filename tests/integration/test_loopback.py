"""The network of a container, asked over rtnetlink by a library that minirun does not use for it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from pyroute2 import NetNS

from tests.command import Minirun


@pytest.fixture
def network(store: Minirun) -> Iterator[NetNS]:
    """The network namespace of a container that stands still."""
    command = store.command(("run", "--rm", "-i", "--name", "net", "busybox", "sh", "-c", "echo on; read end"))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=store.environment(None), stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        pid = store("inspect", "--format", "{{.State.Pid}}", "net", check=True).stdout.strip()
        with NetNS(f"/proc/{pid}/ns/net", flags=0) as namespace:
            yield namespace
        process.communicate(b"\n")
        assert process.returncode == 0


def test_there_is_a_loopback_interface_which_is_up_and_nothing_else(network: NetNS) -> None:
    links = list(network.get_links())
    assert [link.get("ifname") for link in links] == ["lo"]
    assert links[0].get("state") == "up"


def test_both_loopback_addresses_answer_and_no_route_leads_anywhere(network: NetNS) -> None:
    addresses = {(address.get("address"), address.get("prefixlen")) for address in network.get_addr()}
    assert addresses == {("127.0.0.1", 8), ("::1", 128)}
    assert not list(network.get_default_routes())
