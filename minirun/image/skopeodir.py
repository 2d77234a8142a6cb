"""What skopeo calls ``dir:`` and `podman save` docker-dir: the blobs of an image beside its manifest, by digest.

    version                   Directory Transport Version: 1.1
    manifest.json             its manifest, or an index of several for several platforms
    <digest>.manifest.json    those that the index names
    <digest>                  config and layers, as they are in a registry

See containers-transports(5), dir:path. No name is in it.
"""

from __future__ import annotations

from hashlib import sha256

from minirun.errors import BadInput
from minirun.image import jsondocument, ocimanifest, platform
from minirun.image.ocimanifest import MANIFEST_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.contents import Contents
    from minirun.image.manifest import Manifest
    from minirun.image.ocimanifest import Descriptor
    from minirun.image.platform import Platform

_VERSION = b"Directory Transport Version:"


def is_dir(contents: Contents, names: list[str]) -> bool:
    """Whether *contents*, which has *names* at the top, is one."""
    return "manifest.json" in names and "version" in names and contents.read("version", 100).startswith(_VERSION)


def read(contents: Contents, wanted: Platform | None = None) -> Manifest:
    """Read the image in *contents* that is for a platform, or for this host's.

    Raises:
        BadInput: there is none for it.
        BadLayer: a file is damaged, missing, or not what its digest says.
    """
    where = f"'manifest.json' in {contents.path}"
    document = contents.read("manifest.json", MANIFEST_BYTES)
    top: Descriptor = {"digest": f"sha256:{sha256(document).hexdigest()}", "size": len(document)}

    def fetch(asked: Descriptor, limit_bytes: int) -> bytes:
        if asked["digest"] == top["digest"]:
            return document
        name = asked["digest"][7:]
        return contents.read(f"{name}.manifest.json" if contents.kind(f"{name}.manifest.json") else name, limit_bytes)

    described, index = top, ocimanifest.mapping(jsondocument.parse(document, where), where)
    if "manifests" in index:
        found = platform.choose(ocimanifest.manifests(index, where, fetch), wanted)
        if not found:
            reason = f"it is not there for {wanted or platform.Platform.here()}"
            raise BadInput(f"use {contents.path} as an image", reason, "`minirun load --platform …` takes another")
        described = found[0]
    return ocimanifest.image(described, where, fetch, lambda digest: digest[7:])
