"""Entries made in directories in which others may put something else at any moment, and never anywhere else.

    a file             O_CREAT | O_EXCL, and from then on its descriptor alone: what gets its name meanwhile is not ours
    a directory        mkdir, then opened without following: what is there is a directory, and below the root as all is
    a symlink, a node  made, then opened by O_PATH without following; owner, mode and time go to that inode

What has the name already is removed first, as Docker's `cp` does it: no symlink is written through, and no other name
of the same inode changes. A directory stays one. To remove what is a mount point, such as a file that was attached by
-v, would take the mount away from the container, so that is written in place.
"""

from __future__ import annotations

import errno
import os
from stat import S_IFIFO, S_IFLNK, S_IFMT, S_IFSOCK, S_ISCHR, S_ISDIR, S_ISREG

from minirun.container.rootdir import is_mount_point
from minirun.errors import BadInput
from minirun.kernel import descent
from minirun.layer import metadata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from minirun.container.owners import Owners

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_PLACE = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TRIES = 100


class Landing:
    """Makes entries.

    Args:
        attempt: for refusals.
        owner: whose everything becomes, uid and gid; None: of those whose it was.
        devices: whether device nodes are made; without that they are left out, with a warning.
        owners: of the container that has it all, which is seen from outside of its user namespace.

    Attributes:
        warnings: sentences about what was left out.
        removed: how often something was in the way.
    """

    def __init__(
        self, attempt: str, *, owner: tuple[int, int] | None, devices: bool, owners: Owners | None = None
    ) -> None:
        self.attempt = attempt
        self.warnings = metadata.Warnings()
        self.removed = 0
        self._owner = owner
        self._devices = devices
        self._owners = owners

    def file(self, directory: int, name: bytes, same: tuple[int, int] | None = None) -> tuple[int, bool]:
        """Make an empty file *name* in *directory*, a descriptor.

        Args:
            directory: which is to have it.
            name: of it there.
            same: device and inode of what will be copied into it, which must not be the file that is there.

        Returns:
            A descriptor to write to, and whether the file is new: its metadata are for the caller to give, with
            `finish`, and it is for the caller to remove if it does not come so far.
        """
        for _try in range(_TRIES):
            try:
                return os.open(name, _CREATE, 0o600, dir_fd=directory), True
            except FileExistsError:
                if not self._clear(directory, name, same):
                    continue
            # a mount point: nobody in the container can change what that is
            writing = os.open(name, _IN_PLACE, dir_fd=directory)
            if S_ISREG(os.fstat(writing).st_mode):
                os.ftruncate(writing, 0)
                return writing, False
            os.close(writing)
            raise BadInput(self.attempt, f"{os.fsdecode(name)!r} is a mount point, and no regular file")
        raise self._busy(name)

    def directory(self, directory: int, name: bytes) -> None:
        """Make a directory, or find one there."""
        try:
            os.mkdir(name, 0o700, dir_fd=directory)
        except FileExistsError:
            try:
                stat = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                raise self._busy(name) from None
            if not S_ISDIR(stat.st_mode):
                shown = os.fsdecode(name)
                raise BadInput(self.attempt, f"cannot overwrite non-directory {shown!r} with a directory") from None

    def symlink(self, directory: int, name: bytes, target: bytes, status: Status) -> None:
        """Make a symlink with owner and times."""
        self._make(directory, name, lambda: os.symlink(target, name, dir_fd=directory))
        self._give(directory, name, status)

    def node(self, directory: int, name: bytes, device: int, status: Status) -> bool:
        """Make a FIFO or a device node with owner, mode and times; a socket is left out. Whether one was made."""
        kind = S_IFMT(status.mode)
        if kind == S_IFSOCK:
            return False  # it means nothing without the process that listens on it
        if kind != S_IFIFO and not self._devices:
            self.warnings.add(f"{os.fsdecode(name)!r} was left out: it is a device node, which -a copies")
            return False
        try:
            self._make(directory, name, lambda: os.mknod(name, kind | 0o600, device, dir_fd=directory))
        except PermissionError:
            if not S_ISCHR(status.mode) or device:
                raise
            self.warnings.add(f"{os.fsdecode(name)!r} was left out: device 0:0 means something to overlayfs")
            return False
        self._give(directory, name, status)
        return True

    def link(self, directory: int, name: bytes, make: Callable[[], object]) -> None:
        """Have *make* give an inode the name *name*, too."""
        self._make(directory, name, make)

    def finish(self, descriptor: int, status: Status) -> None:
        """Give a file or a directory owner, mode, xattrs and times; the last that is done to it."""
        os.fchown(descriptor, *self.owner_of(status))
        os.fchmod(descriptor, status.mode & 0o7777)  # after chown(2), which takes setuid away
        if status.xattrs:
            metadata.set_xattrs(descriptor, status.xattrs, self.warnings)
        os.utime(descriptor, ns=(status.mtime_ns, status.mtime_ns))

    def _give(self, directory: int, name: bytes, status: Status) -> None:
        inode = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            if S_IFMT(os.fstat(inode).st_mode) != S_IFMT(status.mode):
                raise self._busy(name)
            path = b"/proc/self/fd/%d" % inode  # leads to the inode, be it a symlink, and not on from there
            os.chown(path, *self.owner_of(status))
            if S_IFMT(status.mode) != S_IFLNK:
                os.chmod(path, status.mode & 0o7777)
            if status.xattrs:
                metadata.set_xattrs(b"/proc/self/fd/%d/%b" % (directory, name), status.xattrs, self.warnings)
            os.utime(path, ns=(status.mtime_ns, status.mtime_ns))
        finally:
            os.close(inode)

    def owner_of(self, status: Status) -> tuple[int, int]:
        """Whose an entry becomes."""
        owner = self._owner or (status.uid, status.gid)
        return self._owners.outside(*owner) if self._owners else owner

    def _make(self, directory: int, name: bytes, make: Callable[[], object]) -> None:
        for _try in range(_TRIES):
            try:
                make()
            except FileExistsError:
                if self._clear(directory, name, None):
                    raise BadInput(self.attempt, f"{os.fsdecode(name)!r} is a mount point") from None
            else:
                return
        raise self._busy(name)

    def _clear(self, directory: int, name: bytes, same: tuple[int, int] | None) -> bool:
        """Take what has the name out of the way; True: it is a mount point, and was left there."""
        try:
            stat = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if S_ISDIR(stat.st_mode):
                raise BadInput(self.attempt, f"cannot overwrite directory {os.fsdecode(name)!r} with non-directory")
            if same == (stat.st_dev, stat.st_ino):
                raise BadInput(self.attempt, f"{os.fsdecode(name)!r} would be copied onto itself")
            if is_mount_point(directory, name):
                return True
            os.unlink(name, dir_fd=directory)
            self.removed += 1
        except FileNotFoundError:
            pass
        except IsADirectoryError:
            pass  # since a moment ago; seen the next time
        return False

    def _busy(self, name: bytes) -> OSError:
        return OSError(errno.EBUSY, "somebody else changes it all the time", name)


class Status:
    """What an entry is to be like.

    Attributes:
        mode: its kind, too.
        uid, gid: its owner.
        mtime_ns: since 1970.
        xattrs: name → value.
    """

    __slots__ = ("gid", "mode", "mtime_ns", "uid", "xattrs")

    def __init__(self, mode: int, uid: int, gid: int, mtime_ns: int, xattrs: dict[bytes, bytes] | None) -> None:
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.mtime_ns = mtime_ns
        self.xattrs = xattrs


def status(stat: os.stat_result, xattrs: Sequence[tuple[str, bytes]], owners: Owners | None) -> Status:
    """What an entry is like that stat(2) and listxattr(2) say this of; *owners*: of the container where it is."""
    named = {os.fsencode(name): value for name, value in xattrs} if xattrs else None
    uid, gid = owners.of(stat) if owners else (stat.st_uid, stat.st_gid)
    return Status(stat.st_mode, uid, gid, stat.st_mtime_ns, named)


def opened(directory: int, name: bytes) -> int:
    """Open a directory that was made, or found, to put something in."""
    return os.open(name, descent.DIRECTORY, dir_fd=directory)
