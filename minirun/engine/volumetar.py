"""What is in a volume, as a tar, from a tar, and as a copy.

    export   _data ─▶ tar                                 what podman's volume export writes
    import   tar ─▶ tmp/, whole ─▶ renamed into _data     a damaged tar changes nothing; what has its name is replaced
    clone    _data ─▶ tmp/ ─▶ a volume of another name    data are shared where the file system can

Containers may go on writing. No link of theirs is followed: everything is opened in the directory that it is in.
"""

from __future__ import annotations

import os
from stat import S_ISDIR

from minirun.container import volumedriver, volumes
from minirun.container.volumes import Volume
from minirun.engine import open_home
from minirun.errors import Attempt, BadInput, BadLayer, Conflict, Unsupported
from minirun.home import Home
from minirun.journal import Operation
from minirun.kernel import copying, descent, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from minirun.layer.unpack import Unpacked


def export(name: str, output: int) -> None:
    """Write what is in a volume to the descriptor *output*, as an uncompressed tar.

    Raises:
        NotFound: there is no such volume.
        Unsupported: it is memory.
        MinirunError: it could not be read, or *output* takes no more.
    """
    from minirun.layer.pack import pack

    home = open_home()
    volume = volumes.get(home, name)
    attempt = f"export volume {name}"
    _check_on_disk(volume, attempt)
    with Attempt(attempt):
        root = os.open(volume.data(home), descent.DIRECTORY)
        try:
            pack(root, output, compression="none", literal=True)
        finally:
            os.close(root)


def import_(name: str, source: int, warn: Callable[[str], object]) -> None:
    """Put what is in a tar into a volume, besides what is there; of what has the same name the tar's wins.

    Args:
        name: of the volume.
        source: descriptor of the tar, which may be compressed.
        warn: told what was left out.

    Raises:
        NotFound: there is no such volume.
        BadLayer: it is no tar, or is damaged; nothing was changed.
        Unsupported: the volume is memory, or lies elsewhere.
    """
    from minirun.layer.unpack import unpack

    home = open_home()
    volume = volumes.get(home, name)
    attempt = f"import into volume {name}"
    _check_on_disk(volume, attempt)
    if volume.options:
        remedy = f"`tar -x -C {volume.options['device']}` does it"
        raise Unsupported(attempt, "it is a directory of the host's, which has its own rules", remedy)
    with Attempt(attempt), Operation(home) as operation:
        staged = home.temporary(operation.key)
        operation.will("remove_tree", staged)
        os.mkdir(staged, 0o700)
        unpacked = unpack(source, staged, what="the tar")
        _check_literal(unpacked, attempt)
        for sentence in unpacked.warnings:
            warn(sentence)
        origin, into = os.open(staged, descent.DIRECTORY), os.open(volume.data(home), descent.DIRECTORY)
        try:
            _merge(origin, into)
            if unpacked.has_root:
                _describe(origin, into)
        finally:
            os.close(origin)
            os.close(into)
        tree.sync(volume.data(home))
        tree.remove(staged)


def clone(name: str, new_name: str) -> str:
    """Make a volume with the same in it.

    Returns:
        *new_name*.

    Raises:
        NotFound, Conflict: there is no volume to copy, or one of the new name.
        BadInput: *new_name* is none.
    """
    attempt = f"clone volume {name} as {new_name}"
    volumedriver.check_name(new_name, attempt)
    home = open_home()
    volume = volumes.get(home, name)
    _check_on_disk(volume, attempt)
    with Attempt(attempt), Operation(home) as operation:
        _check_free(home, new_name, attempt)
        staged = home.temporary(operation.key)
        operation.will("remove_tree", staged)
        copying.copy(volume.data(home), staged)
        tree.sync(staged)
        held = volumes.hold(home)
        try:
            _check_free(home, new_name, attempt)
            operation.will("discard_volume", home.root, home.runtime, new_name, operation.key, "made")
            volumes.begin(home, new_name)
            os.rename(staged, volumes.data(home, new_name))
            volumes.create(home, new_name, labels=volume.labels, options={}, made_for=operation.key)
        finally:
            os.close(held)
    return new_name


def _check_free(home: Home, name: str, attempt: str) -> None:
    if volumes.find(home, name):
        raise Conflict(attempt, "there is one of that name", f"remove that one, `minirun volume rm {name}`, or choose "
                       "another name")  # fmt: skip


def _check_on_disk(volume: Volume, attempt: str) -> None:
    if volume.is_memory():
        raise Unsupported(attempt, "it is memory of the container that has it, and nothing without one",
                          "what is in it a process in that container can write elsewhere")  # fmt: skip


def _check_literal(unpacked: Unpacked, attempt: str) -> None:
    """Refuse what only the layers of an image can have."""
    needs = unpacked.needs
    if needs.whiteouts or needs.has_opaque:
        raise BadInput(attempt, "the tar has names that begin with .wh., which mean in a layer that something is gone",
                       "it is a layer of an image, perhaps; leave those names out")  # fmt: skip
    if needs.links:
        name = os.fsdecode(next(iter(needs.links)))
        raise BadLayer(attempt, f"{name[:200]!r} is a hard link to what the tar has not got", "make the tar again")


def _merge(origin: int, into: int) -> None:
    """Rename all that is below the directory *origin* to its place below *into*; both are descriptors."""
    with descent.Descent(origin) as source, descent.Descent(into) as target:
        pending = [os.listdir(origin)]
        while True:
            if pending[-1]:
                name = pending[-1].pop()
                if _are_directories(name, source.current, target.current):
                    source.down(name)
                    target.down(name)
                    pending.append(os.listdir(source.current))
                else:
                    _replace(name, source.current, target.current)
                continue
            pending.pop()
            if not pending:
                return
            _describe(source.current, target.current)
            source.up()
            target.up()


def _are_directories(name: str, *directories: int) -> bool:
    try:
        return all(S_ISDIR(os.stat(name, dir_fd=one, follow_symlinks=False).st_mode) for one in directories)
    except FileNotFoundError:
        return False


def _replace(name: str, origin: int, into: int) -> None:
    try:
        os.rename(name, name, src_dir_fd=origin, dst_dir_fd=into)
    except (IsADirectoryError, NotADirectoryError):
        tree.remove_at(into, name)
        os.rename(name, name, src_dir_fd=origin, dst_dir_fd=into)


def _describe(origin: int, into: int) -> None:
    """Give the directory *into* owner, mode, xattrs and times of *origin*."""
    status = os.fstat(origin)
    os.fchown(into, status.st_uid, status.st_gid)
    os.fchmod(into, status.st_mode & 0o7777)
    for name in os.listxattr(origin):
        os.setxattr(into, name, os.getxattr(origin, name))
    os.utime(into, ns=(status.st_atime_ns, status.st_mtime_ns))
