"""commit: what a container wrote becomes a layer, and with the layers below it an image.

stopped   upper/ ──rename──▶ a layer of the store, and an empty upper/ on top of it: the same time for any size
running   upper/ ──copy────▶ a layer of the store; frozen meanwhile, so that the copy is of one moment
"""

from __future__ import annotations

import os
import time

from minirun.cgroup import group, hierarchy
from minirun.container import create, state
from minirun.container import record as records
from minirun.errors import MinirunError
from minirun.image.config import Config
from minirun.image.history import date, extend
from minirun.image.store import Image, Images
from minirun.kernel import jsonfile, tree
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home
    from minirun.image.reference import Reference
    from minirun.journal import Operation
    from minirun.layer.store import Layer


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
    try:
        if state.read(home, box).alive:
            layer = _copy(home, box, operation, _parent(home, box, base), message, pause=pause)
            below = box.committed
        else:
            below = list(box.committed)
            layer = _take(home, box, operation, _parent(home, box, base), message)
    except OSError as error:
        raise MinirunError(
            f"commit container {box.name}", error, "free space: `minirun gc`; the container is as it was"
        ) from None
    return images.put(Image(config, [*base.layers, *below, layer.id]), tags)


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


def _take(home: Home, box: Record, operation: Operation, parent: Layer, message: str) -> Layer:
    directory = home.container(box.id)
    layers = Layers(home)
    layer_id = records.new_id()
    operation.will("return_upper", directory, home.diff(layer_id), home.layer(layer_id))
    # work/ holds links to files of the upper that had several names; they must not outlive it
    tree.remove(f"{directory}/work")
    layer = layers.adopt(f"{directory}/upper", parent, layer_id, created_by=_created_by(box), comment=message)
    box.stack.append(layer.diff)
    box.committed.append(layer.id)
    create.make_upper(home, box)
    os.mkdir(f"{directory}/work", 0o700)
    records.write(home, box)
    return layer


def return_upper(directory: str, taken: str, layer: str) -> None:
    """Give a container its writable layer back, unless its record has it among its layers already.

    An undo of the journal: idempotent.

    Args:
        directory: the container's.
        taken: where the writable layer went, below diffs/.
        layer: the record of the layer that it was to become.
    """
    try:
        stack = jsonfile.read(f"{directory}/container.json")["stack"]
    except FileNotFoundError:
        stack = []
    if os.path.basename(taken) in stack:
        return
    if os.path.isdir(taken):
        tree.remove(f"{directory}/upper")  # an empty one, made for after the commit
        os.rename(taken, f"{directory}/upper")
    if os.path.exists(layer):
        os.unlink(layer)
    if os.path.isdir(directory) and not os.path.isdir(f"{directory}/work"):
        os.mkdir(f"{directory}/work", 0o700)


def _copy(home: Home, box: Record, operation: Operation, parent: Layer, message: str, *, pause: bool) -> Layer:
    path = hierarchy.path(box.id)
    temporary = home.temporary(operation.key)
    operation.will("remove_tree", temporary)
    pausing = pause and not group.frozen(path)
    if pausing:
        operation.will("thaw", path)
        group.freeze(path)
    try:
        tree.copy(f"{home.container(box.id)}/upper", temporary)
    finally:
        if pausing:
            group.thaw(path)
    return Layers(home).adopt(temporary, parent, records.new_id(), created_by=_created_by(box), comment=message)
