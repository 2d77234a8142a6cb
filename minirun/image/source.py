"""From what lies on disk to an image in the store: what `run` and `import` take besides a stored name.

    path ─▶ recognise ─▶ check every path,  ─▶ make layers ready, ─▶ put them on each  ─▶ put the image ─▶ remember
                         digest and key        several at once       other, each once     no name          the directory
                         of it                 in tmp/               ╰── home.lock held shared ──╯

The image has no name; an unchanged directory is not read again (see sources.py).
"""

from __future__ import annotations

import fcntl
import os
import stat

from minirun.errors import LOOK_AT_STORE, BadInput, MinirunError
from minirun.image import foreign, history, sources
from minirun.image.arrival import Arrival
from minirun.image.config import Config
from minirun.image.folder import Folder
from minirun.image.manifest import Manifest, Part
from minirun.image.recognition import recognise
from minirun.image.store import Image, Images
from minirun.journal import Operation
from minirun.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirun.home import Home
    from minirun.image.manifest import Holder
    from minirun.image.reference import Reference
    from minirun.layer.record import Layer

    # takes the name of a layer and the bytes of its blob (0: unknown), and gives what is told how many were read
    Progress = Callable[[str, int], Callable[[int], None]]
    # takes a sentence about something that a layer has and the image is better without
    Warn = Callable[[str], None]


class Wanted:
    """How the image is to be stored, other than as its source has it.

    Attributes:
        changes: Dockerfile instructions for its config.
        comment: for its history.
        tags: names that it gets.
    """

    __slots__ = ("changes", "comment", "tags")

    def __init__(self, changes: Sequence[str] = (), comment: str = "", tags: Sequence[Reference] = ()) -> None:
        self.changes = changes
        self.comment = comment
        self.tags = tags

    @property
    def is_plain(self) -> bool:
        """Whether the image is as its source has it."""
        return not self.changes and not self.comment


def load(
    home: Home, path: str, wanted: Wanted | None = None, *, progress: Progress | None = None, warn: Warn | None = None,
    lock: int | None = None,
) -> Image:  # fmt: skip
    """Make an image of the directory or tar file *path*.

    Args:
        home: where it goes.
        path: a directory in one of the forms above, or a root file system as one tar file.
        wanted: changes, comment and names; none of these by default.
        progress: called for each layer that is read, with its name and the bytes of its blob (0: unknown); what it
            returns is told how many of them have been read so far. Called with an empty name when nothing more is read.
        warn: told what was left out of a layer, a sentence each.
        lock: descriptor that holds the store's lock shared, if the caller has one; given up if this fails.

    Returns:
        The image in the store. An unchanged source gives the same one again.

    Raises:
        BadInput: *path* is none of these forms, or says something impossible.
        BadLayer: what it holds is damaged or hostile.
        MinirunError: it could not be read, or the store could not be written. After each of these the store is as it
            was, but for layers that another process began to use.
    """
    wanted = wanted or Wanted()
    if not os.path.isdir(path):
        with _open_file(path) as folder:
            manifest = Manifest(Config(foreign.empty()), [Part(os.path.basename(folder.path))])
            folder.path = os.path.dirname(folder.path)
            return store(home, folder, manifest, wanted, progress=progress, warn=warn, lock=lock)
    with Folder(path) as folder:
        manifest = recognise(folder)
        _refuse_store(home, folder, manifest)
        sources.settle(max(status.st_ctime_ns for status in folder.seen.values()))
        trees = _trees(folder, manifest)
        image = store(home, folder, manifest, wanted, progress=progress, warn=warn, lock=lock)
        if wanted.is_plain and None not in trees.values():
            try:
                sources.remember(home, folder.path, image.id, folder.seen, trees)
            except OSError as error:
                raise MinirunError(f"remember {folder.path}", error, LOOK_AT_STORE) from None
        return image


def load_stream(
    home: Home, descriptor: int, wanted: Wanted | None = None, *, progress: Progress | None = None,
    warn: Warn | None = None, lock: int | None = None,
) -> Image:  # fmt: skip
    """Make an image of the tar of a root file system that *descriptor*, a pipe perhaps, gives; else as `load`."""
    manifest = Manifest(Config(foreign.empty()), [Part("-")])
    return store(home, Stream(descriptor), manifest, wanted, progress=progress, warn=warn, lock=lock)


def _open_file(path: str) -> Folder:
    """The folder in which the tar file *path* lies, however it is reached; its path is that of the file."""
    real = os.path.realpath(path)
    try:
        status = os.stat(real)
    except OSError as error:
        raise BadInput(f"read {path}", error, "name a directory or a tar file") from None
    if not stat.S_ISREG(status.st_mode):
        raise BadInput(f"read {path}", "it is neither a directory nor a regular file", "name a directory or a tar file")
    folder = Folder(os.path.dirname(real))
    folder.path = real
    return folder


