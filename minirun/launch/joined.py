"""Namespaces of a container that runs, for another one: its processes, its IPC with the memory that goes with that."""

from __future__ import annotations

from minirun.kernel.call import Call
from minirun.kernel.names import AT_FDCWD, CLONE_NEWIPC, CLONE_NEWNS, O_CLOEXEC, O_RDONLY
from minirun.rootfs.attach import BARRED, SCRATCH, SHM, allow, clone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_SHM = "/dev/shm"  # noqa: S108 - not a file of ours
_OWN_MOUNTS = "/proc/self/ns/mnt"


def ipc(pidfd: int | None) -> Iterator[Call]:
    """Enter the IPC namespace of a process, None for the host's, and take its /dev/shm along: SHM holds that.

    A mount can be cloned only from where it is, so the way leads through the other's mounts, and back.
    """
    if pidfd is None:
        yield clone(_SHM, save=SHM, why="the host's shared memory")
    else:
        yield Call("openat", AT_FDCWD, _OWN_MOUNTS, O_RDONLY | O_CLOEXEC, 0, save=SCRATCH, why="the way back")
        yield Call("setns", pidfd, CLONE_NEWIPC | CLONE_NEWNS, why="the other container's IPC, and its mounts")
        yield clone(_SHM, save=SHM, why="its shared memory")
        yield Call("setns", SCRATCH, CLONE_NEWNS)
        yield Call("close", SCRATCH)
    yield allow(SHM, BARRED, why="as everybody has it")
