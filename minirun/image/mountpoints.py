"""The layer of mount points: what every container has something mounted on and an image lacks.

    image's own layers            the layer on top of them, made once, when the image is stored
    ----------------------------  -----------------------------------------------------------------
    /       (mode, owner, times)  /       the same
    /etc    (mode, owner, times)  /etc    the same, so that nothing but the new names differs
                                  /etc/hosts /etc/hostname /etc/resolv.conf   empty, 0644
                                  /proc /sys /dev                             empty, 0755

Docker's is the "-init" layer of each container. Without it the first start would write these names into the container's
own layer, where `diff` would show and `commit` would keep them. What is there already is left alone, whatever it is.
"""

from __future__ import annotations

import os
import stat

from minirun import caller
from minirun.layer import stack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDERS = ("proc", "sys", "dev")
FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")


def create(directories: Sequence[str], target: str, root: str | None = None) -> bool:
    """Make the layer for the image that consists of *directories*.

    Args:
        directories: overlay directories, bottom to top; none for an image without layers.
        target: absolute path at which the directory is made.
        root: the layer that says what the root directory itself is like; by default the topmost. Where it is another,
            the mount points' layer says it again: an overlay takes the root from its topmost layer alone.

    Returns:
        Whether there is anything in it; if not, nothing was made.

    Raises:
        OSError: the layer could not be made.
    """
    files = list(FILES)
    etc = stack.find(directories, "etc")
    if etc is not None and not stat.S_ISDIR(etc.stat.st_mode):
        files = []  # a symlink, say: where it leads is the image's affair
    folders = [name for name in FOLDERS if stack.find(directories, name) is None]
    files = [name for name in files if stack.find(directories, name) is None]
    top = root or (directories[-1] if directories else None)
    if not folders and not files and top is not None and top == directories[-1]:
        return False
    os.mkdir(target, 0o755)
    for name in folders:
        _make_folder(f"{target}/{name}")
    if files:
        _make_folder(f"{target}/etc")
    for name in files:
        descriptor = os.open(f"{target}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.fchmod(descriptor, 0o644)  # whatever the umask
        os.utime(descriptor, ns=(0, 0))  # the same in every image, and so in every export
        os.close(descriptor)
    if files and etc is not None:
        _copy_metadata(etc.path, f"{target}/etc")
    if top is not None:
        _copy_metadata(top, target)
    else:
        os.chmod(target, 0o755)  # noqa: S103 - as every root directory; whatever the umask
    return True


def _make_folder(path: str) -> None:
    os.mkdir(path)
    os.chmod(path, 0o755)  # noqa: S103 - as in every image; whatever the umask
    os.utime(path, ns=(0, 0))


def _copy_metadata(source: str, target: str) -> None:
    status = os.lstat(source)
    os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listxattr(source, follow_symlinks=False):
        if not name.startswith(caller.OVERLAY):
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False))
    # last: all of the above, and what was made inside, changed it
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
