"""A directory whose contents are not trusted: files are opened inside it or not at all.

    name given by a manifest ──▶ relative, no "..", bounded ──▶ component by component, O_NOFOLLOW
                                                                 │ a symlink is read and followed by hand,
                                                                 │ at most 40 times, never above the directory
                                                                 ▼
                                         regular file, O_NONBLOCK: a FIFO or a device is refused, not waited for

A directory can change while it is read. What counts is what was opened: each file once, by descriptor.
"""

from __future__ import annotations

import os
import stat

from minirun.errors import BadInput, BadLayer, MinirunError
from minirun.image.contents import LINKS, Contents, date

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from minirun.image.manifest import Part


class Folder(Contents):
    """An open directory, and which files of it were read.

    Attributes:
        path: absolute, for refusals.
        descriptor: of the directory; `close` ends it.
        seen: name of each file that was opened, relative to the directory, to what it was then (see sources.mark).
    """

    __slots__ = ("descriptor", "seen")

    def __init__(self, path: str) -> None:
        """Open the directory *path*; it may be reached through symlinks, it is the user who named it.

        Raises:
            BadInput: there is no such directory, or it may not be read.
        """
        super().__init__(os.path.abspath(path))
        self.seen: dict[str, os.stat_result] = {}
        try:
            self.descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise BadInput(f"read {self.path}", error, "name a directory that holds an image") from None
        self.seen["."] = os.fstat(self.descriptor)

    def close(self) -> None:
        """Close it. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()

    def names(self) -> list[str]:
        """What it holds, sorted by bytes."""
        try:
            return sorted(os.listdir(self.descriptor), key=os.fsencode)
        except OSError as error:
            raise MinirunError(f"read {self.path}", error, "look whether the disk is sound") from None

    def kind(self, name: str) -> int:
        """The type bits of the entry *name* (stat.S_IFMT), no symlink followed; 0 where there is none."""
        try:
            return stat.S_IFMT(os.stat(name, dir_fd=self.descriptor, follow_symlinks=False).st_mode)
        except OSError:
            return 0

    def open(self, name: str) -> int:
        """Open the regular file *name* for reading.

        Args:
            name: relative path; symlinks on it are followed while they stay inside.

        Returns:
            A close-on-exec descriptor; the caller closes it.

        Raises:
            BadLayer: the path leads out of the directory, or to nothing, or to something else than a regular file.
        """
        self._check(name)
        attempt = self._attempt(name)
        try:
            descriptor = self._walk(attempt, name)
        except UnicodeEncodeError:
            raise BadLayer(attempt, "it cannot be the name of a file", "the image is damaged") from None
        except OSError as error:
            raise BadLayer(attempt, error, "the image is incomplete; copy it again") from None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise BadLayer(attempt, "it is not a regular file", "an image holds files and directories")
        self.seen[name] = status
        return descriptor

    def look(self, part: Part) -> None:
        """Tell *part* its size, and when it was made: see manifest.Holder."""
        if part.is_tree:
            part.created = part.created or date(os.stat(part.name, dir_fd=self.descriptor).st_mtime_ns)
            return
        os.close(self.open(part.name))
        status = self.seen[part.name]
        part.size = status.st_size
        part.created = part.created or date(status.st_mtime_ns)

    def blob(self, part: Part) -> int | Iterator[bytes]:
        """The bytes of *part*: see manifest.Holder. Those of a directory are its tar."""
        if part.is_tree:
            from minirun.layer import pack

            return pack.stream(os.path.normpath(f"{self.path}/{part.name}"), literal=True)
        return self.open(part.name)

    def _read(self, name: str, limit_bytes: int) -> bytes:
        descriptor = self.open(name)
        try:
            parts, left = [], limit_bytes
            while left and (part := os.read(descriptor, min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        except OSError as error:
            raise MinirunError(self._attempt(name), error, "look whether the disk is sound") from None
        finally:
            os.close(descriptor)
        return b"".join(parts)

    def _walk(self, attempt: str, name: str) -> int:
        open_directories = [os.dup(self.descriptor)]
        parts = name.split("/")[::-1]
        links = 0
        try:
            while parts:
                part, here = parts.pop(), open_directories[-1]
                if part in ("", "."):
                    continue
                if part == "..":
                    if len(open_directories) == 1:
                        raise BadLayer(attempt, "a symbolic link leads out of the directory",
                                       "put the file itself there")  # fmt: skip
                    os.close(open_directories.pop())
                    continue
                kind = stat.S_IFMT(os.stat(part, dir_fd=here, follow_symlinks=False).st_mode)
                if kind == stat.S_IFLNK:
                    target = os.readlink(part, dir_fd=here)
                    links += 1
                    if target.startswith("/") or links > LINKS:
                        reason = "too many symbolic links" if links > LINKS else "a symbolic link is absolute"
                        raise BadLayer(attempt, reason, "put the file itself there")
                    parts += target.split("/")[::-1]
                elif not any(rest not in ("", ".") for rest in parts) and kind != stat.S_IFDIR:
                    # what is no regular file is opened all the same, without waiting, and refused by its descriptor
                    return os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC,
                                   dir_fd=here)  # fmt: skip
                else:
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    open_directories.append(os.open(part, flags, dir_fd=here))
            return open_directories.pop()
        finally:
            for descriptor in open_directories:
                os.close(descriptor)
