"""Containers whose network is pasta or slirp4netns, by real packets; and that neither outlives its container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import kept, ordinary
from tests.command import Minirun
from tests.echo import ask
from tests.outside import HOST, HOST6, OUTSIDE, OUTSIDE6, Site, ask_in, link, run_in, serving, site
from tests.parents import serving_outside

KINDS = ("pasta", "slirp4netns")
NOBODY = 65534
GATEWAY, GATEWAY6 = "192.0.2.254", "2001:db8::fe"
# what asks first, and is answered
FETCH = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=3).read().decode(), end='')"


@pytest.fixture(scope="module")
def place(root: None, store: Minirun) -> Iterator[Site]:
    """A host of these tests' own, which has a way outside."""
    for kind in KINDS:
        if not shutil.which(kind):
            pytest.skip(f"{kind} is not installed")
    with site("minirun-beyond") as found:
        link(f"route add default via {GATEWAY}")
        link(f"-6 route add default via {GATEWAY6}")
        with serving_outside(found, "tcp:90", "udp:90"):
            yield found
        kept.unsupervised(store)


def told(minirun: Minirun, name: str) -> dict[str, object]:
    """What is noted of the process that is a container's network; empty where there is none."""
    found = minirun("inspect", "-f", "{{.Id}}", name, check=True).stdout.strip()
    path = minirun.runtime / "containers" / found / "usermode"
    return dict(json.loads(path.read_text())) if path.exists() else {}


class Box:
    """A container whose network is a process.

    Attributes:
        pid: of its first process.
        process: the pid of that process.
    """

    def __init__(self, minirun: Minirun, name: str) -> None:
        self.pid = int(minirun("inspect", "-f", "{{.State.Pid}}", name, check=True).stdout)
        self.process = int(str(told(minirun, name).get("pid", 0)))

    def ask(self, address: str, port: int, protocol: str = "tcp") -> str:
        """Ask from inside; see echo.ask."""
        return ask_in(self.pid, protocol, address, port)


@contextmanager
def container(minirun: Minirun, name: str, *flags: str) -> Iterator[Box]:
    """A container in the background that does nothing."""
    minirun("run", "-d", "--name", name, *flags, "busybox", "sleep", "1000", check=True)
    try:
        yield Box(minirun, name)
    finally:
        minirun("rm", "-f", name, check=True)


def wait_for_ipv6(pid: int) -> None:
    """Wait until a container knows that nobody else has its addresses; slirp4netns' has none of its own before that."""
    show = ("ip", "-6", "-o", "address", "show", "up")

    def settled() -> bool:
        found = [line for line in run_in(pid, *show).splitlines() if "::1/128" not in line]
        return len(found) > 1 and "tentative" not in "".join(found)

    kept.until(settled)


@contextmanager
def pages(pid: int, folder: Path) -> Iterator[None]:
    """Serve what is in a folder by HTTP, at port 80 of a process's network namespace, once somebody asks."""
    words = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-m", "http.server", "--bind", "::", "80"]
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as server:
        try:
            kept.until(lambda: run_in(pid, "ss", "-Hltn", "sport", "=", ":80") != "")
            yield
        finally:
            server.kill()


