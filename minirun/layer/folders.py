"""The directories of a layer that is being unpacked: opened component by component below its root, never outside.

name in the archive     what happens to each component of its parent
----------------------  ---------------------------------------------------------------------
../../x, /x, a//./x     cleaned as text first: ".." stops at the root
a directory             gone into
a symlink of the layer  read, and followed by hand inside the root, 40 times at most
nothing                 made (*implied*: a tar that says nothing of it leaves it to the layer below)
a whiteout              made, and opaque: what was there below is gone, and this is new
anything else           refused

What a name costs is the components that are walked, and a few bytes of an archive can name thousands, again and again:
those beyond STEPS_EACH for a name come out of STEPS_FREE, and when that is used up the archive is refused.
"""

from __future__ import annotations

import os
import resource
from stat import S_ISLNK

from minirun.kernel.descent import DIRECTORY
from minirun.layer import stack
from minirun.layer.field import Malformed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

WHITEOUT = b".wh."
COMPONENT_MAX_BYTES = 255
# PATH_MAX less some room: calls that take whole paths have the store's before this one, and a name behind it
PATH_MAX_BYTES = 3584
HOPS_MAX = 40  # as path_resolution(7)
HELD_MAX = 256
STEPS_EACH = 32
STEPS_FREE = 1_000_000  # some seconds' worth


