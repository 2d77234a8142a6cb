"""The bytes of one blob, from the first to the last, however often the connection breaks.

    GET blobs/<digest>                             200  ── bytes ──✂
    GET blobs/<digest>   Range: bytes=<so far>-    206  ─────────── bytes ──✂        the rest
                         If-Range: <its ETag>      200  ══ the same again ══ bytes   … or all of it: what we have is
                                                                                     read past
Whoever takes the bytes hashes them. What is checked here is how many they are, so that a body without an end has one.
"""

from __future__ import annotations

import re

from minirun.errors import BadLayer
from minirun.registry.loss import Lost
from minirun.registry.patience import Cancelled, Waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from minirun.registry.repository import Repository
    from minirun.registry.transport import Answer

_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)")
_PROGRESS_BYTES = 1 << 20  # who got so much further has not tried in vain


class Download:
    """An iterator over the bytes of a blob.

    Args:
        repository: that has it.
        digest: checked for its form.
        size: its bytes, as the manifest has them.
    """

    def __init__(self, repository: Repository, digest: str, size: int) -> None:
        self._repository = repository
        self._client = repository.client
        self._digest = digest
        self._size = size
        self._etag = ""
        self._waiting = Waiting()
        self._answer: Answer | None = None
        self._chunks = self._read()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """Nobody wants the rest: end it, also where another thread waits for the next bytes. Idempotent."""
        self._waiting.cancel()
        if self._answer is not None:
            self._answer.interrupt()

    def _read(self) -> Iterator[bytes]:
        so_far = failures = since = 0
        while True:
            try:
                answer, skipped = self._open(so_far)
                for chunk in answer.chunks():
                    fresh = chunk[skipped:] if skipped else chunk
                    skipped -= len(chunk) - len(fresh)
                    if not fresh:
                        continue
                    so_far += len(fresh)
                    if so_far > self._size:
                        answer.close()
                        raise BadLayer(
                            self._client.attempt, f"layer {self._digest[:19]} is longer than the {self._size} bytes "
                            "that its manifest says", "that is a fault of the registry's, or of somebody in between",
                        )  # fmt: skip
                    yield fresh
                if so_far == self._size:
                    return
                self._fail(f"it ended after {so_far} of {self._size} bytes")
            except Lost as lost:
                if so_far == self._size:
                    return  # only its end was late; whoever hashes it knows whether it is good
                if self._waiting.is_cancelled:
                    raise Cancelled from None
                failures = 1 if so_far - since >= _PROGRESS_BYTES else failures + 1
                since = so_far
                self._client.rest(lost, failures, self._waiting)

    def _fail(self, reason: str) -> None:
        place = f"layer {self._digest[:19]} of {self._repository.name}"
        raise Lost(f"{place}: {reason}", "try again; what was unpacked so far is not kept")

    def _open(self, so_far: int) -> tuple[Answer, int]:
        """Ask for what is missing; how many bytes of the answer are to be left out."""
        headers = {}
        if so_far:
            headers["Range"] = f"bytes={so_far}-"
            if self._etag:
                headers["If-Range"] = self._etag
        target = f"/v2/{self._repository.name}/blobs/{self._digest}"
        answer = self._client.once("GET", target, scopes=self._repository.pull, headers=headers)
        if answer.status == 416 and so_far:
            answer.discard()
            self._fail("the registry has no more of it")
        self._client.expect(answer, 200, 206, what=f"layer {self._digest[:19]} of {self._repository.name}")
        self._answer = answer
        at, whole = 0, answer.headers.get("Content-Length", "")
        length = int(whole) if whole.isdecimal() and len(whole) < 20 else None
        if answer.status == 206:
            found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            at = int(found[1]) if found else -1
            if not 0 <= at <= so_far or (found and found[2] not in ("*", str(self._size))):
                answer.close()
                self._fail("the registry gives another part of it than was asked for")
        if length is not None and at + length != self._size:
            answer.close()
            self._fail(f"the registry has {at + length} bytes of it, and the manifest says {self._size}")
        etag = answer.headers.get("ETag", "")
        self._etag = etag if etag.startswith('"') and len(etag) < 200 else ""
        return answer, so_far - at