def runs(pid: int) -> bool:
    """Whether a process is there, and does anything yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_container_sends_goes_out_as_the_hosts(place: Site, store: Minirun, kind: str) -> None:
    with container(store, "one", "--network", kind) as one, serving("tcp:91"):
        assert one.ask(OUTSIDE, 90) == f"90 from {HOST}"
        assert one.ask(OUTSIDE, 90, "udp") == f"90 from {HOST}"
        # what listens on the host's loopback is out of reach
        assert one.ask("10.0.2.2" if kind == "slirp4netns" else GATEWAY, 91) in ("refused", "unreachable", "timed out")
        wait_for_ipv6(one.pid)
        assert one.ask(OUTSIDE6, 90) == f"90 from {HOST6}"


@pytest.mark.parametrize("kind", KINDS)
def test_ports_of_the_host_lead_in(place: Site, store: Minirun, kind: str, tmp_path: Path) -> None:
    flags = ("--network", kind, "-p", "8080:80", "-p", "8081:8081/udp", "-p", "127.0.0.1::82")
    (tmp_path / "index.html").write_text("hello\n")
    with (
        container(store, "web", *flags) as web,
        serving("udp:8081", "tcp:82", pid=web.pid),
        pages(web.pid, tmp_path),
    ):
        fetch = (sys.executable, "-c", FETCH)
        assert place.run(*fetch, f"http://{HOST}:8080/") == "hello\n"
        assert subprocess.check_output([*fetch, "http://127.0.0.1:8080/"], text=True) == "hello\n"
        assert place.ask("udp", HOST, 8081) == f"8081 from {OUTSIDE}"
        if kind == "pasta":
            wait_for_ipv6(web.pid)
            assert place.run(*fetch, f"http://[{HOST6}]:8080/") == "hello\n"
            assert subprocess.check_output([*fetch, "http://[::1]:8080/"], text=True) == "hello\n"
        chosen = store("port", "web", "82", check=True).stdout.strip().removeprefix("127.0.0.1:")
        assert ask("tcp", "127.0.0.1", int(chosen)).startswith("82 from")
        assert place.ask("tcp", HOST, int(chosen)) == "refused"  # 127.0.0.1 means it
        assert "0.0.0.0:8080->80/tcp" in store("ps", "--format", "{{.Ports}}", check=True).stdout
        refused = store("run", "--rm", "--network", kind, "-p", "8080:80", "busybox", "true")
        assert refused.returncode == 125
        assert "8080/tcp of the host: it is in use by container web" in refused.stderr
        store("restart", "-t", "0", "web", check=True)
        assert store("port", "web", "82", check=True).stdout.strip() == f"127.0.0.1:{chosen}"
    with serving("tcp:8080"):
        refused = store("run", "--rm", "--network", kind, "-p", "8080:80", "busybox", "true")
        assert "8080/tcp of the host: it is in use by python" in refused.stderr
    assert os.listdir(store.runtime / "ports") == ["lock"]


def test_files_of_names_tell_of_what_there_is(place: Site, store: Minirun) -> None:
    show = ("cat", "/etc/hosts", "/etc/resolv.conf")
    run = ("run", "--rm", "-h", "me", "--add-host", "up:host-gateway")
    said = store(*run, "--network", "slirp4netns", "busybox", *show, check=True).stdout
    assert f"{HOST}\tup\n10.0.2.100\tme\nnameserver 10.0.2.3\n" in said
    said = store(
        *run, "--network", "slirp4netns:cidr=10.7.0.0/24,allow_host_loopback=true", "busybox", *show, check=True
    ).stdout
    assert "10.7.0.2\tup\n10.7.0.100\tme\nnameserver 10.7.0.3\n" in said
    said = store(*run, "--network", "pasta:--map-gw", "--dns", "192.0.2.53", "busybox", *show, check=True).stdout
    assert f"{GATEWAY}\tup\n{GATEWAY6}\tup\n{HOST}\tme\n{HOST6}\tme\nnameserver 192.0.2.53\n" in said
    refused = store(*run, "--network", "pasta", "busybox", "true")
    assert refused.returncode == 125
    assert "cannot use --add-host up:host-gateway: no address leads to the host" in refused.stderr


def test_the_hosts_loopback_is_in_reach_where_that_is_asked_for(place: Site, store: Minirun) -> None:
    with serving("tcp:91"):
        with container(store, "one", "--network", "slirp4netns:allow_host_loopback=true,mtu=1400") as one:
            assert one.ask("10.0.2.2", 91) == "91 from 127.0.0.1"
            assert "mtu 1400" in run_in(one.pid, "ip", "link", "show", "tap0")
        with container(store, "one", "--network", "pasta:--map-gw,-I,eth0") as one:
            assert one.ask(GATEWAY, 91) == "91 from 127.0.0.1"
            assert "mtu" in run_in(one.pid, "ip", "link", "show", "eth0")


def test_the_process_is_none_of_the_containers_and_ends_with_it(place: Site, store: Minirun) -> None:
    with container(store, "one", "--network", "slirp4netns") as one:
        (group,) = [
            line[3:] for line in Path(f"/proc/{one.process}/cgroup").read_text().splitlines() if line[:2] == "0:"
        ]
        assert "/supervision-" in group
        assert Path(f"/proc/{one.process}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
        assert str(one.process) not in store("top", "one", "-eo", "pid", check=True).stdout.split()
        with container(store, "two", "--network", "container:one") as two:
            assert two.ask(OUTSIDE, 90) == f"90 from {HOST}"
        store("kill", "one", check=True)  # and nobody waits for it
        kept.until(lambda: not runs(one.process), "its process outlives it")
        store("start", "one", check=True)
        again = Box(store, "one")
        assert again.ask(OUTSIDE, 90) == f"90 from {HOST}"
        store("stop", "-t", "0", "one", check=True)
        assert not runs(again.process)
        store("start", "one", check=True)
        again = Box(store, "one")
    assert not runs(again.process)


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_with_its_container_whoever_was_killed_before(place: Site, store: Minirun, kind: str) -> None:
    flags = ("--name", "one", "--network", kind, "-p", "8080:80")
    with store.start("run", "--rm", *flags, "busybox", "sleep", "1000") as command:
        kept.until(lambda: store("ps", "-q", "--filter", "name=one").stdout != "" and bool(told(store, "one")))
        one = Box(store, "one")
        keeper = kept.keeper(store, "one")
        kept.kill(command.pid, keeper.keeper)
        assert runs(one.process)
        assert one.ask(OUTSIDE, 90) == f"90 from {HOST}"  # the container goes on, and its network
        kept.kill(one.pid)
        store("ps", check=True)
        kept.until(lambda: not runs(one.process), "its process outlives it")
        kept.until(lambda: os.listdir(store.runtime / "ports") == ["lock"], "its port is kept")
    kept.until(lambda: store("ps", "-aq").stdout == "")


def test_who_is_killed_while_it_begins_leaves_nothing(place: Site, store: Minirun, tmp_path: Path) -> None:
    program = tmp_path / "pasta"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")  # and never is it ready
    program.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with store.start("run", "--name", "one", "--network", "pasta", "busybox", "true", env=env) as command:
        kept.until(lambda: list(store.runtime.glob("containers/*/usermode")) != [])
        (noted,) = store.runtime.glob("containers/*/usermode")
        process = json.loads(noted.read_text())["pid"]
        kept.until(lambda: Path(f"/proc/{process}/comm").read_text() == "sleep\n")
        starter = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        kept.kill(command.pid, starter)
    assert runs(process)
    assert store("ps", "-aq", check=True).stdout == ""
    assert not runs(process)
    assert list(store.runtime.glob("containers/*")) == []


def test_what_ends_or_is_not_there_is_told_and_leaves_nothing(place: Site, store: Minirun, tmp_path: Path) -> None:
    run = ("run", "--name", "one", "--network")
    for words, why in (
        (("pasta:--no-such-word",), "pasta says: "),
        (("pasta:-i,nosuch",), "pasta says: "),
        (("slirp4netns:outbound_addr=nosuch",), "slirp4netns says: "),
        (("slirp4netns", "-p", "[::1]:8080:80"), "slirp4netns has no ports on [::1]"),
        (("pasta", "-p", "8080:80/sctp"), "pasta knows nothing of sctp"),
        (("pasta", "--ip", "10.0.0.5"), "it has no interface on a network"),
        (("pasta", "--network", "bridge"), "with that a container is on no network"),
        (("pasta:-f",), "-f is for minirun to say"),
        (("slirp4netns:port_handler=rootlesskit",), "the port handler 'rootlesskit' is not built"),
    ):
        refused = store(*run, *words, "busybox", "true")
        assert (refused.returncode, refused.stdout) == (125, ""), words
        assert why in refused.stderr, words
        assert "Traceback" not in refused.stderr, words
    for kind, package in (("pasta", "passt"), ("slirp4netns", "slirp4netns")):
        refused = store(*run, kind, "busybox", "true", env={"PATH": str(tmp_path)})
        assert refused.returncode == 125
        assert f"{kind} is not there" in refused.stderr
        assert f"`apt-get install {package}`" in refused.stderr
    assert store("ps", "-aq", check=True).stdout == ""
    assert list(store.runtime.glob("containers/*")) == []


def test_it_is_described_and_shown_before_it_is_done(place: Site, store: Minirun) -> None:
    with container(store, "one", "--network", "pasta:--map-gw") as one:
        (described,) = json.loads(store("inspect", "one", check=True).stdout)
        assert described["HostConfig"]["NetworkMode"] == "pasta"
        assert list(described["NetworkSettings"]["Networks"]) == ["pasta"]
        assert runs(one.process)
    shown = store("run", "--dry-run", "--network", "slirp4netns", "-p", "8080:80", "busybox", "true", check=True).stdout
    for text in ("find slirp4netns", "bind *:8080→80/tcp, and let go", "slirp4netns on netns"):
        assert text in shown
    refused = store("network", "create", "pasta")
    assert "that means something else to --network" in refused.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["outside", "inside"])
def test_an_ordinary_user_connects_a_namespace_of_his_own(
    place: Site, tmp_path_factory: pytest.TempPathFactory, kind: str, where: str
) -> None:
    script = Path(ordinary.__file__).resolve()
    folder = Path("/tmp") / f"minirun-ordinary-{os.getpid()}"  # pytest's are for its own user
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    # this machine's /dev/net/tun may be for root alone; Debian's is not
    tun = "mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200"
    tun += f' && exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups "$@"'
    words = ["unshare", "--mount", "sh", "-c", tun, "sh"]
    words += ["unshare", "--user", "--map-root-user"] if where == "inside" else []
    env = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    try:
        with subprocess.Popen(
            [*words, sys.executable, str(script), kind, where, str(folder), "8080"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True,
        ) as user:  # fmt: skip
            assert user.stdout
            pid, path = user.stdout.readline().split()
            assert f"Uid:\t{NOBODY}" in Path(f"/proc/{pid}/status").read_text()
            inside = ["nsenter", f"--net={path}", sys.executable, str(script.with_name("echo.py"))]
            for protocol in ("tcp", "udp"):
                said = subprocess.check_output([*inside, "ask", protocol, OUTSIDE, "90"], text=True)
                assert said.strip() == f"90 from {HOST}"
            with subprocess.Popen([*inside, "serve", "tcp:80"], stdout=subprocess.PIPE) as server:
                try:
                    assert server.stdout
                    assert server.stdout.readline() == b"ready\n"
                    assert ask("tcp", "127.0.0.1", 8080).startswith("80 from")
                finally:
                    server.kill()
            user.communicate()
    finally:
        shutil.rmtree(folder)
