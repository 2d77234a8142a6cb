"""Mounts of a user's that are more than a clone of a directory: a part of a volume, one that is joined, an overlay.

    Bound       openat2(source, no links) ─▶ openat2(subpath, beneath it) ─▶ open_tree ─▶ mount_setattr
    Overlaid    openat2(source, no links) ─▶ fchdir ─▶ fsopen("overlay"): lowerdir "."; upper, work: the container's

A mount that is joined shows what is mounted below its source on the host later (slave), or joins the host's in both
directions (shared). Its clone is taken before all mounts of the new namespace are made private, or it would have no
peers left. And a shared one is attached after all others, at a path through no link: what was attached below it would
be mounted on the host as well, and stay there.
"""

from __future__ import annotations

from struct import pack

from minirun.kernel.call import Call, Slot, Struct
from minirun.kernel.names import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_RECURSIVE,
    FSCONFIG_CMD_CREATE,
    FSCONFIG_SET_FLAG,
    FSCONFIG_SET_STRING,
    FSMOUNT_CLOEXEC,
    FSOPEN_CLOEXEC,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_RDONLY,
    MS_SLAVE,
    O_CLOEXEC,
    O_PATH,
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
)
from minirun.rootfs.attach import CONTEXT, SCRATCH, TARGET, allow, attach_at_target, clone, open_how
from minirun.rootfs.overlay import OPTIONS, USERS
from minirun.rootfs.volumes import Volume, make_target, open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DEVICES = "devices only as /dev has them"


class Bound(Volume):
    """A directory or file of the host, with all that can be said of it.

    Attributes:
        subpath: what of *source* is attached; empty for all of it. Links in it lead nowhere out of *source*.
        recursive: with what is mounted below it.
        deep: that is read-only, too, where this is.
        propagation: ``slave``, ``shared``, or empty for private.
        attributes: MOUNT_ATTR_* beside those that every mount has.
    """

    __slots__ = ("attributes", "deep", "propagation", "recursive", "subpath")

    def __init__(
        self, source: str, target: str, *, read_only: bool, directory: bool, subpath: str, recursive: bool, deep: bool,
        propagation: str, attributes: int,
    ) -> None:  # fmt: skip
        super().__init__(source, target, read_only=read_only, directory=directory)
        self.subpath = subpath
        self.recursive = recursive and directory
        self.deep = deep
        self.propagation = propagation
        self.attributes = attributes

    @property
    def joined(self) -> bool:  # type: ignore[override]  # of the others it is a constant
        """Whether it has peers on the host."""
        return bool(self.propagation)

    @property
    def last(self) -> bool:  # type: ignore[override]  # of the others it is a constant
        """Whether it is attached when all others are."""
        return self.propagation == "shared"

    def take(self, slot: Slot, *, by_options: bool, idmap: int | None = None) -> Iterator[Call]:
        """Clone the source."""
        yield from open_source(self)
        source = TARGET
        if self.subpath:
            source = SCRATCH
            how = open_how(O_PATH | O_CLOEXEC, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
            yield Call("openat2", TARGET, self.subpath, how, 24, save=SCRATCH, why=f"the part of it for {self.target}")
            yield Call("close", TARGET)
        yield clone("", at=source, recursive=self.recursive, save=slot, why=f"what will be {self.target}")
        yield Call("close", source)
        attributes = MOUNT_ATTR_NODEV | self.attributes
        if self.read_only and self.deep:
            attributes = attributes | MOUNT_ATTR_RDONLY
        yield allow(slot, attributes, recursive=self.recursive, idmap=idmap if self.mapped else None, why=_DEVICES)
        if self.read_only and not self.deep:
            yield allow(slot, MOUNT_ATTR_RDONLY, why="read-only, but for what is mounted below")
        if self.propagation == "slave":
            flags = AT_EMPTY_PATH | AT_RECURSIVE if self.recursive else AT_EMPTY_PATH
            change = Struct("propagation=MS_SLAVE", pack("<4Q", 0, 0, MS_SLAVE, 0))
            yield Call("mount_setattr", slot, "", flags, change, 32, why="what the host mounts there shows, not back")

    def give(self, slot: Slot) -> Iterator[Call]:
        """Attach it."""
        if not self.last:
            yield from super().give(slot)
            return
        yield from make_target(self.target, directory=self.directory)
        how = open_how(O_PATH | O_CLOEXEC, RESOLVE_NO_SYMLINKS)
        yield Call("openat2", AT_FDCWD, self.target, how, 24, save=TARGET, why="shared, so not through a link")
        yield from attach_at_target(mount=slot, why=self.source)


class Overlaid(Volume):
    """A directory of the host to which nothing is written: writes land in a directory of the container's.

    Attributes:
        folder: absolute path of the directory that has ``upper`` and ``work``.
        attributes: MOUNT_ATTR_* beside those that every mount has.
    """

    __slots__ = ("attributes", "folder")

    def __init__(self, source: str, target: str, folder: str, attributes: int) -> None:
        super().__init__(source, target, read_only=False, directory=True)
        self.folder = folder
        self.attributes = attributes

    def take(self, slot: Slot, *, by_options: bool, idmap: int | None = None) -> Iterator[Call]:
        """Make the overlay; nothing that is mounted below the source shows in it."""
        # the beginning of this tells, where it fails, that the kernel may want it the older way: see launch/machine.py
        why = f"stack writes upon {self.source}"
        yield from open_source(self)
        yield Call("fchdir", TARGET, why="by descriptor, as nothing is found by a path twice")
        yield Call("close", TARGET)
        yield Call("fsopen", "overlay", FSOPEN_CLOEXEC, save=CONTEXT, why=why)
        yield Call("fsconfig", CONTEXT, FSCONFIG_SET_STRING, "source", "overlay", 0, why=why)
        yield Call("fsconfig", CONTEXT, FSCONFIG_SET_STRING, "lowerdir" if by_options else "lowerdir+", ".", 0, why=why)
        upper, work = "upper", "work"
        if by_options:  # which are looked up when it is made: where we are is the source
            upper, work = f"{self.folder}/upper", f"{self.folder}/work"
        else:
            yield Call("chdir", self.folder, why="short names: fsconfig(2) takes 255 bytes")
        for key, value in (("upperdir", upper), ("workdir", work), *OPTIONS):
            yield Call("fsconfig", CONTEXT, FSCONFIG_SET_STRING, key, value, 0, why=why)
        for flag in ("volatile", *(name for name, _ in USERS)):
            yield Call("fsconfig", CONTEXT, FSCONFIG_SET_FLAG, flag, 0, 0, why=why)
        yield Call("fsconfig", CONTEXT, FSCONFIG_CMD_CREATE, 0, 0, 0, why=why)
        attributes = MOUNT_ATTR_NODEV | self.attributes
        yield Call("fsmount", CONTEXT, FSMOUNT_CLOEXEC, attributes, save=slot, why=why)
        yield Call("close", CONTEXT)
