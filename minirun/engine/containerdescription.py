"""Containers as Docker's JSON describes them: what `inspect` prints, key by key.

    record, state ─▶ {"Id", "Created", "Path", "Args", "State", "Image", "Name", "LogPath", "HostConfig", "GraphDriver",
                      "Mounts", "Config", "NetworkSettings", …}

What minirun does not know is left out: a key that is there is true. See docs.docker.com/reference/api/engine,
ContainerInspect.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

from minirun.container import health, output
from minirun.engine import description, egressdescription, mountdescription, networkdescription, ports
from minirun.engine.hostdescription import host_config
from minirun.errors import MinirunError
from minirun.image.store import Images
from minirun.log import driver

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time


def container(home: Home, box: Record, now: State, *, size: bool = False) -> dict[str, Any]:
    """Describe a container.

    Args:
        home: the store.
        box: the container.
        now: what is true of it.
        size: measure it, which reads every directory of its layers.
    """
    path, *arguments = box.options["argv"]
    directory = home.container(box.id)
    described: dict[str, Any] = {
        "Id": box.id,
        "Created": _date(box.created),
        "Path": path,
        "Args": arguments,
        "State": {**_state(now), **_health(home, box, now)},
        "Image": f"sha256:{box.image}",
        "ResolvConfPath": f"{directory}/resolv.conf",
        "HostnamePath": f"{directory}/hostname",
        "HostsPath": f"{directory}/hosts",
        "LogPath": _log_path(home, box),
        "Name": f"/{box.name}",
        "RestartCount": now.restarts,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": box.options.get("security", {}).get("apparmor", ""),
        "HostConfig": host_config(box, now),
        "GraphDriver": {
            "Name": "overlay",
            "Data": {
                **description.lower([home.diff(name) for name in box.stack]),
                "UpperDir": f"{directory}/upper",
                "WorkDir": f"{directory}/work",
                # the root is mounted in the container's own mount namespace only
                "MergedDir": f"/proc/{now.pid}/root" if now.alive else "",
            },
        },
        "Mounts": mountdescription.attached(home, box.options),
        "Config": _config(home, box),
        "NetworkSettings": _network(home, box, now),
    }
    if size:
        described["SizeRw"], described["SizeRootFs"] = description.usage(home, box)
    return described


def _state(now: State) -> dict[str, Any]:
    return {
        "Status": now.status,
        "Running": now.alive,
        "Paused": now.status == "paused",
        "Restarting": now.status == "restarting",
        "OOMKilled": now.oom_killed,
        "Dead": False,
        "Pid": now.pid,
        "ExitCode": now.exit_code,
        "Error": now.error,
        "StartedAt": _date(now.started),
        "FinishedAt": _date(now.finished),
    }


def _health(home: Home, box: Record, now: State) -> dict[str, Any]:
    found = health.now(home, box, now)
    if found is None:
        return {}
    log = [
        {"Start": _date(one.start), "End": _date(one.end), "ExitCode": one.exit_code, "Output": one.output}
        for one in found.log
    ]
    return {"Health": {"Status": found.status, "FailingStreak": found.streak, "Log": log}}


def _config(home: Home, box: Record) -> dict[str, Any]:
    options = box.options
    detached = options.get("detached", False)
    stop_timeout = options.get("stop_timeout")
    return {
        "Hostname": options["hostname"],
        "Domainname": "",
        "User": options["user"],
        "AttachStdin": options["stdin"] and not detached,
        "AttachStdout": not detached,
        "AttachStderr": not detached,
        **_exposed(home, box),
        "Tty": options["tty"],
        "OpenStdin": options["stdin"],
        "StdinOnce": options.get("stdin_once", options["stdin"]),
        "Env": options["env"],
        "Cmd": options["cmd"],
        "Image": box.image_name,
        "WorkingDir": options["cwd"],
        "Entrypoint": options["entrypoint"],
        "Labels": dict(sorted(options["labels"].items())),
        "StopSignal": options["stop_signal"],
        **({} if stop_timeout is None else {"StopTimeout": stop_timeout}),
        **_healthcheck(options),
    }


def _healthcheck(options: Mapping[str, Any]) -> dict[str, Any]:
    described = health.described(options)
    if not described:
        return {}
    # podman's key for what Docker has not got
    action = options["health"].get("on_failure", "none")
    return {"Healthcheck": described, "HealthcheckOnFailureAction": action}


def _exposed(home: Home, box: Record) -> dict[str, Any]:
    """What its image says of ports and volumes, which Docker repeats, with ports that the container adds."""
    named = ports.exposed(box.options)
    try:
        config = Images(home).get(f"sha256:{box.image}").config
        found = {"ExposedPorts": [*config.exposed_ports, *named], "Volumes": config.volumes}
    except MinirunError:
        found = {"ExposedPorts": named, "Volumes": []}  # its record cannot be read: nothing of it is known
    return {key: {name: {} for name in sorted(names)} for key, names in found.items() if names}


def _network(home: Home, box: Record, now: State) -> dict[str, Any]:
    return {
        "Bridge": "",
        "SandboxKey": f"/proc/{now.pid}/ns/net" if now.alive else "",
        "Ports": ports.settings(home, box, now),
        **networkdescription.settings(home, box),
        **egressdescription.settings(home, box),
    }


def _log_path(home: Home, box: Record) -> str:
    """The log of a container that has one and has run."""
    log = output.log_of(box)
    if log["driver"] != "json-file":
        return ""
    path = driver.path(log, box.id, f"{home.container(box.id)}/log", home.kept(box.id))
    return path if os.path.exists(path) else ""


def _date(seconds: float) -> str:
    if not seconds:
        return _NEVER
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
