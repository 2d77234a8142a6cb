"""The layers of one image on their way into the store.

    manifest ─▶ what of it is missing: contents, blob ─▶ made ready in tmp/, several at once ─▶ settled, bottom to top
                ╰ what is stored is not read again      see layer/staging.py                   see layer/addition.py

Nobody is kept waiting until the last step, for which the caller holds the store's lock. What was stored when the first
was taken may be gone by then: it is made ready after all.
"""

from __future__ import annotations

import os
from functools import cached_property, partial

from minirun.errors import LOOK_AT_STORE, MinirunError, NotFound
from minirun.image.store import Images
from minirun.kernel import tree
from minirun.layer import addition, staging
from minirun.layer.blobs import Blobs
from minirun.layer.record import chain_ids, now
from minirun.layer.staging import Staged
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from minirun.home import Home
    from minirun.image.manifest import Holder, Manifest, Part
    from minirun.image.source import Progress, Warn
    from minirun.journal import Operation
    from minirun.layer.record import Layer

WORKERS = 3  # at once: two unpack on two processors while the third waits for the network or the disk
SMALL_BYTES = 1 << 20  # less in all blobs is unpacked sooner than a worker is there


class Arrival:
    """The layers of one image.

    Args:
        home: where they go.
        holder: has their blobs.
        manifest: says what they are. A part that does not say when it was made is told.
        operation: undoes what was done.
        progress: see image/source.py.
        ready: see image/source.py.

    Attributes:
        blobs: the digest of the blob of each layer, bottom to top, or empty; whole when all are settled.
    """

    def __init__(
        self, home: Home, holder: Holder, manifest: Manifest, operation: Operation, progress: Progress | None,
        ready: Callable[[str], object] | None = None,
    ) -> None:  # fmt: skip
        self.home = home
        self.holder = holder
        self.manifest = manifest
        self.operation = operation
        self.progress = progress
        self.ready = ready or (lambda _name: None)
        self.blobs: list[str] = []
        self._layers = Layers(home)
        self._kept = Blobs(home)
        self._folder = home.temporary(operation.key)
        self._staged: dict[int, Staged] = {}
        # one whose record cannot be read is not there: if it is among those that come, it is written again
        self._by_id = {layer.id: layer for layer in self._layers.list(lambda _error: None)}
        self._alike = {
            layer.diff_id: layer
            for layer in self._by_id.values()
            if layer.diff_id and not layer.is_bound and addition.is_stored(self._layers, layer)
        }
        self._ids = chain_ids([part.diff_id for part in manifest.parts])

    def make_ready(self) -> None:
        """Unpack what is missing.

        Raises:
            BadLayer: a layer is damaged, hostile, or not what the manifest says.
            MinirunError, OSError: it could not be read, or the store not be written.
        """
        from minirun.kernel import workers

        self.operation.will("remove_tree", self._folder)
        os.mkdir(self._folder, 0o700)
        parts = self.manifest.parts
        missing = [number for number in range(len(parts)) if not self._is_there(number)]
        for number in missing:
            self.holder.look(parts[number])
        size = sum(parts[number].size for number in missing)
        try:
            staged = workers.run(
                len(missing),
                lambda place, told: self._stage(missing[place], told),
                width=WORKERS if size >= SMALL_BYTES else 1,
                begun=lambda place: self._begin(parts[missing[place]]),
                ended=lambda place: self.ready(parts[missing[place]].name),
            )
        finally:
            if self.progress:
                self.progress("", 0)
        self._staged = dict(zip(missing, staged, strict=True))
        if missing:
            tree.sync(self._folder)

    def settle(self, warn: Warn | None) -> list[Layer]:
        """Give every layer its place; the caller holds the store's lock.

        Args:
            warn: told what was left out of a layer, a sentence each.

        Returns:
            The layers, bottom to top.
        """
        chain: list[Layer] = []
        for number, part in enumerate(self.manifest.parts):
            # not kept until the end: what a hostile layer needs from below may be much
            staged = self._staged.pop(number, None)
            if not (part.is_tree or (staged and staged.kept) or self._blob_there(part)):
                # it was there, and was removed meanwhile
                staged = self._stage(number, again=True)
                tree.sync(self._folder)
            if staged and staged.kept:
                self._keep(staged.kept.digest, partial(self._kept.adopt, staged.kept))
            self.blobs.append(staged.kept.digest if staged and staged.kept else self._blob_there(part))
            chain.append(self._settle(number, staged, chain[-1] if chain else None))
            if warn and staged and staged.unpacked:
                for warning in staged.unpacked.warnings:
                    warn(f"{self._called(part)}: {warning}")
        return chain

    def keep_manifest(self) -> str:
        """Keep the manifest; returns its digest, or nothing where there is none."""
        if self.manifest.document:
            self._keep(self.manifest.digest, lambda: self._kept.put(self.manifest.document))
        return self.manifest.digest if self.manifest.document else ""

    def tidy(self) -> None:
        """Remove what is left in tmp/."""
        tree.remove(self._folder)

    def _keep(self, digest: str, do: Callable[[], object]) -> None:
        if not self._kept.has(digest):
            self.operation.will("discard_blob", self.home.root, digest)
            do()

    def _is_there(self, number: int) -> bool:
        """Whether neither contents nor blob of a part are missing."""
        part = self.manifest.parts[number]
        return not self._wants_contents(number) and (part.is_tree or bool(self._blob_there(part)))

    def _wants_contents(self, number: int) -> bool:
        diff_id = self.manifest.parts[number].diff_id
        found = self._by_id.get(self._ids[number]) or self._alike.get(diff_id)
        return found is None or not addition.is_stored(self._layers, found)

    def _blob_there(self, part: Part) -> str:
        """The digest of a kept blob that the part is; where its source promises none, of any that has its tar in it."""
        candidates = (part.digest,) if part.digest else (part.diff_id, self._compressed.get(part.diff_id, ""))
        return next((digest for digest in candidates if digest and self._kept.has(digest)), "")

    @cached_property
    def _compressed(self) -> dict[str, str]:
        """The kept blobs of the images of the store, by the diff ids of the layers that came in them."""
        kept = Images(self.home).kept_layers().items()
        return {self._by_id[one].diff_id or "": digest for one, digest in kept if one in self._by_id}

    def _called(self, part: Part) -> str:
        return os.path.normpath(f"{self.holder.path}/{part.name}") if self.holder.path else part.name

    def _begin(self, part: Part) -> Callable[[int], None]:
        return self.progress(part.name, part.size) if self.progress else lambda _read: None

    def _stage(self, number: int, told: Callable[[int], None] | None = None, *, again: bool = False) -> Staged:
        """Make a layer ready; in a worker, perhaps."""
        part = self.manifest.parts[number]
        contents, digest = again or self._wants_contents(number), self._blob_there(part)
        keep = not part.is_tree and not digest
        if not contents and not keep:
            return Staged("", None, None)  # another process has brought it meanwhile
        try:
            return staging.stage(
                lambda: self._open(part, digest),
                f"{self._folder}/{number}" + ("-again" if again else ""),
                contents=contents,
                keep=keep,
                expected_digest=part.digest or None,
                expected_diff_id=part.diff_id or None,
                progress=told,
                what=self._called(part),
            )
        except OSError as error:
            raise MinirunError(f"unpack {self._called(part)}", error, LOOK_AT_STORE) from None

    def _open(self, part: Part, digest: str) -> int | Iterable[bytes]:
        """A layer from its beginning: the kept blob, unless that was removed meanwhile."""
        if digest:
            try:
                return self._kept.open(digest)
            except NotFound:
                pass
        return self.holder.blob(part)

    def _committed(self, diff_id: str, parent: Layer | None) -> Layer | None:
        """The layer that a commit made on *parent*, if it is what was saved and comes back; its id is by chance."""
        if parent is None:
            return None
        for layer in self._by_id.values():
            if (layer.parent, layer.diff_id) == (parent.id, diff_id):
                try:
                    found = self._layers.get(layer.id)  # again: it may have been removed meanwhile
                except NotFound:
                    continue
                if addition.is_stored(self._layers, found):
                    return found
        return None

    def _settle(self, number: int, staged: Staged | None, parent: Layer | None) -> Layer:
        part = self.manifest.parts[number]
        said: dict[str, Any] = {"created": part.created or now(), "created_by": part.created_by, "comment": ""}
        if staged is None or not staged.contents:
            committed = self._committed(part.diff_id, parent)
            if committed is not None:
                return committed
            other = self._alike.get(part.diff_id)
            shared = addition.share(
                self._layers, part.diff_id, parent, said=said, whole=self.operation, other=other
            )  # fmt: skip
            if shared is not None:
                return shared[0]
            # it was removed meanwhile, or means something else on this parent
            staged = self._stage(number, again=True)
            tree.sync(self._folder)
        what = self._called(part)
        return addition.settle(self._layers, staged, parent, said=said, what=what, whole=self.operation)[0]
