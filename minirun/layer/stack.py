"""A stack of layer directories, bottom to top, read without mounting it.

overlayfs form                        means
------------------------------------  --------------------------------------------------
char device 0:0                       what has this name further down is gone (whiteout)
xattr trusted.overlay.opaque = "y"    nothing of this directory shows from further down
anything that is not a directory      hides what has its name further down
a directory                           merges with directories of its name further down

An ordinary user's layers say it by user.overlay.opaque: see caller.py.
"""

from __future__ import annotations

import os
from errno import EOPNOTSUPP
from stat import S_ISCHR, S_ISDIR

from minirun import caller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OPAQUE = f"{caller.OVERLAY}opaque"


class Found:
    """An entry of a stack.

    Attributes:
        path: where it lies on the host.
        stat: what lstat(2) said of it.
    """

    __slots__ = ("path", "stat")

    def __init__(self, path: str, stat: os.stat_result) -> None:
        self.path = path
        self.stat = stat


def is_whiteout(stat: os.stat_result) -> bool:
    """Say whether an entry with *stat* takes the entry of its name below away."""
    return stat.st_rdev == 0 and S_ISCHR(stat.st_mode)


def is_opaque(path: str | bytes | int) -> bool:
    """Say whether the directory *path* hides what is in directories of its name below."""
    try:
        # not getxattr alone: asking for what is rarely there costs an exception
        return OPAQUE in os.listxattr(path) and os.getxattr(path, OPAQUE) == b"y"
    except OSError as error:
        if error.errno != EOPNOTSUPP:
            raise
        return False  # this file system has no xattrs, so nothing on it is opaque


def find(stack: Sequence[str], path: str | bytes) -> Found | None:
    """Look up *path* in *stack*: the entry that a mount of the stack would show, or None.

    A symlink is found, never followed: below one there is nothing. ``..`` is taken as text, and stops at the root.

    Raises:
        OSError: a layer directory cannot be read.
    """
    layers = _cut(stack)
    if not layers:
        return None
    found = Found(layers[0], os.lstat(layers[0]))
    components = _components(os.fsdecode(path))
    for depth, name in enumerate(components, 1):
        merged: list[str] = []
        top = None
        for layer in layers:
            here = f"{layer}/{name}"
            try:
                stat = os.lstat(here)
            except FileNotFoundError:
                continue
            if not S_ISDIR(stat.st_mode):
                if top is None and not is_whiteout(stat) and depth == len(components):
                    return Found(here, stat)
                break
            top = top or Found(here, stat)
            merged.append(here)
            if is_opaque(here):
                break
        if top is None:
            return None
        layers, found = merged, top
    return found


def merged(stack: Sequence[str], path: str | bytes) -> list[str]:
    """The directories that a mount of *stack* merges at *path*, bottom to top; none where it shows no directory."""
    layers = _cut(stack)
    for name in _components(os.fsdecode(path)):
        below: list[str] = []
        for layer in layers:
            here = f"{layer}/{name}"
            try:
                if not S_ISDIR(os.lstat(here).st_mode):
                    break
            except FileNotFoundError:
                continue
            below.append(here)
            if is_opaque(here):
                break
        layers = below
    layers.reverse()
    return layers


def walk(stack: Sequence[str]) -> Iterator[tuple[bytes, Found, bool]]:
    """Merge the directories of *stack* and keep what the merged layer says about layers below it.

    Yields:
        ``(path, entry, opaque)`` for everything but the root, a directory before what is in it, names sorted by their
        bytes. A whiteout is yielded as an entry; *opaque*: the directory hides what lies below *stack*.
    """
    pending = [_children(b"", _cut(stack))]
    while pending:
        if not pending[-1]:
            pending.pop()
            continue
        path, layers = pending[-1].pop()
        try:
            top = Found(layers[0], os.lstat(layers[0]))
            merged, opaque = _merged(layers) if S_ISDIR(top.stat.st_mode) else ([], False)
            children = _children(path + b"/", merged)
        except (FileNotFoundError, NotADirectoryError):
            continue  # the topmost layer is a running container's, which has removed it since
        if merged:
            pending.append(children)
        yield path, top, opaque


def _merged(layers: Sequence[str]) -> tuple[list[str], bool]:
    """The directories among *layers*, top to bottom, that show in the first, and whether one of them hides the rest."""
    merged: list[str] = []
    for layer in layers:
        if not S_ISDIR(os.lstat(layer).st_mode):
            return merged, True
        merged.append(layer)
        if is_opaque(layer):
            return merged, True
    return merged, False


def _children(prefix: bytes, directories: list[str]) -> list[tuple[bytes, list[str]]]:
    children: dict[str, list[str]] = {}
    for directory in directories:
        for name in os.listdir(directory):
            children.setdefault(name, []).append(f"{directory}/{name}")
    named = [(prefix + os.fsencode(name), layers) for name, layers in children.items()]
    named.sort(reverse=True)
    return named


def _cut(stack: Sequence[str]) -> list[str]:
    """The directories of *stack* from the top down to the first opaque one."""
    layers: list[str] = []
    for layer in reversed(stack):
        layers.append(layer)
        if is_opaque(layer):
            break
    return layers


def _components(path: str) -> list[str]:
    components: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del components[-1:]
        elif name and name != ".":
            components.append(name)
    return components
