"""Several layers, one upon the other, become one directory that shows the same on what lies below them.

    layers, bottom to top           below them           the one directory
    ------------------------------  -------------------  ------------------------------------------------
    a file, another above           –                    the one above
    a file, a whiteout above        something            a whiteout
    a file, a whiteout above        nothing of its name  –
    an opaque directory             a directory          an opaque directory
    an opaque directory             no directory         a directory
    a file, a directory above       a directory          an opaque directory: the file hid what is below

A whiteout is made only where a directory below merges with the one that it is in: elsewhere it would show, see
layer/needs.py. Nothing is packed and unpacked on the way, and each directory of each layer is read once.

Files are copied, by sharing their extents where the file system can (see kernel/copying.py). They are not linked,
though nobody writes to them: cron, logrotate and others refuse a file that has several names, and in the containers of
both images each would have one more.
"""

from __future__ import annotations

import os
from stat import S_IFCHR, S_IMODE, S_ISDIR, S_ISREG

from minirun import caller
from minirun.kernel import copying
from minirun.kernel.descent import DIRECTORY
from minirun.layer import stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_OVERLAY = caller.OVERLAY


class Merged:
    """What came of merging.

    Attributes:
        size: bytes of file data, each inode once.
        opaque: whether it hides everything below.
        whiteouts: whether it takes names away.
    """

    __slots__ = ("opaque", "size", "whiteouts")

    def __init__(self) -> None:
        self.size = 0
        self.opaque = False
        self.whiteouts = False


def merge(layers: Sequence[str], below: Sequence[str], target: str, like: str) -> Merged:
    """Make the directory *target* of *layers*.

    Args:
        layers: directories in overlayfs form, bottom to top, at least one.
        below: the directories under them, bottom to top; perhaps none.
        target: absolute path; it must not exist.
        like: the one of *layers* that says what the root directory is like.

    Raises:
        OSError: *target* may be there in part.
    """
    merging = _Merging(target)
    shown, hides = _shown(list(reversed(layers)))
    os.mkdir(target, 0o700)
    merging.enter(shown, list(reversed(below)), target, hides=hides)
    merging.made[0] = (like, target)
    merging.run()
    merging.merged.opaque = hides and bool(below)
    return merging.merged


class _Merging:
    """The way through the directories.

    Attributes:
        merged: what comes of it.
        pending: directories still to be filled: those that make one up and those that show below, topmost first; and
            what they become.
        made: directories that are still to be described as others are: each name put into them changes their times.
        links: device and inode of files with several names → the first that was made of it.
    """

    def __init__(self, target: str) -> None:
        self.merged = Merged()
        self.pending: list[tuple[list[str], list[str], str]] = []
        self.made: list[tuple[str, str]] = []
        self.links: dict[tuple[int, int], str] = {}

    def enter(self, layers: list[str], below: list[str], target: str, *, hides: bool) -> None:
        """Note the directory *target* for later; *hides*: nothing of *below* shows through *layers*."""
        if hides and below:
            os.setxattr(target, stack.OPAQUE, b"y")
        self.pending.append((layers, [] if hides else below, target))
        self.made.append((layers[0], target))

    def run(self) -> None:
        """Fill and describe all directories."""
        while self.pending:
            self._fill(*self.pending.pop())
        for source, made in self.made:
            _describe(source, made)

    def _fill(self, layers: list[str], below: list[str], target: str) -> None:
        into = os.open(target, DIRECTORY)
        opened: list[int] = []
        try:
            places: dict[str, list[int]] = {}
            for number, path in enumerate(layers):
                opened.append(os.open(path, DIRECTORY))
                for name in os.listdir(opened[number]):
                    places.setdefault(name, []).append(number)
            for name in sorted(places):
                first = places[name][0]
                status = os.stat(name, dir_fd=opened[first], follow_symlinks=False)
                if S_ISDIR(status.st_mode):
                    os.mkdir(name, 0o700, dir_fd=into)
                    shown, hides = _shown([f"{layers[number]}/{name}" for number in places[name]])
                    self.enter(shown, _directories(below, name), f"{target}/{name}", hides=hides)
                elif not stack.is_whiteout(status):
                    self._put(status, opened[first], name, into, f"{target}/{name}")
                elif _shows(below, name):
                    os.mknod(name, S_IFCHR, 0, dir_fd=into)  # mode 0, as overlayfs makes them
                    self.merged.whiteouts = True
        finally:
            for descriptor in (into, *opened):
                os.close(descriptor)

    def _put(self, status: os.stat_result, directory: int, name: str, into: int, path: str) -> None:
        """Copy what is no directory, or link it where it was copied under another name."""
        inode = status.st_dev, status.st_ino
        if status.st_nlink > 1 and inode in self.links:
            os.link(self.links[inode], name, dst_dir_fd=into, follow_symlinks=False)
            return
        copying.copy_entry(status, directory, os.fsencode(name), into, os.fsencode(name))
        for xattr in os.listxattr(path, follow_symlinks=False):
            if xattr.startswith(_OVERLAY):
                os.removexattr(path, xattr, follow_symlinks=False)
        if status.st_nlink > 1:
            self.links[inode] = path
        if S_ISREG(status.st_mode):
            self.merged.size += status.st_size


def _shown(places: Sequence[str]) -> tuple[list[str], bool]:
    """Of *places*, topmost first and the first a directory, those that merge; and whether they hide what lies below."""
    shown: list[str] = []
    for place in places:
        if not S_ISDIR(os.lstat(place).st_mode):
            return shown, True
        shown.append(place)
        if stack.is_opaque(place):
            return shown, True
    return shown, False


def _directories(below: Sequence[str], name: str) -> list[str]:
    """The directories *name* that merge in the merged directories *below*, topmost first."""
    found: list[str] = []
    for directory in below:
        place = f"{directory}/{name}"
        try:
            if not S_ISDIR(os.lstat(place).st_mode):
                break
        except FileNotFoundError:
            continue
        found.append(place)
        if stack.is_opaque(place):
            break
    return found


def _shows(below: Sequence[str], name: str) -> bool:
    """Whether the merged directories *below*, topmost first, show something of that name."""
    for directory in below:
        try:
            return not stack.is_whiteout(os.lstat(f"{directory}/{name}"))
        except FileNotFoundError:
            continue
    return False


def _describe(source: str, target: str) -> None:
    """Give the directory *target* what the directory *source* is, but for what overlayfs keeps in xattrs."""
    status = os.stat(source)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, S_IMODE(status.st_mode))
    for name in os.listxattr(source):
        if not name.startswith(_OVERLAY):
            os.setxattr(target, name, os.getxattr(source, name))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
