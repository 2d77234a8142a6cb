"""Many paths looked up in one stack of layer directories, as `stack.find` does it for a single one.

    each layer is asked, from the top down       the answer
    -------------------------------------------  ------------------------------------------------------------
    it has the entry                             this
    it has a whiteout of that name               nothing
    something on the way is no directory         nothing: that hides what is further down
    it has no such entry, or not all the way     the next layer's; nothing, if it was in an opaque directory

Most answers are the topmost layer's, and the next path goes on from where the last one ended: see way.py.
"""

from __future__ import annotations

import os

from minirun.kernel.descent import DIRECTORY
from minirun.layer import stack
from minirun.layer.way import OpaqueWay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Lookup:
    """A stack that nobody changes meanwhile.

    Args:
        layers: their directories, bottom to top. Each has one descriptor once it was asked.
    """

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = layers[::-1]
        self._ways: list[OpaqueWay] = []

    def find(self, path: bytes) -> tuple[int, os.stat_result] | None:
        """Look for the entry *path*: relative, without blanks, "." and "..", and not the root.

        Returns:
            A descriptor of the directory that it is in, valid until the next look, and what lstat(2) says of it; None
            where there is no such entry.

        Raises:
            OSError: a layer directory cannot be read.
        """
        above, _, name = path.rpartition(b"/")
        for directory in self._merged(above):
            try:
                stat = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except FileNotFoundError:
                continue
            return None if stack.is_whiteout(stat) else (directory, stat)
        return None

    def directory(self, path: bytes) -> int | None:
        """Look for the directory *path*, as `find` does; the root is an empty one.

        Returns:
            A descriptor of the topmost of those that merge there, valid until the next look; None where there are none.
        """
        return next(self._merged(path), None)

    def _merged(self, path: bytes) -> Iterator[int]:
        """The directories that merge at *path*, top to bottom."""
        for number in range(len(self._layers)):
            way = self._way(number)
            if way.go(path):
                yield way.current
            if way.is_blocked or way.hides:
                return

    def _way(self, number: int) -> OpaqueWay:
        if number == len(self._ways):
            root = os.open(self._layers[number], DIRECTORY)
            try:
                self._ways.append(OpaqueWay(root))
            finally:
                os.close(root)
        return self._ways[number]

    def close(self) -> None:
        """Give back the descriptors; idempotent."""
        while self._ways:
            self._ways.pop().close()

    def __enter__(self) -> Lookup:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
