"""Whom the host asks: read from a file that anybody may change at any moment."""

from __future__ import annotations

import os
import time
from _socket import AF_INET, AF_INET6
from pathlib import Path

import pytest

from minirun.attendant import servers
from minirun.attendant.servers import HostServers


def test_the_first_three_servers_are_read_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# nameserver 192.0.2.9\nsearch example\nnameserver\nnameserver what\n\tnameserver\t192.0.2.1 \n"
        "nameserver ::1\noptions ndots:2\nnameserver fe80::1%lo\nnameserver 192.0.2.4\n"
    )
    assert HostServers(str(path)).read() == ["192.0.2.1", "::1", "fe80::1%lo"]


def test_a_change_is_seen_at_once_however_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    found = HostServers(str(path))
    assert found.read() == []
    for number in range(200):  # many in one tick of the clock that stamps files
        path.write_text(f"nameserver 192.0.2.{number}\n")
        assert found.read() == [f"192.0.2.{number}"]
    other = tmp_path / "other"
    other.write_text("nameserver 192.0.2.250\n")
    other.rename(path)
    assert found.read() == ["192.0.2.250"]
    path.unlink()
    path.symlink_to("other")
    assert found.read() == []
    other.write_text("nameserver 192.0.2.251\n")
    assert found.read() == ["192.0.2.251"]


def test_what_has_not_changed_for_a_while_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 192.0.2.1\n")
    found = HostServers(str(path))
    time.sleep(0.1)
    assert found.read() is found.read()
    with path.open("ab") as file:
        file.write(b"nameserver 192.0.2.2\n")
    assert found.read() == ["192.0.2.1", "192.0.2.2"]


def test_servers_are_where_connect_looks_for_them() -> None:
    assert servers.endpoint("192.0.2.1") == (AF_INET, ("192.0.2.1", 53))
    assert servers.endpoint("2001:db8::1") == (AF_INET6, ("2001:db8::1", 53, 0, 0))
    assert servers.endpoint("fe80::1%7") == (AF_INET6, ("fe80::1", 53, 0, 7))
    with pytest.raises(OSError, match="no interface"):
        servers.endpoint(f"fe80::1%nosuch{os.getpid()}")
