"""Mounts in three steps of the mount API: make or clone one, set what it allows, attach it.

    fsopen → fsconfig … → fsmount ┐
                                  ├─▶ a detached mount, a descriptor ─▶ mount_setattr ─▶ move_mount onto a path
    open_tree(OPEN_TREE_CLONE)    ┘

Nothing is found by a path twice, so nothing can be swapped in between (CVE-2021-30465). See fsopen(2), open_tree(2).
"""

from __future__ import annotations

from errno import ENOENT, ENOTDIR
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
    MOUNT_ATTR_IDMAP,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    MOVE_MOUNT_T_SYMLINKS,
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONTEXT = Slot(0, "context")  # of a file system that is being configured
MOUNT = Slot(1, "mount")  # detached, on its way to where it belongs
TARGET = Slot(2, "target")
ROOT = Slot(3, "root")  # of the container
DEV = Slot(4, "dev")  # its /dev
NULL = Slot(5, "null")  # its null device, which we made: never what an image calls /dev/null
STUB = Slot(6, "stub")
SCRATCH = Slot(7, "scratch")
SHM = Slot(8, "shm")  # memory that is shared with others
FIRST_SOURCE = 9  # slots from here on hold the sources of volumes

BARRED = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC
GONE = (ENOENT, ENOTDIR)


def filesystem(
    kind: str, options: Sequence[tuple[str, str | None]], attributes: int, *, save: Slot = MOUNT, why: str
) -> Iterator[Call]:
    """Make a detached mount of a new *kind* file system in *save*; an option of None is a flag."""
    yield Call("fsopen", kind, FSOPEN_CLOEXEC, save=CONTEXT, why=why)
    yield Call("fsconfig", CONTEXT, FSCONFIG_SET_STRING, "source", kind, 0, why=why)
    for key, value in options:
        if value is None:
            yield Call("fsconfig", CONTEXT, FSCONFIG_SET_FLAG, key, 0, 0, why=why)
        else:
            yield Call("fsconfig", CONTEXT, FSCONFIG_SET_STRING, key, value, 0, why=why)
    yield Call("fsconfig", CONTEXT, FSCONFIG_CMD_CREATE, 0, 0, 0, why=why)
    yield Call("fsmount", CONTEXT, FSMOUNT_CLOEXEC, attributes, save=save, why=why)
    yield Call("close", CONTEXT)


def clone(path: str, *, at: int | Slot = AT_FDCWD, recursive: bool = False, save: Slot = MOUNT, why: str) -> Call:
    """Make a detached mount of what is at *path*, as `mount --bind` would attach."""
    flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    if not path:
        flags = flags | AT_EMPTY_PATH
    if recursive:
        flags = flags | AT_RECURSIVE
    return Call("open_tree", at, path, flags, save=save, why=why)


def allow(mount: Slot, attributes: int, *, recursive: bool = False, idmap: int | None = None, why: str) -> Call:
    """Set *attributes*, which only ever take away, on a mount. See mount_setattr(2).

    Args:
        mount: which; one that was never attached, if it is to be mapped.
        attributes: MOUNT_ATTR_*.
        recursive: also on what is mounted below it.
        idmap: descriptor of the user namespace whose ids its files are to have; None: those that they have.
        why: see Call.
    """
    flags = AT_EMPTY_PATH | AT_RECURSIVE if recursive else AT_EMPTY_PATH
    if idmap is None:
        change = Struct(f"attr_set={attributes!r}", pack("<4Q", attributes, 0, 0, 0))
    else:
        attributes = MOUNT_ATTR_IDMAP | attributes if attributes else MOUNT_ATTR_IDMAP
        # a plan that is only shown has no descriptor yet
        change = Struct(f"attr_set={attributes!r}, userns_fd={idmap!r}", pack("<3Qq", attributes, 0, 0, idmap))
    return Call("mount_setattr", mount, "", flags, change, 32, why=why)


def attach(
    path: str, *, mount: Slot = MOUNT, at: int | Slot = AT_FDCWD, follow: bool = False, why: str = ""
) -> Iterator[Call]:
    """Attach a detached mount at *path*, or if that is a link and is to be followed where it leads; let go of it."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS if follow else MOVE_MOUNT_F_EMPTY_PATH
    yield Call("move_mount", mount, "", at, path, flags, why=why)
    yield Call("close", mount)


def attach_at_target(*, mount: Slot = MOUNT, keep: bool = False, why: str) -> Iterator[Call]:
    """Attach a detached mount over what the slot TARGET holds; let go of both, or *keep* the mount's descriptor."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    yield Call("move_mount", mount, "", TARGET, "", flags, why=why)
    yield Call("close", TARGET)
    if not keep:
        yield Call("close", mount)


def if_there(path: str, calls: Sequence[Call], *, why: str) -> Iterator[Call]:
    """Open *path* as TARGET and make *calls*; if there is no such path, do nothing."""
    yield Call("openat", AT_FDCWD, path, O_PATH | O_CLOEXEC, 0, save=TARGET, why=why, tolerate=GONE, skip=len(calls))
    yield from calls


def attach_at_real_directory(path: str, *, mount: Slot = MOUNT, keep: bool = False, why: str) -> Iterator[Call]:
    """Attach at *path*, which must be a directory reached through no symlink.

    An image that makes /proc a symlink would have us mount, and later write, where it likes (CVE-2019-19921).
    """
    how = open_how(O_PATH | O_DIRECTORY | O_CLOEXEC, RESOLVE_NO_SYMLINKS)
    yield Call("openat2", AT_FDCWD, path, how, 24, save=TARGET, why=f"{path} must be a real directory")
    yield from attach_at_target(mount=mount, keep=keep, why=why)


def open_how(flags: int, resolve: int) -> Struct:
    """The argument of openat2(2) that says how to open."""
    return Struct(f"flags={flags!r}, resolve={resolve!r}", pack("<3Q", flags, 0, resolve))


def working_directory(path: str) -> Iterator[Call]:
    """Enter *path*, which must lie below the root: never a descriptor of ours below /proc (CVE-2024-21626)."""
    how = open_how(O_PATH | O_DIRECTORY | O_CLOEXEC, RESOLVE_NO_MAGICLINKS)
    yield Call("openat2", AT_FDCWD, path, how, 24, save=TARGET, why="the working directory, through no magic link")
    yield Call("fchdir", TARGET)
    yield Call("close", TARGET)
