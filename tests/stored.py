"""What is in a store, in words that two stores have in common when the same was done to them.

containers/<random id>/…   ─▶  containers/«new container 1»/…      diffs/<random id>/…  ─▶  diffs/«new layer 1»/…
times, process ids         ─▶  not compared                        work/                ─▶  only that it is there
lookup/<aa>/<id>           ─▶  lookup/<id>
marks/…                    ─▶  left out
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection
from pathlib import Path

Picture = dict[str, str]

_FOLDERS = {"containers": "container", "layers": "layer", "images": "image", "volumes": "volume"}
_ID_LENGTH = 64
_VOLATILE = (
    (re.compile(rb'"(created|started|finished|next_start|pid|pid_start)": ("[^"]*"|[0-9.e+]+)'), rb'"\1": 0'),
    (re.compile(rb'"time":"[^"]*"'), b'"time":""'),
    (re.compile(rb'"made_for": "[^"]*"'), b'"made_for": ""'),
    (re.compile(rb'"size": (null|\d+)'), b'"size": 0'),  # measured when somebody asks
    (re.compile(rb'"([ug]id)": \[\[0, \d+, '), rb'"\1": [[0, 0, '),  # where a store begins with ids is by chance
)
# File handles and identities of the file system: another copy of the same store has others.
_OF_THE_FILE_SYSTEM = ("trusted.overlay.origin", "trusted.overlay.uuid", "trusted.overlay.upper")


def ids(root: Path) -> set[str]:
    """Every id that the store has a container, a layer or an image of."""
    return {identity for folder in _FOLDERS for identity in _ids(root / folder)}


def _ids(folder: Path) -> set[str]:
    """What is of minirun's choosing in the names in *folder*: a volume may also have one that somebody gave it."""
    return {
        name.partition(".")[0] for name in os.listdir(folder) if folder.name != "volumes" or len(name) == _ID_LENGTH
    }  # fmt: skip


def picture(root: Path, known: Collection[str], began: float) -> Picture:
    """Describe everything in the store *root*, path by path.

    Args:
        root: of the store.
        known: ids that are shown as they are; any other gets a number.
        began: a time; what was last changed before it has its mtime shown.
    """
    names = {}
    for folder, word in _FOLDERS.items():
        fresh = sorted(_ids(root / folder) - set(known))
        for number, identity in enumerate(fresh, 1):
            names[identity] = f"«new {word} {number}»"
    found = {}
    for directory, folders, files in os.walk(root):
        inside = Path(directory).relative_to(root)
        if inside.parts[:1] == ("containers",) and inside.parts[2:] == ("work",):
            folders.clear()
            continue
        if inside.parts == ("marks",):
            continue
        if inside.parts[:1] == ("lookup",):
            # where an id is shelved is by chance, if it is; and which shelves there were
            found.update({
                _renamed(f"lookup/{name}", names): _entry(root / inside / name, "", names, began)
                for name in files if name != "complete"
            })  # fmt: skip
            continue
        if inside.parts == ("ranges",):
            # which numbers it has is by chance; and where the next ones begin
            links = [root / inside / name for name in files if name != "lock"]
            found.update({_renamed(f"ranges/{link.readlink().name}", names): "a range" for link in links})
            continue
        for name in (*folders, *files):
            path = f"{inside}/{name}".removeprefix("./")
            if path not in ("lock", "ranges"):
                found[_renamed(path, names)] = _entry(root / path, path, names, began)
    return found


def _renamed(text: str, names: dict[str, str]) -> str:
    for identity, name in names.items():
        # a host name is the first twelve digits
        text = text.replace(identity, name).replace(identity[:12], name)
    return text


def _entry(full: Path, path: str, names: dict[str, str], began: float) -> str:
    status = full.lstat()
    words = [stat.filemode(status.st_mode), f"{status.st_uid}:{status.st_gid}"]
    contents = _is_contents(path)
    if contents and status.st_mtime < began:
        words.append(f"{status.st_mtime_ns}")
    if stat.S_ISLNK(status.st_mode):
        words.append(_renamed(str(full.readlink()), names))
    elif stat.S_ISREG(status.st_mode):
        words.append(f"links={status.st_nlink}")
        data = full.read_bytes()
        if contents:
            words.append(hashlib.sha256(data).hexdigest())
        else:
            for pattern, replacement in _VOLATILE:
                data = pattern.sub(replacement, data)
            words.append(_renamed(data.decode(errors="surrogateescape"), names))
    elif stat.S_ISCHR(status.st_mode):
        words.append(f"device {status.st_rdev:x}")
    for name in sorted(os.listxattr(full, follow_symlinks=False)):
        if name not in _OF_THE_FILE_SYSTEM:
            words.append(f"{name}={os.getxattr(full, name, follow_symlinks=False)!r}")
    return " ".join(words)


def _is_contents(path: str) -> bool:
    """Whether *path* is below the root of a layer, where times count."""
    parts = path.split("/")
    return (len(parts) > 2 and parts[0] == "diffs") or (len(parts) > 3 and parts[2] == "upper")


def differences(expected: Picture, found: Picture) -> list[str]:
    """Say in what two pictures differ."""
    lines = [f"- {path}: {expected[path]}" for path in sorted(expected.keys() - found.keys())]
    lines += [f"+ {path}: {found[path]}" for path in sorted(found.keys() - expected.keys())]
    for path in sorted(expected.keys() & found.keys()):
        if expected[path] != found[path]:
            lines += [f"  {path}:", f"    - {expected[path]}", f"    + {found[path]}"]
    return lines
