"""A stopped container's writable layer becomes a layer of the store, by renames, or comes back.

    begin: all that takes space                  finish, once the image is there     finish, if it is not
    -------------------------------------------  ----------------------------------  --------------------
    next/{upper,work}     empty                  next/container.json → ./            diffs/<layer> → upper
    next/container.json   names the layer        next/upper → ./                     layers/<layer>.json removed
    upper → diffs/<layer>                        work removed, next/work → ./        next removed
    layers/<layer>.json

The image's record decides, so that whoever is killed in between, or finds no room left, leaves a container as before
or as after. Until `finish` the container has no upper/, and cannot be started.
"""

from __future__ import annotations

import fcntl
import os

from minirun import jsonrecord
from minirun.home import Home
from minirun.kernel import files, tree
from minirun.layer.store import Layers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.layer.record import Layer


def begin(
    home: Home, box: Record, parent: Layer, layer_id: str, *, created: str, created_by: str, comment: str
) -> Layer:
    """Make the writable layer of *box* the layer *layer_id*; `finish` must follow, and be announced before.

    Raises:
        OSError: the store could not be written.
    """
    directory = home.container(box.id)
    upper = f"{directory}/upper"
    below = os.stat(upper)
    os.mkdir(f"{directory}/next", 0o700)
    os.mkdir(f"{directory}/next/upper", 0o700)
    os.chown(f"{directory}/next/upper", below.st_uid, below.st_gid)
    os.chmod(f"{directory}/next/upper", below.st_mode & 0o7777)
    os.mkdir(f"{directory}/next/work", 0o700)
    then = box.to_json() | {"stack": [*box.stack, layer_id], "committed": [*box.committed, layer_id]}
    jsonrecord.write(home, f"{directory}/next/container.json", then)
    return Layers(home).adopt(upper, parent, layer_id, created=created, created_by=created_by, comment=comment)


def finish(home: Home, container_id: str, layer_id: str, image_id: str) -> None:
    """Go forward if the image is there, else back; idempotent. The caller holds the container."""
    directory, taken = home.container(container_id), home.diff(layer_id)
    if os.path.exists(home.image(image_id)):
        _rename(f"{directory}/next/container.json", f"{directory}/container.json")
        _rename(f"{directory}/next/upper", f"{directory}/upper")
        if os.path.isdir(f"{directory}/next/work"):
            # it holds links to files of the upper that had several names; they must not outlive it
            tree.remove(f"{directory}/work")
            _rename(f"{directory}/next/work", f"{directory}/work")
    else:
        if os.path.isdir(taken) and not os.path.isdir(f"{directory}/upper"):
            os.rename(taken, f"{directory}/upper")
        files.remove(home.layer(layer_id))
    tree.remove(f"{directory}/next")
    files.sync_folder(directory)


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass  # done before


def undo(root: str, container_id: str, layer_id: str, image_id: str) -> None:
    """Finish what another process began. An undo of the journal: idempotent.

    Args:
        root: of the store.
        container_id: the container.
        layer_id: the layer that its writable layer was to become, and the name of its contents.
        image_id: the image for which that was done.

    Raises:
        BlockingIOError: somebody works on the container.
    """
    home = Home(root, root)
    try:
        lock = os.open(home.container(container_id), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        # somebody removed the container
        if not os.path.exists(home.image(image_id)):
            files.remove(home.layer(layer_id))
            tree.remove(home.diff(layer_id))
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finish(home, container_id, layer_id, image_id)
    finally:
        os.close(lock)
