"""What was asked to be attached, in Docker's words: -v, --mount, --tmpfs, --volumes-from.

    -v SOURCE:TARGET[:OPTIONS]      a path, ./x or /x, made a directory if it is missing; or the name of a volume
    -v TARGET                       an anonymous volume
       OPTIONS   ro rw · O · [r]private [r]shared [r]slave · bind rbind · noexec nosuid nodev · nocopy · z Z
    --mount type=bind|volume|tmpfs,source=SOURCE,target=TARGET,readonly,…      fields as in CSV: "a,b" is one
    --tmpfs TARGET[:size=64m,mode=1777,…]
    --volumes-from CONTAINER[:ro|rw]

A name is a volume's, unless it begins with a dot or a slash.
"""

from __future__ import annotations

import os

from minirun.container import volumes
from minirun.container.mounts import MOUNTS, Mount, check_target
from minirun.errors import BadInput, Unsupported
from minirun.kernel.names import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NONE,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_ATTRIBUTES = {"noexec": MOUNT_ATTR_NOEXEC, "nosuid": MOUNT_ATTR_NOSUID, "nodev": 0}
_TYPES_NOT_BUILT = ("image", "npipe", "cluster", "glob", "devpts", "ramfs", "overlay")
_DESKTOP = ("consistent", "cached", "delegated", "default")
_TMPFS_FLAGS = {
    "ro": MOUNT_ATTR_RDONLY, "noexec": MOUNT_ATTR_NOEXEC, "nosuid": MOUNT_ATTR_NOSUID, "nodev": MOUNT_ATTR_NODEV,
    "rw": 0, "exec": 0, "suid": 0,
}  # fmt: skip
_TMPFS_NEGATIONS = {"rw": "ro", "exec": "noexec", "suid": "nosuid"}
_TMPFS_OPTIONS = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")
# keys of --mount → what they are called here
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_COMMON = ("type", "source", "target", "readonly")
_KEYS = {
    "bind": ("bind-propagation", "bind-nonrecursive", "bind-recursive", "bind-create-src"),
    "volume": ("volume-nocopy", "volume-subpath", "volume-label", "volume-driver", "volume-opt"),
    "tmpfs": ("tmpfs-size", "tmpfs-mode"),
}
_SWITCHES = ("readonly", "bind-nonrecursive", "bind-create-src", "volume-nocopy")
_SEVERAL = ("volume-label", "volume-opt")
_SELINUX = "/sys/fs/selinux/enforce"


