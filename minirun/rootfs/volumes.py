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
        mapped: whether ids on it are the container's own, where that has a user namespace; otherwise they are the
            host's.
    """

    __slots__ = ("directory", "mapped", "own", "read_only", "source", "target")

    joined = False  # to mounts of the host: see binds.py
    last = False  # attached when all others are

    def __init__(self, source: str, target: str, *, read_only: bool, directory: bool, own: bool = False) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only
        self.directory = directory
        self.own = own
        self.mapped = own

    def take(self, slot: Slot, *, by_options: bool, idmap: int | None = None) -> Iterator[Call]:
        """Clone the source; *idmap*: descriptor of the container's user namespace, if it has one."""
        why = f"what will be {self.target}"
        if not self.own:
            yield from open_source(self)
            yield clone("", at=TARGET, recursive=self.directory, save=slot, why=why)
            yield Call("close", TARGET)
        else:
            yield clone(self.source, recursive=self.directory, save=slot, why=why)
        attributes = MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY if self.read_only else MOUNT_ATTR_NODEV
        why = "devices only as /dev has them"
        yield allow(slot, attributes, recursive=self.directory, idmap=idmap if self.mapped else None, why=why)

    def give(self, slot: Slot) -> Iterator[Call]:
        """Attach the clone."""
        if not self.own:
            yield from make_target(self.target, directory=self.directory)
            yield from attach(self.target, mount=slot, follow=True, why=self.source)
        else:
            yield from if_there(self.target, list(attach_at_target(mount=slot, why=self.source)), why="")


class Tmpfs:
    """Memory that a container sees as a directory.

    Attributes:
        target: absolute path in the container.
        options: of tmpfs(5), such as ``size``; a value of None is a flag.
        attributes: MOUNT_ATTR_* of the mount.
    """

    __slots__ = ("attributes", "options", "target")

    joined = False
    last = False

    def __init__(self, target: str, options: Sequence[tuple[str, str | None]], attributes: int) -> None:
        self.target = target
        self.options = options
        self.attributes = attributes

    def take(self, slot: Slot, *, by_options: bool, idmap: int | None = None) -> Iterator[Call]:
        """Nothing: it is made where it is attached."""
        return iter(())

    def give(self, slot: Slot) -> Iterator[Call]:
        """Make it, and attach it."""
        yield from make_target(self.target, directory=True)
        yield from filesystem("tmpfs", self.options, self.attributes, why=f"memory at {self.target}")
        yield from attach(self.target, follow=True)


def take(
    volumes: Sequence[Volume | Tmpfs], *, joined: bool = False, by_options: bool = False, idmap: int | None = None
) -> Iterator[Call]:
    """Clone the sources, while the host's paths still mean something.

    Args:
        volumes: all of a container's.
        joined: those alone that are joined to mounts of the host, or the others alone.
        by_options: mount overlays the way of Linux before 6.8.
        idmap: descriptor of the container's user namespace, if it has one.
    """
    for index, volume in enumerate(volumes):
        if volume.joined == joined:
            yield from volume.take(_slot(index), by_options=by_options, idmap=idmap)


def give(volumes: Sequence[Volume | Tmpfs]) -> Iterator[Call]:
    """Attach what `take` cloned, once the root of the container is ours."""
    for last in (False, True):
        for index, volume in enumerate(volumes):
            if volume.last == last:
                yield from volume.give(_slot(index))


def _slot(index: int) -> Slot:
    return Slot(FIRST_SOURCE + index, f"volume{index}")


def open_source(volume: Volume) -> Iterator[Call]:
    """Open the source of what a user attaches as TARGET."""
    # A link on the way was put there since, by whoever wants another place attached (CVE-2021-30465).
    how = open_how(O_PATH | O_CLOEXEC, RESOLVE_NO_SYMLINKS)
    yield Call("openat2", AT_FDCWD, volume.source, how, 24, save=TARGET, why=f"what will be {volume.target}")


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
