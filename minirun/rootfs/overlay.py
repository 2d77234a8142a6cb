"""The overlay: layers below, read-only; one fresh directory above, where everything written lands.

    upper   ../containers/<id>/upper   what the container wrote          ┐
    lower   <mounts layer>             mount points the image lacks      │ relative to diffs/: short enough for
            <layer n> … <layer 1>      the image, topmost first          ┘ fsconfig(2), which takes 255 bytes

Options, and why: ``index=on`` keeps hard links whole when one of their names is copied up, and refuses an upper that is
mounted twice; ``redirect_dir=off`` and ``metacopy=off`` keep every upper readable as a layer, without attributes that
point elsewhere; ``volatile`` spares a container that is thrown away the syncing of its upper;
``userxattr``, of an ordinary user, has overlayfs keep what it says in xattrs that he may set, too.
See Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

from minirun import caller
from minirun.errors import Unsupported
from minirun.kernel.call import Call
from minirun.kernel.names import (
    AT_FDCWD,
    CLONE_NEWNS,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_RDONLY,
    MOVE_MOUNT_F_EMPTY_PATH,
    MS_NODEV,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    O_CLOEXEC,
    O_DIRECTORY,
    O_PATH,
)
from minirun.rootfs.attach import BARRED, ROOT, SCRATCH, attach, filesystem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# userxattr says the last two by itself, and does not go with them
OPTIONS = (("index", "on"), *(() if caller.ROOTLESS else (("redirect_dir", "off"), ("metacopy", "off"))))
# what an ordinary user may set: see caller.OVERLAY
USERS: tuple[tuple[str, None], ...] = (("userxattr", None),) if caller.ROOTLESS else ()
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
        "overlay", [*options, *flags, *USERS], MOUNT_ATTR_NODEV, save=ROOT, why=f"stack {len(overlay.lower)} layers"
    )
    yield Call("move_mount", ROOT, "", AT_FDCWD, attach_point, MOVE_MOUNT_F_EMPTY_PATH, why="the root of the container")


def mount_by_options(overlay: Overlay, attach_point: str) -> Iterator[Call]:
    """The same by mount(2), for Linux before 6.8, which has no ``lowerdir+``."""
    paths = [f"{overlay.diffs}/{name}" for name in overlay.lower]
    writable = {}
    if overlay.upper is not None:
        writable = {"upperdir": f"{overlay.diffs}/{overlay.upper}", "workdir": f"{overlay.diffs}/{overlay.work}"}
    yield from _by_options(paths, writable, attach_point, "volatile" if overlay.volatile else "")


def _by_options(lower: Sequence[str], writable: dict[str, str], attach_point: str, flag: str) -> Iterator[Call]:
    """Mount by mount(2), which takes one page of options, and cuts the rest without a word.

    So the directories get short names first: links in a tmpfs that is our working directory for this moment and that
    nobody else sees. That makes room for the 500 layers that overlayfs takes.
    """
    why = f"stack {len(lower)} layers"
    names = {str(number): path for number, path in enumerate(lower)}
    options = [f"lowerdir={':'.join(reversed(names))}", *(f"{option}={option[0]}" for option in writable)]
    options += [f"{key}={value}" for key, value in OPTIONS] if writable else []
    text = ",".join([*options, *([flag] if flag else []), *(name for name, _ in USERS)])
    if len(text) > OPTION_BYTES:
        raise Unsupported(
            why, f"this kernel takes {OPTION_BYTES} bytes of overlay options and these are {len(text)}",
            "make an image of fewer layers: `minirun export` and `minirun import`",
        )  # fmt: skip
    yield from filesystem(
        "tmpfs", (("mode", "700"),), BARRED, save=SCRATCH, why="a place for short names of the layers"
    )
    yield Call("fchdir", SCRATCH)
    for name, path in (*names.items(), *((option[0], path) for option, path in writable.items())):
        yield Call("symlinkat", path, AT_FDCWD, name)
    flags = MS_NODEV if writable else MS_NODEV | MS_RDONLY
    yield Call("mount", "overlay", attach_point, "overlay", flags, text, why=why)
    yield Call("openat", AT_FDCWD, attach_point, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, save=ROOT)
    yield Call("close", SCRATCH)


def view(stack: Sequence[str], *, options: Sequence[tuple[str, str | None]] = ()) -> Iterator[Call]:
    """Stack directories read-only and detached: the plan's result is a descriptor, and closing it unmounts.

    Nothing is attached anywhere, so nothing is left when the reader is killed.

    Args:
        stack: paths, bottom to top, 2 to 500 of them (overlayfs takes no single one), each at most 255 bytes long.
        options: more of overlayfs's.
    """
    layers = [*(("lowerdir+", name) for name in reversed(stack)), *options, *USERS]
    attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV
    yield from filesystem("overlay", layers, attributes, save=ROOT, why=f"stack {len(stack)} layers")


def view_by_options(stack: Sequence[str], attach_point: str) -> Iterator[Call]:
    """The same for Linux before 6.8, in a mount namespace that the caller does not leave any more."""
    yield Call("unshare", CLONE_NEWNS, why="what is mounted here goes with this process")
    yield Call("mount", 0, "/", 0, MS_REC | MS_PRIVATE, 0, why="and is nobody else's")
    yield from _by_options(stack, {}, attach_point, "")


def attached_view(stack: Sequence[str], attach_point: str) -> Iterator[Call]:
    """The same, attached at *attach_point* for whoever sees the mounts of this process.

    Where not all directories are on one file system, ``xino`` keeps the device numbers of files one: by those tar and
    find tell where a file system ends.
    """
    yield from view(stack, options=[("xino", "auto")])
    yield from attach(attach_point, mount=ROOT, why="what this is for")


def attached_view_by_options(stack: Sequence[str], attach_point: str) -> Iterator[Call]:
    """The same for Linux before 6.8."""
    yield from _by_options(stack, {}, attach_point, "xino=auto")
    yield Call("close", ROOT)
