"""Many containers at once on one bridge, which all reach each other; and web pages, asked for by real programs."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import kept
from tests.command import Minirun
from tests.echo import ask
from tests.outside import HOST, Site, site

CROWD = 200
AT_ONCE = 8
PAGE = "<p>it works</p>"
SERVE = f"mkdir /w; echo '{PAGE}' >/w/index.html; exec httpd -f -p 80 -h /w"


@pytest.fixture(scope="module")
def place(root: None) -> Iterator[Site]:
    """A host of these tests' own."""
    with site("minirun-scale") as found:
        yield found


@pytest.fixture
def networks(place: Site, store: Minirun) -> Iterator[None]:
    """Two networks."""
    store("network", "create", "--ipv6", "web", check=True)
    store("network", "create", "other", check=True)
    yield
    store("network", "rm", "web", "other", check=True)
    kept.unsupervised(store)


def host() -> tuple[set[str], str]:
    """Interfaces and rules."""
    rules = subprocess.run(["nft", "-s", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    return {name for _, name in socket.if_nameindex()}, rules


def leases(minirun: Minirun) -> list[str]:
    """Every link of every lease."""
    return sorted(path.name for path in minirun.runtime.glob("networks/*/*") if path.is_symlink())


def test_two_hundred_at_once_all_reach_each_other_and_leave_no_trace(
    networks: None, place: Site, store: Minirun
) -> None:  # fmt: skip
    before = host()

    def start(number: int) -> str:
        flags = ("--name", f"crowd{number}", "--network", "web")
        return store("run", "-d", *flags, "busybox", "sleep", "1000", check=True).stdout.strip()

    ids: list[str] = []
    try:
        with ThreadPoolExecutor(AT_ONCE) as several:
            ids += several.map(start, range(CROWD))
        told = json.loads(store("network", "inspect", "-f", "{{json .Containers}}", "web", check=True).stdout)
        assert set(told) == set(ids)
        own = [one["IPv4Address"].partition("/")[0] for one in told.values()]
        own6 = [one["IPv6Address"].partition("/")[0] for one in told.values()]
        assert len({*own, *own6}) == 2 * CROWD
        ports = {name for name in host()[0] - before[0] if name.startswith("mr")}
        assert len(ports) == CROWD
        # nobody listens there, which is an answer
        assert {ask("tcp", address, 80) for address in own6} == {"refused"}
        # The first to come reaches all, the last some: the kernel keeps no more than 1024 neighbours of IPv4 for all
        # network namespaces together, and each of two has the other. See gc_thresh3 in ip-sysctl.rst.
        for number, addresses in ((0, own), (CROWD - 1, own[::10])):
            script = f"for a in {' '.join(addresses)}; do ping -c 1 -W 2 $a >/dev/null || echo $a; done"
            assert store("exec", f"crowd{number}", "sh", "-c", script, check=True).stdout == ""
        form = "{{(index .IPAM.Config 0).Gateway}}"
        gateway = store("network", "inspect", "-f", form, "web", check=True).stdout.strip()

        def reaches(name: str) -> bool:
            return store("exec", name, "ping", "-c", "1", "-W", "2", gateway).returncode == 0

        with ThreadPoolExecutor(AT_ONCE) as several:
            assert all(several.map(reaches, ids[:: CROWD // 20]))
        assert store("system", "check", "--quick", check=True).stdout.endswith("sound\n")
    finally:
        store("rm", "-f", *(f"crowd{number}" for number in range(len(ids))), check=True)
    assert leases(store) == []
    kept.until(lambda: host() == before, "interfaces or rules are left")


def fetched(url: str) -> str:
    """What Python's own client gets of a web server, or why not."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return str(answer.read().decode()).strip()
    except (urllib.error.URLError, TimeoutError) as error:
        return f"nothing: {error}"


def test_a_web_page_is_had_by_whoever_may_have_it(networks: None, place: Site, store: Minirun) -> None:
    flags = ("--name", "server", "--network", "web", "-p", "8080:80", "-p", "127.0.0.1:8081:80")
    store("run", "-d", *flags, "busybox", "sh", "-c", SERVE, check=True)
    try:
        form = "{{.NetworkSettings.Networks.web.IPAddress}} {{.NetworkSettings.Networks.web.GlobalIPv6Address}}"
        own, own6 = store("inspect", "-f", form, "server", check=True).stdout.split()
        kept.until(lambda: fetched(f"http://{own}/") == PAGE, "the server does not begin")

        def wget(network: str, *urls: str) -> list[str]:
            script = "; ".join(f"timeout 1 wget -q -O - '{url}' 2>/dev/null || echo nothing" for url in urls)
            words = ("run", "--rm", "--network", network, "busybox", "sh", "-c", script)
            return store(*words, check=True).stdout.split("\n")[:-1]

        # the host: its address, its ports
        pages = [fetched(url) for url in (f"http://[{own6}]/", "http://127.0.0.1:8080/", "http://127.0.0.1:8081/")]
        assert pages == [PAGE] * 3
        # a neighbour: by address, by name, and by the host's port
        urls = (f"http://{own}/", f"http://[{own6}]/", "http://server/", f"http://{HOST}:8080/")
        assert wget("web", *urls) == [PAGE] * 4
        # somebody on another network: by the published port alone
        urls = (f"http://{own}/", "http://server/", f"http://{HOST}:8080/", f"http://{HOST}:8081/")
        assert wget("other", *urls) == ["nothing", "nothing", PAGE, "nothing"]
        # outside: the same
        outside = ["timeout", "1", "busybox", "wget", "-q", "-O", "-"]
        assert place.run(*outside, f"http://{HOST}:8080/").strip() == PAGE
        for url in (f"http://{own}/", f"http://{HOST}:8081/"):
            with pytest.raises(subprocess.CalledProcessError):
                place.run(*outside, url)
    finally:
        store("rm", "-f", "server", check=True)
    assert fetched("http://127.0.0.1:8080/").startswith("nothing: ")
