"""An image archive as if it were a directory: its members are read where they lie, and nothing is unpacked.

    name given by a manifest ──▶ relative, no "..", bounded ──▶ component by component, in the index
                                                                 │ a symlink or a hardlink is followed by hand,
                                                                 │ at most 40 times, never above the archive
                                                                 ▼
                                          regular file ──▶ pread(2) of its bytes, by any process, by several at once

Of a symlink only the text counts: `docker save` wrote ``<id>/layer.tar -> ../<other id>/layer.tar`` for layers that
repeat. How an archive comes to lie in a file, uncompressed: see spool.py.
"""

from __future__ import annotations

import os
import stat

from minirun.errors import BadLayer, MinirunError
from minirun.image import members
from minirun.image.contents import LINKS, Contents, date

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from minirun.image.manifest import Part
    from minirun.image.members import Member

CHUNK_BYTES = 1 << 18
_INCOMPLETE = "the archive is incomplete; save it again"


class TarFolder(Contents):
    """An archive that lies in a file.

    Attributes:
        path: of the archive, as the user called it.
        descriptor: of the file; `close` ends it.
        members: by name.
        is_ended: whether the archive's end is marked.
    """

    __slots__ = ("_top", "descriptor", "is_ended", "members")

    whole = "archive"

    def __init__(self, path: str, descriptor: int, index: tuple[dict[str, Member], bool]) -> None:
        """Take over *descriptor*, of the file that holds what *index* has, see members.index."""
        super().__init__(path)
        self.descriptor = descriptor
        self.members, self.is_ended = index
        self._top = {name.partition("/")[0] for name in self.members}

    def close(self) -> None:
        """Close it. Idempotent."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> TarFolder:
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self.close()

    def names(self) -> list[str]:
        """What lies at the top, sorted by bytes."""
        return sorted(self._top, key=os.fsencode)

    def kind(self, name: str) -> int:
        """The type bits of the member *name*, no symlink followed; 0 where there is none.

        A directory at the top is known by what lies in it, too: not every archive has members for directories.
        """
        member = self.members.get(name)
        if member is not None:
            return member.kind
        return stat.S_IFDIR if name in self._top else 0

    def check_end(self) -> None:
        """Refuse an archive that may have had more, nothing in it saying what it should have."""
        if not self.is_ended:
            raise BadLayer(f"read {self.path}", "its end is missing", _INCOMPLETE)

    def look(self, part: Part) -> None:
        """Tell *part* its size, and when it was made: see manifest.Holder."""
        member = self._find(part.name)
        part.size = member.size
        part.created = part.created or date(member.mtime_ns)

    def blob(self, part: Part) -> Iterator[bytes]:
        """The bytes of *part*: see manifest.Holder."""
        return self._data(part.name, self._find(part.name))

    def _read(self, name: str, limit_bytes: int) -> bytes:
        member = self._find(name)
        return b"".join(self._data(name, member, limit_bytes))

    def _data(self, name: str, member: Member, limit_bytes: int | None = None) -> Iterator[bytes]:
        position = member.offset
        end = position + (member.size if limit_bytes is None else min(member.size, limit_bytes))
        while position < end:
            try:
                data = os.pread(self.descriptor, min(CHUNK_BYTES, end - position), position)
            except OSError as error:
                raise MinirunError(self._attempt(name), error, "look whether the disk is sound") from None
            if not data:
                raise BadLayer(self._attempt(name), "the archive became shorter while it was read", _INCOMPLETE)
            position += len(data)
            yield data

    def _find(self, name: str) -> Member:
        """The regular file *name*, wherever links lead."""
        self._check(name)
        attempt = self._attempt(name)
        member = self._walk(attempt, name)
        if member is None:
            raise BadLayer(attempt, "there is no such file in the archive", _INCOMPLETE)
        if member.kind != stat.S_IFREG:
            raise BadLayer(attempt, "it is not a regular file", "an image holds files and directories")
        if member.offset < 0:
            raise BadLayer(attempt, "it is stored with holes in it", "make the archive without `tar --sparse`")
        return member

    def _walk(self, attempt: str, name: str) -> Member | None:
        waiting = name.split("/")[::-1]
        path: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not path:
                    raise BadLayer(attempt, "a symbolic link leads out of the archive", "put the file itself there")
                path.pop()
                continue
            path.append(part)
            member = self.members.get("/".join(path))
            if member is None or not member.link:
                continue
            links += 1
            if links > LINKS:
                raise BadLayer(attempt, "too many links lead from one to the next", "put the file itself there")
            if member.kind == stat.S_IFLNK:
                if member.link.startswith("/"):
                    raise BadLayer(attempt, "a symbolic link is absolute", "put the file itself there")
                path.pop()
                waiting += member.link.split("/")[::-1]
            else:
                target = members.inside(member.link)
                if not target:
                    raise BadLayer(attempt, "a hard link leads out of the archive", "put the file itself there")
                path = []
                waiting += target.split("/")[::-1]
        return self.members.get("/".join(path))
