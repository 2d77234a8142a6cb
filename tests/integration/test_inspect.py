"""`inspect` has Docker's keys, and what stands in them is so; what is not here is in test_commands.py."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from minirun.cgroup import group
from tests.command import Minirun
from tests.running import running, state_of

# docs.docker.com/reference/api/engine/version/v1.47, ContainerInspect
TOP = {
    "AppArmorProfile", "Args", "Config", "Created", "Driver", "GraphDriver", "HostConfig", "HostnamePath", "HostsPath",
    "Id", "Image", "LogPath", "MountLabel", "Mounts", "Name", "NetworkSettings", "Path", "Platform", "ProcessLabel",
    "ResolvConfPath", "RestartCount", "State",
}  # fmt: skip
STATE = {
    "Dead", "Error", "ExitCode", "FinishedAt", "OOMKilled", "Paused", "Pid", "Restarting", "Running", "StartedAt",
    "Status",
}  # fmt: skip
HOST_CONFIG = {
    "AutoRemove", "Binds", "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps",
    "BlkioWeight", "CapAdd", "CapDrop", "Cgroup", "CgroupParent", "CgroupnsMode", "CpuPeriod", "CpuQuota", "CpuShares",
    "CpusetCpus", "CpusetMems", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "IpcMode", "Links",
    "LogConfig", "MaskedPaths", "Memory", "MemoryReservation", "MemorySwap", "MemorySwappiness", "NanoCpus",
    "NetworkMode", "OomKillDisable", "OomScoreAdj", "PidMode", "PidsLimit", "PortBindings", "Privileged",
    "PublishAllPorts",
    "ReadonlyPaths", "ReadonlyRootfs", "RestartPolicy", "Runtime", "SecurityOpt", "ShmSize", "UTSMode", "Ulimits",
    "UsernsMode", "VolumeDriver", "VolumesFrom",
}  # fmt: skip
CONFIG = {
    "AttachStderr", "AttachStdin", "AttachStdout", "Cmd", "Domainname", "Entrypoint", "Env", "Hostname", "Image",
    "Labels", "OpenStdin", "StdinOnce", "StopSignal", "Tty", "User", "WorkingDir",
}  # fmt: skip
NETWORK = {"Gateway", "GlobalIPv6Address", "IPAddress", "IPPrefixLen", "MacAddress", "Networks", "Ports", "SandboxKey"}


def described(minirun: Minirun, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(minirun("inspect", *arguments, check=True).stdout)[0]
    return found


def test_the_keys_are_dockers(store: Minirun) -> None:
    store("create", "--name", "keyed", "busybox", "true", check=True)
    told = described(store, "keyed")
    store("rm", "keyed", check=True)
    for keys, part in ((TOP, told), (STATE, told["State"]), (HOST_CONFIG, told["HostConfig"]), (CONFIG, told["Config"]),
                       (NETWORK, told["NetworkSettings"])):  # fmt: skip
        assert keys - set(part) == set()
    assert list(told["NetworkSettings"]["Networks"]) == ["none"]
    assert told["LogPath"] == ""  # it has never run
    assert "SizeRw" not in told


def test_what_was_asked_for_is_told(store: Minirun, busybox_layers: Path) -> None:
    store("import", "-c", "EXPOSE 80", "-c", "EXPOSE 53/udp", str(busybox_layers), "exposing", check=True)
    store("create", "--name", "asked", "--restart", "on-failure:3", "--stop-timeout", "7", "-l", "b=2", "-l", "a=1",
          "--log-opt", "max-size=1m", "--network", "host", "-i", "exposing", "true", check=True)  # fmt: skip
    told = described(store, "asked")
    store("rm", "asked", check=True)
    store("rmi", "exposing", check=True)
    assert told["HostConfig"]["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert told["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
    assert told["Config"]["StopTimeout"] == 7
    assert told["Config"]["ExposedPorts"] == {"53/udp": {}, "80/tcp": {}}
    assert [*told["Config"]["Labels"]][:2] == ["a", "b"]
    assert (told["Config"]["OpenStdin"], told["Config"]["StdinOnce"]) == (True, True)
    assert list(told["NetworkSettings"]["Networks"]) == ["host"]


def test_a_container_that_runs_is_told_with_what_it_runs_in(store: Minirun) -> None:
    with running(store, "alive", "sleep", "100") as now:
        told = described(store, "alive")
        assert told["State"]["Pid"] == now.pid
        assert Path(told["NetworkSettings"]["SandboxKey"]).exists()
        assert (Path(told["GraphDriver"]["Data"]["MergedDir"]) / "bin/busybox").exists()
        assert (told["State"]["Running"], told["State"]["Paused"], told["State"]["Restarting"]) == (True, False, False)
    assert state_of(store, "alive") is None


def test_the_log_of_a_container_in_the_background_is_where_it_says(store: Minirun) -> None:
    store("run", "-d", "--name", "logging", "busybox", "sh", "-c", "echo out; sleep 100", check=True)
    try:
        end = time.monotonic() + 20
        while not (path := described(store, "logging")["LogPath"]) or "out" not in Path(path).read_text():
            assert time.monotonic() < end
            time.sleep(0.02)
        told = described(store, "logging")
        assert (told["Config"]["AttachStdout"], told["RestartCount"]) == (False, 0)
        assert group.alive(f"{state_of(store, 'logging').cgroup}")  # type: ignore[union-attr]  # it runs
    finally:
        store("rm", "-f", "logging", check=True)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{.Id}}{{.ID}}", None),
        ("{{.Name}} {{.State.Status}} {{.RestartCount}}", "/formed created 0"),
        ("{{with .State.Health}}{{.Status}}{{else}}no health{{end}}", "no health"),
        ("{{range $name, $net := .NetworkSettings.Networks}}{{$name}}={{$net.IPAddress}};{{end}}", "none=;"),
        ("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", ""),
        ("{{range $port, $to := .NetworkSettings.Ports}}{{$port}}{{else}}no ports{{end}}", "no ports"),
        ("{{range .Mounts}}{{.Type}}:{{.Destination}} {{end}}", "bind:/mnt/usr "),
        ('{{index .Config.Labels "tier"}} {{.Config.Labels.tier}}', "front front"),
        ('{{join .Config.Cmd " "}}', "sh -c true"),
        ("{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.LogConfig.Type}}", "no json-file"),
        ("{{json .HostConfig.RestartPolicy}}", '{"Name":"no","MaximumRetryCount":0}'),
        ("{{if .State.Running}}up{{else}}down{{end}}", "down"),
        ("{{len .Mounts}}{{- /* none */ -}}  x", "1x"),
        ('{{slice .Id 0 3 | len}} {{printf "%.4s" .Path}}', "3 sh"),
    ],
)
def test_formats_that_docker_users_write(store: Minirun, form: str, text: str | None) -> None:
    store("create", "--name", "formed", "-l", "tier=front", "-v", "/usr:/mnt/usr:ro", "busybox", "sh", "-c", "true",
          check=True)  # fmt: skip
    try:
        shown = store("inspect", "--format", form, "formed", check=True).stdout.rstrip("\n")
        assert shown == (text if text is not None else described(store, "formed")["Id"] * 2)
    finally:
        store("rm", "formed", check=True)


def test_several_are_told_in_one_list_and_what_is_missing_beside_it(store: Minirun) -> None:
    for name in ("one", "two"):
        store("create", "--name", name, "busybox", "true", check=True)
    result = store("inspect", "one", "nothing", "two", "busybox")
    assert result.returncode == 125
    assert [one.get("Name", "image") for one in json.loads(result.stdout)] == ["/one", "/two", "image"]
    assert "there is no container, image, volume or network of that name" in result.stderr
    formatted = store("inspect", "-f", "{{.Name}}", "one", "two", check=True).stdout
    assert formatted == "/one\n/two\n"
    assert described(store, "-s", "--type", "container", "one")["SizeRw"] == 0
    store("rm", "one", "two", check=True)


@pytest.mark.parametrize("form", ["{{.State", "{{.Nothing}}", "{{nosuch .}}", "{{if .Id}}", "{{.Id.First}}"])
def test_a_format_that_is_broken_is_told_in_a_sentence(store: Minirun, form: str) -> None:
    result = store("inspect", "--format", form, "busybox")
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr.startswith(f"minirun: cannot use the format '{form}': ")
    assert len(result.stderr.splitlines()) == 2
