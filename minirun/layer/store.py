"""The layers that are stored: for each a record, and its contents in a directory that several may share.

    layers/<id>.json         id: the chain id in hex, sha256("<parent's> <diff_id>"), a base's is its diff_id;
      {"id", "parent", …}        or random, for a layer that a commit made by renaming (its diff_id is null until asked)
         │ "diff"
         ▼
    diffs/<diff_id>          contents that mean the same on any parent
    diffs/<id>-bound         contents that took something from the layers below: see needs.py
    diffs/<random id>        what a container wrote

A layer that is returned is stored; that this call stored it is not said. How one comes in: see addition.py.
"""

from __future__ import annotations

import os

from minirun import jsonrecord
from minirun.errors import MinirunError, NotFound
from minirun.journal import Operation
from minirun.kernel import files, jsonfile, tree
from minirun.layer.record import Layer, now

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from minirun.home import Home
    from minirun.layer.unpack import Progress, Unpacked

    # within Layers, list is its method
    Listing = list[Layer]
    Ids = list[str]

_HEX = frozenset("0123456789abcdef")
_RECORD = ".json"


class Layers:
    """The layers of one home.

    Who adds a layer holds ``home.lock`` shared until something names it; who removes layers holds it exclusively.
    """

    def __init__(self, home: Home) -> None:
        self.home = home

    def get(self, layer_id: str) -> Layer:
        """The layer *layer_id*.

        Raises:
            NotFound: there is none.
            MinirunError: its record cannot be read.
        """
        attempt = f"find layer {layer_id[:12]}"
        if len(layer_id) != 64 or not _HEX.issuperset(layer_id):
            raise NotFound(attempt, "that is not the id of a layer")
        try:
            return Layer(**jsonfile.read(self.home.layer(layer_id)))
        except FileNotFoundError:
            raise NotFound(attempt, "there is no such layer") from None
        except OSError as error:
            raise MinirunError(attempt, error) from None
        except (ValueError, KeyError, TypeError) as error:
            remedy = "add its image again from its source"
            raise MinirunError(attempt, f"its record is damaged: {error}", remedy) from None

    def ids(self) -> Ids:
        """The ids of all layers, sorted, be their records readable or not."""
        names = os.listdir(self.home.folder("layers"))
        return sorted(name[:64] for name in names if len(name) == 64 + len(_RECORD) and name.endswith(_RECORD))

    def list(self, warn: Callable[[MinirunError], object] | None = None) -> Listing:
        """Every layer, in the order of their ids.

        Args:
            warn: told of each record that cannot be read, which is left out; without it that is raised, as who frees
                something wants it: nobody knows what such a layer has.
        """
        found = []
        for layer_id in self.ids():
            try:
                found.append(self.get(layer_id))
            except NotFound:
                continue  # removed meanwhile
            except MinirunError as error:
                if warn is None:
                    raise
                warn(error)
        return found

    def is_known(self, layer_id: str) -> bool:
        """Whether there is a record of the layer that can be read; one that cannot be is replaced when it is added."""
        try:
            self.get(layer_id)
        except MinirunError:
            return False
        return True

    def chain(self, layer_id: str) -> Sequence[Layer]:
        """The layer and all it lies on, bottom to top.

        Raises:
            NotFound: one of them is missing.
        """
        chain = [self.get(layer_id)]
        while chain[-1].parent is not None:
            chain.append(self.get(chain[-1].parent))
        chain.reverse()
        return chain

    def stack(self, layer_id: str) -> Sequence[str]:
        """The directories that an overlay needs for the layer, bottom to top: none below one that hides them."""
        chain = self.chain(layer_id)
        bottom = max((place for place, layer in enumerate(chain) if layer.opaque), default=0)
        # Overlayfs refuses a directory that is there twice (ELOOP), and tools that build make the same layer, mostly an
        # empty one, again and again. What a lower one shows or hides, the topmost one shows or hides as well.
        diffs = dict.fromkeys(layer.diff for layer in reversed(chain[bottom:]))
        return [self.home.diff(diff) for diff in reversed(diffs)]

    def diffs(self) -> set[str]:
        """The names below diffs/ that layers need."""
        return {layer.diff for layer in self.list()}

    def unreferenced(self, kept: Collection[str]) -> Sequence[str]:
        """Ids of the layers that are neither among *kept* nor below one that is, topmost first."""
        layers = {layer.id: layer for layer in self.list()}
        needed: set[str] = set()
        for layer_id in kept:
            above: str | None = layer_id
            while above is not None and above not in needed:
                needed.add(above)
                above = layers[above].parent if above in layers else None
        depths = {layer_id: self._depth(layer_id, layers) for layer_id in layers if layer_id not in needed}
        return sorted(depths, key=lambda layer_id: (-depths[layer_id], layer_id))

    @staticmethod
    def _depth(layer_id: str, layers: dict[str, Layer]) -> int:
        depth = 0
        while layer_id in layers and (parent := layers[layer_id].parent) is not None:
            layer_id = parent
            depth += 1
        return depth

    def add(
        self,
        source: int | Iterable[bytes],
        parent: Layer | None,
        *,
        created_by: str = "",
        created: str | None = None,
        comment: str = "",
        expected_digest: str | None = None,
        expected_diff_id: str | None = None,
        progress: Progress | None = None,
        what: str = "the layer",
        whole: Operation | None = None,
    ) -> tuple[Layer, Unpacked | None]:
        """Store the layer whose blob is *source* on top of *parent*.

        Where *expected_diff_id* is stored already nothing is read. Several processes may add the same layer at once.

        Args:
            source: see `unpack.unpack`.
            parent: the layer that it lies on; None for a base.
            created_by: the command that made it.
            created: RFC 3339; now by default.
            comment: of whoever made it.
            expected_digest: ``sha256:…`` that the blob must have.
            expected_diff_id: ``sha256:…`` that the tar must have.
            progress: see `unpack.unpack`.
            what: the layer in the words of whoever asked, for refusals.
            whole: an operation of the caller's, which also takes the layer back as long as no image has it.

        Returns:
            The layer, and what was unpacked for it; None where the layer was there. Where only its contents were, on
            another parent, the Unpacked says zero entries.

        Raises:
            BadLayer: it is damaged, hostile or not the expected one; nothing is left of it.
            OSError: it could not be read or stored; nothing is left of it.
        """
        from minirun.layer import addition

        return addition.add(
            self,
            source,
            parent,
            said={"created": created or now(), "created_by": created_by, "comment": comment},
            expected_digest=expected_digest,
            expected_diff_id=expected_diff_id,
            progress=progress,
            what=what,
            whole=whole,
        )

    def adopt(
        self,
        path: str,
        parent: Layer | None,
        layer_id: str | None = None,
        *,
        created_by: str = "",
        created: str | None = None,
        comment: str = "",
    ) -> Layer:
        """Make the directory *path*, in overlayfs form and on the store's file system, a layer by renaming it.

        The time it takes does not depend on its size: nothing in it is read or synced. The caller's Operation is what
        takes it back.

        Args:
            path: absolute; nobody writes to it any more.
            parent: the layer that it lies on.
            layer_id: 64 hex digits, also the name of its contents; random by default.
            created_by: the command that made it.
            created: RFC 3339; now by default.
            comment: of whoever made it.

        Raises:
            OSError: EXDEV: it is on another file system. Nothing happened.
        """
        layer_id = layer_id or os.urandom(32).hex()
        layer = Layer(
            id=layer_id,
            parent=parent.id if parent else None,
            diff_id=None,
            diff=layer_id,
            size=None,
            created=created or now(),
            created_by=created_by,
            comment=comment,
            opaque=False,
            has_root=True,
            whiteouts=True,
        )
        os.rename(path, self.home.diff(layer_id))
        files.sync_folder(self.home.folder("diffs"))
        self.write(layer)
        return layer

    def seal(self, layer_id: str) -> Layer:
        """Compute the diff_id of a layer that has none yet, by packing it.

        Returns:
            The layer with it; as it is, where it had one.

        Raises:
            OSError: its contents could not be read.
        """
        from minirun.layer import pack

        layer = self.get(layer_id)
        if layer.diff_id is None:
            packed = pack.pack(self.home.diff(layer.diff), lambda _data: None, compression="none")
            layer = self.measure(layer_id).but(diff_id=packed.diff_id)
            self.write(layer)
        return layer

    def measure(self, layer_id: str) -> Layer:
        """Count the bytes of a layer that nobody has counted yet; returns it with its size."""
        layer = self.get(layer_id)
        if layer.size is None:
            layer = layer.but(size=tree.usage(self.home.diff(layer.diff))[0])
            self.write(layer)
        return layer

    def remove(self, layer_id: str) -> None:
        """Remove a layer, and its contents where no other layer has them; idempotent.

        The caller holds ``home.lock`` exclusively, and knows that neither image, container nor layer needs it.

        Raises:
            OSError: the contents could not be removed; they are gone for `get` all the same.
        """
        try:
            layer = self.get(layer_id)
        except NotFound:
            return
        with Operation(self.home, frees=True) as operation:
            temporary = self.home.temporary(operation.key)
            operation.will("remove_tree", temporary)
            files.remove(self.home.layer(layer_id))
            self._discard(layer.diff, temporary)

    def discard(self, name: str) -> None:
        """Remove the contents *name* below diffs/ unless a layer has them; idempotent.

        They go by a rename, so that half of them is never taken for all of them. The caller holds ``home.lock``
        exclusively.
        """
        with Operation(self.home, frees=True) as operation:
            temporary = self.home.temporary(operation.key)
            operation.will("remove_tree", temporary)
            self._discard(name, temporary)

    def _discard(self, name: str, temporary: str) -> None:
        if name not in self.diffs():
            try:
                os.rename(self.home.diff(name), temporary)
            except FileNotFoundError:
                pass
            tree.remove(temporary)

    def write(self, layer: Layer) -> None:
        """Put the record of *layer* on disk."""
        jsonrecord.write(self.home, self.home.layer(layer.id), layer.to_json())
