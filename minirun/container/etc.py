"""The three files of /etc that belong to a container and not to its image: hostname, hosts, resolv.conf."""

from __future__ import annotations

import os
import time

from minirun.kernel import files
from minirun.rootfs.volumes import Volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FILES = ("hostname", "hosts", "resolv.conf")
_LIMIT_BYTES = 64 << 10
_MOST_BYTES = 1 << 20  # of one that a container has made larger
HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


def write(directory: str, hostname: str, network: str) -> None:
    """Write the files of one container into *directory*.

    Args:
        directory: the container's.
        hostname: its own.
        network: on the host's network it sees the host's files, as they are now.
    """
    shared = network == "host"
    contents = {
        "hostname": hostname + "\n",
        "hosts": host("hosts") if shared else HOSTS,
        "resolv.conf": host("resolv.conf"),
    }
    write_files(directory, contents)


def write_files(directory: str, contents: Mapping[str, str]) -> None:
    """Write files that every user of a container may read, by name, into *directory*."""
    for name, text in contents.items():
        with open(f"{directory}/{name}", "wb", 0) as file:
            file.write(text.encode(errors="surrogateescape"))
            os.fchmod(file.fileno(), 0o644)
            _sign(file.fileno())


def _sign(descriptor: int) -> None:
    """Note that a file was last written by us: its time is a whole second, which nobody else's writing makes it."""
    now = int(time.time())
    os.utime(descriptor, (now, now))


class Shared:
    """One of the files, mounted in a container that runs: written in place, for the mount is of this very file."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def is_ours(self) -> bool:
        """Whether it is as we wrote it."""
        try:
            return os.stat(self._path).st_mtime_ns % 1_000_000_000 == 0
        except FileNotFoundError:
            return False

    def edit(self, change: Callable[[str], str]) -> None:
        """Replace what is in it by what *change* makes of that; at no moment is it empty. A huge one is left alone.

        Raises:
            OSError: it could not be written.
        """
        ours = self.is_ours()
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return  # the container has just been removed
        try:
            before = os.pread(descriptor, _MOST_BYTES + 1, 0)
            after = change(before.decode(errors="surrogateescape")).encode(errors="surrogateescape")
            if len(before) > _MOST_BYTES or after == before:
                return
            files.write_all(descriptor, after)
            os.ftruncate(descriptor, len(after))
            if ours:
                _sign(descriptor)
        finally:
            os.close(descriptor)


def host(name: str) -> str:
    """A file of the host's own /etc; empty where there is none."""
    return read(f"/etc/{name}")


def read(path: str) -> str:
    """The beginning of a file, as long as any of these is; empty where there is none."""
    try:
        with open(path, "rb", 0) as file:
            return file.read(_LIMIT_BYTES).decode(errors="surrogateescape")
    except FileNotFoundError:
        return ""


def volumes(directory: str, *, read_only: bool) -> list[Volume]:
    """The mounts that put the files in their places, where the image has such places."""
    return [
        Volume(f"{directory}/{name}", f"/etc/{name}", read_only=read_only, directory=False, own=True) for name in FILES
    ]