def _refuse_store(home: Home, folder: Folder, manifest: Manifest) -> None:
    for part in manifest.parts:
        inside = os.path.realpath(f"{folder.path}/{part.name}").rstrip("/") + "/"
        if part.is_tree and (os.path.realpath(home.root) + "/").startswith(inside):
            raise BadInput(f"use {folder.path} as an image", f"minirun's own store, {home.root}, is inside",
                           "name a directory that does not hold it")  # fmt: skip


def _trees(folder: Folder, manifest: Manifest) -> dict[str, Any]:
    trees: dict[str, Any] = {}
    for part in manifest.parts:
        if part.is_tree:
            try:
                trees[part.name] = sources.tree(f"{folder.path}/{part.name}")
            except OSError:
                trees[part.name] = None  # too deep, or changing: read again each time
    return trees


class Stream:
    """The holder of one layer that comes from a descriptor.

    Attributes:
        path: empty; there is none.
    """

    __slots__ = ("descriptor", "path")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.path = ""

    def look(self, part: Part) -> None:
        """It is of now."""
        part.created = history.now()

    def blob(self, _part: Part) -> int:
        """A copy of the descriptor."""
        return os.dup(self.descriptor)


def store(
    home: Home, holder: Holder, manifest: Manifest, wanted: Wanted | None = None, *, progress: Progress | None = None,
    warn: Warn | None = None, lock: int | None = None, ready: Callable[[str], object] | None = None,
) -> Image:  # fmt: skip
    """Make an image of *manifest*, whose blobs *holder* has; the other arguments are those of `load`.

    What is stored already is not asked of *holder*. Without a *lock* nobody waits while layers are made ready.

    *ready* is told the name of each layer that was missing and now is unpacked, and is what its digests say; it has its
    place in the store when all are.

    Returns:
        The image in the store, which keeps the blobs it came in.

    Raises:
        BadLayer: a layer is damaged, hostile, or not what the manifest says.
        MinirunError: it could not be read, or the store could not be written. After each of these the store is as it
            was, but for layers that another process began to use.
    """
    wanted = wanted or Wanted()
    config = manifest.config.with_changes(wanted.changes)
    try:
        operation = Operation(home)
    except OSError as error:
        raise MinirunError("begin to store an image", error, LOOK_AT_STORE) from None
    held = lock
    try:
        arrival = Arrival(home, holder, manifest, operation, progress, ready)
        arrival.make_ready()
        if held is None:
            held = files.lock(home.lock, exclusive=False)
        chain = arrival.settle(warn)
        if config.diff_ids != [layer.diff_id for layer in chain]:
            manifest.exact = b""  # an image.json that tells of other layers than those beside it
        image = _compose(holder, manifest, config, chain, wanted)
        exact = manifest.exact if wanted.is_plain else b""
        if exact:
            image.digest, image.media_type = arrival.keep_manifest(), manifest.media_type
            image.repo_digests = manifest.repo_digests
        image.blobs = arrival.blobs
        stored = Images(home).put(image, wanted.tags, exact=exact)
        arrival.tidy()
        operation.done()
    except BaseException as error:
        # the layers that were added in vain are removed under the exclusive lock, which our own would prevent
        if held is not None:
            fcntl.flock(held, fcntl.LOCK_UN)
        try:
            operation.undo()
        except (OSError, MinirunError):
            operation.leave()  # what went wrong first is what there is to tell
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise MinirunError(f"store {holder.path or 'an image'}", error, LOOK_AT_STORE) from None
        raise
    else:
        return stored
    finally:
        if lock is None and held is not None:
            os.close(held)


def _compose(
    holder: Holder, manifest: Manifest, config: Config, chain: Sequence[Layer], wanted: Wanted
) -> Image:  # fmt: skip
    raw = dict(config.raw)
    if not manifest.exact:
        raw["created"] = raw.get("created") or max((part.created for part in manifest.parts), default="")
        if not raw.get("history"):
            raw["history"] = [
                {"created": part.created, "created_by": part.created_by or f"ADD {part.name} /"}
                for part in manifest.parts
            ]
        raw = history.said(raw)
    if wanted.comment:
        told = [dict(entry) for entry in raw.get("history") or ()] or [{"empty_layer": True}]
        told[-1]["comment"] = wanted.comment
        raw["history"] = told
    return Image(Config(raw), [layer.id for layer in chain], source=holder.path)
