"""commit: what a container wrote becomes a layer, and with the layers below it an image.

stopped   upper/ ──rename──▶ a layer of the store, and an empty upper/ on top of it: the same time for any size
running   upper/ ──copy────▶ a layer of the store; frozen meanwhile, so that the copy is of one moment
"""

from __future__ import annotations

import fcntl
import os
import time
from errno import ENOTEMPTY

from minirun.cgroup import group, hierarchy
from minirun.container import create, state
from minirun.container import record as records
from minirun.errors import MinirunError
from minirun.home import Home
from minirun.image.config import Config
from minirun.image.history import date, extend
from minirun.image.store import Image, Images
from minirun.kernel import files, tree
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.image.reference import Reference
    from minirun.journal import Operation
    from minirun.layer.record import Layer


def commit(
    home: Home,
    box: Record,
    operation: Operation,
    tags: Sequence[Reference],
    *,
    author: str = "",
    message: str = "",
    changes: Sequence[str] = (),
    pause: bool = True,
) -> Image:
    """Make an image of *box* as it is now.

    Args:
        home: the store; the caller holds its lock shared, and holds the container.
        box: the container.
        operation: undoes what was done if we do not come to the end.
        tags: names that the image gets.
        author: for the image's config and history.
        message: for its history.
        changes: Dockerfile instructions, as `docker commit -c` takes them.
        pause: whether a running container stands still meanwhile.

    Raises:
        BadInput: a change that is none; nothing was done.
        MinirunError: the store could not be written; the container is as it was.
    """
    images = Images(home)
    base = images.get(box.image)
    layers = Layers(home)
    raw = _config(base.config.raw, box.options)
    for earlier in map(layers.get, box.committed):
        raw = extend(raw, created=earlier.created, created_by=earlier.created_by, comment=earlier.comment)
    raw = extend(raw, created=date(time.time_ns()), created_by=_created_by(box), author=author, comment=message)
    config = Config(raw).with_changes(changes)
    image_id, layer_id = records.new_id(), records.new_id()
    try:
        if state.read(home, box).alive:
            layer = _copy(home, box, operation, _parent(home, box, base), layer_id, message, pause=pause)
            below = box.committed
        else:
            below = list(box.committed)
            operation.will("return_upper", home.root, box.id, layer_id, image_id)
            layer = _take(home, box, _parent(home, box, base), layer_id, message)
    except OSError as error:
        raise MinirunError(
            f"commit container {box.name}", error, "free space: `minirun gc`; the container is as it was"
        ) from None
    return images.put(Image(config, [*base.layers, *below, layer.id], id=image_id), tags)


def _created_by(box: Record) -> str:
    return " ".join(box.options["argv"])


def _config(raw: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """The image's config with what the container was run with, as Docker commits it."""
    inner = {
        **(raw.get("config") or {}),
        "Env": options["env"],
        "Cmd": options["cmd"],
        "Entrypoint": options["entrypoint"],
        "User": options["user"],
        "WorkingDir": options["cwd"] if options["cwd"] != "/" else "",
        "Labels": options["labels"],
        "StopSignal": options["stop_signal"],
    }
    return {**raw, "config": {key: value for key, value in inner.items() if value}}


def _parent(home: Home, box: Record, base: Image) -> Layer:
    # an image has a layer at least: a container of none could not be made
    return Layers(home).get([*base.layers, *box.committed][-1])


def _take(home: Home, box: Record, parent: Layer, layer_id: str, message: str) -> Layer:
    directory = home.container(box.id)
    # work/ holds links to files of the upper that had several names; they must not outlive it
    tree.remove(f"{directory}/work")
    layer = Layers(home).adopt(f"{directory}/upper", parent, layer_id, created_by=_created_by(box), comment=message)
    box.stack.append(layer.diff)
    box.committed.append(layer.id)
    create.make_upper(home, box)
    os.mkdir(f"{directory}/work", 0o700)
    records.write(home, box)
    return layer


def return_upper(root: str, container_id: str, layer_id: str, image_id: str) -> None:
    """Give a container its writable layer back, unless the image came to be for which it was taken.

    An undo of the journal: idempotent. Where the container was used again meanwhile it keeps both layers, which means
    the same.

    Args:
        root: of the store.
        container_id: the container.
        layer_id: the layer that its writable layer was to become, and the name of its contents.
        image_id: the image.

    Raises:
        BlockingIOError: somebody works on the container.
    """
    home = Home(root, root)
    directory, taken = home.container(container_id), home.diff(layer_id)
    if os.path.exists(home.image(image_id)):
        return
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        box = records.read(home, container_id)
        if os.path.isdir(taken):
            if state.read(home, box).alive or not _emptied(f"{directory}/upper"):
                return
            os.rename(taken, f"{directory}/upper")
        if layer_id in box.committed:
            box.committed.remove(layer_id)
            box.stack.remove(layer_id)
            records.write(home, box)
        files.remove(home.layer(layer_id))
        if not os.path.isdir(f"{directory}/work"):
            os.mkdir(f"{directory}/work", 0o700)
    finally:
        os.close(lock)


def _emptied(upper: str) -> bool:
    """Remove the writable layer that was made for after a commit; False if something was written to it."""
    try:
        os.rmdir(upper)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != ENOTEMPTY:
            raise
        return False
    return True


def _copy(
    home: Home, box: Record, operation: Operation, parent: Layer, layer_id: str, message: str, *, pause: bool
) -> Layer:
    path = hierarchy.path(box.id)
    temporary = home.temporary(operation.key)
    operation.will_all([["discard_layer", home.root, layer_id, layer_id], ["remove_tree", temporary]])
    pausing = pause and not group.frozen(path)
    if pausing:
        operation.will("thaw", path)
        group.freeze(path)
    try:
        tree.copy(f"{home.container(box.id)}/upper", temporary)
    finally:
        if pausing:
            group.thaw(path)
    return Layers(home).adopt(temporary, parent, layer_id, created_by=_created_by(box), comment=message)
