"""What a container has attached, as its record keeps it.

    {"type": "bind",   "target": "/src", "source": "/home/me/src", "read_only": true}
    {"type": "volume", "target": "/data", "name": "db"}                 keys that say what is the default are left out
    ["/home/me/src", "/src", true]                                      records made before there were volumes

Mounts lie in the record in the order in which they are attached: those nearer to the root first, whatever the order in
which they were asked for, so that none hides another. What mounts are asked for, mountflags.py reads; what they are to
the plan of a start, attaching.py knows.
"""

from __future__ import annotations

import os

from minirun import events
from minirun.errors import BadInput

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home

PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
MOUNTS = 200  # what the slots of a plan hold
DEFAULTS: dict[str, Any] = {
    "source": "", "read_only": False, "name": "", "anonymous": False, "no_copy": False, "subpath": "", "labels": {},
    "driver_options": {}, "propagation": "rprivate", "recursive": "enabled", "overlay": False, "attributes": 0,
    "create": False, "mode": "", "flag": "-v", "idmap": False,
}  # fmt: skip


class Mount:
    """A directory or file that a container has attached.

    Attributes:
        type: ``bind`` or ``volume``; memory is kept apart, as --tmpfs has it.
        target: absolute path in the container.
        source: of a bind: absolute path on the host, without symlinks when it was asked for.
        read_only: for the container.
        name: of a volume; empty while nobody has given one to an anonymous volume.
        anonymous: it goes with the container, if that is removed with its volumes.
        no_copy: nothing of the image is copied into the volume.
        subpath: what of the volume is attached; empty for all of it.
        labels, driver_options: of the volume, if it is made for this.
        propagation: Docker's six words; mounts and unmounts on the host show with ``slave`` and ``shared``.
        recursive: of what is mounted below the source: ``enabled``, ``disabled`` (left out), ``writable`` (though the
            mount itself is read-only), ``readonly`` (what ``enabled`` is here, too).
        overlay: writes go to the container, not to the source.
        attributes: MOUNT_ATTR_* beside those that every mount has.
        create: a source that is missing is made.
        mode: options as they were written after -v.
        idmap: its files have the ids of the container's user namespace, as those of a volume have anyway.
        flag: what asked for it: ``-v``, ``--mount``, ``--volumes-from`` or ``image``.
    """

    __slots__ = ("target", "type", *DEFAULTS)

    type: str
    target: str
    source: str
    read_only: bool
    name: str
    anonymous: bool
    no_copy: bool
    subpath: str
    labels: dict[str, str]
    driver_options: dict[str, str]
    propagation: str
    recursive: str
    overlay: bool
    attributes: int
    create: bool
    mode: str
    flag: str
    idmap: bool

    def __init__(self, **fields: Any) -> None:
        """Take what differs from DEFAULTS."""
        self.type = fields["type"]
        self.target = fields["target"]
        for name, default in DEFAULTS.items():
            setattr(self, name, fields.get(name, default))

    @classmethod
    def read(cls, entry: Mapping[str, Any] | Sequence[Any]) -> Mount:
        """Read an entry of a record."""
        if isinstance(entry, list):
            source, target, read_only = entry
            return cls(type="bind", source=source, target=target, read_only=read_only, mode="ro" if read_only else "")
        return cls(**entry)  # type: ignore[arg-type]  # of a mapping's keys mypy does not know that they are text

    def to_json(self) -> dict[str, Any]:
        """The entry of a record."""
        own = {name: getattr(self, name) for name, default in DEFAULTS.items() if getattr(self, name) != default}
        return {"type": self.type, "target": self.target, **own}

    def but(self, **fields: Any) -> Mount:
        """The same with other *fields*."""
        return Mount(**(self.to_json() | fields))


def of(options: Mapping[str, Any]) -> list[Mount]:
    """The mounts of a container with these options, in the order in which they are attached."""
    return [Mount.read(entry) for entry in options["volumes"]]


