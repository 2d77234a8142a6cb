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

from minirun.layer import stack
from minirun.layer.field import Malformed
from minirun.layer.way import OpaqueWay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REMEMBERED_MAX_BYTES = 24 << 20  # more than a hundred thousand names; and several layers are unpacked at once
_OVERHEAD_BYTES = 128  # of one name in a dict
_STEP_BYTES = 8  # of a directory on the way: somebody will go there
_LOOKED_AT_MAX = 10_000_000  # names, to find those below a directory that is removed: two seconds
_PACKED = {"implied", "links", "whiteouts", "_remembered", "_looked_at"}


class Needs:
    """What was noticed while a tar was unpacked; all paths are relative to the layer's root and go through no symlink.

    Attributes:
        implied: directories without an entry of their own.
        links: name → target, for hardlinks to what the layer has not got.
        whiteouts: names that the layer takes away.
        has_opaque: whether any of its directories is opaque, or was.
    """

    __slots__ = ("_looked_at", "_packed", "_remembered", "has_opaque", "implied", "links", "whiteouts")

    implied: dict[bytes, None]
    links: dict[bytes, bytes]
    whiteouts: dict[bytes, None]

    def __init__(self) -> None:
        self.implied, self.links, self.whiteouts = {}, {}, {}
        self.has_opaque = False
        self._remembered = self._looked_at = 0

    def __bool__(self) -> bool:
        return bool(self.implied or self.links)

    # Who unpacks several layers at once gets these from the processes that do it, and has all of them until the last is
    # there: they come compressed, and are what they were when somebody asks.

    def __getstate__(self) -> tuple[bytes, bool]:
        import marshal

        import zstandard

        names = (list(self.implied), self.links, list(self.whiteouts))
        return zstandard.compress(marshal.dumps(names), 1), self.has_opaque

    def __setstate__(self, state: tuple[bytes, bool]) -> None:
        self._packed, self.has_opaque = state

    def __getattr__(self, name: str) -> Any:
        if name not in _PACKED:
            raise AttributeError(name)
        import marshal

        import zstandard

        implied, self.links, whiteouts = marshal.loads(zstandard.decompress(self._packed))
        self.implied, self.whiteouts = dict.fromkeys(implied), dict.fromkeys(whiteouts)
        self._packed = b""
        self._remembered = self._looked_at = 0
        return getattr(self, name)

    def add_implied(self, path: bytes) -> None:
        """Note a directory that was made because a name goes through it."""
        self._remember(path)
        self.implied[path] = None

    def add_link(self, path: bytes, target: bytes) -> None:
        """Note a hardlink whose target must be below."""
        self._remember(path)
        self._remember(target)
        self.links[path] = target

    def add_whiteout(self, path: bytes) -> None:
        """Note a whiteout."""
        self._remember(path)
        self.whiteouts[path] = None

    def _remember(self, path: bytes) -> None:
        self._remembered += len(path) + _OVERHEAD_BYTES + _STEP_BYTES * path.count(b"/")
        if self._remembered > REMEMBERED_MAX_BYTES:
            raise Malformed("too many whiteouts, or directories and hardlinks that are left to the layers below")

    def drop(self, path: bytes) -> None:
        """Forget everything below *path*, which was removed."""
        self._look(len(self.implied) + len(self.links) + len(self.whiteouts))
        below = path + b"/"
        for noted in (self.implied, self.links, self.whiteouts):
            for name in [name for name in noted if name == path or name.startswith(below)]:
                del noted[name]

    def is_hollow(self, path: bytes, place: bytes) -> bool:
        """Say whether there is a directory *path* only because the archive takes away something in it.

        Args:
            path: of a directory.
            place: where it is.
        """
        if path not in self.implied:
            return False
        below = path + b"/"
        self._look(len(self.links))
        if any(name.startswith(below) for name in self.links):
            return False
        pending = [(path, place)]
        while pending:
            path, place = pending.pop()
            with os.scandir(place) as entries:  # one by one: there may be millions
                for entry in entries:
                    self._look(1)
                    inside = path + b"/" + entry.name
                    if inside in self.implied:
                        pending.append((inside, entry.path))
                    elif not stack.is_whiteout(entry.stat(follow_symlinks=False)):
                        return False
        return True

    def _look(self, names: int) -> None:
        self._looked_at += names
        if self._looked_at > _LOOKED_AT_MAX:
            raise Malformed("too many directories that it adds and replaces again")

    def prune(self, root: int) -> None:
        """Take back what the layer itself makes meaningless: needs and whiteouts inside its opaque directories.

        Args:
            root: descriptor of the layer's root.
        """
        if not self.has_opaque:
            return
        with OpaqueWay(root) as way:
            # sorted, everything that begins with the same directory stands together: each is opened once or twice
            for path in sorted(self.implied):
                # one that is opaque itself hides what is in the one below, and is like it
                way.go(path.rpartition(b"/")[0])
                if way.hides:
                    del self.implied[path]
            for path in sorted(self.whiteouts):
                above, _, name = path.rpartition(b"/")
                arrived = way.go(above)
                if way.hides:
                    if arrived:  # a part of the way may have been replaced since
                        remove_whiteout(way.current, name)
                    del self.whiteouts[path]


def remove_whiteout(directory: int, name: bytes) -> None:
    """Remove the whiteout *name* of *directory*, a descriptor, if it still is one; it leaves no trace in its times."""
    try:
        stat = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stack.is_whiteout(stat):
        before = os.fstat(directory)
        os.unlink(name, dir_fd=directory)
        os.utime(directory, ns=(before.st_atime_ns, before.st_mtime_ns))
