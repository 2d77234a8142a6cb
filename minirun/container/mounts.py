"""What a container has attached: mounts as its record keeps them, and what they are to the plan of a start.

    {"type": "bind",   "target": "/src", "source": "/home/me/src", "read_only": true}
    {"type": "volume", "target": "/data", "name": "db"}                 keys that say what is the default are left out
    ["/home/me/src", "/src", true]                                      records made before there were volumes

Mounts lie in the record in the order in which they are attached: those nearer to the root first, whatever the order in
which they were asked for, so that none hides another. What mounts are asked for, mountflags.py reads.
"""

from __future__ import annotations

import os

from minirun import events
from minirun.container import volumes
from minirun.errors import BadInput, Conflict, MinirunError
from minirun.journal import Step
from minirun.kernel import tree
from minirun.kernel.names import MOUNT_ATTR_NONE
from minirun.rootfs.volumes import Tmpfs, Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from minirun.container.record import Record
    from minirun.home import Home

MOUNTS = 200  # what the slots of a plan hold
DEFAULTS: dict[str, Any] = {
    "source": "", "read_only": False, "name": "", "anonymous": False, "no_copy": False, "subpath": "", "labels": {},
    "driver_options": {}, "propagation": "rprivate", "recursive": "enabled", "overlay": False, "attributes": 0,
    "create": False, "mode": "", "flag": "-v",
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


def attach(home: Home, box: Record) -> list[Volume | Tmpfs]:
    """What the plan of a start has to attach, memory among it, in that order.

    Raises:
        BadInput: a source is not what it has to be for what was asked.
        MinirunError: a volume is not there any more.
    """
    attached: list[Volume | Tmpfs] = [
        Tmpfs(target, given, attributes) for target, given, attributes in box.options["tmpfs"]
    ]
    for place, mount in enumerate(of(box.options)):
        attached.append(_volume(home, box, mount, place) if mount.type == "volume" else _bind(home, box, mount, place))
    return sorted(attached, key=lambda one: one.target.count("/"))


def _volume(home: Home, box: Record, mount: Mount, place: int) -> Volume | Tmpfs:
    volume = volumes.find(home, mount.name)
    options = dict(volume.options if volume else mount.driver_options)
    if options.get("type") == "tmpfs":
        return _memory(home, box, mount, options)
    if volume is None and os.path.isdir(home.container(box.id)):  # else it is yet to be made: a plan is shown
        raise MinirunError(
            f"attach volume {mount.name} at {mount.target}", "it is not there any more",
            f"`minirun volume create {mount.name}` makes an empty one; `minirun system check` looks for more",
        )  # fmt: skip
    source = options["device"] if options else f"{os.path.realpath(home.volume(mount.name))}/_data"
    read_only = mount.read_only or "ro" in options.get("o", "").split(",")
    return _bind(home, box, mount.but(source=source, read_only=read_only), place)


def _memory(home: Home, box: Record, mount: Mount, options: Mapping[str, str]) -> Tmpfs:
    for other in volumes.users(home, mount.name, but=box.id):
        from minirun.container import state

        if state.read(home, other).alive:
            raise Conflict(
                f"attach volume {mount.name}", f"container {other.name} has it, and it is memory of one container",
                "memory that several share is not built in this version; a volume without --opt lies on the disk",
            )  # fmt: skip
    from minirun.container.mountflags import memory

    given, attributes = memory(f"attach volume {mount.name}", options.get("o", ""))
    options_of = [(name, value) for name, value in given]
    return Tmpfs(mount.target, options_of, volumes.read_only(attributes | mount.attributes, mount.read_only))


def _bind(home: Home, box: Record, mount: Mount, place: int) -> Volume:
    directory = _is_directory(mount)
    if mount.overlay:
        from minirun.rootfs.binds import Overlaid

        if not directory:
            raise BadInput(f"attach {mount.source} at {mount.target}", "an overlay is of a directory, and it is a file")
        return Overlaid(mount.source, mount.target, overlay_folder(home, box, place), mount.attributes)
    plain = (mount.propagation, mount.recursive) in (("rprivate", "enabled"), ("private", "enabled"))
    if plain and not mount.subpath and not mount.attributes:
        return Volume(mount.source, mount.target, read_only=mount.read_only, directory=directory)
    from minirun.rootfs.binds import Bound

    propagation = mount.propagation.removeprefix("r") if "private" not in mount.propagation else ""
    if propagation:
        _check_peer(mount, propagation)
    return Bound(
        mount.source, mount.target, read_only=mount.read_only, directory=directory, subpath=mount.subpath,
        recursive=mount.recursive != "disabled", deep=mount.recursive != "writable", propagation=propagation,
        attributes=MOUNT_ATTR_NONE | mount.attributes,
    )  # fmt: skip


def overlay_folder(home: Home, box: Record, place: int) -> str:
    """Where what is written to an overlaid mount lands, until the container is started again or removed."""
    return f"{home.container(box.id)}/overlays/{place}"


def overlay_steps(home: Home, box: Record) -> list[Step]:
    """List what makes directories for the writes to overlaid mounts; those of the last start go."""
    overlaid = {place: mount for place, mount in enumerate(of(box.options)) if mount.overlay}
    if not overlaid:
        return []
    folder = f"{home.container(box.id)}/overlays"
    return [
        Step(
            f"mkdir {folder}/{{{','.join(map(str, overlaid))}}}/{{upper,work}}",
            lambda: _make_overlays(home, folder, overlaid), ("remove_tree", folder),
            "what is written to an overlaid mount lands here",
        )
    ]  # fmt: skip


def _make_overlays(home: Home, folder: str, overlaid: Mapping[int, Mount]) -> None:
    tree.remove(folder)
    os.mkdir(folder, 0o700)
    for place, mount in overlaid.items():
        source = volumes.get(home, mount.name).data(home) if mount.type == "volume" else mount.source
        try:
            below = os.stat(source)
        except OSError as error:
            raise BadInput(f"attach {source} at {mount.target}", error, "it was there when the container was made"
                           ) from None  # fmt: skip
        os.makedirs(f"{folder}/{place}/work", 0o700)
        upper = f"{folder}/{place}/upper"
        os.mkdir(upper, 0o700)
        # an overlay's root looks like its upper's
        os.chown(upper, below.st_uid, below.st_gid)
        os.chmod(upper, below.st_mode & 0o7777)
        for name in os.listxattr(source):
            if not name.startswith("trusted.overlay."):
                os.setxattr(upper, name, os.getxattr(source, name))


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


def _is_directory(mount: Mount) -> bool:
    path = f"{mount.source}/{mount.subpath}" if mount.subpath else mount.source
    return os.path.isdir(path) or not os.path.exists(path)  # what is missing is a directory that is yet to be made


def _check_peer(mount: Mount, propagation: str) -> None:
    """Refuse a source whose mount has no peers: nothing would ever come from it, or go to it."""
    attempt = f"attach {mount.source} at {mount.target} as {mount.propagation}"
    try:
        descriptor = os.open(mount.source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(attempt, error) from None
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
            identity = next(line.split()[1] for line in file if line.startswith("mnt_id:"))
    finally:
        os.close(descriptor)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        line = next((line for line in file if line.startswith(f"{identity} ")), "")
    fields = line.partition(" - ")[0].split()
    words = [word.partition(":")[0] for word in fields[6:]]
    if "shared" in words or (propagation == "slave" and "master" in words):
        return
    where = fields[4] if len(fields) > 4 else mount.source
    kind = "shared" if propagation == "shared" else "shared or slave"
    raise BadInput(
        attempt, f"it is mounted on {where}, which is not a {kind} mount",
        f"`mount --make-shared {where}` makes it one; rprivate, the default, needs none",
    )  # fmt: skip
