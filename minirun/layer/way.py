"""The way through a layer from one path to the next, by descriptors: what two paths have in common is not gone twice.

    a/b/c, then a/b/d/e      up from c, down to d, down to e

All that is in one directory stands together in a sorted list, so sorted paths have each directory opened once, and the
kernel never walks a long path again. Nobody else moves anything in the layer meanwhile: the way up is "..".
"""

from __future__ import annotations

import os

from minirun.kernel.descent import DIRECTORY
from minirun.layer import stack


class Way:
    """Where somebody is in a layer.

    Attributes:
        current: descriptor of the directory that was reached, valid until the way goes on.
        names: those that led there.
        is_blocked: what it was sent to last is not there, for something on the way is no directory.
    """

    def __init__(self, root: int) -> None:
        """Begin at the directory *root*, a descriptor that stays the caller's."""
        self.current = os.dup(root)
        self.names: list[bytes] = []
        self.is_blocked = False

    def go(self, path: bytes) -> bool:
        """Go to the directory *path*, or as far as there are directories; False: it is not all the way."""
        names = path.split(b"/") if path else []
        common = 0
        for one, other in zip(names, self.names, strict=False):
            if one != other:
                break
            common += 1
        while len(self.names) > common:
            self.up()
        self.is_blocked = False
        for name in names[common:]:
            try:
                self.down(name)
            except FileNotFoundError:
                return False
            except NotADirectoryError:
                self.is_blocked = True
                return False
        return True

    def down(self, name: bytes) -> None:
        """Go into the directory *name*; a symlink is refused with ENOTDIR."""
        self._move(name)
        self.names.append(name)

    def up(self) -> None:
        """Go back to the directory above."""
        self._move(b"..")
        self.names.pop()

    def _move(self, name: bytes) -> None:
        moved = os.open(name, DIRECTORY, dir_fd=self.current)
        os.close(self.current)
        self.current = moved

    def close(self) -> None:
        """Give back the descriptor; idempotent."""
        if self.current >= 0:
            os.close(self.current)
            self.current = -1

    def __enter__(self) -> Way:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OpaqueWay(Way):
    """A way that knows whether it is in an opaque directory, or at one: lower layers show nothing there."""

    def __init__(self, root: int) -> None:
        super().__init__(root)
        self._answers = [stack.is_opaque(self.current)]

    @property
    def hides(self) -> bool:
        """Whether lower layers show nothing where it is."""
        return self._answers[-1]

    def down(self, name: bytes) -> None:
        """Go into the directory *name*, and see whether it is opaque."""
        super().down(name)
        self._answers.append(self.hides or stack.is_opaque(self.current))

    def up(self) -> None:
        """Go back to the directory above."""
        super().up()
        self._answers.pop()

    def __enter__(self) -> OpaqueWay:
        return self
