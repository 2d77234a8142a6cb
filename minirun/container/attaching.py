"""What a container's mounts are to the plan of a start: clones, overlays, memory; and what they need on the host.

bind            ─▶ Volume, or Bound where more is asked than that it is read-only     the source, as it was asked for
volume          ─▶ the same of <store>/volumes/<name>/_data, or of its device; or Tmpfs
either with :O  ─▶ Overlaid: writes to <container>/overlays/<n>/upper
"""

from __future__ import annotations

import os

from minirun import caller
from minirun.container import mounts, volumes
from minirun.errors import BadInput, Conflict, MinirunError
from minirun.journal import Step
from minirun.kernel import tree
from minirun.kernel.names import MOUNT_ATTR_NONE
from minirun.rootfs.volumes import Tmpfs, Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from minirun.container.mounts import Mount
    from minirun.container.record import Record
    from minirun.home import Home


def attach(home: Home, box: Record) -> list[Volume | Tmpfs]:
    """What the plan of a start has to attach, memory among it, in that order.

    Raises:
        BadInput: a source is not what it has to be for what was asked.
        MinirunError: a volume is not there any more.
    """
    attached: list[Volume | Tmpfs] = [
        Tmpfs(target, given, attributes) for target, given, attributes in box.options["tmpfs"]
    ]
    for place, mount in enumerate(mounts.of(box.options)):
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
    found = _bind(home, box, mount.but(source=source, read_only=read_only), place)
    # what lies in the store has the ids of containers, whichever has it; a device or a directory of the host its own
    found.mapped = mount.idmap or not (options or mount.overlay)
    return found


def _memory(home: Home, box: Record, mount: Mount, options: Mapping[str, str]) -> Tmpfs:
    if mount.subpath or mount.overlay:
        raise BadInput(
            f"attach volume {mount.name} at {mount.target}", "it is memory, and empty at each start",
            "leave the subpath, or O, out",
        )  # fmt: skip
    for other in volumes.users(home, mount.name, but=box.id):
        from minirun.container import state

        if state.read(home, other).alive:
            raise Conflict(
                f"attach volume {mount.name}", f"container {other.name} has it, and it is memory of one container",
                "memory that several share is not built in this version; a volume without --opt lies on the disk",
            )  # fmt: skip
    from minirun.container import memory

    given, attributes = memory.options_of(f"attach volume {mount.name}", options.get("o", ""))
    options_of = [(name, value) for name, value in given]
    return Tmpfs(mount.target, options_of, memory.read_only(attributes | mount.attributes, mount.read_only))


def _bind(home: Home, box: Record, mount: Mount, place: int) -> Volume:
    directory = _is_directory(mount)
    if mount.overlay:
        from minirun.rootfs.binds import Overlaid

        if not directory:
            raise BadInput(f"attach {mount.source} at {mount.target}", "an overlay is of a directory, and it is a file")
        return Overlaid(mount.source, mount.target, overlay_folder(home, box, place), mount.attributes)
    plain = (mount.propagation, mount.recursive) in (("rprivate", "enabled"), ("private", "enabled"))
    if plain and not mount.subpath and not mount.attributes:
        volume = Volume(mount.source, mount.target, read_only=mount.read_only, directory=directory)
        volume.mapped = mount.idmap
        return volume
    from minirun.rootfs.binds import Bound

    propagation = mount.propagation.removeprefix("r") if "private" not in mount.propagation else ""
    if propagation:
        _check_peer(mount, propagation)
    bound = Bound(
        mount.source, mount.target, read_only=mount.read_only, directory=directory, subpath=mount.subpath,
        recursive=mount.recursive != "disabled", deep=mount.recursive != "writable", propagation=propagation,
        attributes=MOUNT_ATTR_NONE | mount.attributes,
    )  # fmt: skip
    bound.mapped = mount.idmap
    return bound


def overlay_folder(home: Home, box: Record, place: int) -> str:
    """Where what is written to an overlaid mount lands, until the container is started again or removed."""
    return f"{home.container(box.id)}/overlays/{place}"


def overlay_steps(home: Home, box: Record) -> list[Step]:
    """List what makes directories for the writes to overlaid mounts; those of the last start go."""
    overlaid = {place: mount for place, mount in enumerate(mounts.of(box.options)) if mount.overlay}
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
            if not name.startswith(caller.OVERLAY):
                os.setxattr(upper, name, os.getxattr(source, name))


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
