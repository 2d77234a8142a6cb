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
    S_IFREG,
    mode,
)
from minirun.rootfs.attach import FIRST_SOURCE, allow, attach, attach_at_target, clone, filesystem, if_there

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Volume:
    """A directory or file of the host that a container sees.

    Attributes:
        source: absolute path on the host.
        target: absolute path in the container.
        read_only: for the container; the host may go on writing.
        directory: whether *source* is one.
        make_target: whether a missing *target* is made; if not, the volume is left out where it is missing.
    """

    __slots__ = ("directory", "make_target", "read_only", "source", "target")

    def __init__(self, source: str, target: str, *, read_only: bool, directory: bool, make_target: bool = True) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only
        self.directory = directory
        self.make_target = make_target


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
        yield clone(volume.source, recursive=volume.directory, save=source, why=f"what will be {volume.target}")
        attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY if volume.read_only else MOUNT_ATTR_NODEV
        yield allow(source, attributes, recursive=volume.directory, why="devices only as /dev has them")


def give(volumes: Sequence[Volume]) -> Iterator[Call]:
    """Attach what `take` cloned, once the root of the container is ours."""
    for index, volume in enumerate(volumes):
        source = Slot(FIRST_SOURCE + index, f"volume{index}")
        if volume.make_target:
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
