"""Where the records of a store lead, and which of it is not there; nothing is changed.

layers/<id>.json ─────▶ the layer below, diffs/<name>         its id: the digest of both
images/<id>.json ─────▶ layers/…, diffs/<name>                its id: the digest of its configuration
containers/<id>/ ─────▶ images/…, layers/…, diffs/<name>      and upper/, work/, state.json
tags/<name>, names/<name> ─▶ images/…, containers/…
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import sha256

from minirun.container import volumes
from minirun.container.record import Record
from minirun.container.state import State
from minirun.engine.damage import DAMAGED, GC, LOST_NAME, REMAINS, REPAIR, STALE_NAME, Damage, Stored, stray
from minirun.image.record import Image
from minirun.image.reference import is_id, of_file_name
from minirun.image.store import Images
from minirun.kernel import jsonfile
from minirun.layer.record import Layer, hexadecimal


def layers(found: Stored) -> Iterator[Damage]:
    """Look at what the records of layers say."""
    home = found.home
    images_of: dict[str, list[str]] = {}
    for image in found.images.values():
        for layer_id in image.layers:
            images_of.setdefault(layer_id, []).append(image.short_id)
    for layer in found.layers.values():
        short, path = layer.id[:12], home.layer(layer.id)
        users = images_of.get(layer.id, [])
        again = _again(users) if users else GC
        meaning = (
            f"layer {short} cannot be used, nor can {_listed('image', users)}" if users else f"nobody needs {short}"
        )
        if layer.parent is not None and not os.path.exists(home.layer(layer.parent)):
            yield Damage("layer without the one below it", path, f"{meaning}; it lies on {layer.parent[:12]}", again)
        if not os.path.isdir(home.diff(layer.diff)):
            yield Damage("layer without contents", home.diff(layer.diff), meaning, again)
        if not _digests_agree(layer):
            yield Damage("layer that is not what its id says", path, f"{meaning}: its record was altered", again)


def is_by_chance(layer: Layer) -> bool:
    """Whether a layer has its id by chance: a commit or a squash made it by renaming."""
    return layer.diff_id is None or (layer.diff == layer.id and hexadecimal(layer.diff_id) != layer.id)


def _digests_agree(layer: Layer) -> bool:
    if layer.diff_id is None or is_by_chance(layer):
        return layer.diff == layer.id
    digits = hexadecimal(layer.diff_id)
    expected = digits if layer.parent is None else sha256(f"sha256:{layer.parent} {layer.diff_id}".encode()).hexdigest()
    return layer.id == expected and layer.diff in (digits, f"{layer.id}-bound")


def images(found: Stored) -> Iterator[Damage]:
    """Look at what the records of images say."""
    home = found.home
    for image in found.images.values():
        short, path = image.short_id, home.image(image.id)
        again = _again([short])
        lacking = [layer for layer in image.layers if not os.path.exists(home.layer(layer))]
        if lacking:
            names = _listed("layer", [layer[:12] for layer in lacking])
            yield Damage("image without a layer", path, f"{short} cannot be run: {names} not there", again)
        for name in image.stack:
            known = any(name == found.layers[layer].diff for layer in image.layers if layer in found.layers)
            if not known and not os.path.isdir(home.diff(name)):
                yield Damage("image without contents", home.diff(name), f"{short} cannot be run", again)
        config = f"{home.folder('images')}/{image.id}.config"
        if os.path.exists(config) or not _by_chance(found, image):
            where = config if os.path.exists(config) else path
            if sha256(Images(home).exact(image)).hexdigest() != image.id:
                yield Damage("configuration that is not what the image's id says", where, f"{short} was altered", again)
            elif not lacking and not _same_layers(found, image):
                yield Damage("image of other layers than its configuration says", path, f"{short} was altered", again)


def _by_chance(found: Stored, image: Image) -> bool:
    """Whether the image may have an id by chance: it has a layer that has one, or that is lost."""
    layers = [found.layers.get(layer) for layer in image.layers]
    return any(layer is None or is_by_chance(layer) for layer in layers)


def _same_layers(found: Stored, image: Image) -> bool:
    own = [found.layers[layer].diff_id for layer in image.layers if layer in found.layers]
    return len(own) < len(image.layers) or not image.config.diff_ids or own == image.config.diff_ids


def containers(found: Stored) -> Iterator[Damage]:
    """Look at what the records of containers say."""
    known = {layer.diff for layer in found.layers.values()}
    known.update(name for image in found.images.values() for name in image.stack)
    for box in found.boxes.values():
        damage = list(_container(found, box, known))
        if os.path.isdir(found.home.container(box.id)):
            yield from damage  # else `rm` has come to its end meanwhile


def _container(found: Stored, box: Record, known: set[str]) -> Iterator[Damage]:
    home, directory = found.home, found.home.container(box.id)
    what = f"container {box.name} ({box.id[:12]})"
    gone = f"`minirun rm {box.name}`, and make it again"
    for name in ("upper", "work"):
        if not os.path.isdir(f"{directory}/{name}"):
            meaning = f"{what} does not start" + ("; what it wrote is lost" if name == "upper" else "")
            remedy = gone if name == "upper" else f"`mkdir -m 700 {directory}/work`"
            yield Damage(f"container without {name}/", f"{directory}/{name}", meaning, remedy)
    if not os.path.exists(home.image(box.image)):
        meaning = f"image {box.image[:12]} of {what} is not there: it may run, and cannot be committed"
        yield Damage("container without its image", f"{directory}/container.json", meaning, gone)
    for name in box.stack:
        # what an image or a layer lacks as well was said of them
        if name not in known and not os.path.isdir(home.diff(name)):
            yield Damage("container without contents", home.diff(name), f"{what} does not start", gone)
    for layer in box.committed:
        if not os.path.exists(home.layer(layer)):
            yield Damage("container without a layer", home.layer(layer), f"{what} cannot be committed", gone)
    for name in volumes.names(box):
        if name not in found.volumes and not os.path.exists(f"{home.volume(name)}/volume.json"):
            meaning = f"{what} does not start"
            remedy = f"`minirun volume create {name}` makes an empty one; what was in it is lost"
            yield Damage("container without a volume", home.volume(name), meaning, remedy)
    try:
        state = jsonfile.read(f"{directory}/state.json")
        State(**state)
    except FileNotFoundError:
        pass  # never started
    except (OSError, ValueError, TypeError):
        meaning = f"{what} counts as one that never ran"
        remedy = f"`rm {directory}/state.json` makes it one" if not os.path.isdir(f"{directory}/next") else gone
        yield Damage("damaged state of a container", f"{directory}/state.json", meaning, remedy)
    if (owner := _owner(home.name(box.name))) != box.id:
        other = found.boxes.get(owner)
        taken = other is not None and other.name == box.name
        remedy = f"`minirun rm {box.id[:12]}`, or remove the other container of that name" if taken else REPAIR
        yield Damage(LOST_NAME, directory, f"{box.name} does not find {box.id[:12]}", remedy)


def names(found: Stored) -> Iterator[Damage]:
    """Look where the names of images and containers lead."""
    home = found.home
    for name in sorted(os.listdir(home.folder("tags"))):
        path = f"{home.folder('tags')}/{name}"
        target = _link(path)
        if not target.startswith("../images/") or not is_id(_owner(path).removesuffix(".json")):
            yield stray(path, "commands that list images fail", DAMAGED)
        elif not os.path.exists(path):
            yield Damage("name of an image that is not there", path, f"{of_file_name(name)} leads nowhere", GC)
    for name in sorted(os.listdir(home.folder("names"))):
        path = home.name(name)
        owner = _owner(path)
        box = found.boxes.get(owner)
        if not is_id(owner):
            yield stray(path)
        elif home.container(owner) not in found.busy and (
            (box and box.name != name) or not os.path.exists(f"{home.container(owner)}/container.json")
        ):
            yield Damage(STALE_NAME, path, f"{name} leads nowhere", REPAIR, REMAINS)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _owner(path: str) -> str:
    return os.path.basename(_link(path))


def _again(images: list[str]) -> str:
    return f"`minirun rmi -f {' '.join(images)}`, `minirun gc`, and make them again from their source"


def _listed(word: str, names: list[str]) -> str:
    return f"{word}{'s' * (len(names) > 1)} {', '.join(names)}"
