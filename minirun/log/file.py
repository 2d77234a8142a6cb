"""The files that a log is written to, each no longer than it may be.

    write …            ─▶ <id>-json.log
    it is full: rotate    <id>-json.log.1 → .2,  <id>-json.log → .1,  <id>-json.log is made
                          the oldest go, unless somebody reads one: see segments.py
                          with `compress`, what was rotated is packed by a thread, which nobody waits for

Whatever is killed between two renames leaves a gap among the numbers, and the next rotation fills it.
"""

from __future__ import annotations

import os
from errno import EDQUOT, ENOSPC

from minirun.kernel import files
from minirun.log import packing, segments

AS_ROOM_IS = 1 << 30  # files; the disk has fewer


class LogFile:
    """The youngest file of a log, and its rotation. It holds one descriptor, between `open` and `close`.

    Attributes:
        path: of it.
        max_bytes: how long a file may be; 0: no limit, and no rotation. One longer entry is written all the same.
        max_files: how many files there may be, this one included.
        compress: whether those that were rotated are packed.
        max_kept: how many more may be there because somebody reads them; if there are still more, they go.
        descriptor: of it; -1 while it is closed.
    """

    __slots__ = ("compress", "descriptor", "max_bytes", "max_files", "max_kept", "path")

    def __init__(
        self, path: str, max_bytes: int, max_files: int, *, compress: bool = False, max_kept: int = AS_ROOM_IS
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.max_files = max_files
        self.compress = compress
        self.max_kept = max_kept
        self.descriptor = -1

    def open(self) -> tuple[int, int]:
        """Open it, unless it is; made, with its folder, where it is not there.

        Returns:
            Its inode number and its size. Ones of the file that the name leads to: who removed it gets a new one.

        Raises:
            OSError: it cannot be: the container's directory is gone, the disk is full.
        """
        if self.descriptor >= 0:
            status = os.fstat(self.descriptor)
            if status.st_nlink:
                return status.st_ino, status.st_size
            self.close()
        try:
            self.descriptor = self._opened()
        except FileNotFoundError:
            os.mkdir(os.path.dirname(self.path), 0o700)
            self.descriptor = self._opened()
        status = os.fstat(self.descriptor)
        return status.st_ino, status.st_size

    def _opened(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Close it. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def mend(self) -> None:
        """Take off what a power cut left of an entry: the rest of a log begins at the beginning of a line."""
        size = self.open()[1]
        end = segments.whole_lines(self.descriptor)
        if end < size:
            os.ftruncate(self.descriptor, end)

    def write(self, data: bytes, place: int) -> int:
        """Write entries at *place*, the end of the file as a rule.

        Returns:
            How many bytes of whole entries are there; fewer than all when it could not go on. Nothing is behind them.

        Raises:
            OSError: not one entry could be written.
        """
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self.descriptor, memoryview(data)[done:], place + done)
        except OSError as error:
            if error.errno in (ENOSPC, EDQUOT) and self._let_go():
                return self.write(data, place)
            whole = data.rfind(b"\n", 0, done) + 1
            try:
                os.ftruncate(self.descriptor, place + whole)
            except OSError:
                pass  # EIO, EROFS: what is behind is cut off when it is opened the next time
            if not whole:
                raise
            return whole
        return done

    def _let_go(self) -> bool:
        """Remove what is there for slow readers alone, since the disk is full; whether that was anything."""
        try:
            held = segments.lock(os.path.dirname(self.path), exclusive=True, wait=False)
        except OSError:
            return False
        try:
            surplus = list(segments.rotated(self.path).values())[max(0, self.max_files - 1) :]
            for path in surplus:
                os.unlink(path)
            return bool(surplus)
        finally:
            os.close(held)

    def is_full(self, place: int, data: bytes) -> bool:
        """Whether the entries *data*, at *place*, are to be written to several files."""
        if not self.max_bytes or place + len(data) <= self.max_bytes:
            return False
        return place > 0 or data.find(b"\n") < len(data) - 1

    def fitting(self, place: int, data: bytes) -> int:
        """How many bytes of *data* go to this file when it is full: whole entries, in an empty file one at least."""
        fitting = data.rfind(b"\n", 0, max(0, self.max_bytes - place)) + 1
        return fitting or (0 if place else data.find(b"\n") + 1)

    def begin_rotation(self) -> int:
        """A descriptor that `rotate` takes; -1 when there can be none now, since a reader is looking for a name."""
        with packing.naming:
            try:
                return segments.lock(os.path.dirname(self.path), exclusive=True, wait=False)
            except OSError:
                return -1

    def rotate(self, held: int) -> None:
        """Begin a new file, and let those go that are too many. Closes *held*, what `begin_rotation` gave.

        Raises:
            OSError: the file of before may be the youngest still; what was written is there.
        """
        try:
            self._shift()
        finally:
            os.close(held)
        if self.compress:
            packing.begin(self.path)

    def _shift(self) -> None:
        rotated = segments.rotated(self.path)
        for number, path in rotated.items():
            if path.endswith(segments.PACKED):
                files.remove(f"{self.path}.{number}")  # from which it was packed, by somebody who was killed then
        for number, path in reversed(list(rotated.items())):
            if len(rotated) < self.max_files - 1:
                break
            if len(rotated) < self.max_files - 1 + self.max_kept and segments.is_read(path):
                break  # nor may the younger ones go: who reads it comes to them next
            os.unlink(path)
            del rotated[number]
        if self.max_files < 2 and not rotated and not segments.is_read(self.path):
            os.unlink(self.path)
        else:
            gap = next(number for number in range(1, len(rotated) + 2) if number not in rotated)
            for number in range(gap - 1, 0, -1):
                packed = segments.PACKED if rotated[number].endswith(segments.PACKED) else ""
                os.rename(rotated[number], f"{self.path}.{number + 1}{packed}")
            os.rename(self.path, f"{self.path}.1")
        full, self.descriptor = self.descriptor, -1
        try:
            # before the old one is closed: an inode number tells one from the other
            self.descriptor = self._opened()
        finally:
            os.close(full)
