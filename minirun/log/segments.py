"""The files of one log, and how those who read them keep what they have not read yet.

    <folder>/<id>-json.log        0   the youngest, which is written
             <id>-json.log.1      1   rotated: was 0
             <id>-json.log.2.gz   2   rotated and compressed; the largest number is the oldest

A rotation renames 1 to 2 and 0 to 1, so that a number says nothing for long; what stays is the inode. Two locks:

    flock of the folder   exclusive while names change, which takes microseconds; shared while somebody looks for one.
                          Who writes the log does not wait for it: with a reader in between it rotates later.
    flock of a file       shared, by whoever reads it: neither that file nor a younger one is removed, or compressed.
"""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PACKED = ".gz"
_BLOCK_BYTES = 64 << 10


def rotated(path: str) -> dict[int, str]:
    """The rotated files of the log at *path*, by number, the youngest first; of one that was packed, the packed one."""
    folder, name = os.path.split(path)
    found: dict[int, str] = {}
    for other in os.listdir(folder):
        number = other.removeprefix(f"{name}.").removesuffix(PACKED)
        if not other.startswith(f"{name}.") or not number.isascii() or not number.isdecimal():
            continue
        # both are there when a compression was killed between its last two steps; the packed one is whole
        if int(number) not in found or other.endswith(PACKED):
            found[int(number)] = f"{folder}/{other}"
    return dict(sorted(found.items()))


def lock(folder: str, *, exclusive: bool, wait: bool) -> int:
    """Keep names from changing, or from being looked at; closing the descriptor gives the lock back.

    Raises:
        BlockingIOError: *wait* is false, and somebody has it.
        OSError: the folder is gone.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def is_read(path: str) -> bool:
    """Whether somebody reads the file at *path*. Who asks has the folder's lock, so that nobody begins to meanwhile."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def whole_lines(descriptor: int) -> int:
    """Where the last whole line of a file ends."""
    end = os.fstat(descriptor).st_size
    while end:
        begin = max(0, end - _BLOCK_BYTES)
        newline = os.pread(descriptor, end - begin, begin).rfind(b"\n")
        if newline >= 0:
            return begin + newline + 1
        end = begin
    return 0


class Segment:
    """One file of a log that is being read, and that is kept for that; a context manager.

    Attributes:
        descriptor: of it.
        packed: whether it is compressed.
    """

    __slots__ = ("descriptor", "packed")

    def __init__(self, path: str) -> None:
        """Open the file; the folder's lock is held.

        Raises:
            FileNotFoundError: it is not there.
        """
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.packed = path.endswith(PACKED)
        fcntl.flock(self.descriptor, fcntl.LOCK_SH)

    def is_at(self, path: str) -> bool:
        """Whether it is the file at *path* now."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), os.stat(path))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Let it go. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Segments:
    """The files of the log at *path*, for whoever reads it.

    Args:
        path: of the youngest.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def _names(self) -> list[str]:
        """Every file, the youngest first."""
        youngest = [self.path] if os.path.exists(self.path) else []
        return [*youngest, *rotated(self.path).values()]

    def _pick(self, choose: Callable[[list[str]], str | None]) -> Segment | None:
        try:
            held = lock(os.path.dirname(self.path), exclusive=False, wait=True)
        except FileNotFoundError:
            return None
        try:
            path = choose(self._names())
            return Segment(path) if path else None
        finally:
            os.close(held)

    def youngest(self) -> Segment | None:
        """The one that is written; None if there is none yet."""
        return self._pick(lambda names: names[0] if names else None)

    def oldest(self) -> Segment | None:
        """The one with the oldest entries; None if there is none yet."""
        return self._pick(lambda names: names[-1] if names else None)

    def after(self, segment: Segment) -> tuple[Segment | None, bool]:
        """The one that was begun when *segment* was full.

        Returns:
            It, or None if *segment* is the youngest; and whether others in between are gone.
        """
        lost = False

        def choose(names: list[str]) -> str | None:
            nonlocal lost
            place = next((place for place, name in enumerate(names) if segment.is_at(name)), len(names))
            lost = place == len(names) > 0
            return names[place - 1] if place > 0 and names else None

        return self._pick(choose), lost

    def before(self, segment: Segment) -> Segment | None:
        """The one that was full when *segment* was begun; None if *segment* is the oldest."""

        def choose(names: list[str]) -> str | None:
            place = next((place for place, name in enumerate(names) if segment.is_at(name)), len(names))
            return names[place + 1] if place + 1 < len(names) else None

        return self._pick(choose)
