"""Flags become options, or a refusal."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from minirun.container import options
from minirun.errors import BadInput, Unsupported
from minirun.kernel import privileges


def read(**flags: Any) -> dict[str, Any]:
    return options.read({name.replace("_", "-"): value for name, value in flags.items()})


def test_nothing_asked_for_is_dockers_default() -> None:
    assert read() == {
        "entrypoint": None, "env": [], "cwd": None, "user": None, "hostname": None, "tty": False, "stdin": False,
        "network": "bridge", "networks": [{"name": "bridge", "ip": "", "ip6": "", "mac": "", "aliases": []}],
        "limits": {}, "ulimits": [], "oom_score_adj": None, "shm_bytes": 64 << 20,
        "cgroup_parent": "", "cgroupns": "private", "volumes": [], "tmpfs": [], "read_only": False, "init": False,
        "stop_signal": None, "labels": {}, "detached": False, "stdin_once": False,
        "log": {"driver": "json-file", "options": {}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "name"), [("TERM", "SIGTERM"), ("sigint", "SIGINT"), ("9", "SIGKILL"), ("Usr1", "SIGUSR1")]
)
def test_a_signal_has_a_name_or_a_number(text: str, name: str) -> None:
    assert options.signal_name(text) == name


@pytest.mark.parametrize("text", ["", "0", "SIG", "32", "NONE", "-9", "TERM "])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        options.signal_name(text)


def test_labels_and_variables_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", "value")
    monkeypatch.delenv("NOT_HERE", raising=False)
    assert read(label=["a=1", "b", "c=d=e", "a=2"])["labels"] == {"a": "2", "b": "", "c": "d=e"}
    assert read(env=["A=1", "HERE", "NOT_HERE", "A=2"])["env"] == ["A=2", "HERE=value", "NOT_HERE"]
    for flags in ({"label": ["=x"]}, {"env": ["=x"]}, {"env": [""]}, {"env": ["A=\0"]}, {"label": ["a\0"]}):
        with pytest.raises(BadInput):
            read(**flags)


def test_an_env_file_is_text_of_names_and_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_HERE", raising=False)
    file = tmp_path / "env"
    file.write_bytes(b"# no\r\nA=1\r\n\r\n   B = 2\n".replace(b"B =", b"B="))
    assert read(env_file=[str(file)])["env"] == ["A=1", "B= 2"]
    file.write_text("NOT_HERE\n")
    assert read(env_file=[str(file)])["env"] == []
    for data in (b"\xff", b"A B=1\n", b"=1\n", b"A=\0\n"):
        file.write_bytes(data)
        with pytest.raises(BadInput):
            read(env_file=[str(file)])


@pytest.mark.parametrize("text", ["", "a b", "a/b", "x" * 65, "é" * 33, "\udcff", "a\n", "\x1b[0m"])
def test_what_is_no_host_name_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        read(hostname=text)
    assert read(hostname="é" * 32)["hostname"] == "é" * 32


def test_a_working_directory_is_absolute() -> None:
    assert read(workdir="/a//b/../c/")["cwd"] == "/a/c"
    for text in ("a", "", "/a\0"):
        with pytest.raises(BadInput):
            read(workdir=text)


def test_a_network_is_none_the_hosts_one_of_ours_or_a_containers() -> None:
    none = read(network=["none"])
    assert none["network"] == "none"
    assert read(network=["host"]) == {**none, "network": "host"}
    asked: dict[str, Any] = {"name": "bridge", "ip": "", "ip6": "", "mac": "", "aliases": []}
    assert read() == read(network=["default"]) == {**none, "network": "bridge", "networks": [asked]}
    assert read(network=["container:x"]) == {**none, "network": "container:x"}
    flags: dict[str, Any] = {"ip": "10.1.0.5", "ip6": "fd00:0:0::5", "mac_address": "02-42-AC-11-00-02"}
    asked = {"name": "net", "ip": "10.1.0.5", "ip6": "fd00::5", "mac": "02:42:ac:11:00:02", "aliases": ["db", "x.y"]}
    flags["network_alias"] = ["DB", "x.y", "db"]
    assert read(network=["net"], **flags)["networks"] == [asked]


def test_several_networks_can_be_asked_for_and_what_is_wanted_of_each() -> None:
    found = read(network=["a", "name=b,alias=DB,alias=x,ip=10.1.0.5,mac-address=02:00:00:00:00:01", "c:ip6=fd00::5"])
    assert found["network"] == "a"
    assert found["networks"] == [
        {"name": "a", "ip": "", "ip6": "", "mac": "", "aliases": []},
        {"name": "b", "ip": "10.1.0.5", "ip6": "", "mac": "02:00:00:00:00:01", "aliases": ["db", "x"]},
        {"name": "c", "ip": "", "ip6": "fd00::5", "mac": "", "aliases": []},
    ]
    # flags without a network's name are of the first
    (first, second) = read(network=["name=default", "d:interface_name=net7"], ip="10.1.0.6")["networks"]
    assert (first["name"], first["ip"], second["ip"], second["interface"]) == ("bridge", "10.1.0.6", "", "net7")
    named = read(network=["name=d,driver-opt=com.docker.network.endpoint.ifname=net7"])["networks"]
    assert named == [second]


def test_what_a_container_knows_of_names_can_be_said() -> None:
    found = read(add_host=["db:10.0.0.5", "six:fd00::5", "seven=[fd00::7]"], dns=["10.0.0.53"], dns_search=["."])
    assert found["add_hosts"] == [["db", "10.0.0.5"], ["six", "fd00::5"], ["seven", "fd00::7"]]
    assert found["dns"] == {"servers": ["10.0.0.53"], "search": [], "options": None}
    assert read(network=["net"], add_host=["up:host-gateway"])["add_hosts"] == [["up", "host-gateway"]]
    assert read(sysctl=["net.ipv4.ip_forward=1", "kernel.msgmax=9"])["sysctls"] == {
        "net.ipv4.ip_forward": "1", "kernel.msgmax": "9",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"network": ["a", "none"]}, "is on no network"),
        ({"network": ["host", "a"]}, "is on no network"),
        ({"network": ["a", "container:x"]}, "is on no network"),
        ({"network": ["a", "name=a,ip=10.1.0.5"]}, "it is the same"),
        ({"network": ["name=a,ip=10.1.0.5"], "ip": "10.1.0.6"}, "says the same"),
        ({"network": ["name=host,ip=10.1.0.5"]}, "has no interface"),
        ({"network": ["name=container:x,alias=y"]}, "the other container has its own"),
        ({"network": ["ip=10.1.0.5"]}, "names no network"),
        ({"network": ["name=a,ip"]}, "not of the form KEY=VALUE"),
        ({"network": ["name=a,ip="]}, "not of the form KEY=VALUE"),
        ({"network": ["name=a,nosuch=1"]}, "no key 'nosuch'"),
        ({"network": ["name=a,ip=10.1.0.5,ip=10.1.0.6"]}, "given twice"),
        ({"network": ["name=a,ip=ten"]}, "no IPv4 address"),
        ({"network": ["a:ip6=ten"]}, "no IPv6 address"),
        ({"network": ["name=bridge,alias=x"]}, "nobody is found by name"),
        ({"network": ["name=a,driver-opt=com.docker.network.endpoint.sysctls=x"]}, "driver-opt is not built"),
        ({"network": ["name=a,gw-priority=1"]}, "gw-priority is not built"),
        ({"network": ["a:interface_name=much-too-long-a-name"]}, "no name for an interface"),
        ({"network": ["a:interface_name=lo"]}, "no name for an interface"),
        ({"network": ["a,b"]}, "it is none, host, a network"),
        ({"network": ["none"], "link": ["db:database"]}, "containers find each other"),
        ({"network": [""]}, "it is none, host, a network"),
        ({"network": ["container:"]}, "it is none, host, a network"),
        ({"network": ["../x"]}, "it is none, host, a network"),
        ({"network": ["none"], "ip": "10.1.0.5"}, "has no interface"),
        ({"network": ["host"], "mac_address": "02:00:00:00:00:01"}, "has no interface"),
        ({"network": ["net"], "ip": "fd00::5"}, "no IPv4 address"),
        ({"network": ["net"], "ip": "10.1.0.256"}, "no IPv4 address"),
        ({"network": ["net"], "ip6": "10.1.0.5"}, "no IPv6 address"),
        ({"network": ["net"], "mac_address": "01:00:00:00:00:01"}, "no address of an interface"),
        ({"network": ["net"], "mac_address": "02:00"}, "no address of an interface"),
        ({"network": ["bridge"], "network_alias": ["db"]}, "nobody is found by name"),
        ({"network": ["net"], "network_alias": ["a b"]}, "no name of a host"),
        ({"network": ["net"], "network_alias": [""]}, "no name of a host"),
        ({"network": ["net"], "network_alias": [f"{n:0200}" for n in range(20)]}, "longer than 3000"),
        ({"network": ["container:x"], "hostname": "y"}, "the other container has its own"),
        ({"network": ["container:x"], "dns": ["10.0.0.53"]}, "the other container has its own"),
        ({"network": ["container:x"], "sysctl": ["net.ipv4.ip_forward=1"]}, "its network is not its own"),
        ({"network": ["host"], "sysctl": ["net.ipv4.ip_forward=1"]}, "its network is not its own"),
        ({"sysctl": ["kernel.core_pattern=x"]}, "the whole host's"),
        ({"sysctl": ["net.ipv4/../../kernel.core_pattern=x"]}, "no NAME=VALUE"),
        ({"sysctl": ["net..ipv4=x"]}, "no NAME=VALUE"),
        ({"sysctl": ["net.ipv4.ip_forward"]}, "no NAME=VALUE"),
        ({"add_host": ["db"]}, "no NAME:ADDRESS"),
        ({"add_host": ["a b:10.0.0.5"]}, "no NAME:ADDRESS"),
        ({"add_host": ["db:ten"]}, "is no address"),
        ({"network": ["none"], "add_host": ["up:host-gateway"]}, "has no gateway"),
        ({"dns": ["ns.example"]}, "no address of a name server"),
        ({"dns_search": ["a\nnameserver 1.2.3.4"]}, "not one word"),
        ({"dns_option": ["a b"]}, "not one word"),
    ],
)
def test_what_is_no_network_and_no_part_of_one_is_refused(flags: dict[str, Any], why: str) -> None:
    with pytest.raises((BadInput, Unsupported), match=why):
        read(**flags)


@pytest.mark.parametrize("text", ["", "/", "a//b", "../up", "a/./b", "/a/..", "a\nb", "a\0b"])
def test_what_is_no_path_of_a_cgroup_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--cgroup-parent"):
        read(cgroup_parent=text)


def test_a_cgroup_parent_is_a_name_or_a_path_and_no_slice_of_systemds() -> None:
    assert [read(cgroup_parent=text)["cgroup_parent"] for text in ("web", "web/blue", "/a.slice")] == [
        "web", "web/blue", "/a.slice",
    ]  # fmt: skip
    with pytest.raises(Unsupported, match="slices are systemd's"):
        read(cgroup_parent="machine.slice")


def test_limits_of_a_process_are_read_as_docker_reads_them() -> None:
    assert read(ulimit=["nofile=64:128", "core=0", "nofile=32", "cpu=9:unlimited"])["ulimits"] == [
        ["nofile", 7, 32, 32], ["core", 4, 0, 0], ["cpu", 0, 9, (1 << 64) - 1],
    ]  # fmt: skip
    assert read(shm_size="1m")["shm_bytes"] == 1 << 20
    assert read(oom_score_adj="-1000")["oom_score_adj"] == -1000


@pytest.mark.parametrize(
    ("flag", "text"),
    [("ulimit", "nofile"), ("ulimit", "nofile="), ("ulimit", "nofile=a"), ("ulimit", "nofile=2:1"), ("ulimit", "as=1"),
     ("ulimit", "=1"), ("ulimit", "nofile=1:"), ("ulimit", "nofile=-2"), ("ulimit", "nofile=1:2:3"),
     ("ulimit", "core=18446744073709551616"), ("shm-size", "0"), ("shm-size", "x"), ("shm-size", "-1"),
     ("oom-score-adj", "1001"), ("oom-score-adj", "-1001"), ("oom-score-adj", "x"), ("cgroupns", "new")],
)  # fmt: skip
def test_what_is_no_limit_of_a_process_is_refused(flag: str, text: str) -> None:
    with pytest.raises(BadInput, match=f"--{flag}"):
        read(**{flag.replace("-", "_"): [text] if flag == "ulimit" else text})


def test_a_hard_limit_above_ours_is_refused_where_we_may_not_raise_it() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or "CAP_SYS_RESOURCE" not in privileges.missing(("CAP_SYS_RESOURCE",)):
        pytest.skip("minirun may raise it here")
    with pytest.raises(Unsupported, match=f"minirun's own hard limit is {hard}"):
        read(ulimit=[f"nofile={hard + 1}"])
