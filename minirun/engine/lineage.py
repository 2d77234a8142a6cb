"""The layers of a store as they lie on each other, the images that end in them, and what `rmi` of one would free.

    layer a ──┬── layer b ──── layer c          a node for each layer, by its parent pointer
              │                  └ image X      a tip for each image, on its top layer
              └── layer d
                   ├ image Y
                   └ image Z

Of X `rmi` frees c and b: nothing else needs them; of Y and Z nothing, until the other is gone. Nothing here recurses:
overlayfs takes 500 layers, and a damaged store may have more on each other.
"""

from __future__ import annotations

import os
from collections import Counter

from minirun.container import record as records
from minirun.engine import open_home
from minirun.image.history import entries, seconds
from minirun.image.stock import freed
from minirun.image.store import Images
from minirun.kernel import files
from minirun.layer.blobs import Blobs
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from minirun.container.record import Record
    from minirun.errors import MinirunError
    from minirun.image.store import Image
    from minirun.layer.record import Layer


class Tip:
    """An image, on the layer in which it ends.

    Attributes:
        image: it.
        tags: its names.
        freed: ids of the layers that go when it is removed, topmost first.
        freed_bytes: of file data in them, and of its blobs that go. Its mount points go, too: empty files, of no bytes.
        users: names of the containers that keep it from being removed.
    """

    __slots__ = ("freed", "freed_bytes", "image", "tags", "users")

    def __init__(self, image: Image, tags: Sequence[str], freed: Sequence[str], freed_bytes: int) -> None:
        self.image = image
        self.tags = tags
        self.freed = freed
        self.freed_bytes = freed_bytes
        self.users: list[str] = []


class Node:
    """A layer, and what lies on it.

    Attributes:
        layer: it; None: under images whose top layer is not stored, or that have none.
        created_by: what made it, by its own record or by an image's history; or empty.
        virtual: bytes of it and all below it.
        children: the layers on it, the oldest first.
        tips: the images that end in it.
        images: how many images have it.
        containers: how many containers stand on it, or wrote it.
    """

    __slots__ = ("children", "containers", "created_by", "images", "layer", "tips", "virtual")

    def __init__(self, layer: Layer | None, created_by: str = "") -> None:
        self.layer = layer
        self.created_by = created_by
        self.virtual = 0
        self.children: list[Node] = []
        self.tips: list[Tip] = []
        self.images = 0
        self.containers = 0


def tree(
    names: Sequence[str] = (), filters: Sequence[str] = (), warn: Callable[[MinirunError], object] | None = None
) -> list[Node]:
    """The layers of the store as they lie on each other, with the images that end in them: see `forest`.

    Layers that a commit took by renaming are measured, once.

    Args:
        names: of images, as `images` or `rmi` take them; only what they consist of and what lies on them is wanted.
        filters: Docker's; see engine/filters.py. They restrict it in the same way.
        warn: told of each record that cannot be read, which is left out.

    Returns:
        The roots, the oldest first.

    Raises:
        BadInput: a filter or a name that is none.
        NotFound, Conflict: no image, or several, are meant.
    """
    from minirun.engine.diskusage import counted

    home = open_home()
    # held, or a layer is removed between the reading of its image and of its record
    lock = files.lock(home.lock, exclusive=False)
    try:
        found, boxes = Images(home).list(warn), records.list_all(home, warn)
        layers = list(counted(Layers(home), Layers(home).list(warn)))
        blobs = Blobs(home)
        sizes = {digest: blobs.usage(digest) for image, _ in found for digest in image.needs()}
    finally:
        os.close(lock)
    roots, nodes = forest(layers, found, boxes, sizes)
    if not names and not filters:
        return roots
    from minirun.engine import filters as filtering

    wanted = [image.id for image, _ in filtering.images(home, found, filters)] if filters else []
    for name in names:
        called = [image.id for image, _ in filtering.images(home, found, [f"reference={name}"])]
        wanted += called or [Images(home).get(name).id]
    return restrict(roots, nodes, set(wanted))


def needed(images: Iterable[Image], boxes: Iterable[Record]) -> Counter[str]:
    """How many need each layer: images that have it, containers that wrote it and have not been removed since."""
    counts: Counter[str] = Counter()
    for image in images:
        counts.update(image.layers)
    for box in boxes:
        counts.update(box.committed)
    return counts


