"""--mount: what is to be attached, said at length.

type=bind|volume|tmpfs,source=SOURCE,target=TARGET,readonly,…      fields as in CSV: "a,b" is one
"""

from __future__ import annotations

import os

from minirun.container import memory, mounts, volumedriver
from minirun.container.mounts import PROPAGATION, Mount, check_target
from minirun.errors import BadInput, Unsupported
from minirun.kernel.names import MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_TYPES_NOT_BUILT = ("image", "npipe", "cluster", "glob", "devpts", "ramfs", "overlay")
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


def read(text: str) -> Mount | list[Any]:
    """Read --mount: a Mount, or what memory.read returns."""
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
        type="bind", target=target, source=mounts.check_source(attempt, source, create=create), create=create,
        flag="--mount", read_only=read_only, propagation=propagation,
        recursive="enabled" if recursive == "readonly" else recursive,
    )  # fmt: skip


def _long_volume(attempt: str, target: str, values: Mapping[str, Any]) -> Mount:
    if values.get("volume-driver", "local") != "local":
        raise volumedriver.no_driver(attempt, values["volume-driver"])
    name = values.get("source", "")
    if name:
        volumedriver.check_name(name, attempt)
    subpath = values.get("volume-subpath", "")
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise BadInput(attempt, f"the subpath {subpath!r} is no path inside a volume")
    return Mount(
        type="volume", target=target, name=name, anonymous=not name, flag="--mount",
        read_only=bool(values.get("readonly")), no_copy=bool(values.get("volume-nocopy")),
        subpath=os.path.normpath(subpath) if subpath else "", labels=values.get("volume-label", {}),
        driver_options=volumedriver.check_options(attempt, values.get("volume-opt", {})),
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
    return [target, given, memory.read_only(attributes, bool(values.get("readonly")))]
