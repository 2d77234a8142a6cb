"""What the images of a store need, while some of them go: one reading of all records, however many go.

    image A ── layers a b, blobs x y       needs   a 2  b 1  c 1        of A go   b, x, contents B
    image B ── layers a c, blobs y                 x 1  y 2             then      a 1  c 1, y 1
    layer b ── contents B                  contents B 1 …

What a record that cannot be read needs, nobody knows: while there is one, images go and their layers and blobs stay,
until that was mended and `gc` frees them.
"""

from __future__ import annotations

import os
from collections import Counter

from minirun.errors import MinirunError
from minirun.image import lookup, removal, sources
from minirun.image.record import read
from minirun.image.removal import Own
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from minirun.image.record import Image
    from minirun.image.store import Images
    from minirun.layer.record import Layer


class Stock:
    """The images of a store; the caller holds its lock exclusively as long as it has one.

    Args:
        images: of the store.
        standing: ids of layers that somebody else needs: containers, of which they were committed.

    Attributes:
        images: as given.
        found: every image, by its id.
        tags: their names.
        needs: how many need each layer.
        unread: why a record could not be read.
    """

    def __init__(self, images: Images, standing: Iterable[str] = ()) -> None:
        self.images = images
        self._is_less = False
        self.unread: list[MinirunError] = []
        self.found: dict[str, Image] = {}
        self.tags = images.tags()
        self.needs: Counter[str] = Counter(standing)
        self._aliases = images.aliases()
        self._blobs: Counter[str] = Counter()
        self._contents: Counter[str] = Counter()
        for image_id in images.ids():
            try:
                image = read(images.home.image(image_id), image_id)
            except MinirunError as error:
                self.unread.append(error)
                continue
            self.found[image_id] = image
            self.needs.update(image.layers)
            self._blobs.update(image.needs())
        self._layers = {layer.id: layer for layer in Layers(images.home).list(self.unread.append)}
        self._contents.update(layer.diff for layer in self._layers.values())

    def own(self, image_id: str, *, leave_layers: bool = False) -> Own:
        """What goes with an image that is there, be its record damaged, or of which something is left."""
        home, image = self.images.home, self.found.get(image_id)
        layers: list[Layer] = []
        blobs: list[str] = []
        if image and not self.unread:
            if not leave_layers:
                layers = [self._layers[one] for one in freed(image, self.needs) if one in self._layers]
            blobs = [digest for digest in image.needs() if self._blobs[digest] == 1]
        gone = Counter(layer.diff for layer in layers)
        mounts = image.mounts if image else f"{image_id}-mounts"
        aliases = self._aliases.get(image_id, [])
        return Own(
            image_id,
            tags=self.tags.get(image_id, []),
            aliases=aliases,
            mounts=mounts if mounts and os.path.lexists(home.diff(mounts)) else "",
            layers=layers,
            contents=[diff for diff, count in gone.items() if self._contents[diff] == count],
            blobs=blobs,
            hints=lookup.hints(home, image, aliases) if image else [],
        )

    def remove(self, own: Own) -> None:
        """Remove an image with what is its own.

        Raises:
            MinirunError: the store could not be written.
        """
        self._is_less = True
        removal.remove(self.images, own)
        if image := self.found.pop(own.id, None):
            self.needs.subtract(image.layers)
            self._blobs.subtract(image.needs())
        self.tags.pop(own.id, None)
        self._aliases.pop(own.id, None)
        for layer in own.layers:
            del self._layers[layer.id]
            self._contents[layer.diff] -= 1

    def close(self) -> None:
        """Forget which directories images were that are gone, if one went; nothing depends on that."""
        if self._is_less:
            sources.prune(self.images.home, set(self.images.ids()))


def freed(image: Image, needs: Mapping[str, int]) -> Iterator[str]:
    """The layers that go with *image*, topmost first: those that it alone needs.

    Args:
        image: that is among those that were counted.
        needs: how many need each layer.
    """
    for layer_id in reversed(image.layers):
        if needs[layer_id] > 1:
            return  # and so are all below it, if it is one of an image's
        yield layer_id
