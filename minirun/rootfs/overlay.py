"""The overlay: layers below, read-only; one fresh directory above, where everything written lands.

    upper   ../containers/<id>/upper   what the container wrote          ┐
    lower   <mounts layer>             mount points the image lacks      │ relative to diffs/: short enough for
            <layer n> … <layer 1>      the image, topmost first          ┘ fsconfig(2), which takes 255 bytes

Options, and why: ``index=on`` keeps hard links whole when one of their names is copied up, and refuses an upper that is
mounted twice; ``redirect_dir=off`` and ``metacopy=off`` keep every upper readable as a layer, without attributes that
point elsewhere; ``volatile`` spares a container that is thrown away the syncing of its upper.
See Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

from minirun.errors import Unsupported
from minirun.kernel.call import Call
from minirun.kernel.names import (
    AT_FDCWD,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_NODEV,
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
)
from minirun.rootfs.attach import ROOT, filesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPTIONS = (("index", "on"), ("redirect_dir", "off"), ("metacopy", "off"))
# mount(2) copies one page of options and cuts the rest without a word
OPTION_BYTES = 4095


class Overlay:
    """The directories of one root file system.

    Attributes:
        diffs: absolute path of the folder to which the others are relative.
        lower: names below *diffs*, bottom to top, 1 to 500.
        upper: where writes land; None for a read-only view.
        work: overlayfs's own directory, on the same file system as *upper*.
        volatile: nothing of it needs to survive a power cut.
    """

    __slots__ = ("diffs", "lower", "upper", "volatile", "work")

    def __init__(self, diffs: str, lower: Sequence[str], upper: str | None, work: str, *, volatile: bool) -> None:
        self.diffs = diffs
        self.lower = lower
        self.upper = upper
        self.work = work
        self.volatile = volatile


def mount(overlay: Overlay, attach_point: str) -> Iterator[Call]:
    """Mount *overlay* on *attach_point*; the slot ROOT holds it afterwards."""
    yield Call("chdir", overlay.diffs, why="layers are named relative to this folder")
    options = [("lowerdir+", name) for name in reversed(overlay.lower)]
    if overlay.upper is not None:
        options += [("upperdir", overlay.upper), ("workdir", overlay.work), *OPTIONS]
    flags = [("volatile", None)] if overlay.volatile else []
    # Device nodes of an image or of the container's making must not open the host's devices; /dev has its own.
    yield from filesystem(
        "overlay", [*options, *flags], MOUNT_ATTR_NODEV, save=ROOT, why=f"stack {len(overlay.lower)} layers"
    )
    yield Call("move_mount", ROOT, "", AT_FDCWD, attach_point, MOVE_MOUNT_F_EMPTY_PATH, why="the root of the container")


def mount_by_options(overlay: Overlay, attach_point: str) -> Iterator[Call]:
    """The same by mount(2), for Linux before 6.8, which has no ``lowerdir+``.

    Raises:
        Unsupported: the options do not fit into one page.
    """
    options = [f"lowerdir={':'.join(reversed(overlay.lower))}"]
    if overlay.upper is not None:
        options += [f"upperdir={overlay.upper}", f"workdir={overlay.work}", *(f"{k}={v}" for k, v in OPTIONS)]
    text = ",".join([*options, "volatile"] if overlay.volatile else options)
    if len(text) > OPTION_BYTES:
        raise Unsupported(
            f"stack {len(overlay.lower)} layers",
            f"this kernel takes {OPTION_BYTES} bytes of overlay options and these are {len(text)}",
            "run on Linux 6.8 or newer, or make an image of fewer layers: `minirun export` and `minirun import`",
        )
    yield Call("chdir", overlay.diffs, why="layers are named relative to this folder")
    yield Call("mount", "overlay", attach_point, "overlay", MS_NODEV, text, why=f"stack {len(overlay.lower)} layers")
    yield Call("openat", AT_FDCWD, attach_point, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, save=ROOT)


def view(stack: Sequence[str]) -> Iterator[Call]:
    """Stack directories read-only and detached: the plan's result is a descriptor, and closing it unmounts.

    Nothing is attached anywhere, so nothing is left when the reader is killed.

    Args:
        stack: paths, bottom to top, 2 to 500 of them (overlayfs takes no single one), each at most 255 bytes long.
    """
    options = [("lowerdir+", name) for name in reversed(stack)]
    yield from filesystem("overlay", options, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, save=ROOT, why="a merged view")
