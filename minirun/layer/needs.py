"""What a layer tar leaves to the layers below it.

    in the tar                               taken from below
    ---------------------------------------  -----------------------------------------------------------------
    x/y, and no entry for x                  mode, owner, xattrs and mtime of the directory x
    a hardlink to a file it does not hold    the file, copied up under its own name, content and all
    .wh.y in a directory x                   whether there is an x: a whiteout in a directory that nothing merges
                                             with shows up in listings (overlayfs filters merged ones only)

A layer that took anything is *bound* to what it lies on and cannot be shared with another stack.
"""

from __future__ import annotations

import os

from minirun.kernel.descent import Descent
from minirun.layer import stack
from minirun.layer.field import Malformed

REMEMBERED_MAX_BYTES = 64 << 20
_OVERHEAD_BYTES = 128  # of one name in a dict


class Needs:
    """What was noticed while a tar was unpacked; all paths are relative to the layer's root and go through no symlink.

    Attributes:
        implied: directories without an entry of their own.
        links: name → target, for hardlinks to what the layer has not got.
        whiteouts: names that the layer takes away.
        has_opaque: whether any of its directories is opaque, or was.
    """

    __slots__ = ("_remembered", "has_opaque", "implied", "links", "whiteouts")

    def __init__(self) -> None:
        self.implied: dict[bytes, None] = {}
        self.links: dict[bytes, bytes] = {}
        self.whiteouts: dict[bytes, None] = {}
        self.has_opaque = False
        self._remembered = 0

    def __bool__(self) -> bool:
        return bool(self.implied or self.links)

    def add_implied(self, path: bytes) -> None:
        """Note a directory that was made because a name goes through it."""
        self._remember(len(path))
        self.implied[path] = None

    def add_link(self, path: bytes, target: bytes) -> None:
        """Note a hardlink whose target must be below."""
        self._remember(len(path) + len(target))
        self.links[path] = target

    def add_whiteout(self, path: bytes) -> None:
        """Note a whiteout."""
        self._remember(len(path))
        self.whiteouts[path] = None

    def _remember(self, size: int) -> None:
        self._remembered += size + _OVERHEAD_BYTES
        if self._remembered > REMEMBERED_MAX_BYTES:
            raise Malformed("too many whiteouts, or directories and hardlinks that are left to the layers below")

    def drop(self, path: bytes) -> None:
        """Forget everything below *path*, which was removed."""
        below = path + b"/"
        for noted in (self.implied, self.links, self.whiteouts):
            for name in [name for name in noted if name == path or name.startswith(below)]:
                del noted[name]

    def prune(self, root: int) -> None:
        """Take back what the layer itself makes meaningless: needs and whiteouts inside its opaque directories.

        Args:
            root: descriptor of the layer's root.
        """
        if not self.has_opaque:
            return
        hidden = _Hidden(root)
        for path in list(self.implied):
            if hidden.within(path):
                del self.implied[path]
        for path in list(self.whiteouts):
            if hidden.within(path.rpartition(b"/")[0]):
                remove_whiteout(root, path)
                del self.whiteouts[path]


class _Hidden:
    """Remembers which directories of a layer are opaque, or are inside one that is."""

    def __init__(self, root: int) -> None:
        self.root = root
        self.answers = {b"": stack.is_opaque(root)}

    def within(self, path: bytes) -> bool:
        if path not in self.answers:
            reached = b""
            answer = self.answers[b""]
            with Descent(self.root) as descent:
                try:
                    for component in path.split(b"/"):
                        descent.down(component)
                        reached = reached + b"/" + component if reached else component
                        answer = answer or stack.is_opaque(descent.current)
                        self.answers[reached] = answer
                except (FileNotFoundError, NotADirectoryError):
                    pass  # it was replaced since
            self.answers[path] = answer
        return self.answers[path]


def remove_whiteout(root: int, path: bytes) -> None:
    """Remove the whiteout *path* below the directory *root*, a descriptor, if it still is one."""
    above, _, name = path.rpartition(b"/")
    with Descent(root) as descent:
        try:
            for component in above.split(b"/") if above else []:
                descent.down(component)
            before = os.fstat(descent.current)
            if stack.is_whiteout(os.stat(name, dir_fd=descent.current, follow_symlinks=False)):
                os.unlink(name, dir_fd=descent.current)
                os.utime(descent.current, ns=(before.st_atime_ns, before.st_mtime_ns))
        except (FileNotFoundError, NotADirectoryError):
            pass
