"""A walk through a tree of any depth with few descriptors, which no symlink and no rename leads astray.

a/b/c/…/z      descriptors are held for the last HELD levels only; the way back up above them is "..", and is
  ╰──────╯     believed only if it arrives at the inode that was seen on the way down
   held
"""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

HELD = 32
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

ENTER, ENTRY, LEAVE = range(3)


class Descent:
    """The directories from a root down to the current one.

    Attributes:
        current: descriptor of the directory that was reached; it belongs to the descent.
    """

    __slots__ = ("_held", "_seen", "current")

    def __init__(self, root: int) -> None:
        """Begin at the directory *root*, a descriptor that stays the caller's."""
        self.current = os.dup(root)
        self._held = [self.current]
        self._seen = [_identity(self.current)]

    def down(self, name: str | bytes) -> int:
        """Go into the directory *name*; a symlink is refused with ENOTDIR or ELOOP."""
        self.current = os.open(name, DIRECTORY, dir_fd=self.current)
        self._held.append(self.current)
        self._seen.append(_identity(self.current))
        if len(self._held) > HELD:
            os.close(self._held.pop(0))
        return self.current

    def up(self) -> int:
        """Go back to the directory above.

        Raises:
            OSError: ESTALE: the directory was moved elsewhere meanwhile.
        """
        left = self._held.pop()
        self._seen.pop()
        try:
            if not self._held:
                above = os.open("..", DIRECTORY, dir_fd=left)
                self._held.append(above)
                if _identity(above) != self._seen[-1]:
                    raise OSError(errno.ESTALE, "a directory was moved while its tree was read")
        finally:
            os.close(left)
        self.current = self._held[-1]
        return self.current

    def close(self) -> None:
        """Give back the descriptors; idempotent."""
        while self._held:
            os.close(self._held.pop())

    def __enter__(self) -> Descent:
        return self

    def __exit__(self, kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()


def _identity(directory: int) -> tuple[int, int]:
    stat = os.fstat(directory)
    return stat.st_dev, stat.st_ino


def walk(
    root: int, is_walked: Callable[[int, os.stat_result], bool] | None = None
) -> Iterator[tuple[int, int, bytes, os.stat_result]]:
    """Visit everything below the directory *root*, a descriptor, in the order of the names' bytes.

    Args:
        root: where to begin.
        is_walked: says of a directory, its descriptor and stat, whether to look what is in it; without it of all.

    Yields:
        ``(event, directory, name, stat)``. ENTRY: *name*, not a directory, in *directory*. ENTER and LEAVE: around
        what is in the directory *name*, which *directory* is then itself. The descriptor is valid until the next step.
        What disappears meanwhile is passed over.
    """
    with Descent(root) as descent:
        pending = [_names(root)]
        entered: list[tuple[bytes, os.stat_result]] = []
        while True:
            names = pending[-1]
            if names:
                name = names.pop()
                try:
                    stat = os.stat(name, dir_fd=descent.current, follow_symlinks=False)
                    if not S_ISDIR(stat.st_mode):
                        yield ENTRY, descent.current, name, stat
                        continue
                    descent.down(name)
                except FileNotFoundError:
                    continue
                yield ENTER, descent.current, name, stat
                entered.append((name, stat))
                looked_at = is_walked is None or is_walked(descent.current, stat)
                pending.append(_names(descent.current) if looked_at else [])
            else:
                pending.pop()
                if not pending:
                    return
                yield LEAVE, descent.current, *entered.pop()
                descent.up()


def _names(directory: int) -> list[bytes]:
    return sorted(map(os.fsencode, os.listdir(directory)), reverse=True)
