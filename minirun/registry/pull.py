"""An image comes from a registry.

tag or digest ─▶ manifest, or index ─▶ the image for a platform ─▶ its config ─▶ source.store ─▶ image, named
╰ asks for the layers that it
has not: see download.py
"""

from __future__ import annotations

import signal
import threading

from minirun.errors import NotFound
from minirun.image import jsondocument, ocimanifest, platform, source
from minirun.image.ocimanifest import INDEXES, MANIFEST_TYPES
from minirun.image.reference import Reference
from minirun.image.store import Images
from minirun.layer.blobs import Blobs
from minirun.layer.record import chain_ids
from minirun.layer.store import Layers
from minirun.registry.download import Download

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType, TracebackType
    from typing import Any

    from minirun.home import Home
    from minirun.image.manifest import Manifest, Part
    from minirun.image.ocimanifest import Descriptor
    from minirun.image.platform import Platform
    from minirun.image.source import Warn
    from minirun.image.store import Image
    from minirun.registry.listener import Listener
    from minirun.registry.repository import Document, Repository

ID_DIGITS = 12  # of the digest of a layer, as Docker shows it


class Remote:
    """What holds the blobs of an image that is pulled.

    Attributes:
        path: what the user called it, for refusals.
    """

    def __init__(self, repository: Repository, path: str) -> None:
        self.path = path
        self._repository = repository
        self._open: list[Download] = []

    def look(self, part: Part) -> None:
        """Its manifest has said all."""

    def blob(self, part: Part) -> Iterator[bytes]:
        """The bytes of a layer, over a connection of the process that asks."""
        download = Download(self._repository, part.digest, part.size)
        self._open.append(download)
        return download

    def close(self) -> None:
        """Have every download end."""
        for download in self._open:
            download.close()


