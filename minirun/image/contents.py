"""What somebody else put together: files by their names, which lead to something inside or are refused.

    Folder       a directory, unpacked
    TarFolder    an archive, which is not unpacked

What both hold is a claim until it was checked. A document is read whole, so each has a limit, and all together have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from minirun.errors import BadLayer
from minirun.image import history, jsondocument
from minirun.image.ocimanifest import MANIFEST_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.image.manifest import Part

LINKS = 40  # that lead from one to the next; as many as the kernel follows, MAXSYMLINKS
NAME_LENGTH = 4096  # PATH_MAX
YEAR_10000_NS = 253_402_300_800 * 10**9  # RFC 3339 has four digits for a year
DOCUMENTS_BYTES = 128 << 20  # in all; those of a thousand images are a tenth of it


class Contents(ABC):
    """Files by their names.

    Attributes:
        path: of what has them, for refusals.
        whole: what that is, for refusals.
    """

    __slots__ = ("_left", "path")

    whole = "directory"

    def __init__(self, path: str) -> None:
        self.path = path
        self._left = DOCUMENTS_BYTES

    @abstractmethod
    def names(self) -> list[str]:
        """What lies at the top, sorted by bytes."""

    @abstractmethod
    def kind(self, name: str) -> int:
        """The type bits of the entry *name* (stat.S_IFMT), no symlink followed; 0 where there is none."""

    def check_end(self) -> None:  # noqa: B027 - most have none
        """Raise BadLayer where it can be seen that something may be missing which nothing else names."""

    @abstractmethod
    def look(self, part: Part) -> None:
        """Tell *part* its size, and when it was made: see manifest.Holder."""

    @abstractmethod
    def blob(self, part: Part) -> int | Iterator[bytes]:
        """The bytes of *part*: see manifest.Holder."""

    @abstractmethod
    def _read(self, name: str, limit_bytes: int) -> bytes:
        """At most *limit_bytes* of the regular file *name*, from its beginning."""

    def read(self, name: str, limit_bytes: int) -> bytes:
        """The contents of the regular file *name*.

        Raises:
            BadLayer: the path leads out, or to nothing, or to something else than a regular file; the file is longer
                than *limit_bytes*; or more was read by now than all documents may have together.
        """
        data = self._read(name, limit_bytes + 1)
        if len(data) > limit_bytes:
            raise BadLayer(self._attempt(name), f"it is longer than {limit_bytes} bytes",
                           "the image is damaged, or means harm")  # fmt: skip
        self._left -= len(data)
        if self._left < 0:
            reason = f"all that describes its images has more than {DOCUMENTS_BYTES >> 20} MiB"
            raise BadLayer(self._attempt(name), reason, "save the images one by one")
        return data

    def read_json(self, name: str, limit_bytes: int = MANIFEST_BYTES) -> object:
        """The JSON document in the regular file *name*.

        Raises:
            BadLayer: as `read`, or it is not JSON.
        """
        return self.parse(name, self.read(name, limit_bytes))

    def parse(self, name: str, data: bytes) -> object:
        """The JSON document *data* that was read from *name*.

        Raises:
            BadLayer: it is not JSON.
        """
        return jsondocument.parse(data, f"{name!r} in {self.path}")

    def _attempt(self, name: str) -> str:
        return f"read {name[:200]!r} in {self.path}"

    def _check(self, name: str) -> None:
        """Refuse what is no path inside."""
        if not name or len(name) > NAME_LENGTH or "\0" in name or name.startswith("/") or ".." in name.split("/"):
            raise BadLayer(self._attempt(name), f"it is not a path inside the {self.whole}",
                           "the image is damaged, or means harm")  # fmt: skip


def date(time_ns: int) -> str:
    """When a file was written, in RFC 3339; empty where no clock said that."""
    return history.clamped(history.date(time_ns)) if 0 <= time_ns < YEAR_10000_NS else ""
