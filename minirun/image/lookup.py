"""How one image of ten thousand is found by the beginning of its id, or by a digest of its manifest.

    lookup/ab/<id>                     empty: there is an images/<id>.json, or an images/<id>.alias
    lookup/cd/<hex>.digest ─▶ <id>     a symlink: the image <id> is known by that digest
    lookup/complete                    empty: all images are noted, also those of before there was this

Reading the names of 10,000 images takes 5 ms, of which none is Python's: ext4 sorts a directory by its hashes first. A
shelf for the first two digits has forty.

These are hints, derived from the records and synced by nobody. One is made before its image is there, and removed after
it, so none is missing where nobody was interrupted; one that leads nowhere is passed over, and where there is none the
records are searched.
"""

from __future__ import annotations

import os
from stat import S_IFREG

from minirun.errors import MinirunError
from minirun.home import Home
from minirun.image.record import read
from minirun.image.reference import is_digest
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from minirun.image.record import Image
    from minirun.image.store import Images

_SHELF = 2  # digits
_DIGEST = ".digest"


def beginning(images: Images, digits: str) -> set[str]:
    """The ids of the images that are known by an id which begins so."""
    found = _stored(images, _noted(images.home, digits))
    if not found:
        # a hint was lost, or there is no such image
        names = os.listdir(images.home.folder("images"))
        ids = {name.partition(".")[0] for name in names if name.startswith(digits) and not name.endswith(".config")}
        if found := _stored(images, ids):
            _remember(images.home, ids)
    return found


def by_digest(images: Images, digest: str) -> Image | None:
    """An image that is known by ``sha256:…``, which is not its id."""
    noted = _link(_of_digest(images.home, digest))
    if noted and digest in _digests_of(images.home, noted):
        return read(images.home.image(noted), noted)
    for image, _ in images.list(lambda _error: None):
        if digest in digests(image):
            _remember(images.home, [image.id])
            return image
    return None


def digests(image: Image) -> set[str]:
    """The digests of manifests, or of indexes, that an image is known by."""
    return {digest for digest in (image.digest, *(text.partition("@")[2] for text in image.repo_digests)) if digest}


def note(home: Home, name: str, known: Iterable[str] = ()) -> None:
    """Note an image, before it is there, by its id or an alias, and the digests that it is known by.

    Raises:
        OSError: the store could not be written.
    """
    _make(_of_id(home, name), lambda path: os.mknod(path, S_IFREG | 0o600))
    for digest in known:
        path = _of_digest(home, digest)
        if _link(path) != name:
            files.remove(path)
            _make(path, lambda path: os.symlink(name, path))


def hints(home: Home, image: Image, aliases: Iterable[str]) -> list[str]:
    """The paths of what is noted of an image."""
    known = [path for path in (_of_digest(home, one) for one in digests(image)) if _link(path) == image.id]
    return [*(_of_id(home, name) for name in (image.id, *aliases)), *known]


def paths(home: Home, word: str) -> list[str]:
    """Where an id, or a digest, is noted or would be."""
    return [_of_digest(home, word) if is_digest(word) else _of_id(home, word)]


def forget(home: Home, image_id: str, known: Iterable[str]) -> None:
    """Note no more that the image *image_id* is known by the digests *known*."""
    for digest in known:
        if _link(path := _of_digest(home, digest)) == image_id:
            _remove(path)


def settle(root: str, name: str, *known: str) -> None:
    """Let what is noted of an image agree with what there is. An undo of the journal: idempotent.

    Args:
        root: of the store.
        name: its id, or an alias.
        known: digests that it was to be known by, if it is not there.
    """
    home = Home(root, root)
    if os.path.lexists(home.alias(name)):
        note(home, name)
    elif os.path.exists(home.image(name)):
        note(home, name, _digests_of(home, name))
    else:
        _remove(_of_id(home, name))
        forget(home, name, known)


