"""Networks of containers with a user namespace: theirs to rule, and all leads in and out as without one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import kept
from tests.command import Minirun
from tests.outside import HOST, OUTSIDE, Site, ask_in, link, serving, site
from tests.parents import serving_outside


@pytest.fixture(scope="module")
def place(root: None, store: Minirun) -> Iterator[Site]:
    """A host of these tests' own, which has a way outside."""
    with site("minirun-mapped") as found:
        link("route add default via 192.0.2.254")
        store("run", "--rm", "--network", "bridge", "-p", "127.0.0.1:9:9", "busybox", "true", check=True)
        with serving_outside(found, "tcp:90"):
            yield found
        kept.unsupervised(store)


@contextmanager
def container(minirun: Minirun, name: str, *flags: str) -> Iterator[int]:
    """A container in the background that does nothing; yields the pid of its first process."""
    minirun("run", "-d", "--userns=auto", "--name", name, *flags, "busybox", "sleep", "1000", check=True)
    try:
        yield kept.keeper(minirun, name).pid
    finally:
        minirun("rm", "-f", name, check=True)


def owner_of(pid: int) -> str:
    """The user namespace that the network namespace of a process belongs to, as lsns(8) finds it by NS_GET_USERNS."""
    script = (
        "import fcntl, os, sys; net = os.open(sys.argv[1], os.O_RDONLY);"
        "print('user:[%d]' % os.fstat(fcntl.ioctl(net, 0xb701)).st_ino)"
    )
    words = ["python3", "-c", script, f"/proc/{pid}/ns/net"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("kind", ["bridge", "pasta", "slirp4netns"])
def test_it_goes_out_ports_lead_in_and_its_root_rules_the_interfaces(place: Site, store: Minirun, kind: str) -> None:
    if kind != "bridge" and not shutil.which(kind):
        pytest.skip(f"{kind} is not installed")
    flags = ("--network", kind, "-p", "8080:80/udp", "--cap-add", "NET_ADMIN")
    with container(store, "web", *flags) as pid, serving("udp:80", pid=pid):
        assert owner_of(pid) == str(Path(f"/proc/{pid}/ns/user").readlink())
        assert ask_in(pid, "tcp", OUTSIDE, 90).startswith("90 from ")
        assert place.ask("udp", HOST, 8080).startswith("80 from ")
        store("exec", "web", "ip", "addr", "add", "10.1.2.3/32", "dev", "lo", check=True)


def test_networks_are_connected_and_disconnected_while_it_runs(place: Site, store: Minirun) -> None:
    store("network", "create", "mapped", check=True)
    try:
        with container(store, "one", "--network", "none") as pid:
            assert "eth" not in Path(f"/proc/{pid}/net/dev").read_text()
        with container(store, "two", "--network", "bridge") as pid:
            store("network", "connect", "mapped", "two", check=True)
            assert "eth1" in Path(f"/proc/{pid}/net/dev").read_text()
            store("network", "disconnect", "mapped", "two", check=True)
            assert "eth1" not in Path(f"/proc/{pid}/net/dev").read_text()
    finally:
        store("network", "rm", "mapped", check=True)


def test_who_joins_its_network_has_no_power_there_without_its_user_namespace(place: Site, store: Minirun) -> None:
    add = ("busybox", "ip", "addr", "add", "10.1.2.4/32", "dev", "lo")
    flags = ("--rm", "--cap-add=NET_ADMIN", "--network=container:shares")
    with container(store, "shares", "--network", "none"):
        assert "not permitted" in store("run", *flags, "--userns=auto", *add).stderr
        store("run", *flags, "--userns=container:shares", *add, check=True)