class _Interruptible:
    """While this is entered, SIGINT first ends the downloads of this process, for which somebody may be waiting."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._before: Any = None
        # the only one that signals come to
        self._is_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self._is_main:
            self._before = signal.signal(signal.SIGINT, self._interrupt)

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        if self._is_main:
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._remote.close()
        raise KeyboardInterrupt


def pull(
    home: Home, repository: Repository, reference: Reference, wanted: Platform | None, told: Listener,
    warn: Warn | None = None,
) -> tuple[Image, bool]:  # fmt: skip
    """Bring an image here, and let its name point to it.

    Args:
        home: where it goes.
        repository: that has it.
        reference: what it is called; by its digest it gets no name.
        wanted: for which platform; None: this host's.
        told: of what happens.
        warn: told what was left out of a layer.

    Returns:
        The image in the store, and whether its name meant another one before, or none.

    Raises:
        NotFound: it is not there, or not for that platform.
        BadLayer: it is damaged, or not what its digest says.
        MinirunError: the registry or the store failed; the store is as it was.
    """
    told.say(f"{reference.digest or reference.tag}: Pulling from {repository.name}")
    document = repository.manifest(reference.digest or reference.tag)
    manifest = _manifest(home, repository, reference, document, wanted)
    if reference.tag and reference.digest:
        reference = Reference(reference.name, "", reference.digest)  # Docker names no image by both
    before = _named(home, reference)
    there = _present(home, manifest)
    ids = [part.name for part in manifest.parts]
    for number, name in enumerate(ids):
        told.layer(name, "Already exists" if number in there else "Pulling fs layer")
    coming = _Coming(told, [name for number, name in enumerate(ids) if number not in there])
    remote = Remote(repository, reference.familiar)
    tags = [reference] if reference.tag else []
    with _Interruptible(remote):
        image = source.store(
            home, remote, manifest, source.Wanted(tags=tags), progress=coming.begin, warn=warn, ready=coming.ready
        )  # fmt: skip
    coming.over()
    told.say(f"Digest: {document.digest}")
    return image, before is None or before.id != image.id


def _manifest(
    home: Home, repository: Repository, reference: Reference, document: Document, wanted: Platform | None
) -> Manifest:
    name = reference.familiar

    def fetch(described: Descriptor, limit_bytes: int) -> bytes:
        digest: str = described["digest"]
        if digest == document.digest:
            return document.data
        if described.get("mediaType") in (*INDEXES, *MANIFEST_TYPES):
            return repository.manifest(digest).data
        return _config_here(home, digest) or repository.document(digest, limit_bytes)

    described: Descriptor = document.descriptor
    if document.is_index:
        described = _choose(jsondocument.parse(document.data, name), name, fetch, wanted)
    manifest = ocimanifest.image(described, name, fetch, lambda digest: digest[7 : 7 + ID_DIGITS])
    if wanted is not None and not wanted.suits(manifest.config.raw):
        _refuse_platform(name, [platform.describe(manifest.config.raw)], wanted)
    manifest.repo_digests = [f"{reference.name}@{document.digest}"]
    return manifest


def _choose(index: object, name: str, fetch: Callable[[Descriptor, int], bytes], wanted: Platform | None) -> Descriptor:
    found = ocimanifest.manifests(index, name, fetch)
    chosen = platform.choose(found, wanted)
    if not chosen:
        _refuse_platform(name, [platform.describe(described.get("platform")) for described in found], wanted)
    # several may suit, arm64 beside arm64/v8; the index has them in the order of preference (image-index.md)
    described = chosen[0]
    return {**described, "mediaType": described.get("mediaType") or MANIFEST_TYPES[0]}


def _refuse_platform(name: str, offered: Sequence[str], wanted: Platform | None) -> None:
    what = ", ".join(dict.fromkeys(offered)) or "no platform"
    raise NotFound(f"pull {name}", f"it is for {what[:300]}, not for {wanted or platform.Platform.here()}",
                   "`--platform OS/ARCHITECTURE` takes another, which this host may be unable to run")  # fmt: skip


def _config_here(home: Home, digest: str) -> bytes:
    """The config of an image that is stored; or nothing. The caller checks it against the digest."""
    images = Images(home)
    try:
        return images.exact(images.get(digest))
    except NotFound:
        return b""


def _named(home: Home, reference: Reference) -> Image | None:
    """What a pull of *reference* has stored before."""
    try:
        return Images(home).get(reference)
    except NotFound:
        return None


def _present(home: Home, manifest: Manifest) -> set[int]:
    """The places of the layers that are stored, with their blobs."""
    layers, blobs = Layers(home), Blobs(home)
    there = set()
    for number, layer_id in enumerate(chain_ids([part.diff_id for part in manifest.parts])):
        if layers.is_known(layer_id) and blobs.has(manifest.parts[number].digest):
            there.add(number)
    return there


class _Coming:
    """What is told of layers on their way, in Docker's words.

    Pulling fs layer ─▶ Downloading … ─▶ Download complete ─▶ Pull complete
                                         its bytes are here   and it is unpacked, and what its digests say

    Args:
        told: is told.
        names: of those that are on their way; two may have the same.
    """

    def __init__(self, told: Listener, names: Sequence[str]) -> None:
        self._told = told
        self._left = list(names)
        self._whole: set[str] = set()

    def begin(self, name: str, size: int) -> Callable[[int], None]:
        """A layer is begun: see image/source.py."""
        if not name:
            return lambda _far: None

        def far(read_bytes: int) -> None:
            if read_bytes >= size:
                self._download_complete(name)
            else:
                self._told.far(name, "Downloading", read_bytes, size)

        self._whole.discard(name)
        return far

    def ready(self, name: str) -> None:
        """A layer is unpacked, and is the right one."""
        self._download_complete(name)
        self._told.layer(name, "Pull complete")
        if name in self._left:
            self._left.remove(name)

    def over(self) -> None:
        """All are there: also those of which the contents were, in another image."""
        for name in self._left:
            self._told.layer(name, "Pull complete")

    def _download_complete(self, name: str) -> None:
        if name not in self._whole:
            self._whole.add(name)
            self._told.layer(name, "Download complete")