def compare(home: Home, images: Iterable[Image], aliases: Iterable[str]) -> tuple[list[str], list[str]]:
    """Compare what is noted with *images*, all there are, and their *aliases*.

    Returns:
        The paths of hints that lead nowhere, and the ids of images of which one is missing.
    """
    there = {path: _link(path) for path in _every(home)}
    wanted = {_of_id(home, alias): "" for alias in aliases}
    missing = []
    for image in images:
        own = {_of_id(home, image.id): "", **dict.fromkeys((_of_digest(home, one) for one in digests(image)), image.id)}
        if not own.keys() <= there.keys():
            missing.append(image.id)
        wanted.update(own)
    return [path for path in there if path not in wanted], missing


def mend(home: Home, images: Iterable[Image], aliases: Sequence[str]) -> None:
    """Let what is noted agree with *images*, all there are, and their *aliases*."""
    stale, missing = compare(home, images, aliases)
    for path in stale:
        _remove(path)
    for name in (*missing, *aliases):
        settle(home.root, name)


def _every(home: Home) -> Iterator[str]:
    folder = home.folder("lookup")
    for shelf in sorted(os.listdir(folder)):
        if len(shelf) == _SHELF:
            yield from (f"{folder}/{shelf}/{name}" for name in sorted(os.listdir(f"{folder}/{shelf}")))


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _digests_of(home: Home, image_id: str) -> set[str]:
    try:
        return digests(read(home.image(image_id), image_id))
    except MinirunError:
        return set()  # damaged, or gone: its id finds it, and tells


def _noted(home: Home, digits: str) -> list[str]:
    """What is noted of ids that begin so; some of it may be of images that are gone."""
    try:
        _complete(home)
    except OSError:
        return []  # a disk that is full, or cannot be written
    folder = home.folder("lookup")
    shelves = [digits[:_SHELF]]
    if len(digits) < _SHELF:
        shelves = [name for name in os.listdir(folder) if name.startswith(digits) and len(name) == _SHELF]
    found = []
    for shelf in shelves:
        try:
            names = os.listdir(f"{folder}/{shelf}")
        except FileNotFoundError:
            continue
        found += [name for name in names if name.startswith(digits) and not name.endswith(_DIGEST)]
    return found


def _stored(images: Images, ids: Iterable[str]) -> set[str]:
    found = {images.stored_as(image_id) for image_id in ids}
    return {image_id for image_id in found if os.path.exists(images.home.image(image_id))}


def _remember(home: Home, names: Iterable[str]) -> None:
    """Note images that are there and were not noted, if the store can be written."""
    for name in names:
        try:
            settle(home.root, name)
        except OSError:
            return


def _complete(home: Home) -> None:
    """Note all images of a store that has never been asked."""
    if os.path.exists(home.all_noted):
        return
    # who puts an image meanwhile notes it himself
    for name in os.listdir(home.folder("images")):
        image_id, _, suffix = name.partition(".")
        if suffix in ("alias", "json"):
            settle(home.root, image_id)
    _make(home.all_noted, lambda path: os.mknod(path, S_IFREG | 0o600))


def _make(path: str, make: Callable[[str], None]) -> None:
    while True:
        try:
            make(path)
        except FileExistsError:
            return
        except FileNotFoundError:
            try:
                os.mkdir(os.path.dirname(path), 0o700)
            except FileExistsError:
                continue
        else:
            return


def _remove(path: str) -> None:
    """Remove a hint, and its shelf if that is empty."""
    files.remove(path)
    try:
        os.rmdir(os.path.dirname(path))
    except OSError:
        pass  # it is not; or it was not there


def _of_id(home: Home, name: str) -> str:
    return f"{home.folder('lookup')}/{name[:_SHELF]}/{name}"


def _of_digest(home: Home, digest: str) -> str:
    return f"{home.folder('lookup')}/{digest[7 : 7 + _SHELF]}/{digest[7:]}{_DIGEST}"
