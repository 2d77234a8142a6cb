"""Which image the argument of `run` means.

    /x  ./x  ../x  .  x/        a path: what the directory was when it was last read, or what it is now
    anything else               a stored name or id; if there is none, a directory of that name

A directory that did not change is known by one stat for each file of layers in it, so it starts like a stored image.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, NotFound
from minirun.image import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.home import Home
    from minirun.image.record import Image
    from minirun.image.source import Progress, Warn

_REMEDY = """\
`minirun images` lists those that are; `minirun pull NAME` fetches one from its registry
`minirun run DIR` takes a directory of layers, `minirun import DIR NAME` names it"""
_ID_DIGITS = 12  # as many as are shown: who types so many means what he has seen

_FILE = """\
`minirun load -i FILE` stores the images of an archive, as docker save writes them;
`minirun import FILE NAME` makes an image of the tar of a root file system"""


def is_path(text: str) -> bool:
    """Whether *text* can only be a path, whatever is stored."""
    return text in (".", "..") or text.startswith(("/", "./", "../")) or text.endswith("/")


def is_fetchable(text: str) -> bool:
    """Whether a registry could have what *text* means: it is neither a path nor an id."""
    digits = len(text) >= _ID_DIGITS and not text.strip("0123456789abcdef")
    return not is_path(text) and not text.startswith("sha256:") and not digits


def find(
    home: Home, text: str, *, progress: Progress | None = None, warn: Warn | None = None, lock: int | None = None
) -> Image:
    """The image that *text* means, unpacked first if it is a directory that is new or changed.

    Args:
        home: whose images.
        text: a stored name, an id or its beginning, or a directory.
        progress: see image/source.py.
        warn: see image/source.py.
        lock: descriptor that holds the store's lock shared. A caller that goes on to use the image's layers takes it
            before and keeps it until a container's record keeps them; without one they may be removed at any time.

    Raises:
        NotFound: there is no such image and no such directory.
        Conflict: *text* begins several ids.
        BadInput: it can be no name, and is no directory that holds an image.
        MinirunError: the directory could not be read, or the store not be written.
    """
    if is_path(text):
        return _of_directory(home, text, progress, warn, lock)
    image = record.by_name(home, text)
    if image is not None:
        return image
    # not on the way of every run: another spelling of a name, an id, a directory
    from minirun.image.store import Images

    try:
        return Images(home).get(text)
    except NotFound as error:
        if not os.path.isdir(text):
            raise NotFound(error.attempt, error.reason, _FILE if os.path.isfile(text) else _REMEDY) from None
    except BadInput:
        if not os.path.isdir(text):
            raise
    return _of_directory(home, text, progress, warn, lock)


def _of_directory(home: Home, path: str, progress: Progress | None, warn: Warn | None, lock: int | None) -> Image:
    from minirun.image import sources

    image_id = sources.recall(home, path)
    if image_id is not None:
        try:
            return record.read(home.image(image_id), image_id)
        except NotFound:
            pass  # it was removed; the directory is still there
    if not os.path.isdir(path):
        if os.path.lexists(path):
            raise BadInput(f"use {path} as an image", "it is not a directory", _FILE)
        raise NotFound(f"use {path} as an image", "there is no such directory", _REMEDY)
    from minirun.image import source

    return source.load(home, path, progress=progress, warn=warn, lock=lock)
