"""What an image is written as: names and contents, sorted, in a tar or in a directory.

    form: departures ─▶ {"blobs/sha256/…": a layer, "index.json": bytes, …} ─▶ write_tar ─▶ a file, a pipe
    savedlayout.py, savedlegacy.py, savedlayers.py                          ╰▶ write_folder ─▶ a new directory

In a tar every entry is of the owner 0, of the time 0 and without names of owners, directories before what is in them:
the same images make the same bytes. Layers are copied by the kernel where both sides are files or pipes.
"""

from __future__ import annotations

import os
from errno import EBADF, EINVAL, ENOSYS, EOPNOTSUPP, EXDEV

from minirun.errors import MinirunError
from minirun.image.leavingblobs import Blob
from minirun.kernel import files
from minirun.layer import header, tar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    # paths, relative, to what is there
    Entries = Mapping[str, bytes | Blob]

_COPY_BYTES = 1 << 30
_READ_BYTES = 1 << 20
# what the kernel says of two descriptors between which it does not copy
_NOT_BETWEEN_THESE = (EBADF, EINVAL, ENOSYS, EOPNOTSUPP, EXDEV)


def write_tar(entries: Entries, descriptor: int) -> None:
    """Write *entries* as a tar to *descriptor*.

    Raises:
        OSError: it takes no more.
        MinirunError: a layer in the store is damaged.
    """
    made: set[str] = set()
    for name in sorted(entries):
        entry = entries[name]
        size = entry.size if isinstance(entry, Blob) else len(entry)
        head = b"".join(
            header.entry(folder.encode(), tar.DIRECTORY, mode=0o755) for folder in _above(name) if folder not in made
        ) + header.entry(name.encode(), tar.FILE, mode=0o644, size=size)  # fmt: skip
        made.update(_above(name))
        if isinstance(entry, Blob):
            files.write_all(descriptor, head)
            _copy(entry, descriptor)
            files.write_all(descriptor, header.PAD[-size & 511])
        else:
            files.write_all(descriptor, head + entry + header.PAD[-size & 511])
    files.write_all(descriptor, header.END)


def write_folder(entries: Entries, path: str) -> None:
    """Write *entries* as files into the new directory *path*, and all of it to the disk.

    Raises:
        OSError: there is no room, or the like; *path* is there in part.
        MinirunError: a layer in the store is damaged.
    """
    os.mkdir(path, 0o755)
    folders = {path}
    for name in sorted(entries):
        entry = entries[name]
        for folder in _above(name):
            if f"{path}/{folder}" not in folders:
                os.mkdir(f"{path}/{folder}", 0o755)
                folders.add(f"{path}/{folder}")
        descriptor = os.open(f"{path}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            if isinstance(entry, Blob):
                _copy(entry, descriptor)
            else:
                files.write_all(descriptor, entry)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    for folder in folders:
        files.sync_folder(folder)


def _above(name: str) -> list[str]:
    """The directories that *name* is in, the outermost first, each with a slash at its end."""
    parts = name.split("/")[:-1]
    return ["/".join(parts[: count + 1]) + "/" for count in range(len(parts))]


def _copy(blob: Blob, descriptor: int) -> None:
    """Write the bytes of a layer to *descriptor*, as many as were announced."""
    source = blob.open()
    if isinstance(source, int):
        try:
            count = _transfer(source, descriptor, blob.size)
        finally:
            os.close(source)
    else:
        count = 0
        for chunk in source:
            count += len(chunk)
            files.write_all(descriptor, chunk)
    if count != blob.size:
        reason = f"it has {count} bytes, and had {blob.size}"
        raise MinirunError(f"read blob {blob.digest[:19]}", reason, "load or pull its image again")


def _transfer(source: int, target: int, size: int) -> int:
    """Have the kernel copy a file; returns how many bytes there were.

    copy_file_range(2) between files, perhaps without copying; sendfile(2) from a file to whatever it is; and where
    neither is possible, read and write.
    """
    position = 0
    for copy in (_copy_file_range, os.sendfile):
        try:
            while position < size and (count := copy(target, source, position, min(size - position, _COPY_BYTES))):
                position += count
        except OSError as error:
            if error.errno not in _NOT_BETWEEN_THESE:
                raise
        else:
            return position
    while data := os.pread(source, _READ_BYTES, position):
        files.write_all(target, data)
        position += len(data)
    return position


def _copy_file_range(target: int, source: int, position: int, count: int) -> int:
    return os.copy_file_range(source, target, count, position)
