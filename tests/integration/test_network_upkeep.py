"""What minirun changes on the host for networks is set back; what is wrong with it is found, mended, and made again."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minirun.cgroup import group
from minirun.container import supervision
from tests import kept
from tests.command import Minirun
from tests.echo import ask
from tests.outside import OUTSIDE, Site, ask_in, link, serving, site

SWITCH4, SWITCH6 = Path("/proc/sys/net/ipv4/ip_forward"), Path("/proc/sys/net/ipv6/conf/all/forwarding")
REDIRECTS = Path("/proc/sys/net/ipv4/conf/all/accept_redirects")
LISTENS = Path("/proc/sys/net/ipv6/conf/outside/accept_ra")
BRIDGE = "web0"


@pytest.fixture(scope="module")
def place(root: None) -> Iterator[Site]:
    """A host of these tests' own."""
    with site("minirun-upkeep") as found:
        yield found


@pytest.fixture
def web(place: Site, store: Minirun) -> Iterator[Minirun]:
    """A store that has a network called web, whose bridge is BRIDGE, and a container on it called one."""
    SWITCH4.write_text("0")
    flags = ("--subnet", "10.77.0.0/24", "--ipv6", "--opt", f"com.docker.network.bridge.name={BRIDGE}")
    store("network", "create", *flags, "web", check=True)
    ports = ("-p", "8080:80", "-p", "127.0.0.1:8081:81/udp")
    words = ("--name", "one", "--network", "web", "--ip", "10.77.0.9", *ports, "busybox", "sleep", "1000")
    store("run", "-d", *words, check=True)
    try:
        yield store
    finally:
        store("rm", "-f", "one", check=True)
        store("network", "rm", "web", check=True)
        kept.unsupervised(store)


def pid_of(minirun: Minirun, name: str) -> int:
    """The first process of a container."""
    return int(minirun("inspect", "-f", "{{.State.Pid}}", name, check=True).stdout)


def nft(*words: str) -> str:
    """What nftables' own program says, of whatever it is told to do."""
    return subprocess.run(["nft", *words], check=True, capture_output=True, text=True).stdout


def switches() -> tuple[str, ...]:
    """What of the host is switched for networks."""
    return tuple(path.read_text().strip() for path in (SWITCH4, SWITCH6, REDIRECTS, LISTENS))


def links() -> set[str]:
    """The interfaces of the host."""
    return {name for _, name in socket.if_nameindex()}


@pytest.fixture
def at_rest(place: Site, store: Minirun) -> Iterator[None]:
    """A host that passes nothing on."""
    before = [path.read_text() for path in (SWITCH4, SWITCH6)]
    SWITCH4.write_text("0")
    SWITCH6.write_text("0")
    LISTENS.write_text("1")
    yield
    for path, text in zip((SWITCH4, SWITCH6), before, strict=True):
        path.write_text(text)


def test_all_is_as_it_was_after_the_last_network(at_rest: None, store: Minirun) -> None:
    before = switches(), links(), nft("list", "ruleset")
    assert before[0] == ("0", "0", "1", "1")
    store("network", "create", "--ipv6", "web", check=True)
    store("network", "create", "--internal", "shut", check=True)
    # whoever passes on takes no redirects, and listens to its router only if it is told to: ip-sysctl.rst
    assert switches() == ("1", "1", "0", "2")
    store("run", "--rm", "--network", "web", "-p", "8080:80", "busybox", "true", check=True)
    store("network", "rm", "web", check=True)
    assert switches() == before[0]
    store("network", "rm", "shut", check=True)
    assert (switches(), links(), nft("list", "ruleset")) == before


def test_what_interfaces_pass_on_by_themselves_they_go_on_to(at_rest: None, store: Minirun) -> None:
    own = Path("/proc/sys/net/ipv4/conf/outside/forwarding")
    own.write_text("1")
    store("network", "create", "web", check=True)
    store("network", "rm", "web", check=True)
    assert (own.read_text(), SWITCH4.read_text()) == ("1\n", "0\n")


def test_what_was_switched_on_before_stays_so(at_rest: None, store: Minirun) -> None:
    SWITCH4.write_text("1")
    store("network", "create", "web", check=True)
    store("network", "rm", "web", check=True)
    assert SWITCH4.read_text() == "1\n"