class Folders:
    """Descriptors of directories, by the names that lead to them.

    Args:
        root: descriptor of the layer's root; it stays the caller's.
        made: called with the path of each directory that was made because a name goes through it, and whether a
            whiteout stood in its place.

    Attributes:
        known: parent as written → (descriptor, path without symlinks). Look here first; what is found is valid until
            the next call of `open`.
    """

    def __init__(self, root: int, made: Callable[[bytes, bool], None]) -> None:
        self.root = root
        self.known: dict[bytes, tuple[int, bytes]] = {}
        self._made = made
        self._held_max = max(8, min(HELD_MAX, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
        self._steps = STEPS_FREE
        self.forget()

    def open(self, name: bytes, *, revive: bool = True) -> tuple[int, bytes] | None:
        """Open the directory that *name* leads to, made where it is missing.

        Args:
            name: as an archive has it.
            revive: put a directory in the place of a whiteout; without it the answer is then None.

        Raises:
            Malformed: *name* goes through something that is no directory, or is no name.
        """
        self._read(name)
        components, descriptor, path = self._begin(clean(name))
        components.reverse()
        hops = 0
        while components:
            component = components.pop()
            if component == b"..":  # in a symlink
                descriptor, path = self._up(path)
                continue
            check_component(component)
            below = path + b"/" + component if path else component
            if len(below) > PATH_MAX_BYTES:
                raise Malformed(f"a directory whose path has more than {PATH_MAX_BYTES} bytes")
            try:
                opened = os.open(component, DIRECTORY, dir_fd=descriptor)
            except FileNotFoundError:
                os.mkdir(component, 0o700, dir_fd=descriptor)
                self._made(below, False)
                opened = os.open(component, DIRECTORY, dir_fd=descriptor)
            except NotADirectoryError:
                stat = os.stat(component, dir_fd=descriptor, follow_symlinks=False)
                if S_ISLNK(stat.st_mode):
                    hops += 1
                    if hops > HOPS_MAX:
                        raise Malformed("its parent is a loop of symlinks") from None
                    target = os.readlink(component, dir_fd=descriptor)
                    components.extend(reversed(_split(target)))
                    self._walk(target.count(b"/") + 1)
                    if target[:1] == b"/":
                        descriptor, path = self.root, b""
                    continue
                if not stack.is_whiteout(stat):
                    raise Malformed("its parent is not a directory") from None
                if not revive:
                    return None
                os.unlink(component, dir_fd=descriptor)
                os.mkdir(component, 0o700, dir_fd=descriptor)
                opened = os.open(component, DIRECTORY, dir_fd=descriptor)
                os.setxattr(opened, stack.OPAQUE, b"y")
                self._made(below, True)
            descriptor, path = opened, below
            self._keep(path, descriptor, path)
        if name not in self.known:
            self._keep(name, descriptor if descriptor == self.root else os.dup(descriptor), path)
        return self.known[name]

    def real(self, wanted: bytes) -> int | None:
        """Open the directory below the root that has the path *wanted*, for reading what is there.

        Returns:
            A descriptor that is valid until the next call; None where the layer has no such directory and does not
            hide one of the layer below either.

        Raises:
            NotADirectoryError: a component is something else, be it a whiteout.
            Malformed: too many steps.
        """
        self._read(wanted)
        components, descriptor, path = self._begin(wanted, true=True)
        for component in components:
            try:
                opened = os.open(component, DIRECTORY, dir_fd=descriptor)
            except FileNotFoundError:
                return None
            path = path + b"/" + component if path else component
            self._keep(path, opened, path)
            descriptor = opened
        return descriptor

    def hides(self, path: bytes) -> bool:
        """Say whether this layer hides what the layer below may have under the name *path*."""
        components = _split(path)
        self._walk(2 * len(components))  # each is also asked for its xattrs
        with _Opened(self.root) as opened:
            for component in components:
                if stack.is_opaque(opened.descriptor):
                    return True
                try:
                    opened.go(component)
                except FileNotFoundError:
                    return False
                except NotADirectoryError:
                    return True
            return stack.is_opaque(opened.descriptor)

    def forget(self, keep: int = -1) -> None:
        """Close the descriptors, for names may lead elsewhere now; *keep* stays, under its true name alone."""
        kept = {b"": (self.root, b""), b".": (self.root, b"")}
        for descriptor, path in self.known.values():
            if descriptor == keep:
                kept[path] = descriptor, path
            elif descriptor != self.root:
                os.close(descriptor)
        self.known = kept

    def _begin(self, wanted: bytes, *, true: bool = False) -> tuple[list[bytes], int, bytes]:
        """Look how much of *wanted*, which is clean, is known: by any name, or by its *true* one, without symlinks.

        Returns:
            The components that are left, the directory that they begin in, and its path.
        """
        known = wanted
        found = self.root, b""
        while known:
            if known in self.known and (not true or self.known[known][1] == known):
                found = self.known[known]
                self._keep(known, *found)
                break
            known = known.rpartition(b"/")[0]
        rest = wanted[len(known) + 1 :] if known else wanted
        components = rest.split(b"/") if rest else []
        self._walk(len(components))
        return components, *found

    def _read(self, name: bytes) -> None:
        self._steps += STEPS_EACH
        self._walk(len(name) >> 5)  # which is cheaper than to go there

    def _walk(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise Malformed("its names lead through too many directories")

    def _up(self, path: bytes) -> tuple[int, bytes]:
        above = path.rpartition(b"/")[0]
        if above in self.known and self.known[above][1] == above:
            return self.known[above]
        descriptor = self.root
        done = b""
        self._walk(above.count(b"/"))
        for component in _split(above):
            done = done + b"/" + component if done else component
            descriptor = os.open(component, DIRECTORY, dir_fd=descriptor)
            self._keep(done, descriptor, done)
        return descriptor, above

    def _keep(self, name: bytes, descriptor: int, path: bytes) -> None:
        """Put *name* at the young end of what is known; the oldest are closed to make room, never what is in use."""
        before = self.known.pop(name, None)
        if before is not None and before[0] not in (self.root, descriptor):
            os.close(before[0])
        if len(self.known) >= self._held_max:
            for old in list(self.known)[: self._held_max // 2]:
                if self.known[old][0] != self.root:
                    os.close(self.known.pop(old)[0])
        self.known[name] = descriptor, path


class _Opened:
    """One descriptor that goes down a path."""

    def __init__(self, root: int) -> None:
        self.descriptor = os.dup(root)

    def go(self, component: bytes) -> None:
        below = os.open(component, DIRECTORY, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor = below

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def clean(name: bytes) -> bytes:
    """The path that *name* is as text: no blanks, no ".", and ".." stops at the root."""
    framed = b"/" + name + b"/"
    if b"//" not in framed and b"/./" not in framed and b"/../" not in framed:
        return name  # as nearly all are
    components: list[bytes] = []
    for component in _split(name):
        if component == b"..":
            del components[-1:]
        else:
            components.append(component)
    return b"/".join(components)


def check_component(component: bytes) -> None:
    """Refuse a name that no file can have, or that would be a whiteout once it is packed again."""
    if len(component) > COMPONENT_MAX_BYTES:
        raise Malformed(f"a name component of {len(component)} bytes; 255 are allowed")
    if component.startswith(WHITEOUT):
        raise Malformed("a name below a whiteout")


def _split(name: bytes) -> list[bytes]:
    return [component for component in name.split(b"/") if component not in (b"", b".")]
