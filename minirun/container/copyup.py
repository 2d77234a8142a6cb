"""What makes a container's volumes and missing sources, each with its undo; and what of the image goes into them.

    volume                     what of the image is at its path goes in
    -------------------------  -----------------------------------------------------------------------------
    made now                   yes, before it has a record
    there, empty, used by no   yes, at once by a rename: who is killed before leaves it empty. A container that
    other container            had it could have its directory open, which is then another
    there, and not empty       no
    nocopy, memory, a bind     no
    :O, a subpath              no

"At its path" is looked up in the image's layers, as they lie there, and its links lead to what is in the image: nothing
of the image is mounted or run, and no link leads out of it. Owner, mode, xattrs, times, hard links, holes and device
nodes are kept, and data are shared where the file system can.
"""

from __future__ import annotations

import os
from stat import S_ISDIR, S_ISLNK

from minirun.container import mounts, volumes
from minirun.errors import BadInput
from minirun.image import merging
from minirun.journal import Step
from minirun.kernel import tree
from minirun.layer import stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from minirun.container.mounts import Mount
    from minirun.container.record import Record
    from minirun.home import Home

_LINKS = 40  # as path_resolution(7)


def steps(home: Home, box: Record) -> list[Step]:
    """List what makes the sources of a container's mounts that are missing; the folder of volumes is held.

    Args:
        home: the store.
        box: the container, whose options are complete: see mounts.complete.
    """
    found: list[Step] = []
    seen: set[str] = set()
    for mount in mounts.of(box.options):
        if mount.type == "bind" and mount.create:
            found += _folder_steps(mount.source, seen)
        elif mount.type == "volume" and mount.name not in seen:
            seen.add(mount.name)
            found.append(_volume_step(home, box, mount))
    return found


def _folder_steps(path: str, seen: set[str]) -> Iterator[Step]:
    missing = []
    while not os.path.lexists(path) and path not in seen:
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        seen.add(folder)
        yield _folder_step(folder)


def _folder_step(path: str) -> Step:
    why = "-v makes what is missing a directory"
    return Step(f"mkdir {path}", lambda: _make_folder(path), ("remove_folder", path), why)


def _make_folder(path: str) -> None:
    try:
        os.mkdir(path)
    except FileExistsError:
        return  # somebody else wanted it, too
    os.chmod(path, 0o755)  # noqa: S103 - Docker's mode, whatever the umask


def _volume_step(home: Home, box: Record, mount: Mount) -> Step:
    undo = ("discard_volume", home.root, home.runtime, mount.name, box.id, "made")
    why = "a volume, made on first use, with what the image has at its path"
    return Step(f"mkdir {volumes.data(home, mount.name)}", lambda: _make(home, box, mount), undo, why)


def _make(home: Home, box: Record, mount: Mount) -> None:
    volume = volumes.find(home, mount.name)
    if volume:
        _fill(home, box, mount, volume)
        return
    volumes.begin(home, mount.name)
    copied = False
    if mount.driver_options:
        volumes.make_data(home, mount.name)
    else:
        copied = _takes(mount) and _copy(home, box, mount, volumes.data(home, mount.name))
        if not copied:
            volumes.make_data(home, mount.name)
    passing = mount.anonymous and box.remove  # it goes with its container, which need not survive a power cut
    if copied and not passing:
        tree.sync(home.volume(mount.name))
    volumes.create(
        home, mount.name, labels=mount.labels, options=mount.driver_options, anonymous=mount.anonymous,
        made_for=box.id, durable=not passing,
    )  # fmt: skip


def _fill(home: Home, box: Record, mount: Mount, volume: volumes.Volume) -> None:
    own = volumes.data(home, mount.name)
    if volume.options or not _takes(mount) or os.listdir(own) or volumes.users(home, mount.name, but=box.id):
        return
    fresh = f"{home.volume(mount.name)}/_new"
    tree.remove(fresh)
    if _copy(home, box, mount, fresh):
        tree.sync(fresh)
        os.rename(fresh, own)  # an empty directory gives way


def _takes(mount: Mount) -> bool:
    return not (mount.no_copy or mount.overlay or mount.subpath)


def _copy(home: Home, box: Record, mount: Mount, target: str) -> bool:
    """Make the directory *target* of what the image has at a mount's path; False: it has nothing there."""
    layers = [home.diff(name) for name in box.stack]
    path = _follow(layers, mount.target)
    entry = stack.find(layers, path) if path else None
    if entry is None:
        return False
    if not S_ISDIR(entry.stat.st_mode):
        raise BadInput(
            f"attach volume {mount.name} at {mount.target}", "the image has a file there, and a volume is a directory",
            "choose another place in the container",
        )  # fmt: skip
    merging.merge(stack.merged(layers, path), [], target, entry.path)
    return True


def _follow(layers: Sequence[str], path: str) -> str:
    """The path that *path* leads to inside the image, its links followed; empty where it leads to nothing."""
    rest = [name for name in reversed(path.split("/")) if name]
    done: list[str] = []
    links = 0
    while rest:
        name = rest.pop()
        if name == "..":
            del done[-1:]
            continue
        if name == ".":
            continue
        here = "/".join([*done, name])
        entry = stack.find(layers, here)
        if entry is None:
            return ""
        if not S_ISLNK(entry.stat.st_mode):
            done.append(name)
            continue
        links += 1
        target = os.readlink(entry.path)
        if links > _LINKS:
            return ""
        if target.startswith("/"):
            done = []
        rest += [part for part in reversed(target.split("/")) if part]
    return "/".join(done)
