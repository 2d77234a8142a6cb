"""Volumes: directories that outlive the containers that have them attached.

    volumes/                 flock held by whoever makes or removes one, or makes a container that has some
    └── <name>/
        ├── volume.json      what it is; written last: a directory without it is being made, or was cut short
        ├── _data/           what containers see
        └── _new/            what is about to become _data: see copyup.py

Who uses a volume the records of containers say; nothing is counted. So a container is made with the folder held from
before its volumes are there until its record is: nobody finds them unused in between.
"""

from __future__ import annotations

import fcntl
import os
import time

from minirun import events, jsonrecord
from minirun.container import record as records
from minirun.errors import Conflict, MinirunError, NotFound
from minirun.home import Home
from minirun.kernel import files, jsonfile, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from minirun.container.record import Record


class Volume:
    """A volume; the attributes are the keys of volume.json.

    Attributes:
        name: unique in the store.
        created: seconds since 1970.
        labels: name to value.
        options: of Docker's local driver: ``type``, ``device`` and ``o``; empty for a directory of the store.
        anonymous: nobody gave it a name.
        made_for: id of the container with which it was made; empty where it was made by itself.
    """

    __slots__ = ("anonymous", "created", "labels", "made_for", "name", "options")

    name: str
    created: float
    labels: dict[str, str]
    options: dict[str, str]
    anonymous: bool
    made_for: str

    def __init__(self, **fields: Any) -> None:
        """Take every attribute by keyword."""
        for slot in self.__slots__:
            setattr(self, slot, fields[slot])

    def to_json(self) -> dict[str, Any]:
        """The attributes, as volume.json keeps them."""
        return {slot: getattr(self, slot) for slot in self.__slots__}

    def is_memory(self) -> bool:
        """Whether it has nothing on a disk."""
        return self.options.get("type") == "tmpfs"

    def data(self, home: Home) -> str:
        """The directory that containers see; of memory there is an empty one, which they do not."""
        return self.options["device"] if self.options and not self.is_memory() else data(home, self.name)


def data(home: Home, name: str) -> str:
    """Where a volume's files lie that is a directory of the store."""
    return f"{home.volume(name)}/_data"


def hold(home: Home) -> int:
    """Keep everybody else from making and removing volumes; closing the descriptor lets go."""
    descriptor = os.open(home.folder("volumes"), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def find(home: Home, name: str) -> Volume | None:
    """The volume of that name, or None.

    Raises:
        MinirunError: its record cannot be read.
    """
    path = f"{home.volume(name)}/volume.json"
    try:
        volume = Volume(**jsonfile.read(path))
        if volume.name != name:
            raise ValueError("it is of another name")  # noqa: TRY301 - told below, as all that is wrong with it
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise MinirunError(
            f"read volume {name}", f"{path} is damaged: {error}",
            f"save what you want of {home.volume(name)}/_data, and remove the volume: `rm -r {home.volume(name)}`",
        ) from error  # fmt: skip
    return volume


def get(home: Home, name: str) -> Volume:
    """The volume of that name.

    Raises:
        NotFound: there is none.
        MinirunError: its record cannot be read.
    """
    volume = find(home, name) if name and "/" not in name and name not in (".", "..") else None
    if volume is None:
        raise NotFound(f"find volume {name}", "no such volume", "`minirun volume ls` lists them")
    return volume


def list_all(home: Home, warn: Callable[[MinirunError], object] | None = None) -> list[Volume]:
    """Every volume, by name; one that is being made or removed at this moment is passed over.

    Args:
        home: whose.
        warn: told of each record that cannot be read, which is left out; without it that is raised.
    """
    found = []
    for name in sorted(os.listdir(home.folder("volumes"))):
        try:
            if volume := find(home, name):
                found.append(volume)
        except MinirunError as error:
            if warn is None:
                raise
            warn(error)
    return found


def names(box: Record) -> list[str]:
    """The volumes that a container has attached."""
    return [entry["name"] for entry in box.options["volumes"] if not isinstance(entry, list) and entry.get("name")]


def users(home: Home, name: str, *, but: str = "") -> list[Record]:
    """The containers that have a volume attached, the newest first, without the one whose id is *but*.

    Raises:
        MinirunError: a record cannot be read, and may be one of them.
    """
    return [box for box in records.list_all(home) if box.id != but and name in names(box)]


def create(
    home: Home, name: str, *, labels: Mapping[str, str], options: Mapping[str, str], anonymous: bool = False,
    made_for: str = "", durable: bool = True,
) -> Volume:  # fmt: skip
    """Make a volume, which nothing may be in the way of but what is left of one that was cut short; the folder is held.

    Its data are made by the caller, before: `begin`.
    """
    volume = Volume(
        name=name, created=time.time(), labels=dict(labels), options=dict(options), anonymous=anonymous,
        made_for=made_for,
    )  # fmt: skip
    jsonrecord.write(home, f"{home.volume(name)}/volume.json", volume.to_json(), durable=durable)
    if durable:
        files.sync_folder(home.folder("volumes"))
    events.emit(home, "volume", "create", name, {"driver": "local"})
    return volume


def begin(home: Home, name: str) -> None:
    """Make the directory of a volume, without data and record; what was cut short there goes. The folder is held."""
    tree.remove(home.volume(name))
    os.mkdir(home.volume(name), 0o700)


def make_data(home: Home, name: str) -> None:
    """Make the empty directory that containers see; whatever the umask, Docker's mode."""
    os.mkdir(data(home, name))
    os.chmod(data(home, name), 0o755)  # noqa: S103 - the store above is root's alone


def check_unused(home: Home, name: str) -> None:
    """Raise Conflict where a container has the volume attached; the folder is held."""
    if boxes := users(home, name):
        whose = ", ".join(f"{box.name} ({box.id[:12]})" for box in boxes)
        raise Conflict(
            f"remove volume {name}", f"it is in use by container{'s' * (len(boxes) > 1)} {whose}",
            f"remove what uses it first: `minirun rm {' '.join(box.name for box in boxes)}`",
        )  # fmt: skip


def remove(home: Home, volume: Volume, temporary: str) -> None:
    """Take a volume that nobody uses out of the store, to the path *temporary* there; the folder is held."""
    os.rename(home.volume(volume.name), temporary)
    events.emit(home, "volume", "destroy", volume.name, {"driver": "local"})


def discard(root: str, runtime: str, name: str, container_id: str, made: str = "") -> None:
    """Remove a volume with the container whose it was, unless another one has it. An undo of the journal: idempotent.

    Args:
        root: of the store.
        runtime: directory of the store.
        name: of the volume.
        container_id: of the container, which goes, or has not come to be.
        made: not empty: only if it was made with that container; else only if it is anonymous.
    """
    home = Home(root, runtime)
    if not os.path.isdir(home.volume(name)):
        return
    lock = hold(home)
    try:
        volume = find(home, name)
        if volume is None:
            tree.remove(home.volume(name))  # nobody makes it now, or the folder would be held
            return
        tree.remove(f"{home.volume(name)}/_new")
        ours = volume.made_for == container_id if made else volume.anonymous
        if ours and not users(home, name, but=container_id):
            files.remove(f"{home.volume(name)}/volume.json")
            tree.remove(home.volume(name))
            events.emit(home, "volume", "destroy", name, {"driver": "local"})
    except MinirunError:
        return  # what cannot be read is not known to be unused: `system check` tells of it
    finally:
        os.close(lock)