def complete(home: Home, options: dict[str, Any], declared: Sequence[str]) -> None:
    """Add to the mounts that were asked for those of other containers and of the image; name the anonymous volumes.

    Args:
        home: the store; where *options* need volumes, the caller holds them: see volumes.hold.
        options: of a container that is about to be made.
        declared: what the image says has to be a volume.

    Raises:
        NotFound, Conflict: of --volumes-from: no container, or several, are meant.
        BadInput: too many mounts, or nothing can be attached at a path that the image declares.
    """
    mounts = of(options)
    taken = {mount.target for mount in mounts}
    taken.update(target for target, _, _ in options["tmpfs"])
    for text in options.get("volumes_from", ()):
        for mount in _of_container(home, text):
            if mount.target not in taken:
                taken.add(mount.target)
                mounts.append(mount)
    for path in declared:
        target = check_target(f"make {path!r} a volume, as the image wants", os.path.normpath("/" + path))
        if target not in taken:
            taken.add(target)
            mounts.append(Mount(type="volume", target=target, anonymous=True, flag="image"))
    if len(mounts) + len(options["tmpfs"]) > MOUNTS:
        raise BadInput("attach volumes", f"{len(mounts) + len(options['tmpfs'])} are more than {MOUNTS}")
    for mount in mounts:
        if mount.type == "volume" and not mount.name:
            mount.name = os.urandom(32).hex()
    _check_shared(mounts, options)
    options["volumes"] = [mount.to_json() for mount in sorted(mounts, key=lambda one: one.target.count("/"))]


def _of_container(home: Home, text: str) -> list[Mount]:
    from minirun.container import record as records

    name, _, mode = text.partition(":")
    read_only = mode == "ro"
    return [
        mount.but(flag="--volumes-from", no_copy=True, create=False, read_only=mount.read_only or read_only)
        for mount in of(records.find(home, name).options)
    ]


def _check_shared(mounts: Iterable[Mount], options: Mapping[str, Any]) -> None:
    """Refuse what would be mounted on a shared mount: it would be mounted on the host, too, and stay there."""
    every = [*(mount.target for mount in mounts), *(target for target, _, _ in options["tmpfs"])]
    for mount in mounts:
        if mount.propagation in ("shared", "rshared"):
            if mount.target.split("/")[1] in ("sys", "dev"):
                raise BadInput(
                    f"attach {mount.source} at {mount.target} as {mount.propagation}",
                    "more is mounted there for the container, and it would show on the host",
                    "choose another place in the container, or rslave",
                )  # fmt: skip
            for target in every:
                if target.startswith(f"{mount.target}/"):
                    raise BadInput(
                        f"attach {target}", f"it would show on the host, as {mount.target} is shared with it",
                        "attach it elsewhere, or the other one with rslave",
                    )  # fmt: skip


def check_target(attempt: str, path: str) -> str:
    """The path, made plain.

    Raises:
        BadInput: nothing can be attached there.
    """
    if not path.startswith("/") or "\0" in path:
        raise BadInput(attempt, f"{path!r} is not an absolute path in the container")
    path = os.path.normpath(path).replace("//", "/")
    if path == "/" or path == "/proc" or path.startswith("/proc/"):
        raise BadInput(attempt, f"nothing can be attached at {path}", "choose another place in the container")
    return path


def discards(home: Home, box: Record) -> list[list[str]]:
    """The undos that remove a container's anonymous volumes which no other one has."""
    return [
        ["discard_volume", home.root, home.runtime, mount.name, box.id]
        for mount in of(box.options) if mount.type == "volume" and mount.anonymous
    ]  # fmt: skip


def tell(home: Home, box: Record, action: str) -> None:
    """Have events say what happens to a container's volumes."""
    for mount in of(box.options):
        if mount.type == "volume":
            told = {"container": box.id, "driver": "local"}
            if action == "mount":
                told |= {
                    "destination": mount.target, "propagation": "", "read/write": str(not mount.read_only).lower()
                }  # fmt: skip
            events.emit(home, "volume", action, mount.name, told)


def check_source(attempt: str, path: str, *, create: bool) -> str:
    """The path on the host, made absolute and without symlinks; it may be missing if it is to be created.

    Raises:
        BadInput: there is nothing that could be attached.
    """
    path = os.path.abspath(path)
    remedy = f"make it first: `mkdir -p {path}`"
    try:
        os.stat(path)
    except FileNotFoundError as error:
        real = os.path.realpath(path)
        if os.path.islink(path):
            raise BadInput(attempt, f"it is a link to {real}, which is not there", f"make that first: `mkdir -p {real}`"
                           ) from None  # fmt: skip
        if not create:
            raise BadInput(attempt, error, remedy) from None
    except OSError as error:
        raise BadInput(attempt, error, remedy) from None
    return os.path.realpath(path)