def test_who_may_rely_on_it_by_now_is_not_cut_off(at_rest: None, store: Minirun) -> None:
    store("network", "create", "web", check=True)
    nft("add table ip vpn; add chain ip vpn out { type nat hook postrouting priority srcnat; }")
    try:
        store("network", "rm", "web", check=True)
        assert SWITCH4.read_text() == "1\n"
    finally:
        nft("delete table ip vpn")
    SWITCH4.write_text("0")
    store("network", "create", "web", check=True)
    # in a mount namespace of its own, in which the host's configuration has it switched on
    own = store.root / "tmp" / "sysctl.d"
    own.mkdir()
    (own / "router.conf").write_text("net.ipv4.ip_forward = 1\n")
    script = f'mount --bind {own} /etc/sysctl.d && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *store.command(["network", "rm", "web"])]
    subprocess.run(command, env=store.environment(), check=True)
    shutil.rmtree(own)
    assert SWITCH4.read_text() == "1\n"


def test_a_rule_of_the_users_own_keeps_the_table(at_rest: None, store: Minirun) -> None:
    store("network", "create", "web", check=True)
    nft("add rule inet minirun user tcp dport 99 drop")
    store("network", "rm", "web", check=True)
    assert "tcp dport 99 drop" in nft("list", "table", "inet", "minirun")
    nft("flush chain inet minirun user")
    store("network", "create", "web", check=True)
    store("network", "rm", "web", check=True)
    assert nft("list", "ruleset") == ""


def found(minirun: Minirun, *flags: str) -> list[tuple[str, str]]:
    """State and subject of each row of `system check`."""
    result = minirun("system", "check", "--quick", *flags, "--format", "json")
    assert result.stderr == ""
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == int(any(row["State"] != "mended" for row in rows))
    return [(row["State"], row["What"]) for row in rows]


def port_of(before: set[str]) -> str:
    """The one end of a cable that was not there before."""
    (port,) = (name for name in links() - before if name.startswith("mr"))
    return port


# what somebody does to the host, and what is wrong then
SPOILS = {
    f"ip link delete {BRIDGE}": {"network without its bridge", "rules without a bridge"},
    f"ip link set {BRIDGE} down": {"bridge without its addresses"},
    f"ip address flush dev {BRIDGE} scope global": {"bridge without its addresses"},
    "nft flush ruleset": {"network without its rules", "published ports without their rules"},
    "ip link set PORT nomaster": {"interface that is off its bridge"},
    "nft delete element inet minirun published4_any { tcp . 8080 }": {"published ports without their rules"},
}


def test_what_a_running_container_lost_comes_back(web: Minirun) -> None:
    assert found(web) == []
    pid = pid_of(web, "one")
    with serving("tcp:80", pid=pid), serving("tcp:99"):
        for spoil, subjects in SPOILS.items():
            subprocess.run(spoil.replace("PORT", port_of(set())).split(), check=True)
            mended = found(web, "--repair")
            assert {subject for _, subject in mended} == subjects, spoil
            assert {state for state, _ in mended} == {"mended"}, spoil
            assert ask("tcp", "10.77.0.9", 80) == ask("tcp", "127.0.0.1", 8080) == "80 from 10.77.0.1", spoil
            assert ask_in(pid, "tcp", "10.77.0.1", 99) == "99 from 10.77.0.9", spoil
    assert found(web) == []
    assert "minirun0" not in links()


def is_isolated(port: str) -> bool:
    """Whether a port of a bridge reaches no other that is: see bridge(8)."""
    return "isolated on" in subprocess.run(
        ["bridge", "-d", "link", "show", "dev", port], check=True, capture_output=True, text=True
    ).stdout  # fmt: skip


@pytest.mark.parametrize("words", ["run --rm --network web busybox true", "start two", "network connect web two"])
def test_a_bridge_that_is_made_anew_has_its_cables_again(web: Minirun, words: str) -> None:
    if "two" in words:
        begun = ("run", "-d", "--network", "bridge") if "connect" in words else ("create", "--network", "web")
        web(*begun, "--name", "two", "busybox", "sleep", "1000", check=True)
    pid = pid_of(web, "one")
    try:
        with serving("tcp:80", pid=pid), serving("tcp:99"):
            link(f"link delete {BRIDGE}")
            assert "80 from" not in ask("tcp", "10.77.0.9", 80)
            web(*words.split(), check=True)
            assert ask("tcp", "10.77.0.9", 80) == ask("tcp", "127.0.0.1", 8080) == "80 from 10.77.0.1"
            assert ask_in(pid, "tcp", "10.77.0.1", 99) == "99 from 10.77.0.9"
            # who answers for names has come along
            assert "10.77.0.9" in web("exec", "one", "nslookup", "-type=A", "one", check=True).stdout
        assert found(web) == []
    finally:
        web("rm", "-f", "two", check=True)
        web("gc", check=True)


