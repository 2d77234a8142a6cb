"""What a container may do beyond the default, or short of it, as the flags of `run` and `create` say it.

    --cap-add NET_ADMIN, --cap-drop ALL     ─▶ cap_add, cap_drop: names without CAP_
    --group-add audio                       ─▶ group_add
    --device /dev/fuse[:/dev/other][:rwm]   ─▶ devices: [source, target, access]
    --device-cgroup-rule 'c 10:229 rw'      ─▶ device_rules: as they were given
    --privileged                            ─▶ privileged: all of that, and nothing hidden, read-only or filtered

What devices are there is asked when the container starts: a stick that was pulled out keeps it from starting.
"""

from __future__ import annotations

import os
import stat

from minirun import caller
from minirun.cgroup import devicefilter
from minirun.errors import BadInput, Conflict, Unsupported
from minirun.journal import Step
from minirun.rootfs.devices import Device
from minirun.rootfs.special import DEVICES, LINKS
from minirun.security import capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from minirun.cgroup.devicefilter import Rule

_TAKEN = {name for name, *_ in (*DEVICES, *LINKS)} | {"console", "mqueue", "pts", "shm"}
_ROOTS = "/dev/"


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the flags into options of the record; what was not asked for is not among them.

    Raises:
        BadInput: a value has no meaning.
        Unsupported: we have not got a capability ourselves, or it is not an ordinary user's to give.
    """
    found: dict[str, Any] = {}
    for flag, key in (("cap-add", "cap_add"), ("cap-drop", "cap_drop")):
        if given := flags.get(flag):
            found[key] = sorted({_capability(flag, text) for text in given})
    if found:
        capabilities.check_had(capabilities.kept(found))
    if groups := flags.get("group-add"):
        found["group_add"] = list(dict.fromkeys(groups))
    for flag in ("device", "device-cgroup-rule"):
        if caller.ROOTLESS and (asked := flags.get(flag)):
            raise Unsupported(
                f"use --{flag} {asked[0]}", "an ordinary user can make no device, and filter none",
                f"leave it out; `-v {asked[0].partition(':')[0]}:…` does not open one either",
            )  # fmt: skip
    if devices := flags.get("device"):
        found["devices"] = [_device(text) for text in devices]
    if rules := flags.get("device-cgroup-rule"):
        for rule in rules:
            devicefilter.parse(rule)
        found["device_rules"] = list(rules)
    if flags.get("privileged"):
        found["privileged"] = True
    return found


def _capability(flag: str, text: str) -> str:
    name = text.upper().removeprefix("CAP_")
    # of some other signs upper() makes one of ASCII's: U+017F
    if not text.isascii() or (name != "ALL" and name not in capabilities.NAMES):
        raise BadInput(
            f"use --{flag} {text}",
            "there is no such capability",
            "see capabilities(7): NET_ADMIN, SYS_PTRACE, … or ALL",
        )
    return name


def _device(text: str) -> list[str]:
    attempt = f"use --device {text}"
    parts = text.split(":")
    source = parts.pop(0)
    access = parts.pop() if parts and not parts[-1].startswith("/") else "rwm"
    target = parts.pop() if parts else source
    if parts or not source.startswith("/"):
        raise BadInput(attempt, "it is no device", "--device /dev/fuse, --device /dev/sdb:/dev/disk:r")
    devicefilter.access(attempt, access)
    target = os.path.normpath(target)
    if not target.startswith(_ROOTS):
        raise BadInput(attempt, f"{target} is not below /dev, where devices open", "--device SOURCE:/dev/NAME")
    if target.removeprefix(_ROOTS).split("/")[0] in _TAKEN:
        raise BadInput(attempt, f"the container has a {target} of its own", "--device SOURCE:/dev/NAME")
    if not _found(attempt, source):
        raise BadInput(attempt, f"there is no device in {source}")
    return [source, target, access]


def _found(attempt: str, source: str) -> dict[str, os.stat_result]:
    """The devices that *source* is, or has below it: path below it, empty for itself, to its status."""
    try:
        status = os.stat(source)
        if not stat.S_ISDIR(status.st_mode):
            if _is_device(status):
                return {"": status}
            raise BadInput(attempt, f"{source} is no device", "`-v` attaches files and directories")
        below: dict[str, os.stat_result] = {}
        for folder, _, names in os.walk(source):
            for name in sorted(names):
                path = f"{folder}/{name}"
                status = os.lstat(path)
                if _is_device(status):
                    below[path.removeprefix(source)] = status
    except OSError as error:
        raise BadInput(attempt, error) from None
    return below


def _is_device(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)


def nodes(options: Mapping[str, Any]) -> list[Device]:
    """The devices that the container gets, as they are now.

    Raises:
        Conflict: one is not there any more.
    """
    return [
        Device(
            target.removeprefix(_ROOTS), block=stat.S_ISBLK(status.st_mode), number=status.st_rdev,
            permissions=stat.S_IMODE(status.st_mode), uid=status.st_uid, gid=status.st_gid, mapped="userns" in options,
        )
        for target, status, _ in _devices(options)
    ]  # fmt: skip


def _devices(options: Mapping[str, Any]) -> Iterator[tuple[str, os.stat_result, str]]:
    if options.get("privileged"):
        for below, status in _found("give devices", "/dev").items():
            if below.split("/")[1] not in _TAKEN:
                yield f"/dev{below}", status, "rwm"
    for source, target, access in options.get("devices", ()):
        try:
            found = _found(f"give device {source}", source)
        except BadInput as error:
            raise Conflict(f"give device {source} to the container", error.reason, "make it anew without it") from None
        for below, status in found.items():
            yield target + below, status, access


def filter_steps(options: Mapping[str, Any], path: str) -> list[Step]:
    """List what limits the devices of a container's group; by default its mounts alone do."""
    if options.get("privileged"):
        return []
    text = f"bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE) on {path}"
    return [
        Step(text, lambda: devicefilter.attach(path, _rules(options)), (), "these devices, with this access, no others")
    ]


def _rules(options: Mapping[str, Any]) -> Sequence[Rule]:
    asked = [
        ("b" if stat.S_ISBLK(status.st_mode) else "c", os.major(status.st_rdev), os.minor(status.st_rdev), access)
        for _, status, access in _devices(options)
    ]
    return [*devicefilter.DEFAULT, *asked, *map(devicefilter.parse, options.get("device_rules", ()))]
