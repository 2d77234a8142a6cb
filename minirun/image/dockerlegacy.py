"""What `docker save` wrote before Docker 1.10, in a tar or unpacked.

    repositories      {"x": {"1": "<id of the top layer>", …}, …}     not there where an image without a name was saved
    <id>/VERSION      1.0
    <id>/json         {"id", "parent": "<id>", "created", "container_config": {"Cmd"}, "config": {…}, "architecture"}
    <id>/layer.tar

A layer was an image, and an image its top layer. The ids are random: nothing in such an archive can be held against a
digest. Today's id of the image, the digest of its config, is found when it is unpacked.
"""

from __future__ import annotations

import stat

from minirun.errors import BadInput, BadLayer
from minirun.image import dockersave, foreign
from minirun.image.dockersave import DAMAGED
from minirun.image.manifest import LAYERS, Manifest, Part, describe_layers
from minirun.image.ocimanifest import MANIFESTS
from minirun.image.reference import is_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from minirun.image.contents import Contents

REPOSITORIES = "repositories"
JSON_BYTES = 1 << 20
HISTORY_LENGTH = 8 << 20  # of all an image's history, in characters
_KEPT = ("created", "author", "architecture", "os", "variant", "config")


def is_saved(contents: Contents, names: list[str]) -> bool:
    """Whether *contents*, which has *names* at the top, is one."""
    return REPOSITORIES in names or any(_is_layer(contents, name) for name in names)


def read(contents: Contents) -> Manifest:
    """Read the one image in *contents*.

    Raises:
        BadInput: there are several, or none.
        BadLayer: a file is damaged, missing, or outside.
    """
    found = images(contents)
    if len(found) != 1:
        raise dockersave.several(contents, [name for names in found.values() for name in names] or [*found])
    return read_image(contents, *next(iter(found.items())))


def images(contents: Contents) -> dict[str, list[str]]:
    """The id of the top layer of each image, and the image's names.

    Raises:
        BadLayer: `repositories` is damaged, or names something else than layers.
    """
    if not contents.kind(REPOSITORIES):
        contents.check_end()
        return {top: [] for top in _tops(contents)}
    found: dict[str, list[str]] = {}
    for name, top in _named(contents):
        if not is_id(top):
            raise BadLayer(f"read {REPOSITORIES!r} in {contents.path}", f"{str(top)[:80]!r} is no layer's id", DAMAGED)
        found.setdefault(str(top), []).append(name)
    if len(found) > MANIFESTS:
        raise BadLayer(f"read {REPOSITORIES!r} in {contents.path}", f"it has more than {MANIFESTS} images", DAMAGED)
    if not found:
        raise BadInput(f"use {contents.path} as an image", "it names no image", "save it again, with an image in it")
    return found


def read_image(contents: Contents, top: str, names: list[str]) -> Manifest:
    """Read one of `images`, from the top down.

    Raises:
        BadLayer: a file is damaged, missing or outside, or the layers name each other.
    """
    chain: list[str] = []
    history: list[dict[str, object]] = []
    raw: dict[str, Any] = {}
    length = 0
    layer: object = top
    while layer:
        described = _read_layer(contents, layer)
        if not chain:
            raw = {key: value for key, value in described.items() if key in _KEPT}
        chain.append(f"{layer}/layer.tar")
        history.append(_told(described))
        length += sum(len(str(value)) for value in history[-1].values())
        if len(chain) > LAYERS or length > HISTORY_LENGTH:
            reason = f"it has more than {LAYERS} layers or an endless history, or its layers name each other"
            raise BadLayer(f"use {contents.path} as an image", reason, DAMAGED)
        layer = described.get("parent")
    config = foreign.read({**foreign.empty(), **raw, "history": history[::-1]}, f"{contents.path}/{top}/json")
    parts = [Part(path) for path in reversed(chain)]
    describe_layers(config, parts)
    return Manifest(config, parts, names=names)


def _named(contents: Contents) -> Iterator[tuple[str, object]]:
    repositories = contents.read_json(REPOSITORIES)
    if not isinstance(repositories, dict) or not all(isinstance(tags, dict) for tags in repositories.values()):
        reason = "it is no object of repositories and their tags"
        raise BadLayer(f"read {REPOSITORIES!r} in {contents.path}", reason, DAMAGED)
    for name, tags in repositories.items():
        for tag, top in tags.items():
            yield f"{name}:{tag}", top


def _tops(contents: Contents) -> list[str]:
    """The layers on which no other lies."""
    layers = [name for name in contents.names() if _is_layer(contents, name)]
    parents = {str(_read_layer(contents, layer).get("parent")) for layer in layers}
    tops = [layer for layer in layers if layer not in parents]
    if not tops:
        raise BadLayer(f"use {contents.path} as an image", "its layers name each other", DAMAGED)
    return tops


def _is_layer(contents: Contents, name: str) -> bool:
    return is_id(name) and contents.kind(f"{name}/json") == stat.S_IFREG


def _read_layer(contents: Contents, layer: object) -> dict[str, Any]:
    if not is_id(layer):
        raise BadLayer(f"use {contents.path} as an image", f"{str(layer)[:80]!r} is no layer's id", DAMAGED)
    document = contents.read_json(f"{layer}/json", JSON_BYTES)
    if not isinstance(document, dict):
        raise BadLayer(f"read '{layer}/json' in {contents.path}", "it is not a JSON object", DAMAGED)
    return document


def _told(described: dict[str, Any]) -> dict[str, object]:
    """What the json of a layer says about how it was made, as the history of a config has it."""
    made_by = described.get("container_config")
    command = made_by.get("Cmd") if isinstance(made_by, dict) else None
    told = {key: described[key] for key in ("created", "author", "comment") if described.get(key)}
    if isinstance(command, list):
        told["created_by"] = " ".join(map(str, command))
    return told