def test_what_was_apart_on_a_bridge_is_apart_on_the_next(place: Site, store: Minirun) -> None:
    before = links()
    options = ("--opt", "icc=false", "--opt", f"com.docker.network.bridge.name={BRIDGE}")
    store("network", "create", *options, "shy", check=True)
    try:
        store("run", "-d", "--name", "one", "--network", "shy", "busybox", "sleep", "1000", check=True)
        port = port_of(before)
        assert is_isolated(port)
        link(f"link delete {BRIDGE}")
        store("run", "--rm", "--network", "shy", "busybox", "true", check=True)
        assert is_isolated(port)
    finally:
        store("rm", "-f", "one", check=True)
        store("network", "rm", "shy", check=True)
        kept.unsupervised(store)


def test_whoever_asks_for_names_on_the_default_network_is_heard_on_its_next_bridge(place: Site, store: Minirun) -> None:
    limited = ("--name", "one", "--network", "bridge", "--network-egress", "allow=none")
    store("run", "-d", *limited, "busybox", "sleep", "1000", check=True)
    asking = ("exec", "one", "nslookup", "-type=A", "telemetry.example")
    try:
        assert "NXDOMAIN" in store(*asking).stdout
        link("link delete minirun0")
        store("run", "--rm", "--network", "bridge", "busybox", "true", check=True)
        kept.until(lambda: "NXDOMAIN" in store(*asking).stdout)
        assert found(store) == []
    finally:
        store("rm", "-f", "one", check=True)
        kept.unsupervised(store)
        store("gc", check=True)


def test_a_container_whose_interface_is_gone_is_told_of(web: Minirun) -> None:
    before = links()
    web("run", "-d", "--name", "two", "--network", "web", "busybox", "sleep", "1000", check=True)
    try:
        link(f"link delete {port_of(before)}")
        assert found(web) == [("damaged", "lease without an interface")]
        text = web("system", "check", "--quick").stdout
        assert "container two reaches nobody on network web" in text
        assert "`minirun restart two`" in text
        web("restart", "-t", "0", "two", check=True)
        assert found(web) == []
    finally:
        web("rm", "-f", "two", check=True)


def _orphan(minirun: Minirun) -> None:
    link("link add left0 type bridge")
    link("link set left0 up")
    words = ["ip", "link", "set", "left0", "alias", f"minirun network old 123456789012 of {minirun.root}"]
    subprocess.run(words, check=True)


def _rules(_minirun: Minirun) -> None:
    for name, element in (
        ("bridges", '"gone0"'), ("same", '"gone0" . "gone0"'), ("hairpin4", '"gone0" . 10.9.0.0/16'),
    ):  # fmt: skip
        nft(f"add element inet minirun {name} {{ {element} }}")
    nft("add chain inet minirun masquerade-gone0 { type nat hook postrouting priority srcnat; }")


def _element(_minirun: Minirun) -> None:
    nft('add element inet minirun published4_any { tcp . 99 comment "abcdefabcdef" : 10.77.0.99 . 80 }')


def _claim(minirun: Minirun) -> None:
    claim = {"to": "10.77.0.99", "to6": "", "loopback6": False, "ports": [["tcp", "0.0.0.0", 97, 80]]}
    (minirun.runtime / "ports" / ("a" * 64)).write_text(json.dumps(claim))


def _leases(minirun: Minirun) -> Path:
    (folder,) = (path.parent for path in minirun.runtime.glob("networks/*/bridge"))
    return folder


def _lease(minirun: Minirun) -> None:
    (_leases(minirun) / "10.77.0.99").symlink_to("b" * 64)


def _address(minirun: Minirun) -> None:
    folder = _leases(minirun)
    (folder / "10.77.0.98").symlink_to((folder / "10.77.0.9").readlink())


def _folder(minirun: Minirun) -> None:
    (minirun.runtime / "networks" / ("c" * 64)).mkdir()


def _port(_minirun: Minirun) -> None:
    link("link add mrgone type veth peer name other0")
    link(f"link set mrgone master {BRIDGE}")


def _list(minirun: Minirun) -> None:
    (minirun.runtime / "egress" / ("d" * 64 + ".ending")).mkdir(parents=True)


LEAVES: dict[str, Callable[[Minirun], None]] = {
    "bridge without a network": _orphan,
    "rules without a bridge": _rules,
    "published port of a container that is gone": _element,
    "published ports of a container that is gone": _claim,
    "lease of a container that is gone": _lease,
    "address that no lease has": _address,
    "leases of a network that is not there": _folder,
    "interface of a container that is gone": _port,
    "allow-list of a container that is gone": _list,
}


