"""What a volume may be called, and what it may be: Docker's driver `local`, as far as it is built.

no options                                   a directory of the store
type=tmpfs  device=tmpfs  o=size=64m,…       memory, fresh for each start
type=none   device=/host/path  o=bind[,ro]   a directory of the host's
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NAME_BYTES = 255
_OPTIONS = ("type", "device", "o")


def check_name(name: str, attempt: str = "") -> None:
    """Raise BadInput unless *name* is one that Docker allows."""
    attempt = attempt or f"name a volume {name!r}"
    if 2 <= len(name) <= _NAME_BYTES and name[0] not in "_.-" and _NAME_CHARACTERS.issuperset(name):
        return
    remedy = f"a path begins with a slash or a dot: ./{name}" if "/" in name else ""
    raise BadInput(
        attempt, f"{name!r} is no name of a volume: 2 to {_NAME_BYTES} of a-z A-Z 0-9 _ . -, first a letter or digit",
        remedy,
    )  # fmt: skip


def no_driver(attempt: str, driver: str) -> Unsupported:
    """The refusal of a plugin."""
    return Unsupported(
        attempt, f"the volume driver {driver!r} is a plugin, and those are not built", "local is there, and the default"
    )


def check_options(attempt: str, options: Mapping[str, str]) -> dict[str, str]:
    """The options of the driver `local`, made plain.

    Raises:
        BadInput: they contradict each other, or one is unknown.
        Unsupported: they ask for a file system that is not built.
    """
    if not options:
        return {}
    for name in options:
        if name not in _OPTIONS:
            raise BadInput(attempt, f"the driver local has no option {name!r}", "it has type, device and o")
    kind, device = options.get("type", ""), options.get("device", "")
    words = [word for word in options.get("o", "").split(",") if word]
    if kind == "tmpfs":
        from minirun.container import memory

        memory.options_of(attempt, ",".join(words))
        return {"type": "tmpfs", "device": device or "tmpfs", **({"o": ",".join(words)} if words else {})}
    if kind in ("none", "") and ("bind" in words or "rbind" in words):
        if left := [word for word in words if word not in ("bind", "rbind", "ro", "rw")]:
            raise Unsupported(attempt, f"o={left[0]} is not built for a bind", "bind, rbind, ro and rw are")
        if not device.startswith("/"):
            raise BadInput(attempt, f"the device {device!r} is not an absolute path", "add --opt device=/host/path")
        if not os.path.isdir(device):
            raise BadInput(attempt, f"{device} is not a directory", f"make it first: `mkdir -p {device}`")
        return {"type": "none", "device": os.path.realpath(device), "o": ",".join(words)}
    raise Unsupported(
        attempt, f"volumes of the type {kind or 'none'!r} are not built in this version",
        "mount it on the host, and make a volume of where: `--opt type=none --opt o=bind --opt device=/mnt/there`; "
        "type=tmpfs is built",
    )  # fmt: skip
