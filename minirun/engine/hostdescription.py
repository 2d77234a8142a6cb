"""What of the host a container was given, as Docker's JSON describes it: HostConfig.

Keys of what is not built in this version have the values that it has for every container.
"""

from __future__ import annotations

from minirun.cgroup import processlimit
from minirun.container import output, restart, securityflags, start
from minirun.engine import egressdescription, mountdescription, networkdescription, ports
from minirun.security import masks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State

_NOT_BUILT: dict[str, Any] = {
    "Cgroup": "", "DeviceRequests": None, "Isolation": "", "Links": None, "Runtime": "minirun",
    "VolumeDriver": "",
}  # fmt: skip


def host_config(box: Record, now: State) -> dict[str, Any]:
    """Describe what of the host a container was given, and is given now if it runs."""
    options = box.options
    masked = masks.of(options)
    policy, most = options.get("restart") or restart.NO
    log = output.log_of(box)
    return {
        **mountdescription.asked_for(options),
        "LogConfig": {"Type": log["driver"], "Config": dict(sorted(log["options"].items()))},
        "NetworkMode": options["network"],
        **ports.bindings(options),
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": most},
        "AutoRemove": box.remove,
        "ReadonlyRootfs": options["read_only"],
        **_NOT_BUILT,
        "Privileged": options.get("privileged", False),
        **_privileges(options),
        "SecurityOpt": securityflags.described(options),
        "IpcMode": options.get("ipc", "private"),
        "PidMode": options.get("pid", ""),
        "UTSMode": options.get("uts", ""),
        **_user_namespace(options),
        **networkdescription.asked_for(box),
        **egressdescription.asked_for(box),
        "Init": options["init"],
        "ShmSize": options["shm_bytes"],
        "OomScoreAdj": options["oom_score_adj"] or 0,
        "Ulimits": [
            {"Name": name, "Hard": _go_int(hard), "Soft": _go_int(soft)} for name, _, soft, hard in options["ulimits"]
        ],
        "CgroupParent": options["cgroup_parent"],
        "CgroupnsMode": options["cgroupns"],
        **_limits(options["limits"]),
        "PidsLimit": _processes(box, now),
        "MaskedPaths": masked.hidden or (None if "privileged" in options else []),
        "ReadonlyPaths": None if "privileged" in options else list(masked.read_only),
    }


def _privileges(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "CapAdd": _capabilities(options.get("cap_add")),
        "CapDrop": _capabilities(options.get("cap_drop")),
        "GroupAdd": options.get("group_add"),
        "Devices": [
            {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}
            for source, target, access in options.get("devices", ())
        ],
        "DeviceCgroupRules": options.get("device_rules"),
    }


def _user_namespace(options: Mapping[str, Any]) -> dict[str, Any]:
    """Its mode, and under podman's key the ids that it has: INSIDE:HOST:COUNT."""
    if "userns" not in options:
        return {"UsernsMode": ""}
    asked = options["userns"]
    maps = {
        name: [":".join(map(str, extent)) for extent in asked[kind]]
        for name, kind in (("UidMap", "uid"), ("GidMap", "gid"))
    }
    return {"UsernsMode": asked["mode"], "IDMappings": maps}


def _capabilities(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else [name if name == "ALL" else f"CAP_{name}" for name in names]


def _processes(box: Record, now: State) -> int | None:
    """How many it may have: what was asked for, what holds while it runs, or what a start would give it."""
    if "pids-limit" in box.options["limits"]:
        return int(box.options["limits"]["pids-limit"])
    return processlimit.of_running(now.cgroup) if now.alive else start.process_limit(box) or None


def _limits(limits: Mapping[str, Any]) -> dict[str, Any]:
    """The limits under Docker's keys; CgroupConf is podman's. What is not limited is 0, or as Docker has it."""
    get = limits.get
    rates = ("device-read-bps", "device-write-bps", "device-read-iops", "device-write-iops")
    return {
        "Memory": get("memory", 0),
        "MemoryReservation": get("memory-reservation", 0),
        "MemorySwap": get("memory-swap", 2 * get("memory", 0)),
        "MemorySwappiness": get("memory-swappiness"),
        "OomKillDisable": False,
        "NanoCpus": round(get("cpus", 0) * 1e9),
        "CpuPeriod": get("cpu-period", 0),
        "CpuQuota": get("cpu-quota", 0),
        "CpuShares": get("cpu-shares", 0),
        "CpusetCpus": get("cpuset-cpus", ""),
        "CpusetMems": get("cpuset-mems", ""),
        "BlkioWeight": get("blkio-weight", 0),
        **{
            # device-read-bps → BlkioDeviceReadBps, device-read-iops → BlkioDeviceReadIOps
            "Blkio" + flag.title().replace("-", "").replace("Iops", "IOps"): [
                {"Path": path, "Rate": rate} for path, _, rate in get(flag, ())
            ]
            for flag in rates
        },
        "CgroupConf": get("cgroup-conf", {}),
    }


def _go_int(value: int) -> int:
    """A number of the kernel's as Go has it, signed: no limit is -1."""
    return value - (1 << 64) if value >> 63 else value
