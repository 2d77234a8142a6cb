"""One repository of a registry: its manifests, its tags, its small blobs, read whole and checked.

    GET /v2/<name>/manifests/<tag or digest>   what it is, Content-Type says, and the document must agree: else one
                                               client would take for an index what another takes for an image
                                               (CVE-2021-41190)
    GET /v2/<name>/tags/list?n=1000            {"tags": […]}, and a Link to the rest of them
    GET /v2/<name>/blobs/<digest>              a config; layers are in download.py

See the OCI distribution-spec, "Pull", and image-spec's media-types.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

from minirun.errors import BadInput, BadLayer, Unsupported
from minirun.image import jsondocument
from minirun.image.ocimanifest import INDEXES, MANIFEST_BYTES, MANIFEST_TYPES
from minirun.image.reference import is_digest, parse
from minirun.registry.loss import Lost

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.registry.client import Client
    from minirun.registry.transport import Answer

_ACCEPTED = ", ".join((*MANIFEST_TYPES, *INDEXES))
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_TAGS = 100_000  # in one repository
_PAGE = 1000
_LINK = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index, as the registry has it.

    Attributes:
        data: byte for byte.
        digest: its sha256.
        media_type: one of those of ocimanifest.py.
    """

    data: bytes
    digest: str
    media_type: str

    @property
    def is_index(self) -> bool:
        """Whether it names images for several platforms."""
        return self.media_type in INDEXES

    @property
    def descriptor(self) -> dict[str, Any]:
        """What names it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


class Repository:
    """One repository.

    Args:
        client: of its registry.
        name: its path there: ``library/ubuntu``.

    Attributes:
        pull: what a token for reading is good for.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.pull = (f"repository:{name}:pull",)

    def close(self) -> None:
        """Close all connections to its registry. Idempotent."""
        self.client.close()

    def manifest(self, reference: str) -> Document:
        """A manifest or an index, by its tag or its digest.

        Raises:
            NotFound: it is not there.
            Unsupported: it is of a form that is no longer in use.
            BadLayer: it is not what its digest or its type says.
            MinirunError: the registry does not give it.
        """
        what = f"{self.name}:{reference}" if not is_digest(reference) else f"{self.name}@{reference[:19]}"
        data, answer = self._read(f"manifests/{reference}", what, MANIFEST_BYTES, accept=_ACCEPTED)
        digest = f"sha256:{sha256(data).hexdigest()}"
        told = answer.headers.get("Docker-Content-Digest")
        for expected in (reference, told):
            # a registry may tell a digest by another algorithm
            if is_digest(expected) and expected != digest:
                raise BadLayer(self.client.attempt, f"the manifest of {what} is not what its digest {expected} names",
                               "it was changed on its way, or in the registry; try another network")  # fmt: skip
        return Document(data, digest, self._kind(data, answer, what))

    def _kind(self, data: bytes, answer: Answer, what: str) -> str:
        kind = (answer.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
        document = jsondocument.parse(data, f"the manifest of {what}")
        found = document if isinstance(document, dict) else {}
        if kind.startswith(_SCHEMA_1) or found.get("schemaVersion") == 1:
            raise Unsupported(self.client.attempt, f"{what} is of schema 1, which nobody writes any more",
                              "`skopeo copy --format v2s2` makes one of today")  # fmt: skip
        said = found.get("mediaType")
        told, kind = kind, kind if kind in (*MANIFEST_TYPES, *INDEXES) else str(said)
        if kind not in (*MANIFEST_TYPES, *INDEXES):
            raise BadInput(self.client.attempt, f"{what} is of type {str(said or told)[:80]!r}, which is no image's",
                           "images have an OCI manifest or index, or Docker's of schema 2")  # fmt: skip
        is_index = kind in INDEXES
        if said not in (kind, None) or ("layers" if is_index else "manifests") in found:
            raise BadLayer(self.client.attempt, f"{what} is said to be one thing and looks like another ({kind})",
                           "it could mean two images; do not use it")  # fmt: skip
        return kind

    def document(self, digest: str, limit_bytes: int) -> bytes:
        """A blob that is read whole; the caller checks it against its digest.

        Raises:
            MinirunError: the registry does not give it.
        """
        return self._read(f"blobs/{digest}", f"blob {digest[:19]} of {self.name}", limit_bytes)[0]

    def tags(self) -> list[str]:
        """Every tag, in the registry's order.

        Raises:
            NotFound: there is no such repository.
            MinirunError: the registry does not list them, or lists what is none.
        """
        found: dict[str, None] = {}
        target = f"tags/list?n={_PAGE}"
        what = f"the tags of {self.name}"
        while target:
            data, answer = self._read(target, what, MANIFEST_BYTES)
            document = jsondocument.parse(data, what)
            page = document.get("tags") if isinstance(document, dict) else None
            if not isinstance(page or [], list):
                raise BadLayer(self.client.attempt, f"{what} are no list", "that is a fault of the registry's")
            before = len(found)
            for tag in page or []:
                if not _is_tag(tag):
                    raise BadLayer(self.client.attempt, f"{what} have one that is none", "it is the registry's fault")
                found[tag] = None
            link = _LINK.search((answer.headers.get("Link") or "")[:8192])
            # a page that has nothing new would lead in circles
            target = self.client.follow(answer.url, link[1]) if link and len(found) > before else ""
            if len(found) > _TAGS:
                raise BadLayer(self.client.attempt, f"{what} are more than {_TAGS}", "name the one that you want")
        return list(found)

    def _read(self, target: str, what: str, limit_bytes: int, accept: str = "*/*") -> tuple[bytes, Answer]:
        if "://" not in target:
            target = f"/v2/{self.name}/{target}"
        failures = 0
        while True:
            answer = self.client.send("GET", target, scopes=self.pull, headers={"Accept": accept})
            self.client.expect(answer, 200, what=what)
            try:
                return answer.read(limit_bytes, what), answer
            except Lost as lost:
                failures += 1
                self.client.rest(lost, failures)


def _is_tag(text: object) -> bool:
    """Whether what a registry lists can be asked for, and stored."""
    if not isinstance(text, str) or ":" in text or "/" in text or "@" in text:
        return False
    try:
        parse(f"name:{text}")
    except BadInput:
        return False
    return True
