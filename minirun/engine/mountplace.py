"""Where the root file system of an image is mounted on the host, read-only.

    /run/minirun/images/<image id>/
    ├── root/         the mount point: an overlay of the image's own layers, without a directory that takes writes
    ├── top/          says what the root directory is like, where the topmost layer does not; or makes one layer two
    └── holds/1 2 …   a file for each `image mount` that no `image unmount` has answered: podman counts them as well

    mount                                       unmount of the last that holds it
    ------------------------------------------  -----------------------------------------
    mark: settle                                mark: settle
    top/ root/ holds/, the overlay on root/     root/ unmounted (EBUSY: as it was)
    holds/1                                     holds/ top/ root/ removed
    mark gone                                   mark gone

An image is mounted while it is held and the kernel has a mount there. One without the other was cut short, or a boot
came in between, and `settle` clears it away. All of it is changed under the flock of images/.
"""

from __future__ import annotations

import errno
import fcntl
import os

from minirun import caller
from minirun.home import Home
from minirun.image.reference import is_id
from minirun.kernel.call import Call
from minirun.kernel.names import MNT_DETACH
from minirun.launch import machine
from minirun.rootfs import overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME_BYTES = 255  # of a layer's path, as fsconfig(2) takes it


class MountPlace:
    """The place of one image.

    Attributes:
        home: whose runtime directory it is in.
        id: of the image.
        path: the directory of the place.
    """

    __slots__ = ("home", "id", "path")

    def __init__(self, home: Home, image_id: str) -> None:
        self.home = home
        self.id = image_id
        self.path = f"{_folder(home)}/{image_id}"

    @property
    def root(self) -> str:
        """The mount point."""
        return f"{self.path}/root"

    @property
    def is_there(self) -> bool:
        """Whether the image is mounted, or was, or is about to be."""
        return os.path.isdir(self.path)

    @property
    def is_mounted(self) -> bool:
        """Whether there is a mount, in the mount namespace of this process."""
        try:
            # an overlay has a device number of its own
            return os.stat(self.root).st_dev != os.stat(self.path).st_dev
        except FileNotFoundError:
            return False

    @property
    def holds(self) -> list[str]:
        """A name for each who holds it, sorted."""
        try:
            return sorted(os.listdir(f"{self.path}/holds"))
        except FileNotFoundError:
            return []

    def lock(self, *, wait: bool = True) -> int:
        """Keep everybody else from mounting and unmounting images, until the descriptor is closed.

        Raises:
            BlockingIOError: *wait* is false and somebody does.
        """
        os.makedirs(_folder(self.home), 0o700, exist_ok=True)
        lock = os.open(_folder(self.home), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            os.close(lock)
            raise
        return lock

    def attach(self, stack: Sequence[str], like: str) -> None:
        """Mount the directories *stack*, bottom to top; what was there before, of a boot ago, is cleared away.

        Args:
            stack: absolute paths, 1 to 499 of them.
            like: the one of them that says what the root directory is like.

        Raises:
            CallFailed: the kernel does not mount them.
            OSError: the directories cannot be made.
        """
        self.clear(MNT_DETACH)
        os.makedirs(f"{self.path}/holds", 0o700)
        os.mkdir(self.root, 0o700)
        stack = list(stack)
        if len(stack) == 1 or like != stack[-1]:
            stack.append(f"{self.path}/top")
            _make_like(like, stack[-1])
        try:
            self._attach_by_short_names(stack)
        except machine.CallFailed as failure:
            if not failure.may_lack_lowerdir_plus:
                raise
            machine.run(list(overlay.attached_view_by_options(stack, self.root)))

    def _attach_by_short_names(self, stack: Sequence[str]) -> None:
        if max(len(os.fsencode(one)) for one in stack) <= _NAME_BYTES:
            machine.run(list(overlay.attached_view(stack, self.root)))
            return
        folders: dict[str, int] = {}
        try:
            for folder in {os.path.dirname(one) for one in stack}:
                folders[folder] = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            short = [f"/proc/self/fd/{folders[os.path.dirname(one)]}/{os.path.basename(one)}" for one in stack]
            machine.run(list(overlay.attached_view(short, self.root)))
        finally:
            for descriptor in folders.values():
                os.close(descriptor)

    def hold(self) -> None:
        """Be one more who holds it."""
        held = self.holds
        number = next(number for number in range(1, len(held) + 2) if str(number) not in held)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        os.close(os.open(f"{self.path}/holds/{number}", flags, 0o600))

    def let_go(self) -> bool:
        """Hold it no more; False: who asks is the last, or the only one, and nothing was done."""
        held = self.holds
        if len(held) < 2:
            return False
        os.unlink(f"{self.path}/holds/{held[-1]}")
        return True

    def clear(self, flags: int = 0) -> None:
        """Unmount what is mounted, and remove the directories; never what is in a mount.

        Args:
            flags: of umount2(2).

        Raises:
            CallFailed: EBUSY: somebody has a file open in it; nothing was changed.
        """
        while self.is_mounted:
            machine.run([Call("umount2", self.root, flags)])
        for name in self.holds:
            os.unlink(f"{self.path}/holds/{name}")
        for name in ("holds", "top", "root", ""):
            try:
                os.rmdir(f"{self.path}/{name}")
            except FileNotFoundError:
                continue


def places(home: Home) -> list[MountPlace]:
    """Those of all images that are mounted, or were, in the order of ids; read without a lock."""
    try:
        return [MountPlace(home, name) for name in sorted(os.listdir(_folder(home))) if is_id(name)]
    except FileNotFoundError:
        return []


def settle(root: str, runtime: str, image_id: str) -> None:
    """Leave an image mounted that is mounted and held, and else nothing of it. An undo of the journal: idempotent.

    Raises:
        BlockingIOError: somebody mounts or unmounts an image.
    """
    place = MountPlace(Home(root, runtime), image_id)
    if not place.is_there:
        return
    lock = place.lock(wait=False)
    try:
        if not (place.is_mounted and place.holds):
            place.clear(MNT_DETACH)
    finally:
        os.close(lock)


def _make_like(source: str, target: str) -> None:
    """Make the empty directory *target* with owner, mode, xattrs and times of the directory *source*."""
    os.mkdir(target, 0o700)
    status = os.stat(source)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, status.st_mode & 0o7777)
    for name in os.listxattr(source):
        if not name.startswith(caller.OVERLAY):
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:  # a tmpfs before Linux 6.6 takes no user.*
                    raise
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _folder(home: Home) -> str:
    return f"{home.runtime}/images"
