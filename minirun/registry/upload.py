"""One blob on its way to a repository.

    HEAD blobs/<digest>                        200: it has it
    POST blobs/uploads/?mount=<digest>&from=…  201: it took it from another of its repositories
    POST blobs/uploads/                        202, Location: where the bytes go
      small   PUT   <location>?digest=…          all of them, 201
      large   PATCH <location>                   Content-Range: 0-67108863; 202, Location: where the next go, …
              GET   <location>                   after a broken connection: 204, Range: 0-<what it has>
              PUT   <location>?digest=…          201

See the OCI distribution-spec, "Pushing blobs".
"""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import urlencode, urlsplit

from minirun.errors import BadLayer, MinirunError
from minirun.registry.loss import Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from minirun.registry.repository import Repository
    from minirun.registry.transport import Answer

CHUNK_BYTES = 64 << 20  # what is larger goes in pieces, so that a broken connection costs one of them
SMALL_CHUNK_BYTES = 8 << 20  # where the registry wants pieces, or somebody in between small ones
_CHUNK_MAX_BYTES = 1 << 30  # of what a registry may ask for
_MOUNTS = 4  # repositories that are asked for it
_BINARY = {"Content-Type": "application/octet-stream"}


class _Gone(Exception):
    """The registry has forgotten the upload."""


