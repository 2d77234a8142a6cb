"""commit: what a container wrote becomes a layer, and with the layers below it an image.

stopped   upper/ ──rename──▶ a layer of the store, and an empty upper/ on top of it: the same time for any size
running   upper/ ──copy────▶ a layer of the store; frozen meanwhile, so that the copy is of one moment

Its id is one by chance, for the digest of the new layer is not known: see image/seal.py. With SOURCE_DATE_EPOCH the
layer is packed first, and the id is that of the contents: see reproducible.py.
"""

from __future__ import annotations

import os

from minirun.cgroup import group
from minirun.container import record as records
from minirun.container import reproducible, state, taking
from minirun.home import Home
from minirun.image import history
from minirun.image.config import Config
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
    epoch = history.epoch()
    images = Images(home)
    base = images.get(box.image)
    below = [*base.layers, *box.committed]
    raw = Config(_config(home, box, base, author=author, message=message)).with_changes(changes).raw
    folder = home.temporary(operation.key)
    contents, diff_id = f"{home.container(box.id)}/upper", None
    now = state.read(home, box)
    if now.alive or epoch is not None:
        operation.will("remove_tree", folder)
        os.mkdir(folder, 0o700)
    if now.alive:
        contents = f"{folder}/contents"
        _copy(home, box, now.cgroup, operation, contents, pause=pause)
    blobs = [*base.blobs, *[""] * len(below)][: len(base.layers)] + [""] * (len(box.committed) + 1)
    image = Image(Config(raw), below, id=records.new_id(), blobs=blobs)
    if epoch is not None:
        image, diff_id = reproducible.foresee(home, operation, contents, image, epoch)
        if os.path.exists(home.image(images.stored_as(image.id))):
            tree.remove(folder)
            return images.put(image, tags)  # which only gives it its names
    layer_id = records.new_id()
    image.layers = [*below, layer_id]
    said = {"created": raw["created"], "created_by": _created_by(box), "comment": message}
    parent = Layers(home).get(below[-1])  # an image has a layer at least: a container of none could not be made
    if now.alive:
        if epoch is not None:
            reproducible.clamp(contents, str(epoch))
        tree.sync(contents)
        operation.will("discard_layer", home.root, layer_id, layer_id)
        _know(home, Layers(home).adopt(contents, parent, layer_id, **said), diff_id)
        made = images.put(image, tags)
    else:
        if epoch is not None:
            operation.will("clamp_times", home.diff(layer_id), str(epoch))
        operation.will("finish_taking", home.root, box.id, layer_id, image.id)
        operation.secure()  # nobody else would know whose contents these are, and gc frees what is nobody's
        try:
            _know(home, taking.begin(home, box, parent, layer_id, **said), diff_id)
            made = images.put(image, tags)
        finally:
            taking.finish(home, box.id, layer_id, image.id)
        if epoch is not None:
            reproducible.clamp(home.diff(layer_id), str(epoch))
    tree.remove(folder)
    return made


def _know(home: Home, layer: Layer, diff_id: str | None) -> None:
    """Write down what the tar of a new layer is, if that is known already."""
    if diff_id is not None:
        Layers(home).write(layer.but(diff_id=diff_id))


def _created_by(box: Record) -> str:
    return " ".join(box.options["argv"])


def _config(home: Home, box: Record, base: Image, *, author: str, message: str) -> dict[str, Any]:
    """The image's config with what the container was run with, as Docker commits it, and the history of its layers."""
    options = box.options
    inner = {
        **(base.config.raw.get("config") or {}),
        "Env": options["env"],
        "Cmd": options["cmd"],
        "Entrypoint": options["entrypoint"],
        "User": options["user"],
        "WorkingDir": options["cwd"] if options["cwd"] != "/" else "",
        "Labels": options["labels"],
        "StopSignal": options["stop_signal"],
        **_healthcheck(box),
    }
    raw = {
        **base.config.raw,
        "config": {key: value for key, value in inner.items() if value},
        "history": history.of_layers(base.config.raw, len(base.layers)),
    }
    for earlier in map(Layers(home).get, box.committed):
        said = {"created_by": earlier.created_by, "comment": earlier.comment}
        raw = history.extend(raw, created=history.clamped(earlier.created), **said)
    return history.extend(raw, created=history.now(), created_by=_created_by(box), author=author, comment=message)


def _healthcheck(box: Record) -> dict[str, Any]:
    if "health" not in box.options:
        return {}
    from minirun.container import health

    return {"Healthcheck": health.described(box.options)}


def _copy(home: Home, box: Record, path: str, operation: Operation, target: str, *, pause: bool) -> None:
    """Copy what the container wrote to *target*, below what *operation* removes."""
    pausing = pause and not group.frozen(path)
    if pausing:
        operation.will("thaw", path)
        try:
            group.freeze(path)
        except FileNotFoundError:
            pass  # it ended, which is as still as can be
    try:
        tree.copy(f"{home.container(box.id)}/upper", target)
    finally:
        if pausing:
            group.thaw(path)
