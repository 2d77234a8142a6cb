"""Lookups from a root directory that cannot lead out of it.

    root ── openat2(path, RESOLVE_IN_ROOT) ─▶ a descriptor ── openat(one name, O_NOFOLLOW) ─▶ the next …

A link, a "..", or whatever is put in their place meanwhile ends in the root (CVE-2018-15664). What the kernel makes up
for whoever looks (proc, sysfs …) is told from what a container has: it would be the host that looked.
"""

from __future__ import annotations

import ctypes
import errno
import os
from stat import S_ISDIR

from minirun.kernel.call import Call
from minirun.kernel.names import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_XDEV
from minirun.launch import machine
from minirun.rootfs.attach import TARGET, open_how

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.container.owners import Owners

_TRIES = 100
_STATFS_BYTES = 256  # struct statfs has 120; its first eight are f_type
# linux/magic.h: what is in these the kernel makes up, for one process, at the moment at which it is read
_MADE_UP = frozenset((
    0x9FA0, 0x62656572, 0x63677270, 0x27E0EB, 0x1CD1, 0x19800202, 0x64626720, 0x74726163, 0x73636673, 0xCAFE4A11,
    0x62656570, 0x6165676C, 0xDE5E81E4, 0x6E736673, 0x42494E4D, 0x65735543,
))  # fmt: skip


class Root:
    """A root directory, from which paths are looked up.

    Args:
        descriptor: of it, O_PATH; closed by `close`.
        held: descriptors that are closed with it: what keeps it mounted, a lock.
        confined: whether no link leads out of it; the host's own root is that of a caller, who may go anywhere.

    Attributes:
        owners: whose files are in there, where that is a user namespace of its own and they are seen from outside.
    """

    __slots__ = ("_held", "_hidden", "_real", "_resolve", "confined", "descriptor", "owners")

    def __init__(self, descriptor: int, held: Sequence[int] = (), *, confined: bool) -> None:
        self.descriptor = descriptor
        self.confined = confined
        self.owners: Owners | None = None
        self._held = list(held)
        self._resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS if confined else 0
        self._real = {os.fstat(descriptor).st_dev: True}
        self._hidden = self._device(b"dev") if confined else None

    def open(self, path: bytes, flags: int) -> int:
        """Open *path*, as if this were the root directory.

        Args:
            path: absolute or not.
            flags: of open(2); O_CLOEXEC is added.

        Raises:
            OSError: as of openat2(2), with *path*.
        """
        return _open(self.descriptor, path or b".", flags, self._resolve)

    def is_walked(self, directory: int, stat: os.stat_result) -> bool:
        """Whether a walk goes into *directory*: not where the kernel makes things up, nor into a container's /dev.

        Args:
            directory: a descriptor.
            stat: of it.
        """
        return stat.st_dev != self._hidden and self.is_real(directory, stat)

    def is_real(self, directory: int, stat: os.stat_result) -> bool:
        """Whether what is in *directory* is more than what the kernel makes up for who looks."""
        known = self._real.get(stat.st_dev)
        if known is None:
            known = self._real[stat.st_dev] = not _is_made_up(directory)
        return known

    def show(self, stat: os.stat_result) -> None:
        """Walk also into the /dev of a container, if that is what was named: *stat* is of what was."""
        if stat.st_dev == self._hidden:
            self._hidden = None

    def close(self) -> None:
        """Let go of it; idempotent."""
        for descriptor in (self.descriptor, *self._held):
            if descriptor >= 0:
                os.close(descriptor)
        self.descriptor, self._held = -1, []

    def _device(self, path: bytes) -> int | None:
        """The device number of a file system that is mounted at *path*."""
        try:
            descriptor = self.open(path, os.O_PATH | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            device = os.fstat(descriptor).st_dev
        finally:
            os.close(descriptor)
        return None if device in self._real else device


def host() -> Root:
    """The root directory of this process."""
    return Root(os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), confined=False)


def _is_made_up(descriptor: int) -> bool:
    """Whether a file system is one of the kernel's own, such as proc. See statfs(2)."""
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    if ctypes.CDLL(None, use_errno=True).fstatfs(descriptor, buffer) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int.from_bytes(buffer.raw[:8], "little") in _MADE_UP


def is_mount_point(directory: int, name: bytes) -> bool:
    """Whether something is mounted on the entry *name* of *directory*, a descriptor."""
    try:
        os.close(_open(directory, name, os.O_PATH | os.O_NOFOLLOW, RESOLVE_NO_XDEV))
    except OSError as error:
        if error.errno == errno.EXDEV:
            return True
        raise
    return False


def directory_at(descriptor: int) -> int:
    """A descriptor to read the directory that *descriptor*, O_PATH, is of; the latter is closed."""
    try:
        if not S_ISDIR(os.fstat(descriptor).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=descriptor)
    finally:
        os.close(descriptor)


def _open(directory: int, path: bytes, flags: int, resolve: int) -> int:
    how = open_how(flags | os.O_CLOEXEC, resolve)
    for left in reversed(range(_TRIES)):
        try:
            return machine.run([Call("openat2", directory, path, how, 24, save=TARGET)])
        except machine.CallFailed as failure:
            # something was renamed while the kernel went through "..": it asks to be called again
            if failure.errno != errno.EAGAIN or not left:
                raise OSError(failure.errno, failure.strerror, path) from None
    raise AssertionError("the last try returns or raises")