def read(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Read the flags.

    Returns:
        Options of a record: ``volumes``, ``tmpfs`` and, if it was given, ``volumes_from``.

    Raises:
        BadInput: one has no meaning, or two are for one path in the container.
        Unsupported: it has one that is not built.
    """
    mounts = [_short(text) for text in flags.get("volume") or ()]
    memories = [_tmpfs(text) for text in flags.get("tmpfs") or ()]
    for text in flags.get("mount") or ():
        one = _long(text)
        if isinstance(one, Mount):
            mounts.append(one)
        else:
            memories.append(one)
    targets: set[str] = set()
    for target in [*(mount.target for mount in mounts), *(memory[0] for memory in memories)]:
        if target in targets:
            raise BadInput(f"attach at {target}", "two mounts are to be there", "leave one out")
        targets.add(target)
    if len(targets) > MOUNTS:
        raise BadInput("attach volumes", f"{len(targets)} are more than {MOUNTS}")
    given = {"volumes": [mount.to_json() for mount in mounts], "tmpfs": memories}
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
        volumes.check_name(source, attempt)
        if fields.get("propagation") or fields.get("recursive"):
            raise BadInput(attempt, "nothing is ever mounted in a volume that has a name", "leave propagation out")
        return Mount(type="volume", target=target, name=source, mode=mode, **fields)
    if fields.pop("no_copy", False):
        raise BadInput(attempt, "nocopy is of volumes, and it has a path", "leave nocopy out")
    return Mount(
        type="bind", target=target, source=_source(attempt, source, create=True), create=True, mode=mode, **fields
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
        elif option == "nocopy":
            fields["no_copy"] = True
        elif option in ("z", "Z"):
            _check_selinux(attempt, option)
        elif option != "rbind":
            raise _no_option(attempt, option)
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
    if option in ("idmap", "dev", "exec", "suid") or option.startswith(("idmap=", "upperdir=", "workdir=")):
        return Unsupported(attempt, f"the option {option!r} is not built in this version", "leave it out")
    return BadInput(attempt, f"there is no option {option!r}", "ro, rw, O, nocopy, rslave, noexec, z … are")


def _check_selinux(attempt: str, option: str) -> None:
    """Relabelling is what a host without SELinux needs not; with it, it is not built."""
    if os.path.exists(_SELINUX):
        raise Unsupported(attempt, f"{option} relabels files for SELinux, which is not built in this version",
                          "`chcon -Rt container_file_t PATH` does it")  # fmt: skip


def _source(attempt: str, path: str, *, create: bool) -> str:
    """The path on the host without symlinks; it may be missing if it is to be created."""
    path = os.path.abspath(path)
    remedy = f"make it first: `mkdir -p {path}`"
    try:
        os.stat(path)
    except FileNotFoundError as error:
        real = os.path.realpath(path)
        if os.path.islink(path):
            raise BadInput(attempt, f"it is a link to {real}, which is not there", f"make that first: `mkdir -p {real}`"
                           ) from None  # fmt: skip
        if not create:
            raise BadInput(attempt, error, remedy) from None
    except OSError as error:
        raise BadInput(attempt, error, remedy) from None
    return os.path.realpath(path)


def _long(text: str) -> Mount | list[Any]:
    """Read --mount: a Mount, or what `_tmpfs` returns."""
    attempt = f"attach --mount {text}"
    values = _fields(attempt, text)
    kind = values.get("type", "volume")
    if kind in _TYPES_NOT_BUILT:
        raise Unsupported(attempt, f"mounts of the type {kind} are not built in this version",
                          "bind, volume and tmpfs are")  # fmt: skip
    if kind not in _KEYS:
        raise BadInput(attempt, f"there is no type {kind!r}", "there are bind, volume, which is the default, and tmpfs")
    for key in values:
        if key not in _COMMON and key not in _KEYS[kind]:
            _refuse_key(attempt, key, kind)
    if not values.get("target"):
        raise BadInput(attempt, "it has no target", "add target=/path/in/the/container")
    target = check_target(attempt, values["target"])
    if kind == "tmpfs":
        return _long_tmpfs(attempt, target, values)
    return _long_bind(attempt, target, values) if kind == "bind" else _long_volume(attempt, target, values)


def _refuse_key(attempt: str, key: str, kind: str) -> None:
    owner = next((one for one, keys in _KEYS.items() if key in keys), "")
    if owner:
        raise BadInput(attempt, f"{key} is of the type {owner}, and this is a {kind}")
    if key in ("consistency", "image-subpath", "U", "chown", "relabel", "idmap", "notmpcopyup", "tmpcopyup"):
        raise Unsupported(attempt, f"{key} is not built in this version", "leave it out")
    raise BadInput(attempt, f"there is no key {key!r}", f"for a {kind} there are {', '.join((*_COMMON, *_KEYS[kind]))}")


def _fields(attempt: str, text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field in _csv(attempt, text):
        key, equals, value = field.partition("=")
        key = _ALIASES.get(key.strip().lower(), key.strip())
        if key in _SWITCHES:
            if value.lower() not in ("", "true", "1", "false", "0") or (equals and not value):
                raise BadInput(attempt, f"{key} is true or false")
            values[key] = value.lower() not in ("false", "0")
        elif not equals or not value:
            raise BadInput(attempt, f"{field!r} is not of the form KEY=VALUE")
        elif key in _SEVERAL:
            name, _, text_of = value.partition("=")
            values.setdefault(key, {})[name] = text_of
        elif key in values:
            raise BadInput(attempt, f"{key} is given twice", "leave one out")
        else:
            values[key] = value
    return values


def _csv(attempt: str, text: str) -> list[str]:
    """Take the one line of CSV apart (RFC 4180): a field in double quotes may have commas, and "" for a quote."""
    fields, rest = [], text
    while True:
        if not rest.startswith('"'):
            field, comma, rest = rest.partition(",")
        else:
            field, rest = "", rest[1:]
            while True:
                piece, quote, rest = rest.partition('"')
                field += piece
                if not rest.startswith('"'):
                    break
                field, rest = field + '"', rest[1:]
            comma, rest = rest[:1], rest[1:]
            if not quote or comma not in ("", ","):
                raise BadInput(attempt, "its quotes do not close", 'write "a,b" for a field with a comma in it')
        if not field or "\0" in field:
            raise BadInput(attempt, "a field of it is empty", "write it as type=bind,source=/x,target=/y")
        fields.append(field)
        if not comma:
            return fields


def _long_bind(attempt: str, target: str, values: Mapping[str, Any]) -> Mount:
    source = values.get("source", "")
    if not source.startswith(("/", ".")):
        raise BadInput(attempt, f"its source {source!r} is no path, ./x or /x", "type=volume is for a volume's name")
    recursive = values.get("bind-recursive", "disabled" if values.get("bind-nonrecursive") else "enabled")
    propagation = values.get("bind-propagation", "rprivate")
    if propagation not in PROPAGATION:
        raise BadInput(attempt, f"there is no propagation {propagation!r}", f"there are {', '.join(PROPAGATION)}")
    if recursive not in ("enabled", "disabled", "writable", "readonly"):
        raise BadInput(attempt, "bind-recursive is enabled, disabled, writable or readonly")
    if "bind-recursive" in values and "bind-nonrecursive" in values:
        raise BadInput(attempt, "bind-recursive says what bind-nonrecursive says", "leave bind-nonrecursive out")
    read_only = bool(values.get("readonly"))
    if recursive in ("writable", "readonly") and not read_only:
        raise BadInput(attempt, f"bind-recursive={recursive} is of a mount that is readonly", "add readonly")
    if recursive == "readonly" and propagation != "rprivate":
        raise BadInput(attempt, "bind-recursive=readonly is of a mount that is rprivate", "leave bind-propagation out")
    create = bool(values.get("bind-create-src"))
    return Mount(
        type="bind", target=target, source=_source(attempt, source, create=create), create=create, flag="--mount",
        read_only=read_only, propagation=propagation, recursive="enabled" if recursive == "readonly" else recursive,
    )  # fmt: skip


def _long_volume(attempt: str, target: str, values: Mapping[str, Any]) -> Mount:
    if values.get("volume-driver", "local") != "local":
        raise volumes.no_driver(attempt, values["volume-driver"])
    name = values.get("source", "")
    if name:
        volumes.check_name(name, attempt)
    subpath = values.get("volume-subpath", "")
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise BadInput(attempt, f"the subpath {subpath!r} is no path inside a volume")
    return Mount(
        type="volume", target=target, name=name, anonymous=not name, flag="--mount",
        read_only=bool(values.get("readonly")), no_copy=bool(values.get("volume-nocopy")),
        subpath=os.path.normpath(subpath) if subpath else "", labels=values.get("volume-label", {}),
        driver_options=volumes.check_options(attempt, values.get("volume-opt", {})),
    )  # fmt: skip


def _long_tmpfs(attempt: str, target: str, values: Mapping[str, Any]) -> list[Any]:
    if "source" in values:
        raise BadInput(attempt, "memory has no source", "leave it out")
    options = {"mode": "1777"}
    if size := values.get("tmpfs-size"):
        from minirun.cgroup.amount import parse_bytes

        options["size"] = str(parse_bytes("tmpfs-size", size))
    if mode := values.get("tmpfs-mode"):
        if not set(mode) <= set("01234567") or int(mode, 8) > 0o7777:
            raise BadInput(attempt, f"the mode {mode!r} is not octal", "write it as tmpfs-mode=1777")
        options["mode"] = mode
    attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
    given = [[name, value] for name, value in options.items()]
    return [target, given, volumes.read_only(attributes, bool(values.get("readonly")))]


def _tmpfs(text: str) -> list[Any]:
    """Read --tmpfs into [target, [[option, value] …], mount attributes]; Docker's defaults: noexec nosuid nodev."""
    target, _, given = text.partition(":")
    attempt = f"attach --tmpfs {text}"
    options, attributes = memory(attempt, given, flags=("noexec", "nosuid", "nodev"), mode="1777")
    return [check_target(attempt, target), options, attributes]


def memory(
    attempt: str, text: str, *, flags: Sequence[str] = ("nodev",), mode: str = ""
) -> tuple[list[list[str]], int]:
    """Read options of a tmpfs.

    Args:
        attempt: for refusals.
        text: ``size=64m,mode=1777,exec``.
        flags: what it is unless *text* says otherwise.
        mode: the same of its root directory; empty for the kernel's, 1777.

    Returns:
        Its options, each a name and a value, and attributes of the mount.

    Raises:
        BadInput: there is no such option.
    """
    wanted = set(flags)
    options = {"mode": mode} if mode else {}
    for option in filter(None, text.split(",")):
        name, equals, value = option.partition("=")
        if equals and name in _TMPFS_OPTIONS and value:
            options[name] = value
        elif not equals and name in _TMPFS_FLAGS:
            wanted.add(name)
            wanted.discard(_TMPFS_NEGATIONS.get(name, ""))
        else:
            raise BadInput(
                attempt, f"{option!r} is no option of a tmpfs", "size=64m, mode=1777, ro, exec … are: tmpfs(5)"
            )
    attributes = MOUNT_ATTR_NONE | 0
    for flag in wanted:
        attributes = attributes | _TMPFS_FLAGS[flag]
    return [[name, value] for name, value in options.items()], int(attributes)
