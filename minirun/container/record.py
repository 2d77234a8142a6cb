"""A container on disk: what it is, and that nobody else has its name.

containers/<id>/
├── container.json   what it is; written once, `commit` alone adds a layer to it
├── state.json       what became of it (see state.py); absent: it was only created
├── upper/ work/     its writable layer, and overlayfs's own directory
└── hostname hosts resolv.conf   what it sees at those paths in /etc
names/<name> → ../containers/<id>
"""

from __future__ import annotations

import fcntl
import os

from minirun import jsonrecord
from minirun.errors import BadInput, Conflict, MinirunError, NotFound
from minirun.kernel import files, jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from minirun.home import Home

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_NAME_BYTES = 128


class Record:
    """What a container is; the attributes are the keys of container.json.

    Attributes:
        id: 64 hex digits.
        name: unique in the store.
        created: seconds since 1970.
        image: id of its image.
        image_name: the image as the user named it.
        stack: names below diffs/, bottom to top, that its root is made of, without its own writable layer.
        committed: ids of layers that were its own writable layer until `commit` took them; the last of *stack*.
        options: what was asked for, and what the image adds to it: see engine.Options.
        remove: whether it goes when its command ends (--rm).
    """

    __slots__ = ("committed", "created", "id", "image", "image_name", "name", "options", "remove", "stack")

    id: str
    name: str
    created: float
    image: str
    image_name: str
    stack: list[str]
    committed: list[str]
    options: dict[str, Any]
    remove: bool

    def __init__(self, **fields: Any) -> None:
        """Take every attribute by keyword."""
        for slot in self.__slots__:
            setattr(self, slot, fields[slot])

    def to_json(self) -> dict[str, Any]:
        """The attributes, as container.json keeps them."""
        return {slot: getattr(self, slot) for slot in self.__slots__}

    def told(self, **more: str) -> dict[str, str]:
        """What events tell of it (see events.py): its labels, its name and its image, and *more*."""
        return {**self.options["labels"], "image": self.image_name, "name": self.name, **more}

    @property
    def base(self) -> list[str]:
        """The part of *stack* that is the image's."""
        return self.stack[: len(self.stack) - len(self.committed)]


def new_id() -> str:
    """A fresh id."""
    return os.urandom(32).hex()


def check_name(name: str) -> None:
    """Raise BadInput unless *name* is one that Docker allows."""
    if len(name) < 2 or len(name) > _NAME_BYTES or not name[0].isalnum() or not _NAME_CHARACTERS.issuperset(name):
        raise BadInput(
            f"name a container {name!r}",
            "a name is 2 to 128 of the characters a-z A-Z 0-9 _ . - and begins with a letter or a digit",
        )


def reserve_name(home: Home, name: str, container_id: str) -> None:
    """Give *name* to a container.

    Raises:
        Conflict: another container has it.
    """
    link = home.name(name)
    folder = _hold_names(link)
    try:
        if not os.path.exists(link):
            # perhaps a link to nothing, left by somebody who was killed
            files.remove(link)
            os.symlink(f"../containers/{container_id}", link)
            return
        owner = os.path.basename(os.readlink(link))
    finally:
        os.close(folder)
    raise Conflict(
        f"name a container {name!r}",
        f"the name is in use by container {owner[:12]}",
        f"remove that one, `minirun rm {name}`, or take another name",
    )


def release_name(link: str, container_id: str) -> bool:
    """Give a name back, if *container_id* still has it; whether it had. Idempotent."""
    folder = _hold_names(link)
    try:
        if os.path.basename(os.readlink(link)) != container_id:
            return False
        os.unlink(link)
    except FileNotFoundError:
        return False
    finally:
        os.close(folder)
    return True


def release_last_name(link: str, container_id: str) -> None:
    """The same for a container that goes: it may have been renamed since that was written down."""
    if not release_name(link, container_id):
        names = os.path.dirname(link)
        try:
            name = jsonfile.read(f"{os.path.dirname(names)}/containers/{container_id}/container.json")["name"]
        except (OSError, ValueError, LookupError, TypeError):
            return  # it has gone, or has never been
        release_name(f"{names}/{name}", container_id)


