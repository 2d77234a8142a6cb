"""An image as it would be, of a directory that was not unpacked: for `run --dry-run`, which does nothing."""

from __future__ import annotations

import os

from minirun.errors import NotFound
from minirun.image import find, sources
from minirun.image.folder import Folder
from minirun.image.recognition import recognise
from minirun.image.store import Image, Images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home


def preview(home: Home, text: str) -> tuple[Image, list[str]]:
    """What `find` would return, and which files it would unpack first, bottom to top.

    An image that is not unpacked has names such as ``<00-base.tar>`` in its stack.

    Raises:
        MinirunError: as `find` does, but for what only reading whole layers tells.
    """
    if not find.is_path(text):
        try:
            return Images(home).get(text), []
        except NotFound:
            if not os.path.isdir(text):
                return find.find(home, text), []  # for its refusal
    remembered = sources.recall(home, text)
    if remembered is not None and os.path.exists(home.image(remembered)):
        return Images(home).get(remembered), []
    if not os.path.isdir(text):
        return find.find(home, text), []  # for its refusal
    with Folder(text) as folder:
        manifest = recognise(folder)
        names = [part.name for part in manifest.parts]
        unknown = "0" * 64
        return Image(manifest.config, [], id=unknown, stack=[f"<{name}>" for name in names]), names
