"""What a layer needs is taken from the layers below it, see needs.py, and makes it bound to them."""

from __future__ import annotations

import os
from stat import S_ISDIR

from minirun.kernel import copying
from minirun.kernel.descent import DIRECTORY, Descent
from minirun.layer import stack
from minirun.layer.field import Malformed
from minirun.layer.needs import remove_whiteout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.layer.needs import Needs

_OVERLAY = "trusted.overlay."


def complete(needs: Needs, into: str, below: Sequence[str]) -> bool:
    """Take from *below* what the layer unpacked at *into* needs.

    Args:
        needs: as unpacking left it.
        into: the layer's directory.
        below: the directories of the layers under it, bottom to top.

    Returns:
        Whether anything was taken, or removed because there is nothing below: the layer is now bound to *below*.

    Raises:
        Malformed: a hardlink has no target.
        OSError: of the calls that take it.
    """
    bound = False
    root = os.open(into, DIRECTORY)
    try:
        for path in needs.whiteouts:
            if not _is_directory(below, path.rpartition(b"/")[0]):
                remove_whiteout(root, path)
                bound = True
        borrowed = _Borrowed(root, needs, below)
        for path, target in needs.links.items():
            borrowed.take(path, target)
            bound = True
        # last, and children first: what was taken before changed their times
        for path in sorted(needs.implied, reverse=True):
            bound |= _take_metadata(root, path, below)
    finally:
        os.close(root)
    return bound


def stray_whiteouts(directory: str, below: Sequence[str]) -> bool:
    """Say whether the layer at *directory* has a whiteout where nothing of *below* merges with it."""
    return any(
        stack.is_whiteout(found.stat) and not _is_directory(below, path.rpartition(b"/")[0])
        for path, found, _opaque in stack.walk([directory])
    )


def _is_directory(below: Sequence[str], path: bytes) -> bool:
    found = stack.find(below, path)
    return found is not None and S_ISDIR(found.stat.st_mode)


def _take_metadata(root: int, path: bytes, below: Sequence[str]) -> bool:
    found = stack.find(below, path)
    if found is None or not S_ISDIR(found.stat.st_mode):
        return False
    with Descent(root) as descent:
        for component in path.split(b"/"):
            descent.down(component)
        os.fchown(descent.current, found.stat.st_uid, found.stat.st_gid)
        os.fchmod(descent.current, found.stat.st_mode & 0o7777)
        for name in os.listxattr(found.path):
            if not name.startswith(_OVERLAY):
                os.setxattr(descent.current, name, os.getxattr(found.path, name))
        os.utime(descent.current, ns=(found.stat.st_atime_ns, found.stat.st_mtime_ns))
    return True


class _Borrowed:
    """Files of the layers below that hardlinks point to, on their way into the layer."""

    def __init__(self, root: int, needs: Needs, below: Sequence[str]) -> None:
        self.root, self.needs, self.below = root, needs, below
        self.taken: dict[bytes, bytes] = {}

    def take(self, path: bytes, target: bytes) -> None:
        found = stack.find(self.below, target)
        if found is None or S_ISDIR(found.stat.st_mode):
            raise Malformed(f"{os.fsdecode(path)!r}: a hardlink to a missing target, {os.fsdecode(target)!r}")
        remove_whiteout(self.root, path)  # an entry stays that its own layer whites out
        if target not in self.taken:
            if self._becomes_another(target) or not self._copy(found, target, make=True):
                # the layer has something else there by now, or hides it: only the link is left
                self._copy(found, path, make=False)
                self.taken[target] = path
                return
            self.taken[target] = target
        self._link(self.taken[target], path)

    def _becomes_another(self, target: bytes) -> bool:
        """Whether *target*, or a directory above it, is a link to a lower layer's file, too, made here later."""
        while target:
            if target in self.needs.links:
                return True
            target = target.rpartition(b"/")[0]
        return False

    def _copy(self, found: stack.Found, path: bytes, *, make: bool) -> bool:
        above, _, name = path.rpartition(b"/")
        source, _, source_name = os.fsencode(found.path).rpartition(b"/")
        with Descent(self.root) as descent:
            if not self._go(descent, above, make=make):
                return False
            before = os.fstat(descent.current)
            directory = os.open(source, DIRECTORY)
            try:
                copying.copy_entry(found.stat, directory, source_name, descent.current, name)
            except FileExistsError:
                if make:
                    return False
                raise _in_the_way(path) from None
            finally:
                os.close(directory)
            copied = b"/proc/self/fd/%d/%b" % (descent.current, name)
            for xattr in os.listxattr(copied, follow_symlinks=False):
                if xattr.startswith(_OVERLAY):
                    os.removexattr(copied, xattr, follow_symlinks=False)
            os.utime(descent.current, ns=(before.st_atime_ns, before.st_mtime_ns))
        return True

    def _go(self, descent: Descent, path: bytes, *, make: bool) -> bool:
        """Go down *path*; where asked, make what is missing as an implied directory. False: the layer hides it."""
        reached = b""
        for component in path.split(b"/") if path else []:
            if make and stack.is_opaque(descent.current):
                return False
            reached = reached + b"/" + component if reached else component
            try:
                descent.down(component)
            except NotADirectoryError:
                return False
            except FileNotFoundError:
                if not make:
                    return False
                before = os.fstat(descent.current)
                os.mkdir(component, 0o700, dir_fd=descent.current)
                os.utime(descent.current, ns=(before.st_atime_ns, before.st_mtime_ns))
                self.needs.add_implied(reached)
                descent.down(component)
        return not (make and stack.is_opaque(descent.current))

    def _link(self, target: bytes, path: bytes) -> None:
        with Descent(self.root) as source, Descent(self.root) as descent:
            above, _, name = path.rpartition(b"/")
            target_above, _, target_name = target.rpartition(b"/")
            if not self._go(source, target_above, make=False) or not self._go(descent, above, make=False):
                return
            before = os.fstat(descent.current)
            try:
                os.link(target_name, name, src_dir_fd=source.current, dst_dir_fd=descent.current, follow_symlinks=False)
            except FileExistsError:
                raise _in_the_way(path) from None
            os.utime(descent.current, ns=(before.st_atime_ns, before.st_mtime_ns))


def _in_the_way(path: bytes) -> Malformed:
    """What is there under the name of a link: a directory, because the name of another entry goes through it."""
    return Malformed(f"{os.fsdecode(path)!r}: a hardlink to a file, and a name goes through it as through a directory")
