"""A tree of one root file system is copied into another, file by file, without a tar on the way.

    source                                 target
    descent.walk: names from descriptors   landing.py: names in descriptors
    ──────────────────────────────────     ─────────────────────────────────────────────────────────
    file, symlink, node                    made anew, in place of what has the name
    directory                              made, or gone into; owner, mode, times when all of it is there
    a further name of an inode             a hard link
    what vanishes meanwhile                nothing

Progress is counted as Docker counts it, by the tar that it would send: 512 bytes an entry, and data in blocks of 512.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR, S_ISLNK, S_ISREG

from minirun.engine import landing as landings
from minirun.errors import BadInput
from minirun.kernel import copying, descent, files
from minirun.layer.archive import xattrs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.container.rootdir import Root
    from minirun.engine.copypaths import Source, Target
    from minirun.engine.landing import Landing

HEADER_BYTES = 512
END_BYTES = 1024
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SMALL_BYTES = 64 << 10


class Transfer:
    """One copy.

    Args:
        root: that the source is in.
        into: that the copy goes to.
        landing: makes entries.
        told: called now and then with how many bytes there are so far.

    Attributes:
        size: bytes of the tar that this would be, so far.
    """

    def __init__(self, root: Root, into: Root, landing: Landing, told: Callable[[int], object]) -> None:
        self.size = END_BYTES
        self._root = root
        self._into = into
        self._landing = landing
        self._told = told
        self._links: dict[tuple[int, int], list[bytes]] = {}
        self._path: list[bytes] = []

    def copy(self, source: Source, target: Target) -> None:
        """Copy *source* to *target*.

        Raises:
            MinirunError: what is there forbids it.
            OSError: of the calls; what was copied before stays.
        """
        if source.name:
            stat = os.stat(source.name, dir_fd=source.directory, follow_symlinks=False)
            if not self._entry(source.directory, source.name, stat, target.directory, target.name):
                reason = next(iter(self._landing.warnings.sentences), "it is a socket, or vanished meanwhile")
                raise BadInput(self._landing.attempt, reason)
            return
        if not target.name:
            self._tree(source.directory, target.directory)
            return
        self._landing.directory(target.directory, target.name)
        made = landings.opened(target.directory, target.name)
        try:
            self._tree(source.directory, made)
            self._finish(source.directory, os.fstat(source.directory), made)
        finally:
            os.close(made)

    def _tree(self, source: int, into: int) -> None:
        """Copy what is in the directory *source* into the directory *into*; both are descriptors."""
        top = os.fstat(into)
        self._count(0)
        with descent.Descent(into) as target:
            for event, directory, name, stat in descent.walk(source, self._root.is_walked):
                if event == descent.ENTRY:
                    if not self._linked(stat, name, into, target.current):
                        self._entry(directory, name, stat, target.current, name)
                elif event == descent.ENTER:
                    if (stat.st_dev, stat.st_ino) == (top.st_dev, top.st_ino):
                        raise BadInput(self._landing.attempt, "a directory cannot be copied into itself")
                    self._landing.directory(target.current, name)
                    self._down(target, name)
                    self._path.append(name)
                    self._count(0)
                else:
                    self._finish(directory, stat, target.current)
                    target.up()
                    self._path.pop()

    def _down(self, target: descent.Descent, name: bytes) -> None:
        entered = target.down(name)
        if self._into.confined and not self._into.is_real(entered, os.fstat(entered)):
            raise BadInput(self._landing.attempt, f"what is in {os.fsdecode(name)!r} there is made up by the kernel")

    def _finish(self, directory: int, stat: os.stat_result, made: int) -> None:
        self._landing.finish(made, landings.status(stat, xattrs(directory), self._root.owners))

    def _linked(self, stat: os.stat_result, name: bytes, root: int, target: int) -> bool:
        """Make what was copied under another name a hard link; False: it was not."""
        if stat.st_nlink == 1:
            return False
        own = [*self._path, name]
        first = self._links.setdefault((stat.st_dev, stat.st_ino), own)
        if first is own:
            return False
        try:
            self._landing.link(target, name, lambda: copying.link(root, first, target, name))
        except (FileNotFoundError, NotADirectoryError):
            return False  # the first was left out, or somebody removed it
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EMLINK):
                raise
            return False  # another file system is mounted in between
        self._count(0)
        return True

    def _entry(self, directory: int, name: bytes, stat: os.stat_result, target: int, new_name: bytes) -> bool:
        """Copy what is not a directory; whether there is a copy."""
        if S_ISREG(stat.st_mode):
            return self._file(directory, name, target, new_name)
        try:
            said = landings.status(stat, xattrs(b"/proc/self/fd/%d/%b" % (directory, name)), self._root.owners)
            link = os.readlink(name, dir_fd=directory) if S_ISLNK(stat.st_mode) else b""
        except OSError as error:
            # it vanished, or something else has its name now
            if error.errno not in (errno.ENOENT, errno.EINVAL):
                raise
            return False
        if S_ISLNK(stat.st_mode):
            self._landing.symlink(target, new_name, link, said)
        elif S_ISDIR(stat.st_mode) or not self._landing.node(target, new_name, stat.st_rdev, said):
            return False
        self._count(0)
        return True

    def _file(self, directory: int, name: bytes, target: int, new_name: bytes) -> bool:
        try:
            reading = os.open(name, _READ, dir_fd=directory)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                raise
            return False  # it vanished, or something else has its name now
        try:
            stat = os.fstat(reading)
            if not S_ISREG(stat.st_mode):
                return False
            writing, is_new = self._landing.file(target, new_name, (stat.st_dev, stat.st_ino))
            try:
                self._data(reading, stat, writing)
                if is_new:
                    self._landing.finish(writing, landings.status(stat, xattrs(reading), self._root.owners))
            except BaseException:
                if is_new:
                    os.unlink(new_name, dir_fd=target)  # half a file is worse than none
                raise
            finally:
                os.close(writing)
        finally:
            os.close(reading)
        return True

    def _data(self, reading: int, stat: os.stat_result, writing: int) -> None:
        size = stat.st_size
        if size >= _SMALL_BYTES or stat.st_blocks * 512 < size:
            before = self.size
            copying.copy_data(reading, writing, self._add)
            self.size = before
            self._count(size)
            return
        data = os.read(reading, _SMALL_BYTES)
        size = len(data)
        files.write_all(writing, data)
        # of a file in /proc nobody knows how long it is
        while len(data) == _SMALL_BYTES and not stat.st_size:
            data = os.read(reading, _SMALL_BYTES)
            size += len(data)
            files.write_all(writing, data)
        self._count(size)

    def _add(self, count: int) -> None:
        self.size += count
        self._told(self.size)

    def _count(self, size: int) -> None:
        self.size += HEADER_BYTES + size + (-size & 511)
        self._told(self.size)
