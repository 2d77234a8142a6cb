"""What `docker save` wrote since Docker 1.10, in a tar or unpacked; before that see dockerlegacy.py.

    manifest.json   [{"Config": "<id>.json", "RepoTags": ["x:1"], "Layers": ["<id>/layer.tar", …]}, …]   an image each

The paths in manifest.json are the archive's to choose: skopeo has <digest>.tar, newer Dockers blobs/sha256/<digest>;
some write symlinks ../<id>/layer.tar to layers that repeat. `Contents` finds them inside or not at all.
"""

from __future__ import annotations

from minirun.errors import BadInput, BadLayer
from minirun.image import foreign
from minirun.image.manifest import LAYERS, Manifest, Part, describe_layers
from minirun.image.ocimanifest import CONFIG_BYTES, MANIFESTS
from minirun.image.reference import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.image.contents import Contents

    Entry = dict[str, Any]

MANIFEST = "manifest.json"
DAMAGED = "the archive is damaged; save it again"
_BLOBS = "blobs/sha256/"


def is_saved(names: list[str]) -> bool:
    """Whether what has these at the top is one."""
    return MANIFEST in names


def read(contents: Contents) -> Manifest:
    """Read the one image in *contents*.

    Raises:
        BadInput: there are several, or none.
        BadLayer: a file is damaged, missing, outside, or not what its digest says.
    """
    images = entries(contents)
    if len(images) != 1:
        raise several(contents, [_called(image) for image in images])
    return read_image(contents, images[0])


def several(contents: Contents, names: list[str]) -> BadInput:
    """The refusal of what should be one image."""
    reason = f"it holds {len(names)} images: {', '.join(names[:20])}"
    return BadInput(f"use {contents.path} as an image", reason, f"`minirun load -i {contents.path}` takes them all")


def entries(contents: Contents) -> list[Entry]:
    """What manifest.json has for each image.

    Raises:
        BadLayer: it is no list of images.
    """
    images = contents.read_json(MANIFEST)
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images) or len(images) > MANIFESTS:
        reason = f"it is no list of at most {MANIFESTS} images"
        raise BadLayer(f"read {MANIFEST!r} in {contents.path}", reason, DAMAGED)
    return images


def read_image(contents: Contents, image: Entry) -> Manifest:
    """Read one of `entries`.

    Raises:
        BadLayer: a file is damaged, missing, outside, or not what its digest says.
    """
    layers = _strings(contents, image, "Layers")
    name = config_path(contents, image)
    exact = _read_config(contents, name)
    config = foreign.read(contents.parse(name, exact), f"{contents.path}/{name}")
    if len(config.diff_ids) != len(layers):
        reason = f"its manifest has {len(layers)} layers and its config {len(config.diff_ids)}"
        raise BadLayer(f"use {contents.path} as an image", reason, DAMAGED)
    parts = [
        Part(layer, digest=_digest(layer), diff_id=diff_id)
        for layer, diff_id in zip(layers, config.diff_ids, strict=True)
    ]
    describe_layers(config, parts)
    return Manifest(config, parts, exact=exact, names=tags(contents, image))


def config_path(contents: Contents, image: Entry) -> str:
    """Where the config of one of `entries` is."""
    name = image.get("Config")
    if not isinstance(name, str):
        raise BadLayer(f"read {MANIFEST!r} in {contents.path}", "Config is no path", DAMAGED)
    return name


def tags(contents: Contents, image: Entry) -> list[str]:
    """The names of one of `entries`."""
    return _strings(contents, image, "RepoTags")


def _strings(contents: Contents, image: Entry, key: str) -> list[str]:
    value = image.get(key) or []
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value) or len(value) > LAYERS:
        reason = f"{key} is no list of at most {LAYERS} strings"
        raise BadLayer(f"read {MANIFEST!r} in {contents.path}", reason, DAMAGED)
    return value


def _called(image: Entry) -> str:
    names = image.get("RepoTags")
    name = names[0] if isinstance(names, list) and names else image.get("Config")
    return str(name)[:80]


def _digest(path: str) -> str:
    """The digest that a blob's path promises; other layouts promise none for the file as it lies there."""
    return f"sha256:{path[len(_BLOBS) :]}" if path.startswith(_BLOBS) and is_id(path[len(_BLOBS) :]) else ""


def _read_config(contents: Contents, name: str) -> bytes:
    from hashlib import sha256

    data = contents.read(name, CONFIG_BYTES)
    said = promised(name)
    if said and sha256(data).hexdigest() != said:
        raise BadLayer(f"read {name!r} in {contents.path}", "its contents are not those its name promises", DAMAGED)
    return data


def promised(path: str) -> str:
    """The id that the path of a config promises; empty where it promises none."""
    name = path.removeprefix(_BLOBS).removeprefix("sha256:").removesuffix(".json")
    return name if is_id(name) else ""