class Upload:
    """A blob to be given to a repository.

    Args:
        repository: that is to have it.
        digest: of the blob.
        size: its bytes.
        source: begins to yield them.
        told: how many of them were sent.
    """

    def __init__(
        self, repository: Repository, digest: str, size: int, source: Callable[[], Iterator[bytes]],
        told: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._repository = repository
        self._client = repository.client
        self._scopes: tuple[str, ...] = (f"repository:{repository.name}:pull,push",)
        self._what = f"blob {digest[:19]} of {repository.name}"
        self._digest = digest
        self._size = size
        self._source = source
        self._told = told
        self._chunk_bytes = 0  # 0: all at once

    def run(self, others: Sequence[str] = ()) -> str:
        """Have the repository get it.

        Args:
            others: repositories of the same registry that probably have it.

        Returns:
            ``pushed``, ``exists``, or the repository that it was taken from.

        Raises:
            MinirunError: the registry does not take it.
            BadLayer: it is not what its digest names.
        """
        target = f"/v2/{self._repository.name}/blobs/{self._digest}"
        answer = self._client.send("HEAD", target, scopes=self._scopes)
        answer.close()
        if answer.status == 200:
            return "exists"
        self._client.expect(answer, 404, what=self._what)
        location = ""
        for other in others[:_MOUNTS]:
            location = self._begin(other)
            if not location:
                return other
        failures = 0
        while True:
            try:
                self._send(location or self._begin())
            except (Lost, _Gone) as error:
                failures += 1
                gone = Lost("the registry forgets what was sent so far", "try again later")
                self._client.rest(error if isinstance(error, Lost) else gone, failures)
                location = ""
            else:
                return "pushed"

    def _begin(self, other: str = "") -> str:
        """Begin; returns where the bytes go, or nothing where they were taken from the repository *other*."""
        query, scopes = "", self._scopes
        if other:
            query = "?" + urlencode({"mount": self._digest, "from": other})
            scopes = (*scopes, f"repository:{other}:pull")
        target = f"/v2/{self._repository.name}/blobs/uploads/{query}"
        answer = self._client.send("POST", target, scopes=scopes, headers={"Content-Length": "0"})
        self._client.expect(answer, *((201, 202) if other else (202,)), what=f"an upload to {self._repository.name}")
        answer.discard()
        if answer.status == 201:
            return ""
        asked = answer.headers.get("OCI-Chunk-Min-Length", "")
        least = int(asked) if asked.isdecimal() and len(asked) < 12 else 0
        if 0 < least <= _CHUNK_MAX_BYTES:
            self._chunk_bytes = max(self._chunk_bytes or SMALL_CHUNK_BYTES, least)
        elif self._size > CHUNK_BYTES:
            self._chunk_bytes = self._chunk_bytes or CHUNK_BYTES
        return self._location(answer)

    def _location(self, answer: Answer) -> str:
        location = answer.headers.get("Location")
        if not location:
            raise MinirunError(self._client.attempt, "the registry does not say where the bytes are to go",
                               "that is a fault of the registry's: it sent no Location")  # fmt: skip
        return self._client.follow(answer.url, location)

    def _send(self, location: str) -> None:
        if self._chunk_bytes and self._size > self._chunk_bytes:
            location = self._send_chunks(location)
            answer = self._put(location, None, 0)
        else:
            answer = self._put(location, lambda: self._part(0, self._size), self._size)
            if answer.status == 413 and self._size > SMALL_CHUNK_BYTES:
                answer.close()
                self._chunk_bytes = SMALL_CHUNK_BYTES
                raise _Gone
        if answer.status == 404:
            answer.discard()
            raise _Gone
        self._client.expect(answer, 201, what=self._what).discard()

    def _put(self, location: str, body: Callable[[], Iterator[bytes]] | None, length: int) -> Answer:
        target = f"{location}{'&' if urlsplit(location).query else '?'}{urlencode({'digest': self._digest})}"
        headers = {**_BINARY, "Content-Length": str(length)}
        return self._client.once("PUT", target, scopes=self._scopes, headers=headers, body=body)

    def _send_chunks(self, location: str) -> str:
        """Send all bytes in pieces; returns where the upload is to be ended."""
        at = failures = 0
        while at < self._size:
            end = min(at + self._chunk_bytes, self._size)
            headers = {**_BINARY, "Content-Length": str(end - at), "Content-Range": f"{at}-{end - 1}"}
            begin, count = at, end - at
            try:
                answer = self._client.once(
                    "PATCH", location, scopes=self._scopes, headers=headers, body=lambda: self._part(begin, count)  # noqa: B023 - called before the next turn
                )  # fmt: skip
                if answer.status == 404:
                    raise _Gone
                if answer.status == 416:
                    self._disagree(answer)
                self._client.expect(answer, 202, 201, 204, what=self._what).discard()
                at, failures = end, 0
            except Lost as lost:
                failures += 1
                self._client.rest(lost, failures)
                answer = self._client.send("GET", location, scopes=self._scopes)
                if answer.status == 404:
                    raise _Gone from None
                self._client.expect(answer, 204, 202, 200, what=f"the upload to {self._repository.name}").discard()
                at = _received(answer, self._size)
            location = self._location(answer) if answer.headers.get("Location") else location
        return location

    @staticmethod
    def _disagree(answer: Answer) -> None:
        answer.discard()
        raise Lost("the registry and we do not agree on what was sent", "try again later")

    def _part(self, begin: int, count: int) -> Iterator[bytes]:
        """The bytes from *begin* on; all that was read is hashed, and the last is given away when the hash is right."""
        hashed, at, end = sha256(), 0, begin + count
        held = b""
        for chunk in self._source():
            hashed.update(chunk)
            start, at = at, at + len(chunk)
            piece = chunk[max(0, begin - start) : max(0, end - start)]
            if piece:
                if held:
                    yield held
                    self._told(min(start, self._size))
                held = piece
            if at >= end and end < self._size:
                break
        if end == self._size and (at != self._size or f"sha256:{hashed.hexdigest()}" != self._digest):
            raise BadLayer(self._client.attempt, f"{self._what} is damaged in the store",
                           "`minirun system check` tells what else is; load or pull its image again")  # fmt: skip
        if held:
            yield held
        self._told(end)


def _received(answer: Answer, size: int) -> int:
    """How many bytes a registry says it has: ``Range: 0-99`` for 100, ``0-0`` for none."""
    first, dash, last = answer.headers.get("Range", "").removeprefix("bytes=").partition("-")
    if first != "0" or not dash or not last.isdecimal() or len(last) > 19 or last == "0":
        return 0
    return min(int(last) + 1, size)
