"""bridge, host and none are networks that nobody has to make: listed and shown as Docker does, and never removed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import kept
from tests.command import Minirun
from tests.outside import site
from tests.running import running

# what Docker 28 prints of each network
KEYS = {
    "Name", "Id", "Created", "Scope", "Driver", "EnableIPv4", "EnableIPv6", "IPAM", "Internal", "Attachable", "Ingress",
    "ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(root: None) -> Iterator[None]:
    """A host of these tests' own."""
    with site("minirun-predefined"):
        yield


def inspected(minirun: Minirun, name: str) -> dict[str, Any]:
    """What `network inspect` has of a network."""
    (found,) = json.loads(minirun("network", "inspect", name, check=True).stdout)
    return dict(found)


def test_they_are_listed_before_anything_was_made(place: None, store: Minirun) -> None:
    lines = store("network", "ls", check=True).stdout.splitlines()
    assert lines[0].split() == ["NETWORK", "ID", "NAME", "DRIVER", "SCOPE"]
    assert [line.split()[1:] for line in lines[1:]] == [
        ["bridge", "bridge", "local"], ["host", "host", "local"], ["none", "null", "local"],
    ]  # fmt: skip
    assert list((store.root / "networks").iterdir()) == []


@pytest.mark.parametrize(("name", "driver"), [("bridge", "bridge"), ("host", "host"), ("none", "null")])
def test_they_are_shown_by_name_and_by_id(place: None, store: Minirun, name: str, driver: str) -> None:
    found = inspected(store, name)
    assert set(found) == KEYS
    assert (found["Name"], found["Driver"], found["Scope"], found["Labels"]) == (name, driver, "local", {})
    assert len(found["Id"]) == 64
    assert inspected(store, found["Id"][:12]) == found
    if name != "bridge":
        assert (found["IPAM"]["Config"], found["Options"], found["Containers"]) == ([], {}, {})


def test_the_id_of_the_default_network_is_the_same_once_it_is_made(place: None, store: Minirun) -> None:
    before = inspected(store, "bridge")
    assert before["IPAM"]["Config"] == []
    store("run", "--rm", "--network", "bridge", "busybox", "true", check=True)
    after = inspected(store, "bridge")
    assert after["Id"] == before["Id"]
    assert after["IPAM"]["Config"][0]["Subnet"]
    assert store("network", "ls", "-q", "--filter", "name=^bridge$", check=True).stdout == f"{after['Id'][:12]}\n"
    # its record stays; what is on the host goes when nobody is on it, and the kernel has taken the cable away
    kept.until(lambda: "the default network's bridge was removed" in store("gc", check=True).stdout.lower())
    assert inspected(store, "bridge") == after


@pytest.mark.parametrize("name", ["host", "none"])
def test_they_show_who_is_on_them(place: None, store: Minirun, name: str) -> None:
    with running(store, "someone", "sleep", "100", flags=("--network", name)):
        (member,) = inspected(store, name)["Containers"].values()
        assert (member["Name"], member["IPv4Address"]) == ("someone", "")
    assert inspected(store, name)["Containers"] == {}


@pytest.mark.parametrize("name", ["bridge", "host", "none"])
def test_they_are_not_removed(place: None, store: Minirun, name: str) -> None:
    refused = store("network", "rm", name)
    assert (refused.returncode, refused.stdout) == (125, "")
    assert refused.stderr.startswith(f"minirun: cannot remove network {name}: it is ")
    store("network", "prune", "-f", check=True)
    assert name in store("network", "ls", "--format", "{{.Name}}", check=True).stdout.split()


def test_filters_tell_them_from_others(place: None, store: Minirun) -> None:
    store("network", "create", "own", check=True)
    try:
        for wanted, names in (
            ("type=custom", ["own"]), ("type=builtin", ["bridge", "host", "none"]), ("driver=null", ["none"]),
            ("scope=swarm", []), ("dangling=true", ["own"]),
        ):  # fmt: skip
            form = ("--format", "{{.Name}}")
            assert store("network", "ls", "--filter", wanted, *form, check=True).stdout.split() == names, wanted
        refused = store("network", "ls", "--filter", "type=mine")
        assert (refused.returncode, "it is builtin or custom" in refused.stderr) == (125, True)
    finally:
        store("network", "rm", "own", check=True)


def test_info_tells_of_networks(place: None, store: Minirun) -> None:
    told = json.loads(store("info", "-f", "json", check=True).stdout)
    names = store("network", "ls", "-q", check=True).stdout.split()
    assert told["Networks"] == len(names)
    assert {"bridge", "host", "null"} <= set(told["Plugins"]["Network"])
    assert told["FirewallBackend"] == {"Driver": "nftables"}
    for key, path in (("IPv4Forwarding", "ipv4/ip_forward"), ("IPv6Forwarding", "ipv6/conf/all/forwarding")):
        assert told[key] is (Path("/proc/sys/net", path).read_text() == "1\n")
    text = store("info", check=True).stdout
    assert "\nPlugins:\n Volume: local\n Network: bridge " in text
    assert "\nFirewall Backend: nftables\n" in text
