"""-p, -P and --expose as they are read, and as `ps` draws them."""

from __future__ import annotations

from typing import Any

import pytest

from minirun.container import options, ports
from minirun.errors import BadInput


def test_the_flags_that_need_this_are_known_where_it_is_imported() -> None:
    assert options.PORTS == ports.FLAGS


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("80", [["tcp", 80, "", 0, 0]]),
        ("80-81/udp", [["udp", 80, "", 0, 0], ["udp", 81, "", 0, 0]]),
        ("8080:80", [["tcp", 80, "", 8080, 8080]]),
        ("8080:80/SCTP", [["sctp", 80, "", 8080, 8080]]),
        (":80", [["tcp", 80, "", 0, 0]]),
        ("8000-8010:80", [["tcp", 80, "", 8000, 8010]]),
        ("8000-8001:80-81", [["tcp", 80, "", 8000, 8000], ["tcp", 81, "", 8001, 8001]]),
        ("127.0.0.1:8080:80", [["tcp", 80, "127.0.0.1", 8080, 8080]]),
        ("127.0.0.1::80", [["tcp", 80, "127.0.0.1", 0, 0]]),
        ("0.0.0.0:8080:80", [["tcp", 80, "0.0.0.0", 8080, 8080]]),
        ("[::1]:8080:80", [["tcp", 80, "::1", 8080, 8080]]),
        ("[0::0:1]::80/udp", [["udp", 80, "::1", 0, 0]]),
        ("[::]:8080:80", [["tcp", 80, "::", 8080, 8080]]),
    ],
)
def test_what_is_published_is_read_as_docker_reads_it(text: str, rows: list[list[Any]]) -> None:
    found = ports.read({"publish": [text, text]}, "bridge")["ports"]
    assert found == {"published": rows, "exposed": [], "all": False}


@pytest.mark.parametrize(
    "text",
    ["", ":", "x", "0", "65536", "80/", "80/icmp", "8080:", "1-0:80", "80-", "-80", "1-2:80-82", "1:2:3", "::1:1:2",
     "localhost:1:2", "[::1:1:2", "[1.2.3.4]:1:2", "1.2.3:1:2", "[]:1:2", "٨٠", "8080:80:tcp", "1.2.3.4:80"],
)  # fmt: skip
def test_what_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        ports.read({"publish": [text]}, "bridge")


def test_all_that_is_exposed_and_not_bound_is_published_on_some_port() -> None:
    found = ports.read({"publish": ["8080:80"], "expose": ["79-81", "53/udp"], "publish-all": True}, "net")
    wanted = {**found, "network": "net"}
    ports.complete(wanted, ["443", "9/tcp"])
    assert wanted["ports"]["exposed"] == ["9/tcp", "53/udp", "79/tcp", "80/tcp", "81/tcp", "443/tcp"]
    assert ports.bindings(wanted) == [
        ["tcp", 80, "", 8080, 8080],
        *([protocol, port, "", 0, 0] for port, protocol in ((9, "tcp"), (53, "udp"), (79, "tcp"), (81, "tcp"))),
        ["tcp", 443, "", 0, 0],
    ]
    assert ports.bindings({**wanted, "network": "host"}) == []


@pytest.mark.parametrize("network", ["none", "container:x"])
def test_without_a_network_nothing_is_published_and_exposing_is_fine(network: str) -> None:
    flags: tuple[dict[str, Any], ...] = ({"publish": ["80"]}, {"publish-all": True})
    for given in flags:
        with pytest.raises(BadInput, match="cannot publish ports"):
            ports.read(given, network)
    assert ports.read({"expose": ["80"]}, network)["ports"]["exposed"] == ["80/tcp"]
