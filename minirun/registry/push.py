"""An image goes to a registry: its blobs side by side, and when all are there its manifest.

    layers, config ─▶ several uploads, each in a thread (upload.py) ─▶ PUT manifests/<tag> ─▶ the digest it has there
                      │ what happens is told in the caller's thread

Threads, and not processes: what they do is wait, and hash, for which Python lets go of its lock.
"""

from __future__ import annotations

import os
import queue
import threading
from hashlib import sha256

from minirun.errors import BadInput, BadLayer
from minirun.image.reference import is_digest, parse
from minirun.image.store import Images
from minirun.registry.address import of_image
from minirun.registry.patience import Cancelled
from minirun.registry.transport import PIECE_BYTES
from minirun.registry.upload import Upload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from minirun.home import Home
    from minirun.image.departure import Departure
    from minirun.image.leavingblobs import Blob
    from minirun.registry.address import Address
    from minirun.registry.listener import Listener
    from minirun.registry.repository import Repository

WIDTH = 3  # uploads at once
_DIGITS = 12


class _Job:
    """One blob that the registry is to have.

    Attributes:
        name: of the layer, as it is shown; empty for the config.
        digest: of the blob.
        size: its bytes.
        open: begins to yield them.
    """

    __slots__ = ("digest", "name", "open", "size")

    def __init__(self, name: str, digest: str, size: int, opened: Callable[[], Iterator[bytes]]) -> None:
        self.name = name
        self.digest = digest
        self.size = size
        self.open = opened


def push(
    repository: Repository, tag: str, leaving: Departure, others: Mapping[str, Sequence[str]], told: Listener
) -> str:
    """Have a repository get an image.

    Args:
        repository: that is to have it.
        tag: what it is called there.
        leaving: the image.
        others: repositories of the same registry that probably have a blob, by its digest.
        told: of what happens.

    Returns:
        The digest of its manifest.

    Raises:
        BadLayer: a blob is damaged in the store.
        MinirunError: the registry does not take it. What it took stays there until it cleans up.
    """
    jobs = _jobs(leaving)
    for job in jobs:
        if job.name:
            told.layer(job.name, "Preparing")
    _Uploads(repository, jobs, others, told).run()
    client = repository.client
    answer = client.send(
        "PUT", f"/v2/{repository.name}/manifests/{tag}", scopes=(f"repository:{repository.name}:pull,push",),
        headers={"Content-Type": leaving.media_type, "Content-Length": str(len(leaving.document))},
        body=leaving.document,
    )  # fmt: skip
    client.expect(answer, 201, what=f"the manifest of {repository.name}:{tag}").discard()
    says = answer.headers.get("Docker-Content-Digest")
    if is_digest(says) and says != leaving.digest:
        raise BadLayer(client.attempt, f"the registry stored another manifest, {says}, than {leaving.digest}",
                       "that is a fault of the registry's; do not trust what it has")  # fmt: skip
    told.say(f"{tag}: digest: {leaving.digest} size: {len(leaving.document)}")
    return leaving.digest


def known(home: Home, address: Address) -> dict[str, list[str]]:
    """Which repositories of a registry images were pulled from or pushed to, by the digests of their blobs.

    What an image whose record cannot be read came from, nobody knows: its blobs are sent.
    """
    found: dict[str, list[str]] = {}
    for image, _ in Images(home).list(lambda _error: None):
        for text in image.repo_digests:
            try:
                there, name = of_image(parse(text))
            except BadInput:
                continue
            if there.name == address.name:
                for digest in filter(None, image.blobs):
                    if name not in found.setdefault(digest, []):
                        found[digest].append(name)
    return found


def _jobs(leaving: Departure) -> list[_Job]:
    """Each blob once, topmost first, as Docker lists them; the config last."""
    layers = {layer.digest: layer for layer in leaving.layers}
    jobs = [
        _Job(layer.diff_id[7 : 7 + _DIGITS], layer.digest, layer.size, lambda layer=layer: _chunks(layer))  # type: ignore[misc]  # bound early
        for layer in reversed(layers.values())
    ]
    config = leaving.config
    return [*jobs, _Job("", f"sha256:{sha256(config).hexdigest()}", len(config), lambda: iter((config,)))]


def _chunks(layer: Blob) -> Iterator[bytes]:
    opened = layer.open()
    if not isinstance(opened, int):
        yield from opened
        return
    try:
        while chunk := os.read(opened, PIECE_BYTES):
            yield chunk
    finally:
        os.close(opened)


class _Uploads:
    """Several uploads at once."""

    def __init__(
        self, repository: Repository, jobs: Sequence[_Job], others: Mapping[str, Sequence[str]], told: Listener
    ) -> None:
        self._repository = repository
        self._others = others
        self._told = told
        self._count = len(jobs)
        self._waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        for job in jobs:
            self._waiting.put(job)
        # (of what, what became of it, bytes so far)
        self._events: queue.SimpleQueue[tuple[_Job, str | BaseException, int]] = queue.SimpleQueue()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Do them all; what one raises ends the others, and is raised here."""
        # daemons: who is interrupted does not wait for a registry that does not answer
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(min(WIDTH, self._count))]
        for thread in threads:
            thread.start()
        left = self._count
        try:
            while left:
                job, became, far = self._events.get()
                if isinstance(became, BaseException):
                    raise became
                if became:
                    left -= 1
                    if job.name:
                        self._told.layer(job.name, became)
                elif job.name:
                    self._told.far(job.name, "Pushing", far, job.size)
        finally:
            self._stopped.set()
            if left:
                self._repository.client.waiting.cancel()

    def _work(self) -> None:
        job: _Job | None = None
        try:
            while not self._stopped.is_set():
                job = self._waiting.get_nowait()
                self._events.put((job, self._upload(job), job.size))
        except queue.Empty:
            return
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            if job is not None:
                self._events.put((job, error, 0))

    def _upload(self, job: _Job) -> str:
        def far(sent: int) -> None:
            if self._stopped.is_set():
                raise Cancelled
            self._events.put((job, "", sent))

        others = [name for name in self._others.get(job.digest, ()) if name != self._repository.name]
        became = Upload(self._repository, job.digest, job.size, job.open, far).run(others)
        return {"pushed": "Pushed", "exists": "Layer already exists"}.get(became, f"Mounted from {became}")
