"""The first process of a container that runs, held by descriptors, and what is reached through it.

state.json: pid ─▶ pidfd ─▶ namespaces             setns(2), by launch/enter.py
              └──▶ /proc/PID/root ─▶ descriptor ─▶ etc/passwd, dev/pts/ptmx, dev/null
                                                   openat2(2): never out of it, through no link, and looked at
                                                   before it is opened: devices and FIFOs could do what they like

The number of a process that ended is given to another one. Whether it is still the container's is asked of the kernel,
once it is held: its cgroup has the container's id in its path, and it started when that did, since this boot.
"""

from __future__ import annotations

import os
from _signal import pidfd_send_signal
from errno import EACCES, ELOOP, ENODEV, ENOENT, ENOTDIR, ENXIO
from stat import S_ISCHR, S_ISREG

from minirun import caller
from minirun.cgroup import absent
from minirun.errors import Conflict, MinirunError
from minirun.kernel import process
from minirun.kernel.call import Call
from minirun.kernel.names import O_CLOEXEC, O_PATH, RESOLVE_IN_ROOT, RESOLVE_NO_SYMLINKS, S_IFCHR
from minirun.launch import machine
from minirun.rootfs.attach import TARGET, filesystem, open_how
from minirun.security.user import LIMIT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirun.container.record import Record
    from minirun.container.state import State

_NULL = os.makedev(1, 3)
_PTMX = os.makedev(5, 2)
_ABSENT = (ENOENT, ENOTDIR, ELOOP)
_DEAD = (EACCES, ENODEV, ENXIO)  # a node that the container made opens nothing


class FirstProcess:
    """The first process of a container that runs.

    Attributes:
        pidfd: of it; its end does not make it anybody else's.
        root: descriptor of its root directory.
        group: the path of its cgroup, which may be one that it made below the container's.
    """

    __slots__ = ("group", "pidfd", "root")

    def __init__(self, pidfd: int, root: int, group: str) -> None:
        self.pidfd = pidfd
        self.root = root
        self.group = group

    @classmethod
    def open(cls, box: Record, now: State) -> FirstProcess:
        """Take hold of it.

        Raises:
            Conflict: it has ended.
        """
        opened: list[int] = []
        try:
            opened.append(_open_pidfd(now))
            opened.append(os.open(f"/proc/{now.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            group = _group(box, now)
            # it lives, so all that was read under its number was read of it
            _see_alive(opened[0])
        except (FileNotFoundError, ProcessLookupError):
            for descriptor in opened:
                os.close(descriptor)
            raise not_running(box) from None
        return cls(opened[0], opened[1], group)

    def read(self, path: str) -> bytes:
        """The first LIMIT_BYTES of a regular file; nothing where there is none at *path*, relative to its root."""
        place = self._find(path)
        if place < 0:
            return b""
        try:
            if not S_ISREG(os.fstat(place).st_mode):
                return b""
            # O_NONBLOCK: not to wait for whoever holds a lease on it
            descriptor = _reopen(place, os.O_RDONLY | os.O_NONBLOCK)
        finally:
            os.close(place)
        try:
            return os.read(descriptor, LIMIT_BYTES)
        finally:
            os.close(descriptor)

    def open_terminals(self) -> int:
        """Open the multiplexer of its /dev/pts, from which a new terminal comes.

        Raises:
            MinirunError: it has none.
        """
        descriptor = self._open_device("dev/pts/ptmx", _PTMX)
        if descriptor < 0:
            raise MinirunError("make a terminal", "the container has no /dev/pts/ptmx any more", "run without -t")
        return descriptor

    def open_null(self) -> int:
        """Open a null device: the container's own, or one of nobody's where it has spoilt that.

        Never the host's: whoever is root in the container can change the mode of what he has open.
        """
        descriptor = self._open_device("dev/null", _NULL)
        if descriptor >= 0:
            return descriptor
        if caller.ROOTLESS:  # the host's root has it, who is nobody in there
            return os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        directory = machine.run(list(filesystem("tmpfs", (), 0, why="a place for a null device")))
        try:
            os.mknod("null", S_IFCHR | 0o666, _NULL, dir_fd=directory)
            os.chmod("null", 0o666, dir_fd=directory)  # noqa: S103 - past the umask, as everybody's is
            return os.open("null", os.O_RDWR | os.O_CLOEXEC, dir_fd=directory)
        finally:
            os.close(directory)

    def _open_device(self, path: str, number: int) -> int:
        """Open the character device *number* at *path* for reading and writing; -1 where that is not what is there."""
        place = self._find(path)
        if place < 0:
            return -1
        try:
            status = os.fstat(place)
            if not S_ISCHR(status.st_mode) or status.st_rdev != number:
                return -1
            return _reopen(place, os.O_RDWR)
        except OSError as error:
            if error.errno not in _DEAD:
                raise
            return -1
        finally:
            os.close(place)

    def _find(self, path: str) -> int:
        """An O_PATH descriptor of what is at *path*; -1 where nothing is."""
        how = open_how(O_PATH | O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
        try:
            return machine.run([Call("openat2", self.root, path, how, 24, save=TARGET)])
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
            return -1

    def close(self) -> None:
        """Let go of it."""
        os.close(self.pidfd)
        os.close(self.root)


def _see_alive(pidfd: int) -> None:
    """Raise ProcessLookupError if the process has ended."""
    try:
        pidfd_send_signal(pidfd, 0)
    except PermissionError:
        pass  # a profile of AppArmor's may keep every signal from it; the kernel asks that only of who lives


def not_running(box: Record) -> Conflict:
    """Refuse to go into a container that has ended."""
    return Conflict(
        f"execute a command in container {box.name}", "it is not running", "`minirun ps` lists those that are"
    )


def _open_pidfd(now: State) -> int:
    if now.outlived:
        raise ProcessLookupError
    if not now.pid_start:
        return os.pidfd_open(now.pid)
    descriptor = process.open_pidfd(now.pid, now.pid_start)
    if descriptor < 0:
        raise ProcessLookupError
    return descriptor


def _group(box: Record, now: State) -> str:
    if absent.is_at(now.cgroup):
        return now.cgroup
    with open(f"/proc/{now.pid}/cgroup", "rb", 0) as file:
        lines = os.fsdecode(file.readall()).splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::")), "")
    _, found, below = f"{path}/".partition(f"/{box.id}/")
    if not found:
        raise ProcessLookupError  # somebody else has its number by now
    return f"{now.cgroup}/{below}".rstrip("/")


def _reopen(place: int, flags: int) -> int:
    return os.open(f"/proc/self/fd/{place}", flags | os.O_NOCTTY | os.O_CLOEXEC)
