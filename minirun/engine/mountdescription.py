"""What a container has attached, as Docker's JSON describes it: Mounts, and what of HostConfig asked for them.

-v, --volumes-from, an image's volumes ─▶ Mounts; of -v, what was written is in HostConfig.Binds
--mount                                ─▶ Mounts, and HostConfig.Mounts
--tmpfs, --mount type=tmpfs            ─▶ Mounts (which Docker leaves out), and HostConfig.Tmpfs
"""

from __future__ import annotations

from minirun.container import mounts, volumes
from minirun.errors import MinirunError
from minirun.kernel.names import MOUNT_ATTR_RDONLY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from minirun.container.mounts import Mount
    from minirun.home import Home


def attached(home: Home, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Mounts of `inspect`."""
    found = [_attached(home, mount) for mount in mounts.of(options)]
    for target, _given, attributes in options["tmpfs"]:
        found.append(
            {
                "Type": "tmpfs", "Source": "", "Destination": target, "Mode": "",
                "RW": not attributes & MOUNT_ATTR_RDONLY, "Propagation": "",
            }
        )  # fmt: skip
    return found


def _attached(home: Home, mount: Mount) -> dict[str, Any]:
    shape = {
        "Source": mount.source,
        "Destination": mount.target,
        "Mode": mount.mode,
        "RW": not mount.read_only,
        "Propagation": mount.propagation,
    }
    if mount.type == "bind":
        return {"Type": "bind", **shape}
    source = volumes.data(home, mount.name)
    try:
        volume = volumes.find(home, mount.name)
        source = volume.data(home) if volume else source
    except MinirunError:
        pass  # `system check` tells of it
    return {"Type": "volume", "Name": mount.name, **shape, "Source": source, "Driver": "local", "Propagation": ""}


def asked_for(options: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of HostConfig."""
    every = mounts.of(options)
    given: dict[str, Any] = {
        "Binds": [_bind(mount) for mount in every if mount.flag == "-v" and not mount.anonymous],
        "Tmpfs": {
            target: ",".join(f"{name}={value}" for name, value in given) for target, given, _ in options["tmpfs"]
        },
        "VolumesFrom": options.get("volumes_from"),
    }
    if long := [_long(mount) for mount in every if mount.flag == "--mount"]:
        given["Mounts"] = long
    return given


def _bind(mount: Mount) -> str:
    return ":".join(filter(None, (mount.name or mount.source, mount.target, mount.mode)))


def _long(mount: Mount) -> dict[str, Any]:
    """A mount as the API has it that `--mount` asks for; what is the default is left out."""
    asked: dict[str, Any] = {"Type": mount.type, "Source": mount.source or mount.name, "Target": mount.target}
    if mount.anonymous:
        del asked["Source"]
    if mount.read_only:
        asked["ReadOnly"] = True
    bind = {
        **({"Propagation": mount.propagation} if mount.propagation != "rprivate" else {}),
        **({"NonRecursive": True} if mount.recursive == "disabled" else {}),
        **({"ReadOnlyNonRecursive": True} if mount.recursive == "writable" else {}),
        **({"CreateMountpoint": True} if mount.create else {}),
    }
    volume = {
        **({"NoCopy": True} if mount.no_copy else {}),
        **({"Labels": mount.labels} if mount.labels else {}),
        **({"Subpath": mount.subpath} if mount.subpath else {}),
        **({"DriverConfig": {"Name": "local", "Options": mount.driver_options}} if mount.driver_options else {}),
    }
    return {
        **asked,
        **({"BindOptions": bind} if bind else {}),
        **({"VolumeOptions": volume} if volume else {}),
    }
