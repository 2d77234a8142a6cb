"""Every image of a directory or an archive comes into the store: what `load` does.

    directory, file, pipe ─▶ all of it ─▶ once through all that describes ─▶ image by image into the store, with the
    see spool.py             recognised   its images: what can be refused    names that it has there: see source.py
                                          is refused before one is stored

Who is cut off, or finds a layer damaged, leaves the images that were stored by then, whole, and nothing else.
"""

from __future__ import annotations

import os

from minirun.errors import BadInput, BadLayer
from minirun.image import source, spool
from minirun.image.recognition import recognise_all
from minirun.image.reference import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.home import Home
    from minirun.image.manifest import Manifest
    from minirun.image.platform import Platform
    from minirun.image.reference import Reference
    from minirun.image.source import Progress, Warn
    from minirun.image.store import Image


class Loaded:
    """An image that was stored.

    Attributes:
        image: as it is in the store.
        names: that it got, familiar.
        moved: those of them that another image had before, each with the id of that.
    """

    __slots__ = ("image", "moved", "names")

    def __init__(self, image: Image, names: Sequence[str], moved: Sequence[tuple[str, str]]) -> None:
        self.image = image
        self.names = names
        self.moved = moved


def load(
    home: Home, path: str, platform: Platform | None = None, *, progress: Progress | None = None,
    warn: Warn | None = None,
) -> Iterator[Loaded]:  # fmt: skip
    """Store every image of *path*.

    Args:
        home: where they go.
        path: a directory, an archive, a FIFO; ``-`` is standard input.
        platform: of images that are there for several; None is this host's.
        progress: told of what is unpacked: see image/source.py.
        warn: told what was left out of a layer, a sentence each.

    Yields:
        Each image, once it is stored.

    Raises:
        BadInput: it holds no image, or one that is for other platforms, or a root file system.
        BadLayer: what it holds is damaged or hostile.
        MinirunError: it could not be read, or the store not be written. What was yielded before stays.
    """
    with spool.open_path(home, path) as contents:
        for manifest in recognise_all(contents, platform):
            _references(contents.path, manifest)
        for manifest in recognise_all(contents, platform):
            references = _references(contents.path, manifest)
            before = {reference.familiar: _named(home, reference) for reference in references}
            wanted = source.Wanted(tags=references)
            image = source.store(home, contents, manifest, wanted, progress=progress, warn=warn)
            moved = [(name, other) for name, other in before.items() if other not in ("", image.id)]
            yield Loaded(image, list(before), moved)


def _references(path: str, manifest: Manifest) -> list[Reference]:
    """The names of *manifest*, each once."""
    found: dict[str, Reference] = {}
    for name in manifest.names:
        try:
            reference = parse(name)
        except BadInput as error:
            raise BadLayer(f"load {name[:80]!r} from {path}", error.reason, "save it under another name") from None
        if reference.digest:
            raise BadLayer(f"load {name[:80]!r} from {path}", "a digest is no name", "save it under a name with a tag")
        found.setdefault(reference.familiar, reference)
    return list(found.values())


def _named(home: Home, reference: Reference) -> str:
    """The id of the image that has a name; empty where none has."""
    try:
        target = os.readlink(f"{home.folder('tags')}/{reference.file_name}")
    except OSError:
        return ""
    return os.path.basename(target).removesuffix(".json")
