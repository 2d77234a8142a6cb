"""commit: what a container wrote becomes a layer, and with the layers below it an image.

stopped   upper/ ──rename──▶ a layer of the store, and an empty upper/ on top of it: the same time for any size
running   upper/ ──copy────▶ a layer of the store; frozen meanwhile, so that the copy is of one moment
"""

from __future__ import annotations

import time

from minirun.cgroup import group
from minirun.container import record as records
from minirun.container import state, taking
from minirun.home import Home
from minirun.image.config import Config
from minirun.image.history import date, extend
from minirun.image.store import Image, Images
from minirun.kernel import tree
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
    image = Image(config, [*base.layers, *box.committed, layer_id], id=image_id)
    parent = _parent(home, box, base)
    now = state.read(home, box)
    if now.alive:
        _copy(home, box, now.cgroup, operation, parent, layer_id, message, pause=pause)
        return images.put(image, tags)
    operation.will("finish_taking", home.root, box.id, layer_id, image_id)
    try:
        taking.begin(home, box, parent, layer_id, created_by=_created_by(box), comment=message)
        return images.put(image, tags)
    finally:
        taking.finish(home, box.id, layer_id, image_id)


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


def _copy(
    home: Home, box: Record, path: str, operation: Operation, parent: Layer, layer_id: str, message: str, *, pause: bool
) -> None:
    temporary = home.temporary(operation.key)
    operation.will_all([["discard_layer", home.root, layer_id, layer_id], ["remove_tree", temporary]])
    pausing = pause and not group.frozen(path)
    if pausing:
        operation.will("thaw", path)
        try:
            group.freeze(path)
        except FileNotFoundError:
            pass  # it ended, which is as still as can be
    try:
        tree.copy(f"{home.container(box.id)}/upper", temporary)
    finally:
        if pausing:
            group.thaw(path)
    tree.sync(temporary)
    Layers(home).adopt(temporary, parent, layer_id, created_by=_created_by(box), comment=message)