@pytest.mark.parametrize("mend", [("gc",), ("system", "check", "--repair")], ids=["gc", "repair"])
def test_what_is_left_over_goes(web: Minirun, mend: tuple[str, ...]) -> None:
    before = links(), nft("list", "ruleset"), sorted(web.runtime.glob("networks/*/*"))
    for leave in LEAVES.values():
        leave(web)
    assert sorted(found(web)) == sorted(("remains", subject) for subject in LEAVES)
    mended = web(*mend, check=True)
    assert mended.stderr == ""
    assert f"Other remains removed: {len(LEAVES)}\n" in mended.stdout or mend[0] != "gc"
    assert found(web) == []
    assert (links(), nft("list", "ruleset"), sorted(web.runtime.glob("networks/*/*"))) == before
    assert ask("tcp", "10.77.0.9", 80) == "refused"


def test_what_is_another_stores_is_left_alone(web: Minirun, tmp_path: Path, imported: Path) -> None:
    other = Minirun(tmp_path / "root", tmp_path / "runtime")
    subprocess.run(["cp", "--archive", imported, other.root], check=True)
    other("network", "create", "--subnet", "10.78.0.0/24", "web", check=True)
    other("run", "-d", "--name", "two", "--network", "web", "-p", "8090:80", "busybox", "sleep", "1000", check=True)
    try:
        assert found(web) == found(other) == []
        before = links(), nft("list", "ruleset")
        web("gc", check=True)
        other("gc", check=True)
        assert (links(), nft("list", "ruleset")) == before
        # where somebody has flushed all rules, each puts back its own
        nft("flush", "ruleset")
        for store in (web, other):
            store("run", "--rm", "--network", "web", "busybox", "true", check=True)
        assert found(web) == found(other) == []
    finally:
        other("rm", "-f", "two", check=True)
        other("network", "rm", "web", check=True)
        kept.unsupervised(other)
    # nor is set back what the other one needs
    assert SWITCH4.read_text() == "1\n"
    assert found(web) == []


def test_records_that_cannot_be_read_are_told_of_and_nothing_is_freed_by_them(web: Minirun) -> None:
    record = web.root / "networks" / "web.json"
    text = record.read_text()
    record.write_text(text[:20])
    try:
        rows = found(web)
        assert ("damaged", "damaged network record") in rows
        assert not any(state == "remains" for state, _ in rows)
        web("system", "check", "--repair")
        assert (_leases(web) / "10.77.0.9").is_symlink()
    finally:
        record.write_text(text)
    notes = record.with_name("notes.txt")
    notes.write_text("mine")
    assert found(web) == [("remains", "stray file")]
    notes.unlink()


def test_a_container_without_its_network_is_told_of(place: Site, store: Minirun) -> None:
    store("network", "create", "brief", check=True)
    store("create", "--name", "one", "--network", "brief", "busybox", "true", check=True)
    store("network", "rm", "brief", check=True)
    try:
        assert found(store) == [("damaged", "container without a network")]
        assert "`minirun network create brief`" in store("system", "check").stdout
        assert store("system", "check", "--repair").returncode == 1
    finally:
        store("rm", "one", check=True)
    assert found(store) == []


def _reboot(minirun: Minirun, name: str) -> None:
    """Have it be as after a reboot: no process, no interface, no rule, nothing in the runtime directory."""
    path = minirun.root / "containers" / kept.container_id(minirun, name) / "state.json"
    state = json.loads(path.read_text())
    runtime = f"MINIRUN_RUNTIME={minirun.runtime}".encode()
    others = [path.parent for path in Path("/proc").glob("[0-9]*/cmdline") if b"/attend.py" in _read(path)]
    attendants = [int(path.name) for path in others if runtime in _read(path / "environ").split(b"\0")]
    kept.kill(kept.keeper(minirun, name).keeper)
    kept.kill(*kept.supervisors(minirun), *attendants)
    group.remove(state["cgroup"])
    group.remove(supervision.path(str(minirun.runtime)))
    path.write_text(json.dumps({**state, "boot": "00000000-0000-4000-8000-000000000000"}))
    kept.until(lambda: not [name for name in links() if name.startswith("mr")], "the kernel keeps a namespace")
    link(f"link delete {BRIDGE}")
    nft("flush", "ruleset")
    for switch in (SWITCH4, SWITCH6):
        switch.write_text("0")
    shutil.rmtree(minirun.runtime)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended


