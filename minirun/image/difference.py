"""What differs between the root file systems of two images, found in their layers without mounting them.

    directories that show at a path, bottom to top      what is done
    old             new
    --------------  --------------                      ------------------------------------------------------------
    base/usr        base/usr                            nothing: the same directories are not even opened
    base/etc        base/etc top/etc                    names are compared; of one that only base/etc has, nothing more
    base/srv        –                                   D, and D for all in it

How layers merge is layer/stack.py's affair. Regular files are the same if they are one inode, and otherwise if owner,
mode, xattrs and bytes are; bytes are read where the lengths are equal. Times do not count, except where they save
reading: of a file of more than LARGE bytes another mtime is taken for other contents.
"""

from __future__ import annotations

import os
from stat import S_IFMT, S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from minirun.layer import stack
from minirun.layer.metadata import OVERLAY_XATTRS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from minirun.layer.stack import Found

LARGE = 64 << 20
_CHUNK = 1 << 20


class Change:
    """A path that is not the same in both.

    Attributes:
        kind: ``A`` added, ``C`` changed, ``D`` deleted.
        path: absolute; bytes that are no UTF-8 are surrogates.
        old: length of the regular file that was there; None if none was.
        new: of the one that is there.
        differs: in what, for ``C``: type, mode, owner, xattrs, contents, target, device; none for a directory in which
            something is another.
    """

    __slots__ = ("differs", "kind", "new", "old", "path")

    def __init__(self, kind: str, path: str, old: int | None, new: int | None, differs: Sequence[str] = ()) -> None:
        self.kind = kind
        self.path = path
        self.old = old
        self.new = new
        self.differs = differs


def changes(old: Sequence[str], new: Sequence[str]) -> list[Change]:
    """Compare two stacks of layer directories, each bottom to top.

    Returns:
        What differs, but for the root itself, sorted by the paths' bytes. All that is in an added or deleted directory
        is there, too, so the other way round it is the same with A for D.

    Raises:
        OSError: a directory or a file could not be read.
    """
    found: dict[str, Change] = {}
    pending = [("", stack.merged(old, ""), stack.merged(new, ""))]
    for above, before, after in pending:
        was_named, now_named = _names(before), _names(after)
        for name in was_named.keys() | now_named.keys():
            places = was_named.get(name, []), now_named.get(name, [])
            if places[0] == places[1]:
                continue
            was, now = map(_shown, places)
            path = f"{above}/{name}"
            if change := _change(path, was, now):
                found[path] = change
            inside = _directories(before, name, was), _directories(after, name, now)
            if inside[0] != inside[1]:
                pending.append((path, *inside))
    for path in list(found):
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found[folder] = Change("C", folder, None, None)
            folder = folder.rpartition("/")[0]
    return [found[path] for path in sorted(found, key=os.fsencode)]


def root(old: str, new: str) -> Change | None:
    """Compare what two directories say of the root directory itself."""
    return _change("/", stack.Found(old, os.lstat(old)), stack.Found(new, os.lstat(new)))


def _names(directories: Iterable[str]) -> dict[str, list[str]]:
    """Each name in merged directories with the places that have it, topmost first."""
    found: dict[str, list[str]] = {}
    for directory in reversed([*directories]):
        for name in os.listdir(directory):
            found.setdefault(name, []).append(f"{directory}/{name}")
    return found


def _shown(places: Sequence[str]) -> Found | None:
    """The entry that shows of those that have one name, topmost first."""
    if not places:
        return None
    entry = stack.Found(places[0], os.lstat(places[0]))
    return None if stack.is_whiteout(entry.stat) else entry


def _directories(merged: Sequence[str], name: str, entry: Found | None) -> list[str]:
    return stack.merged(merged, name) if entry and S_ISDIR(entry.stat.st_mode) else []


def _change(path: str, was: Found | None, now: Found | None) -> Change | None:
    if was and now:
        differs = _differs(was, now)
        return Change("C", path, _length(was), _length(now), differs) if differs else None
    if was or now:
        return Change("D" if was else "A", path, _length(was), _length(now))
    return None


def _length(entry: Found | None) -> int | None:
    return entry.stat.st_size if entry and S_ISREG(entry.stat.st_mode) else None


def _differs(was: Found, now: Found) -> list[str]:
    old, new = was.stat, now.stat
    if (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino):
        return []
    if S_IFMT(old.st_mode) != S_IFMT(new.st_mode):
        return ["type"]
    words = []
    if S_IMODE(old.st_mode) != S_IMODE(new.st_mode):
        words.append("mode")
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        words.append("owner")
    if old.st_rdev != new.st_rdev:
        words.append("device")
    if _xattrs(was.path) != _xattrs(now.path):
        words.append("xattrs")
    if S_ISLNK(old.st_mode) and os.readlink(was.path) != os.readlink(now.path):
        words.append("target")
    if S_ISREG(old.st_mode) and not _same_contents(was, now):
        words.append("contents")
    return words


def _xattrs(path: str) -> dict[str, bytes]:
    """All but those that speak to an overlay mount: they are no part of what it shows."""
    return {
        name: os.getxattr(path, name, follow_symlinks=False)
        for name in os.listxattr(path, follow_symlinks=False)
        if not os.fsencode(name).startswith(OVERLAY_XATTRS)
    }


def _same_contents(was: Found, now: Found) -> bool:
    size = was.stat.st_size
    if size != now.stat.st_size:
        return False
    if size > LARGE and was.stat.st_mtime_ns != now.stat.st_mtime_ns:
        return False
    with open(was.path, "rb", buffering=0) as old, open(now.path, "rb", buffering=0) as new:
        while data := old.read(_CHUNK):
            if data != new.read(_CHUNK):  # of regular files a read is short only at the end
                return False
    return True
