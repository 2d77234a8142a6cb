"""How much room images, containers, volumes, layers and blobs take, and how much of it would come free.

    image A    image B    no image          layers, each of whose contents counts once
       │          │           ┆
       ├── a ─────┤           ┆             shared: in the size of both images, in the unique size of none
       └── b      └── c   d ──┘             d: a container's, or what `gc` frees

Sizes are the lengths of files, each inode once, as `ps -s` and `images` have them; a file system rounds them up.
Layers were counted when they were unpacked; what containers wrote is counted now. Blobs, what layers came in and
manifests, are in the size of no image: they are counted beside.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minirun.container import record as records
from minirun.container import state, volumes
from minirun.container.record import Record
from minirun.container.state import State
from minirun.container.volumes import Volume
from minirun.engine import open_home
from minirun.engine import volumes as volume_verbs
from minirun.errors import Attempt, MinirunError, NotFound
from minirun.home import Home
from minirun.image.store import Image, Images
from minirun.kernel import files, tree
from minirun.layer.blobs import Blobs
from minirun.layer.record import Layer
from minirun.layer.store import Layers


@dataclass(frozen=True, slots=True)
class ImageUse:
    """An image.

    Attributes:
        image: it.
        tags: its names.
        size: bytes in its layers.
        shared: bytes of these that another image has, too.
        containers: how many were made of it.
    """

    image: Image
    tags: list[str]
    size: int
    shared: int
    containers: int


@dataclass(frozen=True, slots=True)
class LayerUse:
    """A layer.

    Attributes:
        layer: it, with its size.
        images: how many images have it.
        containers: how many containers stand on it.
    """

    layer: Layer
    images: int
    containers: int


@dataclass(frozen=True, slots=True)
class ContainerUse:
    """A container.

    Attributes:
        box: it.
        now: what is true of it.
        size: bytes in its writable layer; what `commit` took from it is a layer's.
    """

    box: Record
    now: State
    size: int


@dataclass(frozen=True, slots=True)
class BlobUse:
    """A blob.

    Attributes:
        digest: ``sha256:…`` of it.
        size: bytes that it takes, which may be compressed.
        images: how many images need it.
        containers: how many containers are of these.
    """

    digest: str
    size: int
    images: int
    containers: int


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """A volume.

    Attributes:
        volume: it.
        size: bytes in it; none where it is memory, or a directory of the host's.
        containers: how many have it.
    """

    volume: Volume
    size: int
    containers: int


@dataclass(frozen=True, slots=True)
class Total:
    """All of one kind.

    Attributes:
        count: how many.
        active: how many are in use: images of a container, containers that run.
        size: bytes.
        reclaimable: bytes that come free when all that are not in use are removed.
    """

    count: int
    active: int
    size: int
    reclaimable: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Everything that is stored."""

    images: list[ImageUse]
    layers: list[LayerUse]
    containers: list[ContainerUse]
    blobs: list[BlobUse]
    volumes: list[VolumeUse]

    @property
    def images_total(self) -> Total:
        """The images, in bytes of all layers: also of those that no image has any more."""
        contents = {use.layer.diff: use.layer.size or 0 for use in self.layers}
        in_use = {use.layer.diff for use in self.layers if use.containers}
        active = sum(use.containers > 0 for use in self.images)
        free = sum(size for diff, size in contents.items() if diff not in in_use)
        return Total(len(self.images), active, sum(contents.values()), free)

    @property
    def containers_total(self) -> Total:
        """The containers, in bytes that they wrote."""
        idle = [use.size for use in self.containers if not use.now.alive]
        count = len(self.containers)
        return Total(count, count - len(idle), sum(use.size for use in self.containers), sum(idle))

    @property
    def volumes_total(self) -> Total:
        """The volumes; in use are those that a container has, running or not."""
        idle = [use.size for use in self.volumes if not use.containers]
        count = len(self.volumes)
        return Total(count, count - len(idle), sum(use.size for use in self.volumes), sum(idle))

    @property
    def blobs_total(self) -> Total:
        """The blobs; in use are those of images in use."""
        idle = [use.size for use in self.blobs if not use.containers]
        count = len(self.blobs)
        return Total(count, count - len(idle), sum(use.size for use in self.blobs), sum(idle))


def measure(warn: Callable[[MinirunError], object]) -> Usage:
    """Measure the store; *warn* is told of each record that cannot be read, which is left out."""
    home = open_home()
    with Attempt(f"measure the store {home.root}"):
        lock = files.lock(home.lock, exclusive=False)
        try:
            boxes = records.list_all(home, warn)
            layers = {layer.id: layer for layer in counted(Layers(home), Layers(home).list(warn))}
            found = Images(home).list(warn)
            kept = Blobs(home)
            blobs = {digest: kept.usage(digest) for digest in kept.list()}
        finally:
            os.close(lock)
        containers = [use for use in (_container(home, box) for box in boxes) if use]
        having = Counter(name for box in boxes for name in set(volumes.names(box)))
        stored = [
            VolumeUse(volume, volume_verbs.size(home, volume), having[volume.name])
            for volume in volumes.list_all(home, warn)
        ]
    has = {image.id: {layer for layer in image.layers if layer in layers} for image, _ in found}
    contents = Counter(diff for ids in has.values() for diff in {layers[layer].diff for layer in ids})
    images = Counter(layer for ids in has.values() for layer in ids)
    standing = Counter(layer for box in boxes for layer in has.get(box.image, set()).union(box.committed))
    made = Counter(box.image for box in boxes)
    needing = Counter(digest for image, _ in found for digest in image.needs())
    using = Counter(dict.fromkeys(blobs, 0))
    for image, _ in found:
        using.update(dict.fromkeys(image.needs(), made[image.id]))
    return Usage(
        [
            _image(image, tags, [layers[layer] for layer in image.layers if layer in layers], contents, made[image.id])
            for image, tags in found
        ],
        [
            LayerUse(layer, images[layer.id], standing[layer.id])
            for layer in sorted(layers.values(), key=lambda layer: (-(layer.size or 0), layer.id))
        ],
        containers,
        [
            BlobUse(digest, size, needing[digest], using[digest])
            for digest, size in sorted(blobs.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        stored,
    )


def counted(store: Layers, layers: Iterable[Layer]) -> Iterator[Layer]:
    """Each of *layers* with its size: none where it has lost its contents.

    The caller holds the store's lock.
    """
    for layer in layers:
        try:
            yield layer if layer.size is not None else store.measure(layer.id)
        except FileNotFoundError:
            yield layer.but(size=0)


def _image(
    image: Image, tags: list[str], layers: Sequence[Layer], contents: Mapping[str, int], containers: int
) -> ImageUse:
    size = sum(layer.size or 0 for layer in layers)
    shared = sum(layer.size or 0 for layer in layers if contents[layer.diff] > 1)
    return ImageUse(image, tags, size, shared, containers)


def _container(home: Home, box: Record) -> ContainerUse | None:
    """Measure a container; None if it was removed meanwhile."""
    try:
        size = tree.usage(f"{home.container(box.id)}/upper")[0]
    except FileNotFoundError:
        # a commit has taken it away to put an empty one there, or it was removed: wait for whoever did
        try:
            lock = records.hold(home, box)
        except NotFound:
            return None
        try:
            size = tree.usage(f"{home.container(box.id)}/upper")[0]
        except FileNotFoundError:
            size = 0  # damaged: `system check` says so
        finally:
            os.close(lock)
    return ContainerUse(box, state.read(home, box), size)
