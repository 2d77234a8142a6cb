"""Images come in from archives: the verb `load`."""

from __future__ import annotations

from minirun import events
from minirun.engine import open_home
from minirun.errors import Attempt
from minirun.image.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.image.loading import Loaded
    from minirun.image.source import Progress, Warn


def load(
    path: str, platform: str | None = None, *, progress: Progress | None = None, warn: Warn | None = None
) -> Iterator[Loaded]:
    """Store every image of a directory or an archive, with the names that it has there.

    Args:
        path: in one of the forms that image/recognition.py draws; ``-`` is standard input.
        platform: as a user types it; None is this host's.
        progress: told of what is unpacked: see image/source.py.
        warn: told what was left out of a layer.

    Yields:
        Each image, once it is stored.

    Raises:
        MinirunError: an image could not be stored; those before it are.
    """
    from minirun.image import loading

    wanted = Platform.parse(platform) if platform else None
    home = open_home()
    with Attempt(f"load {path}"):
        for loaded in loading.load(home, path, wanted, progress=progress, warn=warn):
            events.emit(home, "image", "load", *loaded.image.told())
            yield loaded