def _hold_names(link: str) -> int:
    """Keep everybody else from giving and taking names: between a look at one and its change nobody may come."""
    folder = os.open(os.path.dirname(link), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    fcntl.flock(folder, fcntl.LOCK_EX)
    return folder


def write_cidfile(path: str, container_id: str) -> None:
    """Write a container's id to *path*, a file of the user's that must not be there.

    Raises:
        BadInput: it is there, or cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BadInput(f"write --cidfile {path}", error, "remove it, or name another") from None
    files.write_all(descriptor, container_id.encode())
    os.close(descriptor)


def remove_cidfile(path: str, container_id: str) -> None:
    """Remove what write_cidfile wrote, if it is still that. Idempotent."""
    try:
        with open(path, "rb") as file:
            ours = file.read(65) == container_id.encode()
    except OSError:
        return
    if ours:
        os.unlink(path)


def write(home: Home, record: Record) -> None:
    """Put *record* on disk; a container that is removed at its end need not survive a power cut."""
    jsonrecord.write(home, f"{home.container(record.id)}/container.json", record.to_json(), durable=not record.remove)


def read(home: Home, container_id: str) -> Record:
    """Read the record of a container whose whole id is known.

    Raises:
        NotFound: there is none.
        MinirunError: it cannot be read.
    """
    path = f"{home.container(container_id)}/container.json"
    try:
        return Record(**jsonfile.read(path))
    except FileNotFoundError:
        raise _unknown(container_id) from None
    except (ValueError, KeyError, TypeError) as error:
        raise MinirunError(
            f"read container {container_id[:12]}",
            f"{path} is damaged: {error}",
            f"remove it: `rm -r {home.container(container_id)}`",
        ) from error


def find(home: Home, text: str) -> Record:
    """Find a container by name, id, or the beginning of its id, in Docker's order.

    Raises:
        NotFound: none is meant.
        Conflict: several are.
    """
    if not text or "/" in text or text in (".", ".."):
        raise _unknown(text)
    if len(text) == 64 and os.path.isdir(home.container(text)):
        return read(home, text)
    try:
        return read(home, os.path.basename(os.readlink(home.name(text))))
    except OSError:
        pass
    ids = [name for name in os.listdir(home.folder("containers")) if name.startswith(text)]
    if len(ids) > 1:
        raise Conflict(f"find container {text}", f"{len(ids)} containers' ids begin so", "give more of the id")
    if not ids:
        raise _unknown(text)
    return read(home, ids[0])


def list_all(home: Home, warn: Callable[[MinirunError], object] | None = None) -> list[Record]:
    """Every container, the newest first; one that is being made or removed at this moment is passed over.

    Args:
        home: whose containers.
        warn: told of each record that cannot be read, which is left out; without it that is raised.
    """
    records = []
    for container_id in os.listdir(home.folder("containers")):
        try:
            records.append(read(home, container_id))
        except NotFound:
            continue
        except MinirunError as error:
            if warn is None:
                raise
            warn(error)
    return sorted(records, key=lambda record: record.created, reverse=True)


def find_and_hold(home: Home, text: str) -> tuple[Record, int]:
    """Find a container, and keep every other command from changing it; see `find` and `hold`.

    Returns:
        Its record as it is now that nobody else changes it, and the descriptor that holds it.
    """
    box = find(home, text)
    lock = hold(home, box)
    try:
        # somebody may have committed it while we waited
        return read(home, box.id), lock
    except MinirunError:
        os.close(lock)
        raise


def hold(home: Home, record: Record, *, wait: bool = True) -> int:
    """Keep every other command from changing a container; closing the descriptor lets go.

    Raises:
        NotFound: it was removed meanwhile.
        BlockingIOError: *wait* is false, and another command holds it.
    """
    try:
        descriptor = os.open(home.container(record.id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _unknown(record.name) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    if not os.path.exists(f"{home.container(record.id)}/container.json"):
        os.close(descriptor)
        raise _unknown(record.name)
    return descriptor


def _unknown(text: str) -> NotFound:
    return NotFound(f"find container {text}", "no such container", "`minirun ps -a` lists them")
