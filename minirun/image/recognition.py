"""What a directory holds, told by what it has in it.

    oci-layout, index.json     OCI layout: umoci, skopeo, buildah, `docker save` since version 25
    manifest.json              docker-save
    repositories               docker-save before Docker 1.10
    NN-name…                   layers
    bin/ or usr/               a root file system

The first that applies counts; only a root file system may have a manifest.json of its own.
"""

from __future__ import annotations

from minirun.errors import BadInput
from minirun.image import dockersave, layerdir, ocilayout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.image.folder import Folder
    from minirun.image.manifest import Manifest


def recognise(folder: Folder) -> Manifest:
    """Find out what *folder* holds, and check all that can be checked without unpacking it.

    Raises:
        BadInput: it holds no image, or several.
        BadLayer: what it holds is damaged or hostile.
    """
    names = folder.names()
    if ocilayout.is_layout(names):
        return ocilayout.read(folder)
    if dockersave.is_saved(names) and not layerdir.is_root(folder):
        return dockersave.read(folder)
    if layerdir.is_layers(names):
        return layerdir.read_layers(folder)
    if layerdir.is_root(folder):
        return layerdir.read_root(folder)
    reason = "it holds no image" if names else "the directory is empty"
    raise BadInput(
        f"use {folder.path} as an image", reason,
        "looked for: layers NN-name.tar[.gz|.zst|.xz] or NN-name/ (NN: digits),\n"
        "bin/ or usr/ of a root file system, oci-layout and index.json, manifest.json of docker save",
    )  # fmt: skip
