"""What can be wrong with a store, and the reading of everything in it, be it damaged.

    images/<id>.json ─▶ Image ─┐
    layers/<id>.json ─▶ Layer ─┼─▶ Stored ─▶ links.py: arrows that lead nowhere; remains.py: what no arrow leads to
    containers/<id>/ ─▶ Record ┤
    volumes/<name>/ ──▶ Volume ┘      └ damage: what could not be read

Records are read one by one: `Layers.list` and its like refuse a store in which one is damaged, as everybody should who
frees something.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from minirun.container import record as records
from minirun.container import volumes
from minirun.container.record import Record
from minirun.container.volumes import Volume
from minirun.errors import MinirunError, describe
from minirun.home import FOLDERS, Home
from minirun.image.record import Image, read
from minirun.image.reference import is_id
from minirun.layer.record import Layer
from minirun.layer.store import Layers

DAMAGED, REMAINS = "damaged", "remains"
# what check.py knows them by
STALE_NAME, LOST_NAME = "stale name of a container", "container without its name"
DAMAGED_MARK = "damaged mark"
GC = "`minirun gc` removes it, `minirun system check --repair` too"
REPAIR = "`minirun system check --repair` mends it"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is wrong.

    Attributes:
        what: in a few words.
        where: its absolute path.
        meaning: what it means, and for whom.
        remedy: what to do.
        state: DAMAGED; REMAINS where only room is lost.
    """

    what: str
    where: str
    meaning: str
    remedy: str
    state: str = DAMAGED


@dataclass(slots=True)
class Stored:
    """Everything that could be read, and what could not.

    Attributes:
        home: the store.
        layers, images, boxes: by id.
        volumes: by name.
        busy: absolute paths that operations have announced which go on now, or were cut short.
        damage: found while reading.
    """

    home: Home
    layers: dict[str, Layer] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    boxes: dict[str, Record] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    damage: list[Damage] = field(default_factory=list)


def folders(home: Home) -> Iterator[Damage]:
    """Look for the store's own directories."""
    for name in FOLDERS:
        if not os.path.isdir(home.folder(name)):
            yield Damage("missing directory", home.folder(name), "commands that look there fail", REPAIR)


def load(home: Home, busy: set[str]) -> Stored:
    """Read every record; the caller holds the store's lock exclusively, and all FOLDERS are there."""
    found = Stored(home, busy=busy)
    found.layers = _read_all(found, "layer", "layers", Layers(home).get)
    found.images = _read_all(found, "image", "images", lambda name: read(home.image(name), name))
    for name in os.listdir(home.folder("containers")):
        directory = home.container(name)
        if directory in busy:
            continue
        if not os.path.isdir(directory) or not is_id(name):
            found.damage.append(stray(directory))
        elif os.path.exists(path := f"{directory}/container.json"):
            if box := _read(found, "container", path, name, lambda name: records.read(home, name)):
                found.boxes[name] = box
        else:
            meaning = "no command finds it, and what it wrote: it was being made or removed when the host stopped"
            found.damage.append(Damage("container without a record", directory, meaning, GC, REMAINS))
    _load_volumes(found)
    return found


def _load_volumes(found: Stored) -> None:
    home = found.home
    lock = volumes.hold(home)  # or one is seen while it is made
    try:
        for name in sorted(os.listdir(home.folder("volumes"))):
            directory = home.volume(name)
            if directory in found.busy:
                continue
            if not os.path.isdir(directory):
                found.damage.append(stray(directory))
            elif not os.path.exists(f"{directory}/volume.json"):
                meaning = "no command finds it: it was being made or removed when the host stopped"
                found.damage.append(Damage("volume without a record", directory, meaning, GC, REMAINS))
            else:
                _load_volume(found, name)
    finally:
        os.close(lock)


def _load_volume(found: Stored, name: str) -> None:
    home = found.home
    try:
        volume = volumes.get(home, name)
    except MinirunError as error:
        meaning = f"containers that have it do not start: {error.reason}"
        found.damage.append(Damage("damaged volume record", f"{home.volume(name)}/volume.json", meaning, error.remedy))
        return
    found.volumes[name] = volume
    path = volumes.data(home, name)
    if not os.path.isdir(path):
        remedy = f"`mkdir -m 755 {path}` makes it an empty one; what was in it is lost"
        found.damage.append(Damage("volume without contents", path, "containers that have it do not start", remedy))
    if os.path.lexists(half := f"{home.volume(name)}/_new"):
        found.damage.append(Damage("half-made file", half, "its maker was killed", GC, REMAINS))


def _read_all(found: Stored, kind: str, folder: str, get: Callable[[str], T]) -> dict[str, T]:
    objects = {}
    for name in sorted(os.listdir(found.home.folder(folder))):
        path = f"{found.home.folder(folder)}/{name}"
        identity, dot, suffix = name.partition(".")
        if dot and suffix in ("config", "alias") and kind == "image":
            continue  # `remains` looks at them
        if suffix != "json" or not is_id(identity):
            found.damage.append(stray(path))
        elif path not in found.busy and (one := _read(found, kind, path, identity, get)):
            objects[identity] = one
    return objects


def _read(found: Stored, kind: str, path: str, identity: str, get: Callable[[str], T]) -> T | None:
    remedy = {
        "layer": "make the images of that layer again from their source, which writes it again; or remove that file, "
        "and check again",
        "image": "remove that file, check again, and make the image again from its source",
        "container": f"save what you want of {os.path.dirname(path)}/upper, and remove that directory",
    }[kind]
    try:
        one = get(identity)
    except (MinirunError, OSError) as error:
        reason = error.reason if isinstance(error, MinirunError) else describe(error)
        meaning = f"it cannot be read, and what has to know all {kind}s, such as `gc`, refuses to work: {reason}"
    else:
        if _typed(one) and one.id == identity:  # type: ignore[attr-defined]  # layers, images and containers have one
            return one
        meaning = "it is not the record of what its name says"
    found.damage.append(Damage(f"damaged {kind} record", path, meaning, remedy))
    return None


def _typed(one: object) -> bool:
    """Whether the fields that this module follows have their types."""
    names: list[Any]
    if isinstance(one, Layer):
        names = [one.diff, one.parent or "", one.diff_id or ""]
    elif isinstance(one, Image):
        names = [*_strings(one.layers), *_strings(one.stack), one.mounts]
    elif isinstance(one, Record):
        names = [one.name, one.image, *_strings(one.stack), *_strings(one.committed)]
    else:
        return False
    return all(isinstance(name, str) and not {"/", "\0"} & set(name) for name in names)


def _strings(value: object) -> list[Any]:
    return value if isinstance(value, list) else [None]


def stray(path: str, meaning: str = "no command reads it", state: str = REMAINS) -> Damage:
    """What is not minirun's; it is left alone."""
    remedy = f"look what it is, and remove it: `rm -r {shlex.quote(path)}`"
    return Damage("stray file", path, f"minirun made nothing of that name there; {meaning}", remedy, state)
