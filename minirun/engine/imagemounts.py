"""`image mount` and `image unmount`: the root file systems of images for the host to look into; see mountplace.py.

A mount is made by who holds the store's lock shared, so that the image stays meanwhile; afterwards whoever removes
images looks here, under the exclusive lock.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from errno import EBUSY

from minirun import caller, events
from minirun.engine import open_home
from minirun.engine.mountplace import MountPlace, places, settle
from minirun.errors import Attempt, BadInput, Conflict, MinirunError, NotFound, Unsupported
from minirun.home import Home
from minirun.image.reference import is_hex
from minirun.image.store import Images
from minirun.journal import Operation
from minirun.kernel import files
from minirun.kernel.names import MNT_DETACH
from minirun.launch.machine import CallFailed
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from minirun.image.record import Image


@dataclass(frozen=True, slots=True)
class Mounted:
    """An image that is mounted.

    Attributes:
        id: of the image.
        tags: its names.
        path: where.
        count: how many `image mount` hold it.
    """

    id: str
    tags: list[str]
    path: str
    count: int


def mount(names: Sequence[str]) -> Iterator[str | MinirunError]:
    """Mount images, or hold once more what is mounted; yields the path of each, or why it is not mounted."""
    if caller.ROOTLESS:
        raise Unsupported(
            "mount images", "what an ordinary user mounts is gone with the command that did it",
            "`minirun create` and `minirun export` or `minirun cp` take files out",
        )  # fmt: skip
    home = open_home()
    for name in names:
        try:
            with Attempt(f"mount image {name}"):
                yield _mount(home, name)
        except MinirunError as error:
            yield error


def mount_all() -> Iterator[MinirunError]:
    """Mount every image; yields why one is not mounted."""
    for outcome in mount(Images(open_home()).ids()):
        # what was removed since the ids were listed is none of all images any more
        if isinstance(outcome, MinirunError) and not isinstance(outcome, NotFound):
            yield outcome


def unmount(names: Sequence[str], *, force: bool = False) -> Iterator[str | MinirunError]:
    """Let go of images; what nobody holds any more is unmounted.

    Args:
        names: as `mount` takes them, or ids of what is mounted. That an image is not mounted is no error.
        force: unmount it whoever holds it, and though files in it are open: for who has them open they stay.

    Yields:
        The id of each image that was mounted, or why it still is.
    """
    home = open_home()
    for name in names:
        try:
            with Attempt(f"unmount image {name}"):
                image_id = _find(home, name)
                if _unmount(MountPlace(home, image_id), name, force=force):
                    events.emit(home, "image", "unmount", f"sha256:{image_id}", {"name": name})
                    yield image_id
        except MinirunError as error:
            yield error


def unmount_all(*, force: bool = False) -> Iterator[str | MinirunError]:
    """Let go of all that are mounted; yields as `unmount`."""
    return unmount([one.id for one in mounted()], force=force)


def mounted() -> list[Mounted]:
    """Everything that is mounted, in the order of ids."""
    home = open_home()
    found = [place for place in places(home) if place.is_mounted]
    tags = Images(home).tags() if found else {}
    return [Mounted(one.id, tags.get(one.id, []), one.root, len(one.holds)) for one in found]


def check_unmounted(home: Home, image_id: str, attempt: str) -> None:
    """Raise Conflict if the image is mounted; the caller holds the store's lock exclusively, so it stays as it is."""
    place = MountPlace(home, image_id)
    if place.is_mounted:
        remedy = f"`minirun image unmount {image_id[:12]}` first; with -f it lets go for all who mounted it"
        raise Conflict(attempt, f"it is mounted at {place.root}", remedy)
    _settle(place)


def check_known(home: Home, ids: Collection[str], attempt: str) -> None:
    """Raise Conflict if something is mounted whose image is not among *ids*: what it shows would be freed."""
    for place in places(home):
        if place.id not in ids and place.is_mounted:
            reason = f"the record of the image that is mounted at {place.root} was lost"
            raise Conflict(attempt, reason, f"`minirun image unmount -f {place.id[:12]}` first, if nobody uses it")


def settle_all(home: Home) -> int:
    """Clear away what is left of mounts that a boot ended, or somebody by hand; of how many.

    The caller holds the store's lock exclusively, so that nobody is about to mount one.
    """
    return sum(_settle(place) for place in places(home) if not (place.is_mounted and place.holds))


def _settle(place: MountPlace) -> bool:
    """Clear away what is left of a mount; whether it was done here."""
    if not place.is_there:
        return False
    with Attempt(f"clear {place.path} away"):
        try:
            settle(place.home.root, place.home.runtime, place.id)
        except BlockingIOError:
            return False  # it is being unmounted
    return True


def _mount(home: Home, name: str) -> str:
    shared = files.lock(home.lock, exclusive=False)
    try:
        image = Images(home).get(name)
        place = MountPlace(home, image.id)
        with Operation(home) as operation:
            # given back before the operation ends: undoing takes it itself
            lock = place.lock()
            try:
                if not place.is_mounted:
                    operation.will("settle_mount", home.root, home.runtime, image.id)
                    _attach(home, image, place, name)
                place.hold()
                events.emit(home, "image", "mount", *image.told(name))
            finally:
                os.close(lock)
        return place.root
    finally:
        os.close(shared)


def _attach(home: Home, image: Image, place: MountPlace, name: str) -> None:
    if not image.layers:
        raise BadInput(f"mount image {name}", "it has no layers, and so no root file system")
    layers = Layers(home)
    stack = layers.stack(image.layers[-1])
    said = [layer for layer in map(layers.get, image.layers) if layer.has_root]
    try:
        place.attach(stack, home.diff(said[-1].diff) if said else stack[-1])
    except CallFailed as failure:
        raise MinirunError(f"mount image {name}", str(failure), "`minirun doctor` tries what overlays need") from None


def _find(home: Home, name: str) -> str:
    """The id of the image that is meant; also of one that is mounted and whose record was lost."""
    try:
        return Images(home).get(name).id
    except NotFound:
        digits = name.removeprefix("sha256:")
        lost = [place.id for place in places(home) if is_hex(digits) and place.id.startswith(digits)]
        if len(lost) != 1:
            raise
        return lost[0]


def _unmount(place: MountPlace, name: str, *, force: bool) -> bool:
    """Let go of an image; whether it was mounted."""
    if not place.is_there:
        return False
    with Operation(place.home) as operation:
        lock = place.lock()
        try:
            was_mounted = place.is_mounted
            if was_mounted and not force and place.let_go():
                return True
            operation.will("settle_mount", place.home.root, place.home.runtime, place.id)
            place.clear(MNT_DETACH if force else 0)
        except CallFailed as failure:
            if failure.errno != EBUSY:
                raise
            remedy = f"`fuser -vm {place.root}` says by whom; `-f` unmounts it all the same"
            raise Conflict(f"unmount image {name}", f"files in {place.root} are in use", remedy) from None
        finally:
            os.close(lock)
    return was_mounted