def forest(
    layers: Sequence[Layer], images: Sequence[tuple[Image, list[str]]], boxes: Sequence[Record],
    blobs: Mapping[str, int] | None = None,
) -> tuple[list[Node], dict[str, Node]]:  # fmt: skip
    """Put *layers* on each other, and *images* on them.

    Args:
        layers: all there are, each with its size.
        images: all there are, with their names.
        boxes: the containers.
        blobs: bytes of each blob, by its digest.

    Returns:
        The roots, the oldest first, and every node by the id of its layer. Images without a layer that is stored come
        last, on a node without one.
    """
    said = _said(layers, [image for image, _ in images])
    nodes = {layer.id: Node(layer, said.get(layer.id, layer.created_by)) for layer in layers}
    loose, ground = Node(None), Node(None)
    for layer in layers:
        nodes.get(layer.parent or "", ground).children.append(nodes[layer.id])
    roots = ground.children
    needs = needed((image for image, _ in images), boxes)
    contents = Counter(layer.diff for layer in layers)
    needing = Counter(digest for image, _ in images for digest in image.needs())
    tips = {}
    for image, tags in images:
        gone = [layer_id for layer_id in freed(image, needs) if layer_id in nodes]
        size = _bytes([nodes[one].layer for one in gone], contents)
        size += sum((blobs or {}).get(digest, 0) for digest in image.needs() if needing[digest] == 1)
        tips[image.id] = Tip(image, tags, gone, size)
        end = _end(nodes, image.layers) or loose
        end.tips.append(tips[image.id])
        end.images += 1
    for box in boxes:
        own = list(box.committed)
        if box.image in tips:
            tips[box.image].users.append(box.name)
            own = [*tips[box.image].image.layers, *own]
        (_end(nodes, own) or loose).containers += 1
    _add_up(ground)
    return ([*roots, loose] if loose.tips else roots), nodes


def restrict(roots: Sequence[Node], nodes: Mapping[str, Node], images: Collection[str]) -> list[Node]:
    """Leave of the forest what the *images*, ids, consist of and what lies on them."""
    ends = [node for node in (*roots, *nodes.values()) if any(tip.image.id in images for tip in node.tips)]
    above = dict.fromkeys(ends)
    pending = list(above)
    for node in pending:
        fresh = [child for child in node.children if child not in above]
        above.update(dict.fromkeys(fresh))
        pending += fresh
    shown = set(above)
    for node in ends:
        for tip in node.tips:
            if tip.image.id in images:
                shown.update(nodes[layer] for layer in tip.image.layers if layer in nodes)
        if node.layer is None:
            node.tips = [tip for tip in node.tips if tip.image.id in images]
    for node in shown:
        node.children = [child for child in node.children if child in shown]
    return [node for node in roots if node in shown]


def _end(nodes: Mapping[str, Node], layers: Sequence[str]) -> Node | None:
    return nodes.get(layers[-1]) if layers else None


def _bytes(layers: Iterable[Layer | None], contents: Mapping[str, int]) -> int:
    """Bytes that come free with *layers*: contents stay while a layer on another parent has them."""
    gone: dict[str, int] = {}
    sizes = {}
    for layer in layers:
        if layer is not None:
            gone[layer.diff] = gone.get(layer.diff, 0) + 1
            sizes[layer.diff] = layer.size or 0
    return sum(size for diff, size in sizes.items() if gone[diff] == contents[diff])


def _add_up(ground: Node) -> None:
    """Sort what lies on each node by its age, add up sizes from *ground* upwards and counts towards it."""
    order = [ground]
    for node in order:
        if len(node.children) > 1:
            node.children.sort(key=_age)
        for child in node.children:
            child.virtual = node.virtual + (child.layer.size or 0 if child.layer else 0)
        order += node.children
    for node in reversed(order):
        for child in node.children:
            node.images += child.images
            node.containers += child.containers


def _age(node: Node) -> tuple[float, str]:
    return (seconds(node.layer.created or ""), node.layer.id) if node.layer else (0.0, "")


def _said(layers: Sequence[Layer], images: Iterable[Image]) -> dict[str, str]:
    """What made the layers that do not say it themselves, by the histories of *images*."""
    silent = {layer.id: layer for layer in layers if not layer.created_by}
    said: dict[str, str] = {}
    if silent:
        every = {layer.id: layer for layer in layers}
        for image in images:
            if any(layer in silent and layer not in said for layer in image.layers):
                own = [every[layer] for layer in image.layers if layer in every]
                said.update((entry.layer, entry.created_by) for entry in entries(image, own) if entry.layer in silent)
    return said
