"""What eStargz keeps in a layer for itself: a table of contents and a mark, which nobody wants to see in a container.

    entries that are wanted first   .prefetch.landmark (none: .no.prefetch.landmark)   others   stargz.index.json
                                    ╰ one byte, 0x0f                                            ╰ the last entry

The kind of a layer is told by its tar alone. The gzip members and the footer behind them tell, too, but are gone where
the layer comes uncompressed, and contents of one diff id must be the same, however they come.
See estargz.md of containerd's stargz-snapshotter.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from minirun.layer import tar
from minirun.layer.folders import clean

INDEX = b"stargz.index.json"
LANDMARKS = (b".prefetch.landmark", b".no.prefetch.landmark")


def remove_index(root: int, last: tar.Entry) -> int:
    """Remove from a layer what is eStargz's own, if it is such a layer.

    Args:
        root: descriptor of the layer's directory.
        last: the last entry of its tar.

    Returns:
        The bytes of data that were in it.
    """
    if last.kind != tar.FILE or clean(last.name) != INDEX:
        return 0
    landmarks = [name for name in LANDMARKS if _is_landmark(root, name)]
    if not landmarks:
        return 0  # a file that happens to have this name
    for name in (INDEX, *landmarks):
        os.unlink(name, dir_fd=root)
    return last.size + len(landmarks)


def _is_landmark(root: int, name: bytes) -> bool:
    try:
        stat = os.stat(name, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not S_ISREG(stat.st_mode) or stat.st_size != 1:
        return False
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)
    try:
        return os.read(file, 1) == b"\x0f"
    finally:
        os.close(file)