def test_after_a_reboot_all_is_made_again(web: Minirun, place: Site) -> None:
    record = (web.root / "networks" / "web.json").read_text()
    web("create", "--name", "later", "--network", "web", "-p", "8099:80", "busybox", "sleep", "1000", check=True)
    try:
        _reboot(web, "one")
        # nothing is there, and nothing is wrong
        assert found(web) == []
        assert web("network", "ls", "--format", "{{.Name}}", check=True).stdout.split()[-1] == "web"
        web("start", "one", "later", check=True)
        assert (web.root / "networks" / "web.json").read_text() == record
        with serving("tcp:80", pid=pid_of(web, "one")):
            assert ask("tcp", "127.0.0.1", 8080) == "80 from 10.77.0.1"
            assert place.ask("tcp", "192.0.2.1", 8080) == f"80 from {OUTSIDE}"
        assert ", 0% packet loss" in web("exec", "later", "ping", "-c", "1", "-W", "1", "10.77.0.9", check=True).stdout
        assert SWITCH4.read_text() == "1\n"
        assert found(web) == []
    finally:
        web("rm", "-f", "later", check=True)


def doctor(minirun: Minirun, *command: str) -> dict[str, tuple[str, str, str]]:
    """State, meaning and remedy of what `doctor` found, by what it is about; behind *command*."""
    words = [*command, *minirun.command(["doctor", "--format", "json"])]
    told = subprocess.run(words, env=minirun.environment(), capture_output=True, text=True, check=False).stdout
    rows = [json.loads(line) for line in told.splitlines()]
    return {row["What"]: (row["State"], row["Meaning"], row["Remedy"]) for row in rows}


def test_doctor_tries_what_networks_need_and_leaves_nothing(at_rest: None, store: Minirun) -> None:
    before = switches(), links(), nft("list", "ruleset")
    told = doctor(store)
    assert (switches(), links(), nft("list", "ruleset")) == before
    for what in ("bridge", "nftables", "ip_forward", "firewall"):
        assert told[what][0] == "ok", told[what]
    for what in ("macvlan", "ipvlan"):
        made = subprocess.run(
            ["unshare", "--net", "sh", "-c", f"ip link add v type veth peer name w; ip link add link v type {what}"],
            capture_output=True, check=False,
        )  # fmt: skip
        assert (told[what][0] == "ok") == (made.returncode == 0), told[what]
    for what in ("pasta", "slirp4netns"):
        assert (told[what][0] == "ok") == bool(shutil.which(what))
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
    assert (told["br_netfilter"][0] == "ok") == (not bridged.exists() or bridged.read_text() == "0\n")
    assert told["ip_forward"][1].startswith("off;")


def test_doctor_says_what_is_not_there(at_rest: None, store: Minirun, tmp_path: Path) -> None:
    for program in ("sh", "unshare"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))
    told = doctor(store, "env", f"PATH={tmp_path}")
    assert told["nftables"][:2] == ("degraded", "containers on networks are refused: nft is not there")
    assert "apt-get install nftables" in told["nftables"][2]
    assert "apt-get install passt" in told["pasta"][2]
    told = doctor(store, "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    assert told["bridge"][0] == "degraded"
    assert "EPERM" in told["bridge"][1]


def test_doctor_finds_who_is_in_the_way_and_its_remedies_help(web: Minirun, place: Site) -> None:
    assert doctor(web)["ip_forward"][:2] == ("ok", "packets are passed on")
    SWITCH4.write_text("0")
    state, meaning, remedy = doctor(web)["ip_forward"]
    assert (state, remedy) == ("degraded", "`sysctl -w net.ipv4.ip_forward=1`")
    assert "containers on web do not get out of it" in meaning
    SWITCH4.write_text("1")
    # as Docker has it, and as somebody may have it who writes his own
    nft("add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }")
    pid = pid_of(web, "one")
    try:
        assert "100% packet loss" in _ping(pid)
        state, meaning, remedy = doctor(web)["firewall"]
        assert (state, meaning) == (
            "degraded", "chain FORWARD of table ip filter drops what containers send and get",
        )  # fmt: skip
        assert remedy.startswith("`iptables -I FORWARD -i minirun0 -j ACCEPT`")
        for way in ("iifname", "oifname"):
            nft(f"insert rule ip filter FORWARD {way} {BRIDGE} accept")
        assert ", 0% packet loss" in _ping(pid)
        assert doctor(web)["firewall"][0] == "degraded", "the default network's bridge is not known to it"
        nft("insert rule ip filter FORWARD iifname minirun0 accept")
        assert doctor(web)["firewall"][0] == "ok"
    finally:
        nft("delete table ip filter")


def _ping(pid: int) -> str:
    words = ["nsenter", f"--net=/proc/{pid}/ns/net", "busybox", "ping", "-c", "1", "-W", "1", OUTSIDE]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout
