"""What was asked to be attached, in Docker's words: -v, --volumes-from; of --mount mountfields.py, --tmpfs memory.py.

    -v SOURCE:TARGET[:OPTIONS]      a path, ./x or /x, made a directory if it is missing; or the name of a volume
    -v TARGET                       an anonymous volume
       OPTIONS   ro rw · O · [r]private [r]shared [r]slave · bind rbind · noexec nosuid nodev · nocopy · idmap · z Z
    --volumes-from CONTAINER[:ro|rw]

A name is a volume's, unless it begins with a dot or a slash.
"""

from __future__ import annotations

import os

from minirun.container import memory, mountfields, mounts, volumedriver
from minirun.container.mounts import MOUNTS, PROPAGATION, Mount, check_target
from minirun.errors import BadInput, Unsupported
from minirun.kernel.names import (
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_ATTRIBUTES = {"noexec": MOUNT_ATTR_NOEXEC, "nosuid": MOUNT_ATTR_NOSUID, "nodev": 0}
_DESKTOP = ("consistent", "cached", "delegated", "default")
_SELINUX = "/sys/fs/selinux/enforce"


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read the flags.

    Returns:
        Options of a record: ``volumes``, ``tmpfs`` and, if it was given, ``volumes_from``.

    Raises:
        BadInput: one has no meaning, or two are for one path in the container.
        Unsupported: it has one that is not built.
    """
    asked = [_short(text) for text in flags.get("volume") or ()]
    for mount in asked:
        if mount.idmap and flags.get("userns") in (None, "host"):
            raise BadInput(f"attach {mount.name or mount.source} with idmap", "the container's ids are the host's",
                           "add `--userns auto`, or leave idmap out")  # fmt: skip
    memories = [memory.read(text) for text in flags.get("tmpfs") or ()]
    for text in flags.get("mount") or ():
        one = mountfields.read(text)
        if isinstance(one, Mount):
            asked.append(one)
        else:
            memories.append(one)
    targets: set[str] = set()
    for target in [*(mount.target for mount in asked), *(taken[0] for taken in memories)]:
        if target in targets:
            raise BadInput(f"attach at {target}", "two mounts are to be there", "leave one out")
        targets.add(target)
    if len(targets) > MOUNTS:
        raise BadInput("attach volumes", f"{len(targets)} are more than {MOUNTS}")
    given = {"volumes": [mount.to_json() for mount in asked], "tmpfs": memories}
    if others := flags.get("volumes-from"):
        given["volumes_from"] = [_from(text) for text in others]
    return given


def _from(text: str) -> str:
    name, colon, mode = text.partition(":")
    if not name or (colon and mode not in ("ro", "rw")):
        raise BadInput(f"use --volumes-from {text}", "it is not CONTAINER, CONTAINER:ro or CONTAINER:rw")
    return text


def _short(text: str) -> Mount:
    """Read -v."""
    attempt = f"attach -v {text}"
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts) or "\0" in text:
        raise BadInput(attempt, "it is not SOURCE:TARGET, SOURCE:TARGET:OPTIONS or TARGET")
    if len(parts) == 1:
        return Mount(type="volume", target=check_target(attempt, text), anonymous=True)
    source, target, mode = parts[0], check_target(attempt, parts[1]), "".join(parts[2:])
    fields = _options(attempt, mode)
    if not source.startswith(("/", ".")):
        volumedriver.check_name(source, attempt)
        if fields.get("propagation") or fields.get("recursive"):
            raise BadInput(attempt, "nothing is ever mounted in a volume that has a name", "leave propagation out")
        return Mount(type="volume", target=target, name=source, mode=mode, **fields)
    if fields.pop("no_copy", False):
        raise BadInput(attempt, "nocopy is of volumes, and it has a path", "leave nocopy out")
    return Mount(
        type="bind",
        target=target,
        source=mounts.check_source(attempt, source, create=True),
        create=True,
        mode=mode,
        **fields,
    )


def _options(attempt: str, mode: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    seen: set[str] = set()
    for option in mode.split(",") if mode else ():
        kind = "propagation" if option in PROPAGATION else "access" if option in ("ro", "rw") else option
        if kind in seen:
            raise BadInput(attempt, f"{option!r} contradicts another option, or repeats it", "leave one out")
        seen.add(kind)
        if option in ("ro", "rw"):
            fields["read_only"] = option == "ro"
        elif option in PROPAGATION:
            fields["propagation"] = option
        elif option in _ATTRIBUTES:
            fields["attributes"] = int(fields.get("attributes", 0) | _ATTRIBUTES[option])
        elif option == "O":
            fields["overlay"] = True
        elif option == "bind":
            fields["recursive"] = "disabled"
        elif option == "idmap":
            fields["idmap"] = True
        elif option == "nocopy":
            fields["no_copy"] = True
        elif option in ("z", "Z"):
            _check_selinux(attempt, option)
        elif option != "rbind":
            raise _no_option(attempt, option)
    if fields.get("overlay") and fields.get("idmap"):
        raise BadInput(attempt, "an overlay cannot be mapped", "leave O out, or idmap")
    if fields.get("overlay") and ("read_only" in fields or "propagation" in fields or "recursive" in fields):
        raise BadInput(attempt, "an overlay takes writes, and shows nothing that is mounted below its source",
                       "leave the other options out")  # fmt: skip
    return fields


def _no_option(attempt: str, option: str) -> BadInput | Unsupported:
    if option == "U":
        return Unsupported(attempt, "U would give the host's files to another owner, which is not built",
                           "`chown -R` does it, where it is meant")  # fmt: skip
    if option in _DESKTOP:
        return Unsupported(attempt, f"{option} means something to Docker Desktop alone", "leave it out")
    if option in ("dev", "exec", "suid") or option.startswith(("idmap=", "upperdir=", "workdir=")):
        return Unsupported(attempt, f"the option {option!r} is not built in this version", "leave it out")
    return BadInput(attempt, f"there is no option {option!r}", "ro, rw, O, nocopy, rslave, noexec, z … are")


def _check_selinux(attempt: str, option: str) -> None:
    """Relabelling is what a host without SELinux needs not; with it, it is not built."""
    if os.path.exists(_SELINUX):
        raise Unsupported(attempt, f"{option} relabels files for SELinux, which is not built in this version",
                          "`chcon -Rt container_file_t PATH` does it")  # fmt: skip
