"""What of /proc and /sys a container must not see or change: Docker's lists, and what was asked for beside them.

    --security-opt mask=PATH:…                hidden as well, file or directory
    --security-opt unmask=PATTERN:…           neither hidden nor read-only that is by default; /proc/* is a pattern
    --security-opt unmask=ALL                 nothing is; nor is /sys/fs/cgroup read-only
    --security-opt systempaths=unconfined     nothing is
    --security-opt writable-cgroups           /sys/fs/cgroup is not read-only; unmask=/sys/fs/cgroup says the same

A path that this kernel has not got is passed over.
"""

from __future__ import annotations

from errno import EBADF

from minirun.kernel.call import Call
from minirun.kernel.names import AT_FDCWD, MOUNT_ATTR_RDONLY, O_CLOEXEC, O_DIRECTORY, O_PATH, RESOLVE_NO_MAGICLINKS
from minirun.rootfs.attach import (
    BARRED,
    GONE,
    MOUNT,
    NULL,
    TARGET,
    allow,
    attach_at_target,
    clone,
    filesystem,
    if_there,
    open_how,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from minirun.kernel.names import Named

HIDDEN_FILES = (
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
)
HIDDEN_DIRECTORIES = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
CGROUP = "/sys/fs/cgroup"
ALL = "ALL"


class Masks:
    """What is hidden from a container, and what it may not change.

    Attributes:
        files, directories: what is hidden of /proc and /sys.
        others: what else is, file or directory.
        read_only: what it may not change.
        writable_cgroup: whether it may write to its part of the cgroup tree.
    """

    __slots__ = ("directories", "files", "others", "read_only", "writable_cgroup")

    def __init__(
        self,
        files: Sequence[str] = (),
        directories: Sequence[str] = (),
        read_only: Sequence[str] = (),
        others: Sequence[str] = (),
        *,
        writable_cgroup: bool = False,
    ) -> None:
        self.files = files
        self.directories = directories
        self.read_only = read_only
        self.others = others
        self.writable_cgroup = writable_cgroup

    @property
    def hidden(self) -> list[str]:
        """All that is hidden."""
        return [*self.files, *self.directories, *self.others]


DEFAULT = Masks(HIDDEN_FILES, HIDDEN_DIRECTORIES, READ_ONLY)


def of(options: Mapping[str, Any]) -> Masks:
    """What is hidden from a container with these options of its record, and read-only."""
    if "security" not in options and "privileged" not in options:
        return DEFAULT
    security: Mapping[str, Any] = options.get("security", {})
    unmask = [ALL] if "privileged" in options or security.get("system_paths") else security.get("unmask", [])

    def left(paths: Sequence[str]) -> list[str]:
        return [path for path in paths if not any(_matches(path, pattern) for pattern in unmask)]

    named = any(pattern == ALL or _matches(CGROUP, pattern) for pattern in security.get("unmask", ()))
    return Masks(
        left(HIDDEN_FILES), left(HIDDEN_DIRECTORIES), left(READ_ONLY), security.get("mask", ()),
        writable_cgroup="privileged" in options or named or bool(security.get("writable_cgroups")),
    )  # fmt: skip


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern of the shell's, in which no sign stands for a slash, is for *path*; ALL is for every."""
    from fnmatch import fnmatchcase

    parts, patterns = path.split("/"), pattern.replace("[^", "[!").split("/")
    return pattern == ALL or (len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns)))


def masks(wanted: Masks) -> Iterator[Call]:
    """Hide and protect what *wanted* names."""
    barred = BARRED | MOUNT_ATTR_RDONLY
    for path in wanted.read_only:
        calls = [
            clone("", at=TARGET, recursive=True, why=""),
            allow(MOUNT, barred, recursive=True, why="so it is read-only"),
            *attach_at_target(why=""),
        ]
        yield from if_there(path, calls, why=f"{path} changes the host")
    for path in wanted.files:
        # the null device that we made, not what the path /dev/null names by now (CVE-2025-31133)
        calls = [clone("", at=NULL, why="hidden behind the null device"), *attach_at_target(why="")]
        yield from if_there(path, calls, why=f"{path} tells about the host")
    for path in wanted.directories:
        calls = [*_nothing(), *attach_at_target(why="")]
        yield from if_there(path, calls, why=f"{path} tells about the host")
    for path in wanted.others:
        yield from _hide(path)


def _nothing() -> list[Call]:
    return list(filesystem("tmpfs", (), BARRED | MOUNT_ATTR_RDONLY, why="hidden behind an empty directory"))


def _hide(path: str) -> Iterator[Call]:
    """Hide *path* of the image or a volume, of which nobody knows yet whether it is a directory or a file."""
    why = f"--security-opt mask={path}"
    as_file = [clone("", at=NULL, why="hidden behind the null device"), *attach_at_target(why="")]
    otherwise = [_open(path, O_PATH, as_file, why), *as_file]
    # no descriptor has that number: where it was a directory, what is for a file is left out
    past_it = Call("close", -1, tolerate=(EBADF,), skip=len(otherwise))
    as_directory = [*_nothing(), *attach_at_target(why=""), past_it]
    yield _open(path, O_PATH | O_DIRECTORY, as_directory, why)
    yield from as_directory
    yield from otherwise


def _open(path: str, flags: Named, calls: Sequence[Call], why: str) -> Call:
    """Open what *calls* are to hide; they are left out where that is not there, or is something else."""
    how = open_how(flags | O_CLOEXEC, RESOLVE_NO_MAGICLINKS)
    return Call("openat2", AT_FDCWD, path, how, 24, save=TARGET, why=why, tolerate=GONE, skip=len(calls))
