"""`rmi`: names are taken from images, and an image goes that has none left, with what nothing else needs.

    turn: the store's lock, exclusively ─▶ all records read once ─▶ one image after the other ─▶ the lock for others

Reading all records for each image anew would take time with the square of the images; holding the lock until thousands
are gone would let nobody start a container meanwhile. So a turn lasts about a second, or twice as long as the reading.
"""

from __future__ import annotations

import os
import time

from minirun import events, jsonrecord
from minirun.container import record as records
from minirun.container import state
from minirun.engine import imagemounts, open_home
from minirun.errors import Attempt, BadInput, Conflict, MinirunError
from minirun.image import lookup
from minirun.image import platform as platforms
from minirun.image.reference import parse
from minirun.image.stock import Stock
from minirun.image.store import Images
from minirun.kernel import files
from minirun.layer.blobs import Blobs
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.image.record import Image
    from minirun.image.removal import Own

    Warn = Callable[[str], object]

TURN_S = 1.0


class Turn:
    """A time in which nobody else uses the store, and images can go; a context manager.

    Attributes:
        stock: the images.
        boxes: a container of each image that has some, by the image's id.
    """

    def __init__(self, home: Home) -> None:
        self.home = home

    def __enter__(self) -> Turn:
        """Take the lock, and read everything.

        Raises:
            MinirunError: a container's record cannot be read, and any image may be the one it needs.
        """
        self._lock = files.lock(self.home.lock, exclusive=True)
        try:
            begun = time.monotonic()
            boxes = records.list_all(self.home)
            self.boxes: dict[str, Record] = {box.image: box for box in boxes}
            self.stock = Stock(Images(self.home), [layer for box in boxes for layer in box.committed])
            now = time.monotonic()
        except BaseException:
            os.close(self._lock)
            raise
        self._end = now + max(TURN_S, 2 * (now - begun))
        return self

    def __exit__(self, _kind: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        try:
            self.stock.close()
        finally:
            os.close(self._lock)

    @property
    def is_over(self) -> bool:
        """Whether others should have theirs."""
        return time.monotonic() > self._end

    def check_unused(self, image: Image, attempt: str) -> None:
        """Raise Conflict if a container is of the image, or it is mounted."""
        if box := self.boxes.get(image.id):
            status = state.read(self.home, box).status
            raise Conflict(attempt, f"container {box.name} ({status}) uses it", f"`minirun rm {box.name}` first")
        imagemounts.check_unmounted(self.home, image.id, attempt)

    def remove(self, image: Image, *, leave_layers: bool = False) -> list[str]:
        """Remove an image that nothing uses; returns Docker's lines."""
        own = self.stock.own(image.id, leave_layers=leave_layers)
        self.stock.remove(own)
        for _ in own.tags:
            events.emit(self.home, "image", "untag", *image.told())
        events.emit(self.home, "image", "delete", *image.told())
        return [
            *(f"Untagged: {name}" for name in (*own.tags, *image.repo_digests)),
            f"Deleted: sha256:{image.id}",
            *(f"Deleted: layer {layer.id}" for layer in own.layers),
        ]

    def size(self, own: Own) -> int:
        """Bytes that come free with what is an image's own."""
        sizes = {}
        for layer in own.layers:
            try:
                sizes[layer.diff] = (layer if layer.size is not None else Layers(self.home).measure(layer.id)).size or 0
            except FileNotFoundError:
                continue  # it has lost its contents
        blobs = Blobs(self.home)
        return sum(sizes.get(diff, 0) for diff in own.contents) + sum(blobs.usage(digest) for digest in own.blobs)


def remove(
    names: Sequence[str], *, force: bool = False, leave_layers: bool = False, platform: str | None = None,
    warn: Warn | None = None,
) -> Iterator[str | MinirunError]:  # fmt: skip
    """Take names from images; an image that has none left goes, with the layers and blobs that nothing else needs.

    Args:
        names: as `docker rmi` takes them: a name is untagged, an id means the image with its names.
        force: remove an image by id though it has several names.
        leave_layers: leave the layers that nothing needs any more to `gc`.
        platform: that the images must be for, as a user types it.
        warn: told that layers and blobs stay, because nobody knows what needs them.

    Yields:
        Docker's lines, ``Untagged: …`` and ``Deleted: …``, or why a name was not removed.
    """
    home = open_home()
    pending = list(reversed(names))
    while pending:
        outcomes: list[str | MinirunError] = []
        try:
            with Attempt(f"remove image {pending[-1]}"), Turn(home) as turn:
                while pending and not turn.is_over:
                    outcomes += _outcomes(turn, pending.pop(), platform, force=force, leave_layers=leave_layers)
                unread = turn.stock.unread
        except MinirunError as error:
            pending.pop()
            outcomes.append(error)
            unread = []
        yield from outcomes
        if warn and unread and any(str(line).startswith("Deleted: ") for line in outcomes):
            warn(f"layers and blobs of what went stay: {unread[0].reason}; `minirun system check` tells what to do")
            warn = None


def _outcomes(
    turn: Turn, name: str, platform: str | None, *, force: bool, leave_layers: bool
) -> list[str] | list[MinirunError]:
    try:
        with Attempt(f"remove image {name}"):
            image = turn.stock.images.get(name)
            platforms.check(f"remove image {name}", image.config.raw, platform)
            return _remove(turn, image, name, force=force, leave_layers=leave_layers)
    except MinirunError as error:
        return [error]


def _remove(turn: Turn, image: Image, name: str, *, force: bool, leave_layers: bool) -> list[str]:
    images = turn.stock.images
    tags = turn.stock.tags.get(image.id, [])
    reference = _reference(name)
    if reference in tags and len(tags) > 1:
        images.untag(parse(name))
        tags.remove(reference)
        events.emit(turn.home, "image", "untag", *image.told())
        return [f"Untagged: {reference}"]
    if reference in image.repo_digests and (tags or len(image.repo_digests) > 1):
        image.repo_digests = [digest for digest in image.repo_digests if digest != reference]
        jsonrecord.write(turn.home, turn.home.image(image.id), image.record())
        lookup.forget(turn.home, image.id, {reference.partition("@")[2]} - lookup.digests(image))
        return [f"Untagged: {reference}"]
    if reference not in (*tags, *image.repo_digests) and len(tags) > 1 and not force:
        reason = f"it has {len(tags)} names: {', '.join(tags)}"
        raise Conflict(f"remove image {name}", reason, "name one of them, or use -f")
    turn.check_unused(image, f"remove image {name}")
    return turn.remove(image, leave_layers=leave_layers)


def _reference(name: str) -> str:
    """A name as it is stored; empty for what is an id."""
    try:
        return parse(name).familiar
    except BadInput:
        return ""
