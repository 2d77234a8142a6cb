"""What a layer needs is taken from the layers below it, see needs.py, and makes it bound to them."""

from __future__ import annotations

import os
from operator import itemgetter
from stat import S_ISDIR

from minirun import caller
from minirun.kernel import copying, descent
from minirun.kernel.descent import DIRECTORY
from minirun.layer import stack
from minirun.layer.field import Malformed, called
from minirun.layer.lookup import Lookup
from minirun.layer.needs import remove_whiteout
from minirun.layer.way import OpaqueWay, Way

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from minirun.layer.needs import Needs

_OVERLAY = caller.OVERLAY


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
    if not (needs or needs.whiteouts):
        return False  # as most layers
    root = os.open(into, DIRECTORY)
    try:
        with Lookup(below) as lookup:
            bound = _remove_strays(needs, root, lookup)
            bound |= _take_links(needs, root, lookup)
            # last: what was taken before changed their times
            return _take_metadata(needs, root, lookup) or bound
    finally:
        os.close(root)


def stray_whiteouts(directory: str, below: Sequence[str]) -> bool:
    """Say whether the layer at *directory* has a whiteout where nothing of *below* merges with it."""
    path: list[bytes] = []
    root = os.open(directory, DIRECTORY)
    try:
        with Lookup(below) as lookup:
            for event, _directory, name, stat in descent.walk(root):
                if event == descent.ENTER:
                    path.append(name)
                elif event == descent.LEAVE:
                    path.pop()
                elif stack.is_whiteout(stat) and lookup.directory(b"/".join(path)) is None:
                    return True
    finally:
        os.close(root)
    return False


def _remove_strays(needs: Needs, root: int, below: Lookup) -> bool:
    removed = False
    with Way(root) as way:
        for path in sorted(needs.whiteouts):
            above, _, name = path.rpartition(b"/")
            if below.directory(above) is None:
                removed = True
                if way.go(above):
                    remove_whiteout(way.current, name)
    return removed


def _take_links(needs: Needs, root: int, below: Lookup) -> bool:
    with OpaqueWay(root) as sources, Way(root) as targets:
        borrowed = _Borrowed(needs, sources, targets, below)
        for path, target in sorted(needs.links.items(), key=itemgetter(1)):
            borrowed.take(path, target)
    return bool(needs.links)


def _take_metadata(needs: Needs, root: int, below: Lookup) -> bool:
    taken = False
    with Way(root) as way:
        for path in sorted(needs.implied, reverse=True):  # children first
            source = below.directory(path)
            if source is not None and way.go(path):
                _describe(source, way.current)
                taken = True
    return taken


def _describe(source: int, directory: int) -> None:
    """Give *directory* what *source* is, but for what overlayfs keeps in xattrs; both are descriptors."""
    stat = os.fstat(source)
    os.fchown(directory, stat.st_uid, stat.st_gid)
    os.fchmod(directory, stat.st_mode & 0o7777)
    for name in os.listxattr(source):
        if not name.startswith(_OVERLAY):
            os.setxattr(directory, name, os.getxattr(source, name))
    os.utime(directory, ns=(stat.st_atime_ns, stat.st_mtime_ns))


class _Borrowed:
    """Files of the layers below that hardlinks point to, on their way into the layer.

    The first name of each is a copy: the one that it has below, where nothing of the layer is in its way, or else that
    of the link. The others are links to it.

    Args:
        needs: of the layer.
        sources: goes to the copies.
        links: goes to the names that the layer asks for.
        below: the layers that have the files.
    """

    def __init__(self, needs: Needs, sources: OpaqueWay, links: Way, below: Lookup) -> None:
        self.needs, self.sources, self.links, self.below = needs, sources, links, below
        self._target = self._copy = b""  # of the last link: what it points to, and the name of its copy

    def take(self, path: bytes, target: bytes) -> None:
        """Make the link *path* to *target*; all that have one target come one after the other."""
        above, _, name = path.rpartition(b"/")
        if target != self._target:
            found = self.below.find(target)
            if found is None or S_ISDIR(found[1].st_mode):
                raise Malformed(f"{called(path)}: a hardlink to a missing target, {called(target)}")
            self._target = self._copy = target
            if not self._copied(*found, target):
                # the layer has something else there by now, or hides it: only the link is left
                self._copy = path
                if self._go(above, name) and not _copy(*found, target, self.links.current, name):
                    raise _in_the_way(path)
                return
        copy_above, _, copy_name = self._copy.rpartition(b"/")
        if not self._go(above, name) or not self.sources.go(copy_above):
            return
        directory = self.links.current
        before = os.fstat(directory)
        try:
            os.link(copy_name, name, src_dir_fd=self.sources.current, dst_dir_fd=directory, follow_symlinks=False)
        except FileExistsError:
            raise _in_the_way(path) from None
        os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))

    def _go(self, above: bytes, name: bytes) -> bool:
        """Go to where a link is to be made; an entry stays that its own layer whites out."""
        if not self.links.go(above):
            return False
        remove_whiteout(self.links.current, name)
        return True

    def _copied(self, source: int, stat: os.stat_result, target: bytes) -> bool:
        """Copy what was found to where it is below; False: the layer has something else there, or hides it."""
        above, _, name = target.rpartition(b"/")
        return (
            not self._becomes_another(target)
            and self._make(above)
            and _copy(source, stat, target, self.sources.current, name)
        )

    def _becomes_another(self, target: bytes) -> bool:
        """Whether *target*, or a directory above it, is a link to a lower layer's file, too, made here later."""
        while target:
            if target in self.needs.links:
                return True
            target = target.rpartition(b"/")[0]
        return False

    def _make(self, path: bytes) -> bool:
        """Go to the directory *path*; what is missing of it is made as an implied directory."""
        way = self.sources
        arrived = way.go(path)
        if way.hides:
            return False
        if not arrived:
            for component in path.split(b"/")[len(way.names) :]:
                before = os.fstat(way.current)
                try:
                    os.mkdir(component, 0o700, dir_fd=way.current)
                except FileExistsError:
                    return False
                os.utime(way.current, ns=(before.st_atime_ns, before.st_mtime_ns))
                way.down(component)
                self.needs.add_implied(b"/".join(way.names))
        return True


def _copy(source: int, stat: os.stat_result, path: bytes, directory: int, name: bytes) -> bool:
    """Copy what was found at *path* in the directory *source* to *name* in *directory*; False: there is something."""
    before = os.fstat(directory)
    try:
        copying.copy_entry(stat, source, path.rpartition(b"/")[2], directory, name)
    except FileExistsError:
        return False
    copied = b"/proc/self/fd/%d/%b" % (directory, name)
    for xattr in os.listxattr(copied, follow_symlinks=False):
        if xattr.startswith(_OVERLAY):
            os.removexattr(copied, xattr, follow_symlinks=False)
    os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))
    return True


def _in_the_way(path: bytes) -> Malformed:
    """What is there under the name of a link: a directory, because the name of another entry goes through it."""
    return Malformed(f"{called(path)}: a hardlink to a file, and a name goes through it as through a directory")
