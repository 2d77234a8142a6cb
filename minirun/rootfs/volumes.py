"""What a user attaches to a container: directories and files of the host (-v), fresh memory (--tmpfs).

Sources are cloned before the container's root is entered, and attached after: what is inside the container resolves
there, and can never name the host. Mount points that the image lacks are made in the container layer.
"""

from __future__ import annotations

from errno import EEXIST

from minirun.kernel.call import Call, Slot
from minirun.kernel.names import (
    AT_FDCWD,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_RDONLY,
    O_CLOEXEC,
    O_PATH,
    RESOLVE_NO_SYMLINKS,
    S_IFREG,
    mode,
)
from minirun.rootfs.attach import (
    FIRST_SOURCE,
    TARGET,
    allow,
    attach,
    attach_at_target,
    clone,
    filesystem,
    if_there,
    open_how,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Volume:
    """A directory or file of the host that a container sees.

    Attributes:
        source: absolute path on the host; a user's is without symlinks, and must be so still when it is attached.
        target: absolute path in the container.
        read_only: for the container; the host may go on writing.
        directory: whether *source* is one.
        own: whether it is a file of minirun's own making, left out where the image has no place for it; for what a
            user attaches, a place is made.
    """

    __slots__ = ("directory", "own", "read_only", "source", "target")

    def __init__(self, source: str, target: str, *, read_only: bool, directory: bool, own: bool = False) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only
        self.directory = directory
        self.own = own


class Tmpfs:
    """Memory that a container sees as a directory.

    Attributes:
        target: absolute path in the container.
        options: of tmpfs(5), such as ``size``; a value of None is a flag.
        attributes: MOUNT_ATTR_* of the mount.
    """

    __slots__ = ("attributes", "options", "target")

    def __init__(self, target: str, options: Sequence[tuple[str, str | None]], attributes: int) -> None:
        self.target = target
        self.options = options
        self.attributes = attributes


def take(volumes: Sequence[Volume]) -> Iterator[Call]:
    """Clone the sources, while the host's paths still mean something."""
    for index, volume in enumerate(volumes):
        source = Slot(FIRST_SOURCE + index, f"volume{index}")
        why = f"what will be {volume.target}"
        if not volume.own:
            # A link on the way was put there since, by whoever wants another place attached (CVE-2021-30465).
            how = open_how(O_PATH | O_CLOEXEC, RESOLVE_NO_SYMLINKS)
            yield Call("openat2", AT_FDCWD, volume.source, how, 24, save=TARGET, why=why)
            yield clone("", at=TARGET, recursive=volume.directory, save=source, why=why)
            yield Call("close", TARGET)
        else:
            yield clone(volume.source, recursive=volume.directory, save=source, why=why)
        attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY if volume.read_only else MOUNT_ATTR_NODEV
        yield allow(source, attributes, recursive=volume.directory, why="devices only as /dev has them")


def give(volumes: Sequence[Volume]) -> Iterator[Call]:
    """Attach what `take` cloned, once the root of the container is ours."""
    for index, volume in enumerate(volumes):
        source = Slot(FIRST_SOURCE + index, f"volume{index}")
        if not volume.own:
            yield from make_target(volume.target, directory=volume.directory)
            yield from attach(volume.target, mount=source, why=volume.source)
        else:
            yield from if_there(volume.target, list(attach_at_target(mount=source, why=volume.source)), why="")


def memory(filesystems: Sequence[Tmpfs]) -> Iterator[Call]:
    """Mount the --tmpfs directories."""
    for tmpfs in filesystems:
        yield from make_target(tmpfs.target, directory=True)
        yield from filesystem("tmpfs", tmpfs.options, tmpfs.attributes, why=f"memory at {tmpfs.target}")
        yield from attach(tmpfs.target)


def make_target(path: str, *, directory: bool) -> Iterator[Call]:
    """Make *path* in the container, and what leads to it, where it is missing."""
    folders = [part for part in path.split("/") if part]
    files = [] if directory else [folders.pop()]
    below = ""
    for part in folders:
        below = f"{below}/{part}"
        yield Call("mkdirat", AT_FDCWD, below, mode(0o755), tolerate=(EEXIST,), why="a mount point")
    for name in files:
        yield Call(
            "mknodat", AT_FDCWD, f"{below}/{name}", S_IFREG | mode(0o644), 0, tolerate=(EEXIST,), why="a mount point"
        )
