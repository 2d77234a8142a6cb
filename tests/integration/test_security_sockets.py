"""Sockets of minirun are at paths of root's: none is abstract, for whoever is on the host's network to speak to."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

from tests.command import Minirun


def test_on_the_hosts_network_no_socket_of_ours_is_reached(store: Minirun, tmp_path: Path) -> None:
    """CVE-2020-15257. With all of ours there: a supervisor, an attendant that answers for names, keepers."""
    store("network", "create", "named", check=True)
    store("run", "-d", "--name", "there", "--network", "named", "busybox", "sleep", "1000", check=True)
    try:
        with socket.socket(socket.AF_UNIX) as canary:
            canary.bind("\0minirun-canary")
            canary.listen()
            listed = ("busybox", "cat", "/proc/net/unix")
            seen = store("run", "--rm", "--network", "host", *listed, check=True).stdout.splitlines()
            # else nothing abstract could be seen there at all
            assert [line for line in seen if line.endswith("@minirun-canary")]
            assert "canary" not in store("run", "--rm", *listed, check=True).stdout
        ours = [line for line in seen if "minirun" in line or str(store.runtime) in line or "attendant" in line]
        assert [line.split()[-1] for line in ours if line.split()[-1].startswith("@")] == ["@minirun-canary"]
        sockets = [path for path in store.runtime.rglob("*") if path.is_socket()]
        assert sockets
        assert {stat.S_IMODE(path.stat().st_mode) for path in sockets} <= {0o600, 0o660}
        assert stat.S_IMODE(store.runtime.stat().st_mode) & 0o022 == 0
        assert {path.stat().st_uid for path in (store.runtime, *sockets)} == {0}
    finally:
        store("rm", "-f", "there", check=True)
        store("network", "rm", "named", check=True)
