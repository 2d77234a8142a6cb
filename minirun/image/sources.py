"""What directories held when their images were made, so that an unchanged one is not read again.

    sources/<absolute path, / as %2F>.json     or, for a path too long for that, <sha256 of it>.json
    {"path": "/home/me/ubuntu-layers", "image": "<id>",
     "files": [["01-base.tar.zst", dev, ino, size, mtime_ns, ctime_ns], …, [".", …]],     one stat each
     "trees": [["03-site", "<sha256 over the same of every entry below>"]]}               one walk each

"." is among the files: a name that comes or goes changes the directory. ctime cannot be set, so no change is hidden by
an mtime that was put back. A change within the clock tick of the reading would not show: `settle` waits that tick out.
"""

from __future__ import annotations

import os

from minirun import jsonrecord
from minirun.kernel import files, jsonfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from hashlib import _Hash as Hash
    from typing import Any

    from minirun.home import Home

NAME_BYTES = 220  # of NAME_MAX, 255: files.replace adds to it
TICK_NS = 20_000_000  # two of the slowest clock's, CONFIG_HZ=100; see current_time() in fs/inode.c


def recall(home: Home, path: str) -> str | None:
    """The id of the image that the directory *path* was when it last changed; None if nobody knows.

    The image may have been removed meanwhile: the caller looks.
    """
    path = os.path.abspath(path)
    try:
        record = jsonfile.read(_file(home, path))
        for name, *then in record["files"]:
            now = os.stat(f"{path}/{name}")
            if [now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns] != then:
                return None
        for name, digest in record["trees"]:
            if tree(f"{path}/{name}") != digest:
                return None
        image: str = record["image"]
    except (OSError, ValueError, KeyError, TypeError):
        # no record, or one of another version: it is only a cache
        return None
    return image


def remember(home: Home, path: str, image: str, seen: Mapping[str, os.stat_result], trees: Mapping[str, str]) -> bool:
    """Write down that the directory *path* is the image with the id *image*.

    Args:
        home: of the cache.
        path: absolute.
        image: id of an image that is in the store.
        seen: each file that was read, as it was before.
        trees: each layer that is a directory, with its `tree` from before it was read.

    Returns:
        Whether it was; not if something changed while it was read.

    Raises:
        OSError: the store could not be written.
    """
    try:
        if any(_facts(os.stat(f"{path}/{name}")) != _facts(then) for name, then in seen.items()):
            return False
        if any(tree(f"{path}/{name}") != digest for name, digest in trees.items()):
            return False
    except OSError:
        return False
    record: dict[str, Any] = {
        "path": path,
        "image": image,
        "files": [[name, *_facts(then)] for name, then in seen.items()],
        "trees": [[name, digest] for name, digest in trees.items()],
    }
    # after a power cut the file may be empty, and the directory is read again
    jsonrecord.write(home, _file(home, path), record, durable=False)
    return True


def prune(home: Home, images: Collection[str]) -> int:
    """Drop what leads to images other than *images*, or from directories that are gone.

    Returns:
        How many records were dropped.
    """
    folder = home.folder("sources")
    dropped = 0
    for name in os.listdir(folder):
        try:
            record = jsonfile.read(f"{folder}/{name}")
            if record["image"] in images and os.path.isdir(record["path"]):
                continue
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError):
            pass  # of another version, or cut short by a power cut
        files.remove(f"{folder}/{name}")
        dropped += 1
    return dropped


def tree(path: str) -> str:
    """A digest over name, inode, mode, size and times of everything below the directory *path*.

    Raises:
        OSError: something could not be looked at, or vanished.
    """
    digest = _sha256()
    pending = [os.fsencode(path)]
    while pending:
        directory = pending.pop()
        with os.scandir(directory) as entries:
            # in whatever order: the same directory, unchanged, is listed in the same one
            for entry in entries:
                now = entry.stat(follow_symlinks=False)
                digest.update(b"%s\0%x %x %o %x %x %x\0" % (
                    entry.path, now.st_dev, now.st_ino, now.st_mode, now.st_size, now.st_mtime_ns, now.st_ctime_ns,
                ))  # fmt: skip
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
    now = os.lstat(path)
    digest.update(b"%x %x %o %x" % (now.st_dev, now.st_ino, now.st_mode, now.st_ctime_ns))
    return digest.hexdigest()


def settle(youngest_ns: int) -> None:
    """Wait until a change would get another time than *youngest_ns*, the latest ctime that was seen; at most a tick."""
    import time

    age_ns = time.time_ns() - youngest_ns
    if 0 <= age_ns < TICK_NS:
        time.sleep((TICK_NS - age_ns) / 1e9)


def _facts(status: os.stat_result) -> list[int]:
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _file(home: Home, path: str) -> str:
    # hashing is another 50 µs, most of it to import the hash
    name = path.replace("%", "%25").replace("/", "%2F")
    if len(os.fsencode(name)) > NAME_BYTES:
        name = _sha256(os.fsencode(path)).hexdigest()
    return f"{home.root}/sources/{name}.json"


def _sha256(data: bytes = b"") -> Hash:
    # the C modules themselves: hashlib takes a millisecond, OpenSSL more
    try:
        import _sha256 as c  # type: ignore[import-not-found]  # typeshed leaves it out
    except ImportError:
        import _sha2 as c  # type: ignore[import-not-found]  # its name since Python 3.12
    digest: Hash = c.sha256(data)
    return digest
