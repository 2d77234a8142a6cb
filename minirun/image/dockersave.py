"""What `docker save` writes, unpacked into a directory.

    manifest.json   [{"Config": "<id>.json", "RepoTags": ["x:1"], "Layers": ["<id>/layer.tar", …]}]
    repositories    {"x": {"1": "<id of the top layer>"}}      ┐
    <id>/json       {"id", "parent", "created", "config", …}   ├ before Docker 1.10, which brought manifest.json
    <id>/layer.tar                                             ┘

The paths in manifest.json are the archive's to choose: skopeo has <digest>.tar, newer Dockers blobs/sha256/<digest>;
some write symlinks ../<id>/layer.tar to layers that repeat. Folder opens them inside the directory or not at all.
"""

from __future__ import annotations

from minirun.errors import BadInput, BadLayer
from minirun.image import foreign
from minirun.image.manifest import LAYERS, Manifest, Part, describe_layers
from minirun.image.ocimanifest import CONFIG_BYTES
from minirun.image.reference import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from minirun.image.folder import Folder

_DAMAGED = "the archive is damaged; save and unpack it again"
_BLOBS = "blobs/sha256/"


def is_saved(names: list[str]) -> bool:
    """Whether a directory with these entries is one."""
    return "manifest.json" in names or "repositories" in names


def read(folder: Folder) -> Manifest:
    """Read the one image in *folder*.

    Raises:
        BadInput: there are several, or none.
        BadLayer: a file is damaged, missing, outside the directory, or not what its digest says.
    """
    return _read_manifest(folder) if folder.kind("manifest.json") else _read_legacy(folder)


def _read_manifest(folder: Folder) -> Manifest:
    images = folder.read_json("manifest.json")
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        raise BadLayer(f"read 'manifest.json' in {folder.path}", "it is no list of images", _DAMAGED)
    if len(images) != 1:
        names = [_called(image) for image in images[:20]]
        raise BadInput(f"use {folder.path} as an image", f"it holds {len(images)} images: {', '.join(names)}",
                       "save one image by itself")  # fmt: skip
    image = images[0]
    layers = _strings(folder, image, "Layers")
    name = image.get("Config")
    if not isinstance(name, str):
        raise BadLayer(f"read 'manifest.json' in {folder.path}", "Config is no path", _DAMAGED)
    exact = _read_config(folder, name)
    config = foreign.read(folder.parse(name, exact), f"{folder.path}/{name}")
    if len(config.diff_ids) != len(layers):
        reason = f"its manifest has {len(layers)} layers and its config {len(config.diff_ids)}"
        raise BadLayer(f"use {folder.path} as an image", reason, _DAMAGED)
    parts = [
        Part(layer, digest=_digest(layer), diff_id=diff_id)
        for layer, diff_id in zip(layers, config.diff_ids, strict=True)
    ]
    describe_layers(config, parts)
    return Manifest(config, parts, exact=exact, names=_strings(folder, image, "RepoTags"))


def _strings(folder: Folder, image: dict[str, Any], key: str) -> list[str]:
    value = image.get(key) or []
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value) or len(value) > LAYERS:
        raise BadLayer(
            f"read 'manifest.json' in {folder.path}", f"{key} is no list of at most {LAYERS} strings", _DAMAGED
        )
    return value


def _called(image: dict[str, Any]) -> str:
    tags = image.get("RepoTags")
    name = tags[0] if isinstance(tags, list) and tags else image.get("Config")
    return str(name)[:80]


def _digest(path: str) -> str:
    """The digest that a blob's path promises; other layouts promise none for the file as it lies there."""
    return f"sha256:{path[len(_BLOBS) :]}" if path.startswith(_BLOBS) and is_id(path[len(_BLOBS) :]) else ""


def _read_config(folder: Folder, name: str) -> bytes:
    from hashlib import sha256

    data = folder.read(name, CONFIG_BYTES)
    promised = name.removeprefix(_BLOBS).removesuffix(".json")
    if is_id(promised) and sha256(data).hexdigest() != promised:
        raise BadLayer(f"read {name!r} in {folder.path}", "its contents are not those its name promises", _DAMAGED)
    return data


def _read_legacy(folder: Folder) -> Manifest:
    repositories = folder.read_json("repositories")
    tops: dict[str, str] = {}
    for name, tags in repositories.items() if isinstance(repositories, dict) else ():
        for tag, top in tags.items() if isinstance(tags, dict) else ():
            tops[f"{name}:{tag}"] = top
    if len(set(map(str, tops.values()))) != 1:
        raise BadInput(f"use {folder.path} as an image", f"it holds {len(tops)} images: {', '.join(list(tops)[:20])}",
                       "save one image by itself")  # fmt: skip
    top = next(iter(tops.values()))
    chain: list[dict[str, Any]] = []
    layer: object = top
    while layer:
        chain.append(_read_layer(folder, layer))
        if len(chain) > LAYERS:
            reason = f"it has more than {LAYERS} layers, or they name each other"
            raise BadLayer(f"use {folder.path} as an image", reason, _DAMAGED)
        layer = chain[-1].get("parent")
    raw = {key: value for key, value in chain[0].items() if key in _KEPT}
    config = foreign.read({**foreign.empty(), **raw}, f"{folder.path}/{top}/json")
    parts = [
        Part(f"{entry['id']}/layer.tar", created=_text(entry.get("created")), created_by=_command(entry))
        for entry in reversed(chain)
    ]
    return Manifest(config, parts, names=list(tops))


_KEPT = ("created", "author", "architecture", "os", "variant", "config")


def _read_layer(folder: Folder, layer: object) -> dict[str, Any]:
    if not is_id(layer):
        raise BadLayer(f"use {folder.path} as an image", f"{str(layer)[:80]!r} is no layer's id", _DAMAGED)
    document = folder.read_json(f"{layer}/json")
    if not isinstance(document, dict):
        raise BadLayer(f"read '{layer}/json' in {folder.path}", "it is not a JSON object", _DAMAGED)
    document["id"] = layer
    return document


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _command(entry: dict[str, Any]) -> str:
    made_by = entry.get("container_config")
    command = made_by.get("Cmd") if isinstance(made_by, dict) else None
    return " ".join(map(str, command)) if isinstance(command, list) else ""
