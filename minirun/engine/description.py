"""Containers and images as Docker's JSON describes them: what `inspect` prints, key by key.

    record, state   ─▶ {"Id", "Created", "Path", "Args", "State", "Image", "Name", "GraphDriver", "Mounts", "Config", …}
    image, its tags ─▶ {"Id", "RepoTags", "Created", "Config", "Os", "Size", "GraphDriver", "RootFS", "Layers", …}

"Layers" is minirun's own: each layer with the pointer to the one below it. So is "ConfigDigest", the id by which
everybody else knows an image. What minirun does not know is left out: a key that is there is true. See
docs.docker.com/reference/api/engine, ContainerInspect and ImageInspect.
"""

from __future__ import annotations

from datetime import UTC, datetime

from minirun.engine import mountdescription
from minirun.image import seal
from minirun.image.store import Images
from minirun.kernel import tree
from minirun.security import masks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.container.state import State
    from minirun.home import Home
    from minirun.image.store import Image
    from minirun.layer.record import Layer

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time


def container(home: Home, box: Record, now: State, *, size: bool = False) -> dict[str, Any]:
    """Describe a container.

    Args:
        home: the store.
        box: the container.
        now: what is true of it.
        size: measure it, which reads every directory of its layers.
    """
    options = box.options
    path, *arguments = options["argv"]
    described: dict[str, Any] = {
        "Id": box.id,
        "Created": _date(box.created),
        "Path": path,
        "Args": arguments,
        "State": {
            "Status": now.status,
            "Running": now.alive,
            "Paused": now.status == "paused",
            "Restarting": False,
            "Dead": False,
            "Pid": now.pid,
            "OOMKilled": now.oom_killed,
            "ExitCode": now.exit_code,
            "Error": now.error,
            "StartedAt": _date(now.started),
            "FinishedAt": _date(now.finished),
        },
        "Image": f"sha256:{box.image}",
        "HostnamePath": f"{home.container(box.id)}/hostname",
        "HostsPath": f"{home.container(box.id)}/hosts",
        "ResolvConfPath": f"{home.container(box.id)}/resolv.conf",
        "Name": f"/{box.name}",
        "RestartCount": 0,
        "Driver": "overlay",
        "Platform": "linux",
        "HostConfig": _host_config(box),
        "GraphDriver": {
            "Name": "overlay",
            "Data": {
                **_lower([home.diff(name) for name in box.stack]),
                "UpperDir": f"{home.container(box.id)}/upper",
                "WorkDir": f"{home.container(box.id)}/work",
                # the root is mounted in the container's own mount namespace only
                "MergedDir": f"/proc/{now.pid}/root" if now.alive else "",
            },
        },
        "Mounts": mountdescription.attached(home, options),
        "Config": {
            "Hostname": options["hostname"],
            "User": options["user"],
            "AttachStdin": options["stdin"],
            "AttachStdout": True,
            "AttachStderr": True,
            "Tty": options["tty"],
            "OpenStdin": options["stdin"],
            "Env": options["env"],
            "Cmd": options["cmd"],
            "Image": box.image_name,
            "WorkingDir": options["cwd"],
            "Entrypoint": options["entrypoint"],
            "Labels": options["labels"],
            "StopSignal": options["stop_signal"],
        },
    }
    if size:
        described["SizeRw"], described["SizeRootFs"] = usage(home, box)
    return described


def usage(home: Home, box: Record) -> tuple[int, int]:
    """Measure a container.

    Returns:
        Bytes of data that it wrote itself, and bytes with those of its image; both as the files' lengths have it.
    """
    images = Images(home)
    own = [*(home.diff(name) for name in box.stack[len(box.base) :]), f"{home.container(box.id)}/upper"]
    written = sum(tree.usage(path)[0] for path in own)
    return written, written + images.size(images.get(box.image))


def image(home: Home, found: Image, tags: Sequence[str], layers: Sequence[Layer]) -> dict[str, Any]:
    """Describe an image.

    Args:
        home: the store.
        found: the image.
        tags: its names.
        layers: its layers, bottom to top.
    """
    raw = found.config.raw
    told = raw.get("history") or [{}]
    return {
        "Id": f"sha256:{found.id}",
        **({"ConfigDigest": digest} if (digest := seal.digest(found, layers)) else {}),
        "RepoTags": list(tags),
        "RepoDigests": [f"{tag.rpartition(':')[0]}@{found.digest}" for tag in tags] if found.digest else [],
        "Parent": "",
        "Comment": told[-1].get("comment") or "",
        "Created": found.created,
        "Author": raw.get("author") or "",
        "Config": raw.get("config") or {},
        "Architecture": raw.get("architecture") or "",
        **({"Variant": raw["variant"]} if raw.get("variant") else {}),
        "Os": raw.get("os") or "",
        "Size": sum(layer.size or 0 for layer in layers),
        "GraphDriver": {"Name": "overlay", "Data": _lower(found.paths(home))},
        # the digest of a layer that was committed is taken when somebody needs it: until then null
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in layers]},
        "Layers": [
            {
                "Id": layer.id,
                "Parent": below.id if below else "",
                "DiffId": layer.diff_id,
                "Size": layer.size,
                "Created": layer.created or "",
                "CreatedBy": layer.created_by or "",
                "Comment": layer.comment or "",
                "Dir": home.diff(layer.diff),
            }
            for below, layer in zip([None, *layers], layers, strict=False)
        ],
        "Source": found.source,
    }


def _lower(paths: Sequence[str]) -> dict[str, str]:
    """The stack as overlayfs writes it, topmost first."""
    return {"LowerDir": ":".join(reversed(paths))}


def _host_config(box: Record) -> dict[str, Any]:
    options = box.options
    return {
        **mountdescription.asked_for(options),
        "NetworkMode": options["network"],
        "AutoRemove": box.remove,
        "ReadonlyRootfs": options["read_only"],
        "Privileged": False,
        "Init": options["init"],
        "ShmSize": options["shm_bytes"],
        "OomScoreAdj": options["oom_score_adj"] or 0,
        "Ulimits": [
            {"Name": name, "Hard": _go_int(hard), "Soft": _go_int(soft)} for name, _, soft, hard in options["ulimits"]
        ],
        "CgroupParent": options["cgroup_parent"],
        "CgroupnsMode": options["cgroupns"],
        **_limits(options["limits"]),
        "MaskedPaths": [*masks.HIDDEN_FILES, *masks.HIDDEN_DIRECTORIES],
        "ReadonlyPaths": list(masks.READ_ONLY),
    }


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
        "PidsLimit": get("pids-limit"),
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


def _date(seconds: float) -> str:
    if not seconds:
        return _NEVER
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
