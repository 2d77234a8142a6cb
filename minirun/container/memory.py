"""Memory at a path of a container: --tmpfs TARGET[:size=64m,mode=1777,…], and options of a volume that is memory."""

from __future__ import annotations

from minirun.container.mounts import check_target
from minirun.errors import BadInput
from minirun.kernel.names import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NONE,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_TMPFS_FLAGS = {
    "ro": MOUNT_ATTR_RDONLY, "noexec": MOUNT_ATTR_NOEXEC, "nosuid": MOUNT_ATTR_NOSUID, "nodev": MOUNT_ATTR_NODEV,
    "rw": 0, "exec": 0, "suid": 0,
}  # fmt: skip
_TMPFS_NEGATIONS = {"rw": "ro", "exec": "noexec", "suid": "nosuid"}
_TMPFS_OPTIONS = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")


def read(text: str) -> list[Any]:
    """Read --tmpfs into [target, [[option, value] …], mount attributes]; Docker's defaults: noexec nosuid nodev."""
    target, _, given = text.partition(":")
    attempt = f"attach --tmpfs {text}"
    options, attributes = options_of(attempt, given, flags=("noexec", "nosuid", "nodev"), mode="1777")
    return [check_target(attempt, target), options, attributes]


def options_of(
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


def read_only(attributes: int, wanted: bool) -> int:
    """Attributes of a mount, and if *wanted* that of one which can only be read."""
    return int(attributes | MOUNT_ATTR_RDONLY) if wanted else int(attributes)
